"""By which names a server may be asked for: a page that had its own name point here (DNS rebinding) gets nothing."""

from functools import lru_cache
from ipaddress import ip_address
from urllib.parse import urlsplit

from fidoloop.server.config import ServerConfig

_REMEMBERED = 256
_LONGEST = 255


class Hosts:
    """The names of one server: that of its base URL, `localhost`, those of the setting `hosts`, and any IP address.

    No page has an address for its name, unless it was got from there.
    """

    def __init__(self, config: ServerConfig) -> None:
        own = urlsplit(config.base_url).hostname or ""
        self._names = frozenset(name.lower().rstrip(".") for name in (own, "localhost", *config.hosts))
        self.is_own = lru_cache(maxsize=_REMEMBERED)(self._is_own)

    def _is_own(self, field: bytes | None) -> bool:
        """Tell whether a Host field (RFC 9110 section 7.2) names this server; its port does not matter."""
        if not field or len(field) > _LONGEST:
            return False
        text = field.decode("latin-1").lower()
        if text.startswith("["):
            name, _, port = text[1:].partition("]")
            port = port.removeprefix(":")
        else:
            name, _, port = text.partition(":")
        if port and not (port.isascii() and port.isdigit()):
            return False
        return name.rstrip(".") in self._names or _is_address(name)


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
