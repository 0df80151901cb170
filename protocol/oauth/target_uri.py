"""The HTTP target URI that a proof names (`htu`; RFC 9449 section 4.3, check 9)."""

import re
from functools import lru_cache
from ipaddress import ip_address
from typing import Final

from yarl import URL

from fidoloop.protocol.errors import MalformedError

MAX_CHARACTERS: Final = 2048
_LITERAL = re.compile(r"[^/?#]*//[^/?#]*\[")
_USER_INFORMATION = re.compile(r"[^/?#]*//[^/?#]*@")


@lru_cache(maxsize=1024)
def normalize_target_uri(text: str, where: str = "$.htu") -> str:
    """Return `text` without query and fragment, normalised by syntax and scheme (RFC 3986 6.2.2 and 6.2.3).

    Raises:
        MalformedError: more than 2,048 characters, not an absolute https URI (http on a loopback host is taken), user
            information, or a host or port that cannot be.
    """
    if len(text) > MAX_CHARACTERS or not text.isascii() or any(character <= " " for character in text):
        raise MalformedError(where, "not a URI")
    try:
        url = URL(text)
        host, port = url.host, url.port
        if _LITERAL.match(text):
            ip_address(host or "")
        plain = url.with_query(None).with_fragment(None)
        normal = str(plain.with_path("/") if plain.raw_path == "/" else plain)  # here yarl refuses what it let pass
    except (ValueError, IndexError):  # IndexError: yarl, for a host of nothing but brackets and a colon
        raise MalformedError(where, "not a URI") from None
    if not host or port is None or _USER_INFORMATION.match(text):
        raise MalformedError(where, "not an absolute URI without user information")
    if url.scheme != "https" and not (url.scheme == "http" and _is_loopback(host)):
        raise MalformedError(where, "not https")
    return normal


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.rstrip(".").lower() == "localhost"
