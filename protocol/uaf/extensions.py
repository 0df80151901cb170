"""Message-level extensions and which of them we know (UAF protocol 3.1.2; digest 1.3)."""

from collections.abc import Sequence
from typing import Annotated, Protocol

import msgspec
from msgspec import Meta

MAX_EXTENSIONS = 32
SESSION_ID = "ch.nevis.auth.fido.uaf.sessionid"


class Extension(msgspec.Struct, frozen=True):
    """An extension of a header, an assertion or a MatchCriteria; `data` is any text."""

    id: Annotated[str, Meta(min_length=1, max_length=32)]
    data: str
    fail_if_unknown: bool


Extensions = Annotated[tuple[Extension, ...], Meta(max_length=MAX_EXTENSIONS)]


class _Marked(Protocol):
    @property
    def id(self) -> str: ...
    @property
    def fail_if_unknown(self) -> bool: ...


UVM = "fido.uaf.uvm"
ANDROID_KEY_ATTESTATION = "fido.uaf.android.key_attestation"

KNOWN: frozenset[str] = frozenset({SESSION_ID})
"""What a client of ours understands."""
KNOWN_TO_SERVER: frozenset[str] = KNOWN | {UVM, ANDROID_KEY_ATTESTATION}
"""What the rules for responses understand."""


def first_unknown_required(extensions: Sequence[_Marked], known: frozenset[str] = KNOWN) -> str | None:
    """Return the id of the first extension that is unknown and says fail_if_unknown, or None."""
    if not extensions:
        return None
    for extension in extensions:
        if extension.fail_if_unknown and extension.id not in known:
            return extension.id
    return None
