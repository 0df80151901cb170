"""Whose address a request is from: the peer's, or what a trusted proxy says (RFC 7239; X-Forwarded-For)."""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from fidoloop.server.settings.rate_limits import RateLimitSettings

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
_MOST_HOPS = 32
_REMEMBERED = 4096


class ClientAddresses:
    """Addresses by a server's settings."""

    def __init__(self, settings: RateLimitSettings) -> None:
        self._proxies = tuple(map(ip_network, settings.trusted_proxies))
        self._exempt = tuple(map(ip_network, settings.exempt))
        self._header = settings.forwarded_header.encode("ascii")
        # One per server: what is remembered goes with it.
        self.limited_as = lru_cache(maxsize=_REMEMBERED)(self._limited_as)

    def of(self, peer: str, headers: Sequence[tuple[bytes, bytes]]) -> str:
        """Return the client's address: the last that no trusted proxy has, the peer's where a header is no help."""
        if not self._proxies or not self._is_proxy(peer):
            return peer
        last = peer
        fields = b",".join(value for name, value in headers if name == self._header).decode("latin-1")
        for hop in reversed(fields.split(",")[-_MOST_HOPS:]):
            address = _hop(hop) if self._header == b"x-forwarded-for" else _hop(_for_of(hop))
            if address is None:
                break
            last = str(address)
            if not self._is_proxy(last):
                break
        return last

    def _is_proxy(self, text: str) -> bool:
        return _is_in(_parsed(text), self._proxies)

    def _limited_as(self, address: str) -> str:
        """Return by what name an address is limited, of IPv6 by its /64; empty where it is exempt."""
        parsed = _parsed(address)
        if parsed is None:
            # No address at all, such as that of a socket in the file system: one name for them all.
            return "?"
        if _is_in(parsed, self._exempt):
            return ""
        return str(ip_network((parsed, 64), strict=False)) if isinstance(parsed, IPv6Address) else str(parsed)


def _is_in(address: Address | None, networks: Iterable[Network]) -> bool:
    return address is not None and any(address in network for network in networks)


def _parsed(text: str) -> Address | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return (isinstance(address, IPv6Address) and address.ipv4_mapped) or address


def _hop(text: str) -> Address | None:
    """Return the address of a hop: `1.2.3.4`, `1.2.3.4:5678`, `[2001:db8::1]:5678`; None for what is none."""
    bare = text.strip().strip('"')
    if bare.startswith("["):
        bare = bare[1:].partition("]")[0]
    elif bare.count(":") == 1:
        bare = bare.partition(":")[0]
    return _parsed(bare)


def _for_of(element: str) -> str:
    """Return the value of `for` in an element of Forwarded, without its ports and quotes undone later."""
    for pair in element.split(";"):
        name, _, value = pair.partition("=")
        if name.strip().lower() == "for":
            return value
    return ""
