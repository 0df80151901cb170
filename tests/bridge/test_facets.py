"""The facet algorithm: every branch of it, and what fetching a list sends.

AppID and facets 3.1.2; digest section 4.
"""

import json
from collections.abc import Mapping
from urllib.parse import urlsplit

import pytest

from fidoloop.bridge.errors import ClientFailureError, NetworkError
from fidoloop.bridge.facets import MAX_REDIRECTS, check_facet
from fidoloop.bridge.http import Answer, Server
from fidoloop.protocol.uaf.facets import MAX_LIST_BYTES, TRUSTED_APPS_MEDIA_TYPE
from fidoloop.protocol.uaf.messages import V1_1, Version
from fidoloop.protocol.uaf.status import ClientError
from tests.bridge.stub import Asked, Reply, stub

APP = "https://login.example.com/uaf/facets"
ANDROID = "android:apk-key-hash:bE0f1WtRJrZv/C0y9CM73bAUqiI"
WEB = "https://shop.example.com"
AUTHORIZED = {"fido-appid-redirect-authorized": "true"}


def listing(*ids: str, version: tuple[int, int] = (1, 1)) -> bytes:
    entry = {"version": {"major": version[0], "minor": version[1]}, "ids": ids}
    return json.dumps({"trustedFacets": [entry]}).encode()


def served(body: bytes, *, status: int = 200, media_type: str = TRUSTED_APPS_MEDIA_TYPE) -> Answer:
    return Answer(status, {"content-type": media_type}, body)


def redirect(location: str, *, headers: dict[str, str] | None = None, status: int = 302) -> Answer:
    return Answer(status, {"location": location, **(AUTHORIZED if headers is None else headers)}, b"")


class Web:
    """A web of fixed answers that remembers what was fetched."""

    def __init__(self, pages: dict[str, Answer]) -> None:
        self.pages = pages
        self.fetched: list[str] = []

    def __call__(self, url: str, condition: Mapping[str, str]) -> Answer:
        self.fetched.append(url)
        if url not in self.pages:
            raise NetworkError(f"{urlsplit(url).netloc}: refused")
        return self.pages[url]


def check(
    web: Web, *, app_id: str = APP, facet_id: str = ANDROID, version: Version = V1_1, insecure: bool = False
) -> str:
    return check_facet(app_id=app_id, facet_id=facet_id, version=version, fetch=web, insecure=insecure)


def refused(web: Web, match: str, *, app_id: str = APP, facet_id: str = ANDROID, insecure: bool = False) -> None:
    with pytest.raises(ClientFailureError, match=match) as failure:
        check(web, app_id=app_id, facet_id=facet_id, insecure=insecure)
    assert failure.value.error is ClientError.UNTRUSTED_FACET_ID


@pytest.mark.parametrize(
    ("app_id", "facet_id", "used"),
    [
        ("", ANDROID, ANDROID),
        ("", WEB, WEB),
        (ANDROID, ANDROID, ANDROID),
        (WEB, WEB, WEB),
        (APP, "https://login.example.com", APP),
        (APP, "https://LOGIN.example.com:8443", APP),
    ],
)
def test_an_empty_app_id_the_facet_itself_and_the_same_host_need_no_list(app_id: str, facet_id: str, used: str) -> None:
    web = Web({})
    assert check(web, app_id=app_id, facet_id=facet_id) == used
    assert web.fetched == []


@pytest.mark.parametrize(
    ("ids", "facet_id"),
    [
        ([ANDROID], ANDROID),
        (["ios:bundle-id:com.example.app", ANDROID], ANDROID),
        ([WEB], WEB),
        ([f"{WEB}/"], WEB),
        ([f"{WEB}:443/login?x=1"], WEB),
        (["https://user:secret@shop.example.com/"], WEB),
        (["https://SHOP.Example.COM"], WEB),
        (["https://shop.example.com:8443"], "https://shop.example.com:8443"),
    ],
)
def test_a_facet_the_list_names_is_trusted(ids: list[str], facet_id: str) -> None:
    web = Web({APP: served(listing(*ids))})
    assert check(web, facet_id=facet_id) == APP
    assert web.fetched == [APP]


@pytest.mark.parametrize(
    ("ids", "facet_id"),
    [
        ([], ANDROID),
        (["android:apk-key-hash:other"], ANDROID),
        ([ANDROID.upper()], ANDROID),
        (["http://shop.example.com"], "http://shop.example.com"),
        (["http://shop.example.com"], WEB),
        (["https://shop.example.org"], "https://shop.example.org"),
        (["https://example.com.evil.org"], "https://example.com.evil.org"),
        (["https://shop.example.com:8443"], WEB),
        (["https://*.example.com"], WEB),
        (["*"], WEB),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_the_list_does_not_name_or_may_not_name_is_refused(ids: list[str], facet_id: str) -> None:
    refused(Web({APP: served(listing(*ids))}), "does not name", facet_id=facet_id)


def test_private_labels_count_below_a_public_suffix() -> None:
    """co.uk is a public suffix: two companies there share nothing, two hosts of one company do."""
    app = "https://login.bank.co.uk/facets"
    web = Web({app: served(listing("https://www.bank.co.uk", "https://www.shop.co.uk"))})
    assert check(web, app_id=app, facet_id="https://www.bank.co.uk") == app
    refused(web, "does not name", app_id=app, facet_id="https://www.shop.co.uk")


def test_the_label_is_that_of_the_app_id_not_of_where_it_redirects() -> None:
    elsewhere = "https://cdn.elsewhere.org/list"
    web = Web({APP: redirect(elsewhere), elsewhere: served(listing("https://app.elsewhere.org", WEB))})
    assert check(web, facet_id=WEB) == APP
    refused(web, "does not name", facet_id="https://app.elsewhere.org")


@pytest.mark.parametrize(
    ("versions", "wanted", "trusted"),
    [
        ({(1, 1): ANDROID}, V1_1, True),
        ({(1, 0): ANDROID}, V1_1, True),
        ({(1, 0): "android:other", (1, 1): ANDROID}, V1_1, True),
        ({(1, 0): ANDROID, (1, 1): "android:other"}, V1_1, False),
        ({(1, 2): ANDROID}, V1_1, False),
        ({(1, 0): ANDROID}, Version(1, 2), True),
    ],
)
def test_the_exact_version_counts_and_1_0_stands_in_for_one_that_is_missing(
    versions: dict[tuple[int, int], str], wanted: Version, trusted: bool
) -> None:
    entries = [
        {"version": {"major": major, "minor": minor}, "ids": [facet]} for (major, minor), facet in versions.items()
    ]
    web = Web({APP: served(json.dumps({"trustedFacets": entries}).encode())})
    if trusted:
        assert check(web, version=wanted) == APP
    else:
        with pytest.raises(ClientFailureError):
            check(web, version=wanted)


@pytest.mark.parametrize(
    "app_id",
    [
        "http://login.example.com/uaf/facets",
        "ftp://login.example.com/uaf/facets",
        "android:apk-key-hash:other",
        "login.example.com/uaf/facets",
        "https://",
        "https://[::1",
        "https://evil.example\\@login.example.com/",
        "javascript:alert(1)",
        "file:///etc/passwd",
    ],
)
def test_a_list_is_fetched_by_https_only(app_id: str) -> None:
    web = Web({app_id: served(listing(ANDROID))})
    refused(web, "not an https URL", app_id=app_id)
    assert web.fetched == []


def test_credentials_in_the_app_id_are_sent_to_nobody() -> None:
    app = "https://user:secret@login.example.com/facets"
    web = Web({app: served(listing(ANDROID))})
    with pytest.raises(ClientFailureError) as failure:
        check(web, app_id=app)
    assert "secret" not in str(failure.value)
    assert web.fetched == []


@pytest.mark.parametrize("app_id", ["http://127.0.0.1:8080/facets", "http://localhost/facets", "http://[::1]/facets"])
def test_a_lab_without_tls_has_its_list_on_the_loopback(app_id: str) -> None:
    web = Web({app_id: served(listing(ANDROID))})
    assert check(web, app_id=app_id, insecure=True) == app_id
    refused(web, "not an https URL", app_id=app_id)


@pytest.mark.parametrize("app_id", ["http://login.example.com/facets", "http://127.0.0.1.example/facets"])
def test_insecure_means_the_loopback_and_nothing_else(app_id: str) -> None:
    web = Web({app_id: served(listing(ANDROID))})
    refused(web, "not an https URL", app_id=app_id, insecure=True)
    assert web.fetched == []


@pytest.mark.parametrize("media_type", ["application/json", "text/html", "application/fido.trusted-apps", ""])
def test_another_content_type_is_no_list(media_type: str) -> None:
    refused(Web({APP: served(listing(ANDROID), media_type=media_type)}), "fido.trusted-apps.json")


@pytest.mark.parametrize(
    "media_type", ["Application/FIDO.trusted-apps+JSON", f"{TRUSTED_APPS_MEDIA_TYPE}; charset=utf-8"]
)
def test_parameters_and_case_of_the_content_type_do_not_matter(media_type: str) -> None:
    assert check(Web({APP: served(listing(ANDROID), media_type=media_type)})) == APP


@pytest.mark.parametrize("status", [201, 204, 400, 403, 404, 500, 503])
def test_another_status_is_no_list(status: int) -> None:
    refused(Web({APP: served(listing(ANDROID), status=status)}), f"answers {status}")


def test_an_unreachable_list_is_an_untrusted_facet() -> None:
    refused(Web({}), "cannot be fetched")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("location", ["https://cdn.example.com/list", "/moved", "../moved", "//cdn.example.com/list"])
def test_an_authorized_redirect_is_followed(status: int, location: str) -> None:
    web = Web({APP: redirect(location, status=status)})
    for url in ("https://cdn.example.com/list", "https://login.example.com/moved"):
        web.pages[url] = served(listing(ANDROID))
    assert check(web) == APP
    assert len(web.fetched) == 2


@pytest.mark.parametrize(
    "headers", [{}, {"fido-appid-redirect-authorized": "false"}, {"fido-appid-redirect-authorized": ""}]
)
def test_a_redirect_without_authorization_is_not_followed(headers: dict[str, str]) -> None:
    target = "https://cdn.example.com/list"
    web = Web({APP: redirect(target, headers=headers), target: served(listing(ANDROID))})
    refused(web, "redirects without")
    assert web.fetched == [APP]


@pytest.mark.parametrize(
    "target",
    [
        "http://login.example.com/list",
        "http://127.0.0.1/list",
        "ftp://login.example.com/",
        "https://[",
        "https://u:p@cdn.example.com/list",
    ],
)
def test_each_hop_is_checked_as_the_first_was(target: str) -> None:
    web = Web({APP: redirect(target), target: served(listing(ANDROID))})
    with pytest.raises(ClientFailureError) as failure:
        check(web)
    assert failure.value.error is ClientError.UNTRUSTED_FACET_ID
    assert web.fetched == [APP]


def hops(count: int) -> Web:
    """A list behind `count` redirects."""
    web = Web({f"{APP}/{n}": redirect(f"{APP}/{n + 1}") for n in range(count)})
    web.pages[f"{APP}/{count}"] = served(listing(ANDROID))
    return web


def test_redirects_are_followed_so_far_and_no_further() -> None:
    assert check(hops(MAX_REDIRECTS), app_id=f"{APP}/0") == f"{APP}/0"
    web = hops(MAX_REDIRECTS + 1)
    refused(web, "more than", app_id=f"{APP}/0")
    assert len(web.fetched) == MAX_REDIRECTS + 1
    refused(Web({APP: redirect(APP)}), "more than")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b"{}",
        b'{"trustedFacets":{}}',
        b'{"trustedFacets":[{"version":{"major":1,"minor":1},"ids":["' + ANDROID.encode() + b'",1]}]}',
        b'{"trustedFacets":[],"trustedFacets":[]}',
        b"[" * 60000,
        b"\xff",
        listing(ANDROID, "x" * MAX_LIST_BYTES),
    ],
    ids=range(10),
)
def test_a_malformed_or_oversized_list_is_refused(body: bytes) -> None:
    refused(Web({APP: served(body)}), "unreadable")


def test_fetching_sends_no_credentials_cookies_origin_or_referer() -> None:
    """The real client, through two hops of one host that wants to set a cookie in between."""

    def site(asked: Asked) -> Reply:
        if asked.path == "/facets":
            return Reply(302, {"Location": "/moved", "FIDO-AppID-Redirect-Authorized": "true", "Set-Cookie": "id=1"})
        return Reply(200, {"Content-Type": TRUSTED_APPS_MEDIA_TYPE}, listing(ANDROID))

    with stub(site) as web, Server(web.url, insecure=True, api_key="credential") as server:
        app_id = f"{web.url}/facets"

        def fetch(url: str, condition: Mapping[str, str]) -> Answer:
            return server.send("GET", url, headers={"Accept": TRUSTED_APPS_MEDIA_TYPE, **condition})

        assert check_facet(app_id=app_id, facet_id=ANDROID, version=V1_1, fetch=fetch, insecure=True) == app_id
    assert [(asked.method, asked.path, asked.body) for asked in web.asked] == [
        ("GET", "/facets", b""),
        ("GET", "/moved", b""),
    ]
    for asked in web.asked:
        assert not asked.headers.keys() & {"authorization", "cookie", "origin", "referer", "content-type"}
        assert asked.headers["accept"] == TRUSTED_APPS_MEDIA_TYPE
