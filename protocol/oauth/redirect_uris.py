"""Redirect URIs of a client: which may be registered, and which of a request is one that was (RFC 8252 section 7)."""

import re
from collections.abc import Iterable
from typing import Final

_LOOPBACK: Final = re.compile(r"http://(127\.0\.0\.1|\[::1\])(?::([0-9]{1,5}))?(/[!-~]*)?")
_HTTPS: Final = re.compile(r"https://[A-Za-z0-9.:\[\]-]+([/?][!-~]*)?")
# An app's own scheme is a domain read backwards, which nobody else has (RFC 8252 section 7.1).
_OWN_SCHEME: Final = re.compile(r"[a-z][a-z0-9+-]*(\.[a-z0-9+-]+)+:[!-~]*", re.IGNORECASE)


def may_be_registered(uri: str) -> bool:
    """Tell whether a URI is https, http on a loopback address, or of an app's own scheme; without a fragment."""
    if "#" in uri:
        return False
    return _loopback(uri) is not None or any(form.fullmatch(uri) for form in (_HTTPS, _OWN_SCHEME))


def is_registered(uri: str, registered: Iterable[str]) -> bool:
    """Tell whether a request's URI is one of those, character by character.

    Of a loopback address the port may be any: the app gets a free one each time (RFC 8252 section 7.3).
    """
    loopback = _loopback(uri)
    return any(uri == one or (loopback is not None and loopback == _loopback(one)) for one in registered)


def _loopback(uri: str) -> tuple[str, str] | None:
    """Return address and path of a loopback URI, without the port; None for any other."""
    found = _LOOPBACK.fullmatch(uri)
    if found is None or (found[2] is not None and not 0 < int(found[2]) < 1 << 16):
        return None
    return found[1], found[3] or ""
