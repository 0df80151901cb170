"""Where this server may connect to: decided on the address that is connected to, not on its name."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address

import httpcore2
import pytest

from fidoloop.server.push import addresses
from fidoloop.server.push.addresses import AddressRefusedError, AddressRules, CheckedNetwork

LOOPBACK = AddressRules.of(["127.0.0.1/32"])


@contextmanager
def listening() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def connect(rules: AddressRules, host: str, port: int) -> None:
    async def scenario() -> None:
        stream = await CheckedNetwork(rules).connect_tcp(host, port, timeout=5)
        await stream.aclose()

    asyncio.run(scenario())


def resolves(monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> list[str]:
    """Have names resolve to each of `answers` in turn, the last one for ever; return the names asked for."""
    asked: list[str] = []

    async def resolve(host: str, _: int) -> list[addresses.Address]:
        asked.append(host)
        return [ip_address(text) for text in answers[min(len(asked), len(answers)) - 1]]

    monkeypatch.setattr(addresses, "_resolve", resolve)
    return asked


def test_a_name_for_a_private_address_is_not_connected_to(monkeypatch: pytest.MonkeyPatch) -> None:
    with listening() as port:
        for private in ("127.0.0.1", "::ffff:127.0.0.1", "10.0.0.1", "169.254.169.254", "::1"):
            resolves(monkeypatch, [private])
            with pytest.raises(AddressRefusedError, match=r"push\.example"):
                connect(AddressRules(), "push.example", port)


def test_what_is_connected_to_is_the_address_that_was_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    with listening() as port:
        # Whoever rebinds the name after the check would have a second question to answer.
        asked = resolves(monkeypatch, ["10.0.0.1", "127.0.0.1"], ["10.0.0.1"])
        connect(LOOPBACK, "push.example", port)
        assert asked == ["push.example"]
        with pytest.raises(AddressRefusedError):
            connect(LOOPBACK, "push.example", port)


def test_a_real_name_resolves_and_is_refused_or_not() -> None:
    with listening() as port:
        connect(LOOPBACK, "localhost", port)
        with pytest.raises(AddressRefusedError):
            connect(AddressRules(), "localhost", port)
        # The resolver takes these for 127.0.0.1.
        for spelled in ("127.1", "2130706433", "0x7f000001"):
            with pytest.raises((AddressRefusedError, httpcore2.ConnectError)):
                connect(AddressRules(), spelled, port)


def test_nobody_there_and_no_such_name_are_failures_to_connect() -> None:
    with listening() as port:
        pass
    with pytest.raises(httpcore2.ConnectError):
        connect(LOOPBACK, "127.0.0.1", port)
    with pytest.raises(httpcore2.ConnectError, match="does not resolve"):
        connect(LOOPBACK, "no..such", port)
