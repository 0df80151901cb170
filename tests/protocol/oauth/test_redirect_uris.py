"""Redirect URIs: which may be registered, and which of a request is one that was (RFC 8252 section 7)."""

import pytest

from fidoloop.protocol.oauth.redirect_uris import is_registered, may_be_registered


@pytest.mark.parametrize(
    "uri",
    [
        "https://app.example",
        "https://app.example/callback?from=here",
        "https://[2001:db8::1]:8443/",
        "http://127.0.0.1/callback",
        "http://127.0.0.1:4711/callback?a=b",
        "http://[::1]",
        "com.example.app:/callback",
        "com.example.app:callback",
    ],
)
def test_what_leads_to_one_app_may_be_registered(uri: str) -> None:
    assert may_be_registered(uri)
    assert is_registered(uri, [uri])


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "app.example/callback",
        "https:",
        "https://",
        "https:///callback",
        "https://app.example/#fragment",
        "https://user@app.example/",
        "https://app.example\\@evil.example/",
        "https://app.example/a b",
        "https://app.ex\u00e4mple/",
        "http://app.example/",
        "http://localhost/callback",
        "http://127.0.0.1.evil.example/",
        "http://127.0.0.1:80@evil.example/",
        "http://127.0.0.1:@evil.example/",
        "http://127.0.0.1:0/",
        "http://127.0.0.1:65536/",
        "http://127.0.0.2/",
        "javascript:alert(1)",
        "data:text/html,x",
        "app:/callback",
        ".example:/callback",
        "com.exa mple:/callback",
    ],
)
def test_what_does_not_may_not(uri: str) -> None:
    assert not may_be_registered(uri)


@pytest.mark.parametrize(
    ("uri", "registered"),
    [
        ("http://127.0.0.1:4711/callback", "http://127.0.0.1/callback"),
        ("http://127.0.0.1/callback", "http://127.0.0.1:4711/callback"),
        ("http://127.0.0.1:1/callback?a=b", "http://127.0.0.1:2/callback?a=b"),
        ("http://[::1]:4711/callback", "http://[::1]/callback"),
    ],
)
def test_of_a_loopback_address_the_port_may_be_any(uri: str, registered: str) -> None:
    assert is_registered(uri, ["https://app.example/", registered])


@pytest.mark.parametrize(
    ("uri", "registered"),
    [
        ("http://127.0.0.1:4711/other", "http://127.0.0.1/callback"),
        ("http://127.0.0.1:4711/callback?a=b", "http://127.0.0.1/callback"),
        ("http://127.0.0.1:4711/callback/", "http://127.0.0.1/callback"),
        ("http://[::1]:4711/callback", "http://127.0.0.1/callback"),
        ("http://localhost:4711/callback", "http://127.0.0.1/callback"),
        ("http://127.0.0.1:@evil.example/callback", "http://127.0.0.1/callback"),
        ("http://127.0.0.1:99999/callback", "http://127.0.0.1/callback"),
        ("https://127.0.0.1:4711/callback", "https://127.0.0.1/callback"),
        ("https://app.example:4711/callback", "https://app.example/callback"),
        ("https://app.example/callback/", "https://app.example/callback"),
    ],
)
def test_everything_else_is_compared_character_by_character(uri: str, registered: str) -> None:
    assert not is_registered(uri, [registered])
