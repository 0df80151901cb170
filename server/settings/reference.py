"""docs/configuration.md, written from the declared settings: `python -m fidoloop.server.settings.reference`."""

import sys

from fidoloop.server.settings.described import SECTION, Setting, all_settings
from fidoloop.server.settings.layers import FILE_NAME

_HEAD = f"""# Configuration of the server

<!-- Written by `make docs` from server/settings/declared.py. -->

A setting is read from the first of these that has it: the command line, the environment, `{FILE_NAME}` in the home
directory (`--home`, else `$XDG_STATE_HOME/fidoloop`), its default.

| Where | How the setting `lifetimes.target` is written there |
|---|---|
| `{FILE_NAME}` | `target = 86400` in `[{SECTION}.lifetimes]` |
| environment | `FIDOLOOP_SERVER_LIFETIMES_TARGET=86400`; lists with commas, truth as `true` or `false` |
| command line | `--set lifetimes.target=86400`; what `fidoloop server run --help` lists has an option of its own |

A setting that does not exist, or a value that cannot be, stops the start with exit code 2 and says where it stands.
`fidoloop server config` prints the values in effect and where each is from, `--json` for scripts.

| Setting | Type | Unit | Default | What it is |
|---|---|---|---|---|
"""


def render() -> str:
    """Return the document."""
    return _HEAD + "".join(_row(setting) for setting in all_settings().values())


def toml_value(value: object) -> str:
    """Return a value as TOML writes it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"[{', '.join(map(toml_value, value))}]"
    return f'"{value}"' if isinstance(value, str) else str(value)


def _row(setting: Setting) -> str:
    cells = (f"`{setting.name}`", setting.kind, setting.unit, f"`{toml_value(setting.default)}`", setting.description)
    return f"| {' | '.join(cells)} |\n"


if __name__ == "__main__":
    sys.stdout.write(render())
