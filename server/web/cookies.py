"""Cookies of the pages: random, HttpOnly, `__Host-`; the store holds their SHA-256 (RFC 6265bis; HTTP contract 11)."""

import hashlib
import re
import secrets
from typing import Final

from fidoloop.server.http.messages import Request

PRE_LOGIN: Final = "__Host-fidoloop-prelogin"
LOGIN: Final = "__Host-fidoloop-login"
BROWSER: Final = "__Host-fidoloop-browser"
_SECRET = re.compile(r"[A-Za-z0-9_-]{43}")

Header = tuple[bytes, bytes]


def new_secret() -> str:
    """Return the value of a fresh cookie: 256 random bits."""
    return secrets.token_urlsafe(32)


def digest(secret: str) -> str:
    """Return what the store knows of a cookie's value."""
    return hashlib.sha256(secret.encode("ascii")).hexdigest()


def read_cookie(request: Request, name: str) -> str | None:
    """Return the value of a cookie of ours; None where it is absent, twice there, or of another form."""
    text = request.headers.get(b"cookie", b"").decode("latin-1")
    pairs = (part.strip().partition("=") for part in text.split(";"))
    found = [value for key, _, value in pairs if key == name]
    return found[0] if len(found) == 1 and _SECRET.fullmatch(found[0]) else None


def read_digest(request: Request, name: str) -> str:
    """Return the digest of a cookie of ours, or a text that is the digest of none."""
    value = read_cookie(request, name)
    return "" if value is None else digest(value)


def set_cookie(name: str, value: str, *, seconds: int) -> Header:
    """Return the Set-Cookie header that keeps `value` for `seconds`; 0 removes the cookie."""
    cookie = f"{name}={value}; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age={seconds}"
    return b"set-cookie", cookie.encode("ascii")


def remove_cookie(name: str) -> Header:
    """Return the Set-Cookie header that removes a cookie."""
    return set_cookie(name, "", seconds=0)
