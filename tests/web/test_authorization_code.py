"""The seed's second diagram whole: a stranger's OAuth client, a real browser, a phone that reads the QR code."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import requests_oauth2client as oauth

from tests.lab import Lab, running_lab
from tests.web.browser import Chromium, Tab
from tests.web.foreign_application import NAME, Application, application
from tests.web.reading import read_code
from tests.web.test_passkeys import VirtualAuthenticator, logged_in_with_phone


@pytest.fixture(scope="module")
def lab(fidoloop_token: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with running_lab(fidoloop_token, tmp_path_factory.mktemp("authorization")) as running:
        yield running


@pytest.fixture
def app(lab: Lab) -> Iterator[Application]:
    with application(lab) as running:
        yield running


def go_by_link(app: Application, tab: Tab, uri: str) -> None:
    """Follow the link on the application's own page, from one site to another."""
    app.pages.link = uri
    tab.go(app.pages.url)
    tab.click("#log-in")


def back_at(app: Application, tab: Tab) -> None:
    """Wait until the browser has come to rest at the application."""
    tab.do(lambda: tab.page.wait_for_url(lambda url: url.startswith(app.redirect_uri)))


def test_a_strangers_client_gets_tokens_by_a_browser_and_a_phone(
    lab: Lab, app: Application, tab: Tab, tmp_path: Path
) -> None:
    phone, username = lab.enrolled()
    asking = app.asking()
    pushed = app.client.pushed_authorization_request(asking)
    go_by_link(app, tab, pushed.uri)
    phone.scan(read_code(tab, tmp_path))
    tab.wait_for_text("#facts", username)
    assert tab.text("#facts").split("\n")[1::2] == [NAME, app.pages.url.removeprefix("http://"), username]
    assert tab.text("#scopes").split("\n") == ["to know who you are", "to use this server's services in your name"]
    assert not tab.shows("#log-in")
    # By keyboard: what is asked has the focus, yes comes next, then no.
    assert tab.evaluate("document.activeElement.id") == "heading"
    tab.press("Tab")
    assert tab.evaluate("document.activeElement.id") == "allow"
    assert tab.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    tab.press("Tab")
    assert tab.evaluate("document.activeElement.id") == "deny"
    tab.press("Shift+Tab")
    tab.press("Enter")
    back_at(app, tab)
    answer = app.answered(asking)

    token = app.client.authorization_code(answer, validate=False)
    assert isinstance(token, oauth.DPoPToken)
    assert token.dpop_key.dpop_jkt == asking.dpop_jkt
    whoami = f"{lab.server.url}/api/whoami"
    who = app.session.get(whoami, auth=token)
    assert (who.status_code, who.json()["username"], who.json()["acr"]) == (200, username, "uaf")
    assert app.session.get(whoami, auth=oauth.BearerToken(token.access_token)).status_code == 401
    other = oauth.DPoPToken(token.access_token, _dpop_key=oauth.DPoPKey.generate())
    assert app.session.get(whoami, auth=other).status_code == 401
    fresh = app.client.refresh_token(token)
    assert app.session.get(whoami, auth=fresh).json()["username"] == username
    with pytest.raises(oauth.InvalidGrant):
        app.client.refresh_token(token)
    with pytest.raises(oauth.InvalidGrant):
        app.client.authorization_code(answer, validate=False)


def test_a_browser_that_is_logged_in_is_only_asked_though_it_comes_from_another_site(
    lab: Lab, app: Application, tab: Tab, tmp_path: Path
) -> None:
    phone, username = lab.enrolled()
    tab.go(lab.server.url)
    phone.scan(read_code(tab, tmp_path))
    tab.at("/account")
    tab.wait_for_text("#words", "You are")
    asking = app.asking()
    go_by_link(app, tab, asking.uri)
    tab.wait_for_text("#facts", username)
    assert not tab.shows("#log-in")
    # Loaded again, it is the same request still.
    tab.do(tab.page.reload)
    tab.wait_for_text("#facts", username)
    second, another = lab.enrolled()
    tab.click("#another")
    assert not tab.shows("#allow")
    second.scan(read_code(tab, tmp_path))
    tab.wait_for_text("#facts", another)
    tab.click("#deny")
    back_at(app, tab)
    with pytest.raises(oauth.AuthorizationResponseError) as refused:
        app.answered(asking)
    assert refused.value.error == "access_denied"
    # And one that wants a log-in of its own gets it, from here.
    asking = app.asking(prompt="login")
    go_by_link(app, tab, asking.uri)
    tab.wait_for_text("#why", "This app asks for a fresh log-in")
    assert not tab.shows("#allow")
    phone.scan(read_code(tab, tmp_path))
    tab.do(lambda: tab.page.wait_for_selector("#allow"))
    tab.click("#allow")
    back_at(app, tab)
    assert app.client.authorization_code(app.answered(asking), validate=False).scope == "openid api"


def test_an_app_that_wants_a_passkey_gets_one_though_the_phone_was_there_before(
    lab: Lab, app: Application, fidoloop_token: str, tab: Tab, tmp_path: Path
) -> None:
    VirtualAuthenticator(tab)
    username = logged_in_with_phone(lab, fidoloop_token, tab, tmp_path)
    tab.click("#add-passkey")
    tab.wait_for_text("#passkey-words", "The passkey is ready.")
    asking = app.asking(acr_values="fido2")
    go_by_link(app, tab, app.client.pushed_authorization_request(asking).uri)
    tab.wait_for_text("#why", "This app asks for a fresh log-in with a passkey.")
    assert not tab.shows("#allow")
    tab.click("#by-passkey")
    tab.do(lambda: tab.page.wait_for_selector("#allow"))
    tab.click("#allow")
    back_at(app, tab)
    token = app.client.authorization_code(app.answered(asking), validate=False)
    who = app.session.get(f"{lab.server.url}/api/whoami", auth=token).json()
    assert (who["username"], who["acr"]) == (username, "fido2")


def test_another_persons_browser_and_an_unknown_request_are_told_so(
    lab: Lab, app: Application, browser: Chromium, tab: Tab
) -> None:
    pushed = app.client.pushed_authorization_request(app.asking())
    go_by_link(app, tab, pushed.uri)
    assert tab.state("waiting") == "waiting"
    with browser.profile() as stranger:
        other = stranger.tab()
        go_by_link(app, other, pushed.uri)
        other.wait_for_text("#answer", "start again in the app")
        assert not any(other.shows(selector) for selector in ("#request", "#log-in"))
    tab.click("#leave")
    back_at(app, tab)
    assert "error=access_denied" in app.pages.came_back.get(timeout=30)
    go_by_link(app, tab, pushed.uri)
    tab.wait_for_text("h1", "This request cannot be answered")
    assert tab.page.url.startswith(f"{lab.server.url}/authorize?")
    # The browser reports the status of the page of the error.
    tab.complaints = [text for text in tab.complaints if "400" not in text]
