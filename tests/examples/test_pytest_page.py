"""The examples of docs/pytest.md run."""

import pytest

from tests.manual.blocks import DOCS, blocks

PAGE = DOCS / "pytest.md"
OF_A_STRANGER = ("my_directory",)
RUN = [
    block
    for block in blocks(PAGE)
    if block.language == "python" and not any(name in block.text for name in OF_A_STRANGER)
]


def test_the_examples_run(pytester: pytest.Pytester) -> None:
    """In one run: a server is started for each."""
    pytester.makepyfile(**{f"test_line_{block.line}": block.text for block in RUN})
    result = pytester.runpytest_subprocess("-ra", "-p", "no:cacheprovider", "--fidoloop-require")
    result.assert_outcomes(passed=10)
