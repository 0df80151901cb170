"""Answers of the authorization server: JSON that is never stored, errors as RFC 6749 section 5.2 has them."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import UNSET, UnsetType

from fidoloop.protocol import strictjson
from fidoloop.protocol.oauth.errors import OAuthRefusal
from fidoloop.server.http.messages import JSON, Response
from fidoloop.server.http.problems import retry_after
from fidoloop.server.rate_limits import TooManyError

NO_STORE: Final = (b"cache-control", b"no-store")
DPOP_NONCE: Final = b"dpop-nonce"
CHALLENGE_HEADER: Final = b"oauth-client-attestation-challenge"
TOO_MANY: Final = "too_many_attempts"
STATUS: Final[Mapping[str, int]] = {
    "invalid_client": 401,
    "invalid_client_attestation": 401,
    "invalid_token": 401,
    "insufficient_authorization": 403,
    "authorization_required": 403,
    "access_denied": 403,
    TOO_MANY: 429,
    "server_error": 500,
}
"""HTTP statuses of error codes; all others are 400."""


class OAuthError(msgspec.Struct, frozen=True, omit_defaults=True):
    """An error answer."""

    error: str
    error_description: str | UnsetType = UNSET


def oauth_json(value: Any, status: int = 200, headers: tuple[tuple[bytes, bytes], ...] = ()) -> Response:  # noqa: ANN401 - any struct
    """Return `value` as JSON that no cache keeps."""
    return Response(status, strictjson.encode(value).encode("utf-8"), JSON, (NO_STORE, *headers))


def error_response(refusal: OAuthRefusal, headers: tuple[tuple[bytes, bytes], ...] = ()) -> Response:
    """Return a refusal as its error answer."""
    error = OAuthError(refusal.code, _description(refusal.what))
    return oauth_json(error, STATUS.get(refusal.code, 400), headers)


def too_many_attempts(error: TooManyError) -> Response:
    """Return that a limit is used up (OAuth contract 1.4)."""
    return error_response(OAuthRefusal(TOO_MANY, str(error)), (retry_after(error),))


def _description(text: str) -> str:
    """Return `text` in the characters that error_description may have (RFC 6749 section 5.2)."""
    return "".join(character if " " <= character <= "~" and character not in '"\\' else "'" for character in text)
