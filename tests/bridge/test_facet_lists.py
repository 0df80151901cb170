"""Facet lists kept by the rules of HTTP: what is asked again, when, and how (RFC 9111; RFC 9110, 13)."""

import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from fidoloop.bridge.errors import ClientFailureError
from fidoloop.bridge.facet_lists import MOST_LISTS, MOST_SECONDS, FacetLists
from fidoloop.bridge.facets import check_facet
from fidoloop.bridge.http import Answer, Server
from fidoloop.bridge.profile import Profile
from fidoloop.protocol.uaf.facets import TRUSTED_APPS_MEDIA_TYPE
from fidoloop.protocol.uaf.messages import V1_0, V1_1, Version
from tests.bridge.stub import Asked, Reply, stub
from tests.bridge.test_facets import ANDROID, APP, listing, redirect

OTHER = "android:apk-key-hash:other"


class Phone:
    """A phone whose clock is moved by hand, and the server that it asks: its next answer, and what it was asked."""

    def __init__(self) -> None:
        self.now = 1_000_000.0
        self.lists = FacetLists(sqlite3.connect(":memory:"), lambda: self.now)
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.serve()

    def serve(self, body: bytes | None = None, *, status: int = 200, **headers: Any) -> None:  # noqa: ANN401 - texts
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        content = listing(ANDROID) if body is None else body
        self.answers = {APP: Answer(status, {"content-type": TRUSTED_APPS_MEDIA_TYPE, **named}, content)}

    def fetch(self, url: str, condition: Mapping[str, str]) -> Answer:
        self.asked.append((url, dict(condition)))
        return self.answers[url]

    def check(self, *, app_id: str = APP, facet_id: str = ANDROID, version: Version = V1_1, **more: Any) -> int:  # noqa: ANN401
        """Check the facet; return how many requests that took."""
        before = len(self.asked)
        check_facet(app_id=app_id, facet_id=facet_id, version=version, fetch=self.fetch, lists=self.lists, **more)
        return len(self.asked) - before


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, 0),
        ({"cache_control": "public, max-age=300"}, 300),
        ({"cache_control": 'MAX-AGE="60"'}, 60),
        ({"cache_control": "max-age=60, max-age=600"}, 60),
        ({"cache_control": "max-age=300", "age": "100"}, 200),
        ({"cache_control": "max-age=300", "age": "400"}, 0),
        ({"cache_control": "max-age=99999999"}, MOST_SECONDS),
        ({"cache_control": "max-age=300, no-cache"}, 0),
        ({"cache_control": "no-store, max-age=300"}, 0),
        ({"cache_control": "max-age=300", "vary": "*"}, 0),
        ({"cache_control": "max-age=-1"}, 0),
        ({"cache_control": "max-age=3e2"}, 0),
        ({"cache_control": "max-age=" + "9" * 5000}, 0),
        ({"cache_control": "s-maxage=300"}, 0),
    ],
    ids=lambda value: str(value)[:60],
)
def test_a_list_is_used_unasked_as_long_as_its_answer_says(headers: dict[str, Any], seconds: int) -> None:
    phone = Phone()
    phone.serve(**headers)
    assert phone.check() == 1
    if seconds:
        phone.now += seconds - 1
        assert phone.check() == 0
        phone.now += 1
    assert phone.check() == 1


def test_a_list_that_has_aged_is_asked_for_by_its_etag_and_confirmed() -> None:
    phone = Phone()
    phone.serve(cache_control="max-age=10", etag='"a"')
    phone.check()
    phone.now += 10
    phone.serve(b"", status=304, cache_control="max-age=20")
    assert phone.check() == 1
    assert phone.asked[-1] == (APP, {"If-None-Match": '"a"'})
    phone.now += 19
    assert phone.check() == 0
    phone.now += 1
    phone.serve(listing(OTHER), etag='"b"')
    with pytest.raises(ClientFailureError, match="does not name"):
        phone.check()
    assert phone.asked[-1] == (APP, {"If-None-Match": '"a"'})


@pytest.mark.parametrize(
    "headers",
    [{}, {"etag": ""}, {"etag": "a"}, {"etag": '"\u00e9"'}, {"etag": '"a\r\nx: y"'}, {"etag": f'"{"a" * 257}"'}],
    ids=["none", "empty", "no quotes", "not ASCII", "several lines", "long"],
)
def test_without_an_etag_nothing_is_confirmed(headers: dict[str, Any]) -> None:
    phone = Phone()
    phone.serve(cache_control="max-age=10", **headers)
    phone.check()
    phone.now += 10
    phone.serve(b"", status=304)
    with pytest.raises(ClientFailureError, match="answers 304"):
        phone.check()
    assert phone.asked[-1] == (APP, {})


def test_what_is_kept_is_dropped_with_the_first_answer_that_does_not_confirm_it() -> None:
    phone = Phone()
    phone.serve(cache_control="max-age=10", etag='"a"')
    phone.check()
    phone.now += 10
    phone.serve(b"", status=503)
    with pytest.raises(ClientFailureError, match="answers 503"):
        phone.check()
    phone.serve()
    assert phone.check() == 1
    assert phone.asked[-1] == (APP, {})


def test_a_list_that_does_not_name_the_facet_is_not_kept() -> None:
    phone = Phone()
    phone.serve(listing(OTHER), cache_control="max-age=300")
    with pytest.raises(ClientFailureError, match="does not name"):
        phone.check()
    phone.serve(cache_control="max-age=300")
    assert phone.check() == 1
    assert phone.check() == 0


@pytest.mark.parametrize("changed", [{"facet_id": OTHER}, {"version": V1_0}])
def test_a_kept_list_says_no_more_than_it_did(changed: dict[str, Any]) -> None:
    phone = Phone()
    phone.serve(listing(ANDROID, version=(1, 1)), cache_control="max-age=300")
    phone.check()
    with pytest.raises(ClientFailureError, match="does not name"):
        phone.check(**changed)
    assert len(phone.asked) == 2


def test_a_list_from_behind_a_redirect_is_asked_for_every_time() -> None:
    phone = Phone()
    elsewhere = "https://static.example.com/facets"
    phone.serve(cache_control="max-age=300", etag='"a"')
    phone.answers = {APP: redirect(elsewhere), elsewhere: phone.answers[APP]}
    assert phone.check() == 2
    assert phone.check() == 2
    assert all(condition == {} for _, condition in phone.asked)


def test_a_kept_lists_condition_is_not_sent_on_to_where_a_redirect_leads() -> None:
    phone = Phone()
    phone.serve(cache_control="max-age=1", etag='"a"')
    phone.check()
    phone.now += 1
    elsewhere = "https://static.example.com/facets"
    phone.answers = {APP: redirect(elsewhere), elsewhere: phone.answers[APP]}
    assert phone.check() == 2
    assert phone.asked[-2:] == [(APP, {"If-None-Match": '"a"'}), (elsewhere, {})]
    assert phone.lists.get(APP) is None


def test_a_clock_that_was_set_back_makes_no_list_fresh() -> None:
    phone = Phone()
    phone.serve(cache_control="max-age=300")
    phone.check()
    phone.now -= 1
    assert phone.check() == 1


def test_a_list_read_without_tls_is_never_kept() -> None:
    phone = Phone()
    plain = "http://localhost:8080/facets"
    phone.serve(cache_control="max-age=300")
    phone.answers[plain] = phone.answers[APP]
    facet = "android:apk-key-hash:lab"
    phone.answers[plain] = Answer(200, phone.answers[APP].headers, listing(facet))
    assert phone.check(app_id=plain, facet_id=facet, insecure=True) == 1
    assert phone.check(app_id=plain, facet_id=facet, insecure=True) == 1


def test_only_so_many_lists_are_kept_the_oldest_go_first() -> None:
    phone = Phone()
    for number in range(MOST_LISTS + 1):
        phone.now += 1
        phone.lists.keep(f"https://{number}.example/", b"{}", {"cache-control": "max-age=300"})
    assert phone.lists.get("https://0.example/") is None
    assert phone.lists.get("https://1.example/") is not None


def test_a_profile_keeps_its_lists_when_it_is_closed(tmp_path: Path) -> None:
    profile = Profile(tmp_path / "phone.sqlite")
    profile.facet_lists.keep(APP, b"{}", {"etag": '"a"', "cache-control": "max-age=300"})
    profile.close()
    again = Profile(tmp_path / "phone.sqlite")
    kept = again.facet_lists.get(APP)
    assert kept is not None
    assert (kept.document, kept.etag, kept.fresh_until - kept.kept_at) == (b"{}", '"a"', 300)
    again.close()


def test_over_http_a_list_is_asked_for_once_then_by_its_etag() -> None:
    def site(asked: Asked) -> Reply:
        etag = '"\u00fc"' if len(web.asked) == 3 else '"a"'
        headers = {"Content-Type": TRUSTED_APPS_MEDIA_TYPE, "ETag": etag}
        if asked.headers.get("if-none-match") == '"a"' and len(web.asked) < 3:
            return Reply(304, {"ETag": etag, "Content-Length": "0"})
        return Reply(200, headers, listing(ANDROID))

    lists = FacetLists(sqlite3.connect(":memory:"))
    with stub(site) as web, Server(web.url, insecure=True) as server:

        def fetch(url: str, condition: Mapping[str, str]) -> Answer:
            return server.send("GET", f"{web.url}/facets", headers=dict(condition))

        for _ in range(4):
            check_facet(app_id=APP, facet_id=ANDROID, version=V1_1, fetch=fetch, lists=lists)
    assert [asked.headers.get("if-none-match") for asked in web.asked] == [None, '"a"', '"a"', None]
