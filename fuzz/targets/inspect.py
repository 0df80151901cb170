"""`fidoloop inspect`: whatever is pasted."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime

from fidoloop.bridge import qr_images
from fidoloop.bridge.errors import MalformedPayloadError
from fidoloop.cli.inspect import _as_json
from fidoloop.protocol.inspect.kinds import KINDS, UnreadableError, inspect
from fuzz.properties import accepted
from fuzz.targets.jws import key

MAX_BYTES = 1 << 14
AT = datetime(2026, 1, 1, tzinfo=UTC)
DICTIONARY = (
    b"-----BEGIN CERTIFICATE-----", b"-----END CERTIFICATE-----", b"eyJ", b"DPoP: ", b"Authorization: vapid t=", b"k=",
    b"\x30\x82", b"\x06\x03\x55\x1d", b"\x89PNG\r\n\x1a\n", b'{"', b'":', b"[[", b"\xa1\x01", b"00a40400", b"://", b"=",
)  # fmt: skip
_NAMED = tuple(sorted(KINDS))
_MAX_NODES_PER_BYTE = 4


def check(data: bytes) -> None:
    """The first byte may name a kind: nothing but UnreadableError, and a tree not much larger than what was pasted."""
    first, rest = data[0] if data else 0, data[1:]
    kind = _NAMED[first] if first < len(_NAMED) else None
    found = accepted(
        lambda: inspect(
            rest, kind=kind, now=AT, key=key().public_key(), read_image=lambda image: qr_images.read_bytes(image, "it")
        ),
        UnreadableError,
        MalformedPayloadError,
    )
    if found is None:
        return
    nodes = list(found.tree.walk())
    assert len(nodes) <= 64 + _MAX_NODES_PER_BYTE * len(rest), f"{len(nodes)} nodes of {len(rest)} bytes"
    shown = json.dumps(_as_json(found, asked=True))
    shown.encode("utf-8")


def seeds() -> Iterator[bytes]:
    """Yield examples of every kind, guessed and named."""
    from tests.protocol.inspect.examples import examples

    for kind, given in examples().items():
        for one in given:
            if len(one) < MAX_BYTES:
                yield b"\xff" + one
        yield bytes((_NAMED.index(kind),)) + given[0]
