"""The line of a key, for any text that the standard library reads."""

import pytest

from fidoloop.server.settings.toml_lines import line_of

TEXT = """# [server]
# port = 0

[server]
hosts = [
  # port = 1
  "a",

  "b" ]  # three lines


port = 2
text = '''
[server]
port = 3
'''
"lifetimes".target = 4

[server.lifetimes."a.b"]
c = { d = 5, e = { f = 6 } }
"""


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (["server", "hosts"], 5),
        (["server", "port"], 12),
        (["server", "text"], 13),
        (["server", "lifetimes", "target"], 17),
        (["server", "lifetimes", "a.b"], 19),
        (["server", "lifetimes", "a.b", "c"], 20),
        (["server", "lifetimes", "a.b", "c", "e", "f"], 20),
        (["server"], 4),
    ],
)
def test_the_line_of_a_key_is_where_it_begins(path: list[str], line: int) -> None:
    assert line_of(TEXT, path) == line
