import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fidoloop.protocol.errors import MalformedError
from fidoloop.protocol.uaf.facets import (
    MAX_LIST_BYTES,
    encode_trusted_facets,
    is_trusted,
    needs_fetch,
    origin,
    trusted_ids,
)
from fidoloop.protocol.uaf.messages import V1_1, Version

APP = "https://login.example.com/uaf/facets"
ANDROID = "android:apk-key-hash:bE0f1WtRJrZv/C0y9CM73bAUqiI"


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("https://a.example", "https://a.example"),
        ("https://A.Example:443/path?q#f", "https://a.example"),
        ("https://a.example:8443/", "https://a.example:8443"),
        ("http://a.example:80", "http://a.example"),
        ("http://a.example:443", "http://a.example:443"),
        ("https://user:secret@a.example/", "https://a.example"),
        ("https://a.example@evil.example/", "https://evil.example"),
        ("https://[::1]:8443/x", "https://[::1]:8443"),
        ("https://a.example:0", "https://a.example:0"),
        ("https://evil.example\\@a.example/", None),
        ("https://a.example:port", None),
        ("https://a.example:99999", None),
        ("https://[::1", None),
        ("https:a.example", None),
        ("https://", None),
        ("ftp://a.example", None),
        (ANDROID, None),
        ("com.example.app", None),
        ("", None),
    ],
)
def test_origins(url: str, found: str | None) -> None:
    assert origin(url) == found


@pytest.mark.parametrize(
    ("app_id", "facet", "needed"),
    [
        ("", ANDROID, False),
        (ANDROID, ANDROID, False),
        (APP, "https://login.example.com", False),
        (APP, "https://LOGIN.example.com:8443", False),
        (APP, "https://other.example.com", True),
        (APP, "http://login.example.com", True),
        (APP, ANDROID, True),
        ("http://login.example.com/f", "https://login.example.com", True),
        ("https:a", "https:b", True),
        ("https://[x", "https://login.example.com", True),
        (APP, "https://[x", True),
        (APP + ":x", "https://login.example.com:y", True),
        ("https://login.example.com:x", "https://login.example.com", True),
        ("https://login.example.com", "https://login.example.com:x", True),
    ],
)
def test_when_the_list_must_be_fetched(app_id: str, facet: str, needed: bool) -> None:
    assert needs_fetch(app_id, facet) is needed


def listing(*entries: tuple[int, list[str]]) -> bytes:
    versions = [{"version": {"major": 1, "minor": minor}, "ids": ids} for minor, ids in entries]
    return json.dumps({"trustedFacets": versions}).encode()


@pytest.mark.parametrize(
    ("facet", "kept"),
    [
        (ANDROID, ANDROID),
        ("ios:bundle-id:com.example", "ios:bundle-id:com.example"),
        ("com.noknok.android.sampleapp", "com.noknok.android.sampleapp"),
        ("https://login.example.com/", "https://login.example.com"),
        ("https://Shop.Example.com:8443/path?q", "https://shop.example.com:8443"),
        ("https://user@www.example.com", "https://www.example.com"),
        ("http://login.example.com", None),
        ("https://evil.com", None),
        ("https://example.org", None),
        ("https://example.com.evil.com", None),
        ("https://notexample.com", None),
        ("https://evil.com\\@login.example.com", None),
        ("https://[login.example.com", None),
        ("https:", None),
        ("HTTPS://[x", None),
    ],
)
def test_which_entries_of_a_list_count(facet: str, kept: str | None) -> None:
    found = trusted_ids(listing((1, [facet])), app_id=APP, version=V1_1)
    assert found == (frozenset() if kept is None else {kept})


@pytest.mark.parametrize(
    ("app_id", "facet", "kept"),
    [
        ("https://a.co.uk/f", "https://b.co.uk", False),
        ("https://x.a.co.uk/f", "https://y.a.co.uk", True),
        ("https://a.github.io/f", "https://b.github.io", False),
        ("https://localhost:8443/f", "https://localhost:9443", True),
        ("https://127.0.0.1/f", "https://127.0.0.1:8443", True),
        ("https://127.0.0.1/f", "https://128.0.0.1", False),
        ("https://Login.EXAMPLE.com/f", "https://example.com", True),
    ],
)
def test_web_facets_share_the_private_label_of_the_app_id(app_id: str, facet: str, kept: bool) -> None:
    assert bool(trusted_ids(listing((1, [facet])), app_id=app_id, version=V1_1)) is kept


def test_the_exact_version_counts_then_1_0() -> None:
    both = listing((0, ["app:old"]), (1, ["app:new"]))
    assert trusted_ids(both, app_id=APP, version=V1_1) == {"app:new"}
    assert trusted_ids(both, app_id=APP, version=Version(1, 0)) == {"app:old"}
    assert trusted_ids(both, app_id=APP, version=Version(1, 2)) == {"app:old"}
    assert trusted_ids(listing((1, ["app:new"])), app_id=APP, version=Version(1, 0)) == frozenset()


def test_the_list_we_publish_serves_all_versions() -> None:
    published = encode_trusted_facets((ANDROID, "https://login.example.com"))
    for minor in (0, 1, 2):
        assert trusted_ids(published.encode(), app_id=APP, version=Version(1, minor)) == {
            ANDROID,
            "https://login.example.com",
        }


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"{}",
        b"[]",
        b'{"trustedFacets":[{"version":{"major":1,"minor":1}}]}',
        b'{"trustedFacets":[]}' + b" " * MAX_LIST_BYTES,
        b"\xff",
        b'{"trustedFacets":[{"version":{"major":1,"minor":1},"ids":[1]}]}',
        listing(*([(1, [])] * 17)),
    ],
)
def test_what_is_no_list_is_malformed(document: bytes) -> None:
    with pytest.raises(MalformedError):
        trusted_ids(document, app_id=APP, version=V1_1)


TRUSTED = frozenset({ANDROID, "https://login.example.com", "https://app.example.com:8443/"})


@pytest.mark.parametrize(
    ("facet", "trusted"),
    [
        (ANDROID, True),
        (ANDROID + "=", False),
        (ANDROID.lower(), False),
        ("https://login.example.com", True),
        ("https://login.example.com/", True),
        ("https://LOGIN.example.com:443", True),
        ("https://app.example.com:8443", True),
        ("https://login.example.com:8443", False),
        ("http://login.example.com", False),
        ("https://evil.com", False),
        ("https://login.example.com@evil.com", False),
        ("https://evil.com\\@login.example.com", False),
        ("https://[x", False),
        ("https:", False),
        ("", False),
    ],
)
def test_who_is_trusted(facet: str, trusted: bool) -> None:
    assert is_trusted(facet, TRUSTED) is trusted


@given(st.text(max_size=30), st.text("https:/[]@\\.a:0123", max_size=30))
def test_arbitrary_ids_raise_nothing(first: str, second: str) -> None:
    for facet in (first, second, f"https://{first}", f"https:{second}"):
        origin(facet)
        needs_fetch(APP, facet)
        assert not is_trusted(facet, TRUSTED)
        if facet.isprintable():
            trusted_ids(listing((1, [facet])), app_id=APP, version=V1_1)
