"""Proof key for code exchange, S256 only (RFC 7636)."""

import hashlib
import hmac
import re
from typing import Final

from fidoloop.protocol import base64url
from fidoloop.protocol.oauth.errors import OAuthRefusal

METHOD: Final = "S256"
_VERIFIER = re.compile(r"[A-Za-z0-9._~-]{43,128}")
_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")


def code_challenge(verifier: str) -> str:
    """Return the S256 challenge of a code verifier (section 4.2)."""
    return base64url.encode(hashlib.sha256(verifier.encode("ascii")).digest())


def check_challenge(challenge: str, method: str | None) -> None:
    """Refuse a code challenge that is not S256. Raises OAuthRefusal: invalid_request."""
    if method != METHOD:
        raise OAuthRefusal("invalid_request", "code_challenge_method is not S256")
    if not _CHALLENGE.fullmatch(challenge):
        raise OAuthRefusal("invalid_request", "code_challenge is not 43 characters of base64url")


def verify_verifier(verifier: str | None, challenge: str | None) -> None:
    """Verify a code verifier against the challenge that the code was made with (section 4.6).

    Raises:
        OAuthRefusal: invalid_grant: missing, malformed or another one; or one where there was no challenge (RFC 9700
            section 4.8.2).
    """
    if verifier is None and challenge is None:
        return
    if verifier is None or challenge is None or not _VERIFIER.fullmatch(verifier):
        raise OAuthRefusal("invalid_grant", "code_verifier does not fit the code")
    if not hmac.compare_digest(code_challenge(verifier), challenge):
        raise OAuthRefusal("invalid_grant", "code_verifier does not fit the code")
