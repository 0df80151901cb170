"""The hash of an earlier message in a proof of possession: `prev_msg`.

A private extension, in no draft: what the first seed on attested clients asks for, as OAuth contract 2.4 defines it.
"""

import hashlib
import hmac
from typing import Final, Literal

import msgspec

from fidoloop.protocol import base64url
from fidoloop.protocol.oauth.target_uri import normalize_target_uri

MessageKind = Literal["authz-challenge", "par", "dcr", "token"]
HASH: Final = "sha-256"


class PreviousMessage(msgspec.Struct, frozen=True):
    """The claim: which message, by which hash, its hash (base64url)."""

    of: MessageKind
    alg: Literal["sha-256"]
    h: str


def message_hash(method: str, uri: str, media_type: str, body: bytes) -> str:
    """Return the hash of a request, base64url.

    Args:
        method: of the request.
        uri: its target URI; normalised here.
        media_type: of its body, parameters and case do not count.
        body: exactly as it was sent.
    """
    plain = media_type.partition(";")[0].strip().lower()
    head = f"{method} {normalize_target_uri(uri)}\n{plain}\n".encode("ascii")
    return base64url.encode(hashlib.sha256(head + body).digest())


def matches(claim: PreviousMessage, *, of: MessageKind, expected_hash: str) -> bool:
    """Tell whether the claim is about the message of this kind and hash."""
    return claim.of == of and hmac.compare_digest(claim.h.encode(), expected_hash.encode())
