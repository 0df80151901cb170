"""The targets, a module each.

Of a module are taken: `check(data)`, which raises where a property does not hold; `seeds()`, its first inputs;
`MAX_BYTES`; and where it has one, `DICTIONARY`, pieces that inputs are made of.
"""

from collections.abc import Iterator, Sequence
from importlib import import_module
from typing import Protocol, cast

NAMES = (
    "apdu",
    "asm",
    "ble",
    "card_answers",
    "client_attestation",
    "ctap",
    "ctaphid",
    "dpop",
    "evidence",
    "forms",
    "inspect",
    "jwe",
    "jws",
    "metadata_blob",
    "out_of_band",
    "tlv",
    "uaf_messages",
    "uaf_responses",
    "web_push",
    "webauthn",
)


class Target(Protocol):
    """One format."""

    MAX_BYTES: int
    DICTIONARY: Sequence[bytes]

    def check(self, data: bytes) -> None:
        """Raise where `data` breaks a property of the format's code."""

    def seeds(self) -> Iterator[bytes]:
        """Yield inputs that are accepted."""


def target(name: str) -> Target:
    """Return the target of this name."""
    return cast("Target", import_module(f"fuzz.targets.{name}"))
