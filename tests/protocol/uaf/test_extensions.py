import pytest

from fidoloop.protocol.uaf.assertions import AssertionExtension
from fidoloop.protocol.uaf.extensions import SESSION_ID, Extension, first_unknown_required


def ext(name: str, required: bool) -> Extension:
    return Extension(name, "", required)


@pytest.mark.parametrize(
    ("extensions", "unknown"),
    [
        ((), None),
        ((ext("x", False),), None),
        ((ext("x", True),), "x"),
        ((ext(SESSION_ID, True),), None),
        ((ext("x", False), ext("y", True), ext("z", True)), "y"),
        ((AssertionExtension("x", b"", True, False),), "x"),
        ((AssertionExtension("x", b"", False, True),), None),
    ],
)
def test_the_first_unknown_extension_that_must_be_understood(
    extensions: tuple[Extension, ...], unknown: str | None
) -> None:
    assert first_unknown_required(extensions) == unknown


def test_who_understands_more_says_so() -> None:
    assert first_unknown_required((ext("x", True),), frozenset({"x"})) is None
