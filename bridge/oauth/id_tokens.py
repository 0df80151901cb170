"""Verification of an id_token (OpenID Connect Core 3.1.3.7)."""

from collections.abc import Mapping
from typing import Any, Final

from fidoloop.bridge.oauth.errors import OAuthRefusedError
from fidoloop.protocol import jose, strictjson
from fidoloop.protocol.errors import MalformedError

ALGORITHMS: Final = ("ES256", "ES384", "PS256")


def verify_id_token(id_token: str, keys: list[dict[str, Any]], *, expected: Mapping[str, str]) -> dict[str, Any]:
    """Return the claims of an id_token that one of the server's keys signed, and that says what is expected.

    Raises:
        OAuthRefusedError: invalid_id_token.
    """
    try:
        parsed = jose.parse_compact(id_token, "id_token")
        jwk = next((jwk for jwk in keys if jwk.get("kid") == parsed.header.get("kid")), None)
        if jwk is None:
            raise OAuthRefusedError(200, "invalid_id_token", "no key of the server signed it")
        jose.verify_parsed(parsed, jose.parse_public_jwk(jwk, "jwks"), ALGORITHMS)
        claims: dict[str, Any] = strictjson.loads(parsed.payload, "id_token")
    except (MalformedError, jose.JoseRefusal) as error:
        raise OAuthRefusedError(200, "invalid_id_token", str(error)) from None
    for name, value in expected.items():
        if claims.get(name) != value:
            raise OAuthRefusedError(200, "invalid_id_token", f"{name} is not what was expected")
    return claims
