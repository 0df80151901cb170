"""Which addresses this server may post to: public ones, and those that are configured."""

import asyncio
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

import httpcore2

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
_NAT64 = IPv6Network("64:ff9b::/96")
_LOOPBACK = ip_address("127.0.0.1"), ip_address("::1")


class AddressRefusedError(Exception):
    """A host has no address that this server may connect to."""


@dataclass(frozen=True, slots=True)
class AddressRules:
    """Public addresses, and those in `networks`."""

    networks: tuple[Network, ...] = ()

    @classmethod
    def of(cls, networks: Iterable[str]) -> "AddressRules":
        """Return the rules of networks in CIDR notation. Raises ValueError."""
        return cls(tuple(ip_network(text) for text in networks))

    def allows(self, address: Address) -> bool:
        """Tell whether an address is public or configured. An IPv4 address inside an IPv6 one counts as itself."""
        inner = _embedded(address)
        if any(address in network or inner in network for network in self.networks):
            return True
        return inner.is_global and not inner.is_multicast

    def allows_host(self, host: str) -> bool:
        """Tell whether a host may be; of names other than localhost that is known when they are resolved only."""
        name = host.rstrip(".").lower()
        if name == "localhost" or name.endswith(".localhost"):
            return any(self.allows(address) for address in _LOOPBACK)
        try:
            return self.allows(ip_address(name.strip("[]")))
        except ValueError:
            # Resolvers take for addresses what is not written as one: 127.1, 0x7f000001, 2130706433.
            last = name.rpartition(".")[2]
            return not (last.isdigit() or last.startswith("0x"))


def _embedded(address: Address) -> Address:
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address


class CheckedNetwork(httpcore2.AnyIOBackend):
    """Connects to the very addresses that it has checked: a name that resolves to another one later gains nothing."""

    def __init__(self, rules: AddressRules) -> None:
        super().__init__()
        self._rules = rules

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Connect to the first allowed address that answers. Raises AddressRefusedError, httpcore2.ConnectError."""
        failure: Exception = AddressRefusedError(f"{host} has no address that this server may connect to")
        for address in await _resolve(host, port):
            if not self._rules.allows(address):
                continue
            try:
                return await super().connect_tcp(str(address), port, timeout, local_address, socket_options)
            except httpcore2.ConnectError as error:
                failure = error
        raise failure


async def _resolve(host: str, port: int) -> list[Address]:
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise httpcore2.ConnectError(f"{host} does not resolve") from None
    addresses = (ip_address(str(entry[4][0]).partition("%")[0]) for entry in found)
    return list(dict.fromkeys(addresses))
