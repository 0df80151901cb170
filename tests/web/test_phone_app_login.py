"""`fidoloop phone app login` in a browser: a real one, which comes back to the loopback."""

import sqlite3
import ssl
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest

from fidoloop.bridge.errors import UserDeclinedError
from fidoloop.bridge.http import Answer, Server
from fidoloop.bridge.oauth import loopback
from fidoloop.bridge.oauth.app import OAuthApp
from fidoloop.bridge.oauth.state import AppState
from fidoloop.bridge.oauth.transport import members_of
from fidoloop.bridge.phone import Phone
from fidoloop.cli.exits import Exit
from fidoloop.protocol import strictjson
from tests.cli.command import Done, line_with, run, running
from tests.lab import SOFTHSM_PIN, Lab, running_lab
from tests.web.browser import Tab
from tests.web.phone_command import PhoneCommand
from tests.web.reading import read_code

OPEN = "Open this in a browser on this machine: "
RULE = {
    "name": "any",
    "tiers": ["unattested"],
    "grants": {"acr": ["pw-enroll", "uaf", "fido2"], "scopes": ["openid", "api"]},
}


@dataclass
class App:
    """A phone's app, and another phone that its user logs in with at the browser."""

    lab: Lab
    home: Path
    phone: Phone
    username: str

    def words(self, verb: str, *more: str) -> tuple[str, ...]:
        server = () if verb == "call" else ("--server", self.lab.server.url)
        return "phone", "app", verb, *more, *server, "--home", str(self.home)

    def __call__(self, verb: str, *more: str) -> Done:
        return run(*self.words(verb, *more), pin=SOFTHSM_PIN)

    def whoami(self) -> Done:
        return self("call", f"{self.lab.server.url}/api/whoami")


@pytest.fixture(scope="module")
def lab(fidoloop_token: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with running_lab(fidoloop_token, tmp_path_factory.mktemp("app-in-browser")) as running_one:
        running_one.server.write_device_policy([RULE])
        yield running_one


@pytest.fixture
def app(lab: Lab, fidoloop_token: str, tmp_path: Path) -> App:
    home = tmp_path / "home"
    PhoneCommand(lab, home, fidoloop_token).enrolled()
    return App(lab, home, *lab.enrolled())


def test_a_browser_logs_the_app_in_and_comes_back(app: App, tab: Tab, tmp_path: Path) -> None:
    with running(*app.words("login", "--acr", "web", "--json"), FIDOLOOP_PIN=SOFTHSM_PIN) as command:
        tab.go(line_with(command, OPEN))
        app.phone.scan(read_code(tab, tmp_path))
        tab.wait_for_text("#facts", app.username)
        assert "127.0.0.1:" in tab.text("#facts")
        tab.click("#allow")
        tab.wait_for_text("p", "You can close this window")
        out, err = command.communicate(timeout=60)
    done = Done(command.returncode, out, err)
    assert (done.code, done.json["username"], done.json["acr"]) == (0, app.username, "uaf"), done.all
    assert f'"username":"{app.username}"' in app.whoami().out
    # It is a log-in like any other: good until its id_token is over, refreshed.
    assert app("login", "--acr", "web", "--json").json["fresh"] is False
    assert app("refresh", "--json").code == 0
    known = run("phone", "app", "list", "--home", str(app.home), "--json").json["apps"]
    assert [(one["server"], one["username"]) for one in known] == [(app.lab.server.url, app.username)]
    # And its user takes it back where he sees it.
    operator = ("--user", app.username, "--home", str(app.lab.server.home), "--json")
    (grant,) = run("server", "oauth", "grant", "list", *operator).json["grants"]
    assert (grant["name"], grant["scope"], grant["acr"]) == ("fidoloop phone", "openid api", "uaf")
    tab.go(f"{app.lab.server.url}/account")
    tab.wait_for_text("#app-list", "fidoloop phone")
    tab.wait_for_text("#app-list", "to use this server's services in your name")
    tab.click("text=Withdraw access")
    tab.click("text=Really withdraw it?")
    tab.wait_for_text("#app-words", "Access is withdrawn.")
    assert tab.text("#app-list") == ""
    refused = app("refresh")
    assert (refused.code, "invalid_grant" in refused.err) == (Exit.REFUSED, True)
    assert run("server", "oauth", "grant", "list", *operator).json == {"grants": []}
    trail = run("server", "audit", *operator).json["entries"]
    assert [entry["event"] for entry in trail if entry["client"] == grant["client"]] == ["consent-withdrawn", "consent"]


def test_a_browser_is_opened_if_asked_and_a_no_is_the_persons(
    app: App, tab: Tab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, script = tmp_path / "opened", tmp_path / "browser"
    script.write_text(f'#!/bin/sh\nprintf %s "$1" >{opened}\n')
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    words = app.words("login", "--acr", "web", "--browser")
    with running(*words, FIDOLOOP_PIN=SOFTHSM_PIN, BROWSER=str(script)) as command:
        said = line_with(command, OPEN)
        tab.go(said)
        tab.click("#leave")
        tab.wait_for_text("p", "You can close this window")
        _, err = command.communicate(timeout=60)
    assert opened.read_text() == said
    assert (command.returncode, "said no" in err) == (Exit.USER, True), err
    assert app.whoami().code == Exit.REFUSED


def test_what_no_app_can_do_goes_to_a_browser_by_itself_which_is_not_waited_for_for_ever(app: App, tab: Tab) -> None:
    done = app("login", "--acr", "web", "--wait", "1")
    assert (done.code, "in time" in done.err) == (Exit.USER, True), done.all
    with running(*app.words("login", "--acr", "urn:example:bank"), FIDOLOOP_PIN=SOFTHSM_PIN) as command:
        tab.go(line_with(command, OPEN))
        tab.click("#leave")
        command.communicate(timeout=60)
    assert command.returncode == Exit.USER


class NoFido:
    """A phone that is not asked to sign."""

    def uaf(self, uaf_request: str) -> str:
        raise AssertionError(uaf_request)

    def keep(self) -> None: ...

    def undo(self) -> None: ...

    def create(self, options: dict[str, Any]) -> dict[str, Any]:
        raise AssertionError(options)

    get = create


class Forgetful(Server):
    """A server whose refusal names no request: it never keeps one by itself."""

    def send(self, method: str, url: str, **options: Any) -> Answer:  # noqa: ANN401 - as Server's
        answer = super().send(method, url, **options)
        members = members_of(answer)
        if members.pop("request_uri", None) is None or url.endswith("/par"):
            return answer
        return Answer(answer.status, answer.headers, strictjson.encode(members).encode())


class NoBrowser:
    """Somebody who opens the page, looks whether it is there, and says no."""

    redirect_uri = "http://127.0.0.1:4711/callback"

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self.status = 0

    def visit(self, url: str, state: str) -> Mapping[str, str]:
        tls = ssl.create_default_context(cafile=str(self._lab.server.ca))
        self.status = httpx2.get(url, verify=tls).status_code
        return {"error": "access_denied", "state": state, "iss": self._lab.server.url}


def test_a_request_that_the_server_did_not_keep_is_pushed(lab: Lab) -> None:
    browser = NoBrowser(lab)
    with Forgetful(lab.server.url, ca=lab.server.ca) as server:
        app = OAuthApp(server, lab.store, AppState(sqlite3.connect(":memory:", isolation_level=None)))
        with pytest.raises(UserDeclinedError):
            app.login("web", NoFido(), browser=browser)
        app.unregister()
    assert browser.status == 200


def test_an_app_that_registered_without_a_way_back_gets_one(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    browser = NoBrowser(lab)
    with Server(lab.server.url, ca=lab.server.ca) as server:
        app = OAuthApp(server, lab.store, AppState(sqlite3.connect(":memory:", isolation_level=None)))
        with monkeypatch.context() as before:
            before.setattr(loopback, "REGISTERED", ())
            app.register()
        with pytest.raises(UserDeclinedError):
            app.login("web", NoFido(), browser=browser)
        app.unregister()
    assert browser.status == 200
