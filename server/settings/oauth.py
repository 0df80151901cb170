"""The settings of the authorization server."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

TokenFormat = Literal["jwt", "opaque"]
Compat = Literal["off", "jans-chip"]
_DAY = 24 * 3600


def _seconds(description: str, *, most: int = 366 * _DAY) -> Meta:
    return Meta(ge=1, le=most, description=description, extra={"unit": "seconds"})


class OAuthSettings(msgspec.Struct, frozen=True):
    """`[server.oauth]` of the file."""

    access_token_format: Annotated[
        TokenFormat,
        Meta(
            description="Access tokens that resources verify themselves (jwt) or ask about by introspection (opaque)."
        ),
    ] = "jwt"  # noqa: S105 - a format
    access_token: Annotated[int, _seconds("An access token is good for so long.", most=_DAY)] = 300
    refresh_token: Annotated[int, _seconds("A refresh token is good for so long if it is not used.")] = 30 * _DAY
    authorization_code: Annotated[int, _seconds("An authorization code waits so long to be redeemed.", most=600)] = 60
    auth_session: Annotated[
        int, _seconds("An auth_session of the authorization challenge endpoint lives so long.", most=_DAY)
    ] = 600
    pushed_request: Annotated[
        int, _seconds("A pushed authorization request waits so long for a browser to open it.", most=600)
    ] = 90
    authorization_request: Annotated[
        int, _seconds("A person has so long to log in and answer an authorization request.", most=3600)
    ] = 600
    id_token: Annotated[int, _seconds("An id_token is good for so long.", most=_DAY)] = 3600
    dpop_nonces: Annotated[bool, Meta(description="Whether DPoP proofs need a nonce of this server.")] = True
    attestation_challenges: Annotated[
        bool, Meta(description="Whether proofs of possession of attested clients need a challenge of this server.")
    ] = True
    attestation_age: Annotated[int, _seconds("A client attestation is taken for so long after it was issued.")] = _DAY
    compat: Annotated[
        Compat,
        Meta(description="A profile for an app of others that is laxer than all else here: docs/oauth.md; or off."),
    ] = "off"
    prev_msg_required: Annotated[
        bool,
        Meta(description="Whether a token request must bear the hash of the request before it (prev_msg, our own)."),
    ] = False
