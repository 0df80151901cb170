"""FinalChallengeParams: what the client saw, hashed into the assertion (UAF protocol 3.1.13, 3.4.6; digest 1.2)."""

from typing import Annotated

import msgspec
from msgspec import Meta

from fidoloop.protocol import base64url, strictjson
from fidoloop.protocol.uaf.algorithms import ES256, digest
from fidoloop.protocol.uaf.channel_binding import ChannelBinding

Text512 = Annotated[str, Meta(min_length=1, max_length=512)]


class FinalChallengeParams(msgspec.Struct, frozen=True):
    """appID, the server's challenge as sent, the caller's FacetID, and the TLS channel as the client saw it."""

    appID: Text512
    challenge: Annotated[str, Meta(min_length=1, max_length=256)]
    facetID: Text512
    channelBinding: ChannelBinding


def encode(params: FinalChallengeParams) -> str:
    """Return fcParams: base64url of the JSON text."""
    return base64url.encode(strictjson.encode(params).encode("utf-8"))


def decode(fc_params: str, where: str = "$.fcParams") -> FinalChallengeParams:
    """Return what the string `fc_params` says; padding, which real clients send, is accepted.

    Raises:
        MalformedError: not base64url, not JSON, or a member missing or of another type.
    """
    return strictjson.decode(base64url.decode(fc_params, where, padding_allowed=True), FinalChallengeParams, where)


def final_challenge_hash(fc_params: str, algorithm: int = ES256) -> bytes:
    """Return FCHash: the fcParams string exactly as transmitted, hashed as the authenticator's `algorithm` does.

    That is SHA-256 for the algorithms of UAF 1.1.

    Raises:
        UafRefusal: UNACCEPTABLE_ALGORITHM where it is not supported.
    """
    return digest(algorithm, fc_params.encode("utf-8"))
