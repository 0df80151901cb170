"""Whole UAF responses as a server verifies them: recorded ones, changed."""

import json
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.uaf import verify_authentication_response, verify_registration_response  # noqa: F401 - see below
from fidoloop.protocol.uaf.status import UafRefusal
from fuzz.properties import accepted, text

MAX_BYTES = 1 << 14
DICTIONARY = (b'"header"', b'"fcParams"', b'"assertions"', b'"assertion"', b'"exts"', b'"op"', b'"Reg"', b'"Auth"')


# What is imported with this module is instrumented, what tests import later is not.


@cache
def _examples() -> list[tuple[Callable[[Any], object], object]]:
    from tests.protocol.uaf.test_mutated_messages import EXAMPLES, verifier

    found = [(verifier(name), example["response"]) for name, example in sorted(EXAMPLES.items())]
    return [(verify, verify(response)) for verify, response in found]


def check(data: bytes) -> None:
    """The first byte names the example: what is accepted in its place is that very registration or authentication."""
    examples = _examples()
    verify, unchanged = examples[data[0] % len(examples) if data else 0]
    found = accepted(lambda: verify(text(data[1:])), MalformedError, UafRefusal)
    assert found is None or found == unchanged, "another message than the one that was signed is accepted"


def seeds() -> Iterator[bytes]:
    """Yield every example, written compactly."""
    from tests.protocol.uaf.test_mutated_messages import EXAMPLES

    for index, (_, example) in enumerate(sorted(EXAMPLES.items())):
        yield bytes((index,)) + json.dumps(example["response"], separators=(",", ":")).encode()
