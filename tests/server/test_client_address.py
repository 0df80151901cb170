"""Whose address a request is from, and by what name it is limited."""

import pytest

from fidoloop.server.http.client_address import ClientAddresses
from fidoloop.server.settings.rate_limits import ForwardedHeader, RateLimitSettings

PROXIES = ("10.0.0.0/8", "::1/128")
XFF, FORWARDED = b"x-forwarded-for", b"forwarded"


def address(
    peer: str,
    *headers: tuple[bytes, str],
    header: ForwardedHeader = "x-forwarded-for",
    proxies: tuple[str, ...] = PROXIES,
) -> str:
    settings = RateLimitSettings(trusted_proxies=proxies, forwarded_header=header)
    return ClientAddresses(settings).of(peer, [(name, value.encode()) for name, value in headers])


@pytest.mark.parametrize(
    ("peer", "field", "expected"),
    [
        ("10.1.1.1", "203.0.113.7", "203.0.113.7"),
        ("10.1.1.1", "203.0.113.7:4711", "203.0.113.7"),
        ("10.1.1.1", "2001:db8::1", "2001:db8::1"),
        ("10.1.1.1", "[2001:db8::1]:443", "2001:db8::1"),
        ("10.1.1.1", "::ffff:203.0.113.7", "203.0.113.7"),
        ("::1", "203.0.113.7", "203.0.113.7"),
        # What the client itself wrote stands before what the proxies wrote.
        ("10.1.1.1", "192.0.2.1, 203.0.113.7", "203.0.113.7"),
        ("10.1.1.1", "192.0.2.1, 203.0.113.7, 10.2.2.2", "203.0.113.7"),
        ("10.1.1.1", "10.3.3.3, 10.2.2.2", "10.3.3.3"),
        # Whoever is no proxy is not believed.
        ("203.0.113.7", "192.0.2.1", "203.0.113.7"),
        ("10.1.1.1", "", "10.1.1.1"),
        ("10.1.1.1", "unknown", "10.1.1.1"),
        ("10.1.1.1", "203.0.113.7, nonsense, 10.2.2.2", "10.2.2.2"),
        ("10.1.1.1", ",".join(["10.2.2.2"] * 10_000), "10.2.2.2"),
        ("", "203.0.113.7", ""),
    ],
)
def test_the_last_address_that_no_trusted_proxy_has(peer: str, field: str, expected: str) -> None:
    assert address(peer, (XFF, field)) == expected


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("for=203.0.113.7;proto=https;by=10.1.1.1", "203.0.113.7"),
        ('proto=https; For="[2001:db8::1]:4711"', "2001:db8::1"),
        ("for=192.0.2.1, for=203.0.113.7", "203.0.113.7"),
        ('for=192.0.2.1, for="203.0.113.7:80", for=10.2.2.2', "203.0.113.7"),
        ("for=_hidden", "10.1.1.1"),
        ("proto=https", "10.1.1.1"),
    ],
)
def test_forwarded(field: str, expected: str) -> None:
    assert address("10.1.1.1", (FORWARDED, field), header="forwarded") == expected


def test_only_the_header_that_the_proxies_write_is_read() -> None:
    assert address("10.1.1.1", (FORWARDED, "for=192.0.2.1")) == "10.1.1.1"
    assert address("10.1.1.1", (XFF, "192.0.2.1"), header="forwarded") == "10.1.1.1"
    assert address("10.1.1.1", (XFF, "192.0.2.1"), proxies=()) == "10.1.1.1"
    # Fields of one name are one list.
    assert address("10.1.1.1", (XFF, "192.0.2.1"), (XFF, "203.0.113.7")) == "203.0.113.7"
    assert address("10.1.1.1", (XFF, "203.0.113.7"), (XFF, "10.2.2.2")) == "203.0.113.7"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("127.0.0.1", ""),
        ("::ffff:127.0.0.1", ""),
        ("::1", ""),
        ("", "?"),
        ("testclient", "?"),
    ],
)
def test_the_name_that_an_address_is_limited_by(text: str, name: str) -> None:
    assert ClientAddresses(RateLimitSettings()).limited_as(text) == name
