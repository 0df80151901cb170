"""Passkeys in a real browser, with the authenticator that it simulates: a stranger's, and a stranger's client."""

from pathlib import Path
from typing import Any

import pytest

from tests.cli.command import invoke
from tests.lab import Lab
from tests.web.browser import Tab
from tests.web.phone_command import PhoneCommand


class VirtualAuthenticator:
    """The authenticator that Chromium simulates for a tab, through its debugging protocol."""

    def __init__(self, tab: Tab, **options: Any) -> None:  # noqa: ANN401 - of addVirtualAuthenticator
        self._tab = tab
        self._session = tab.do(lambda: tab.page.context.new_cdp_session(tab.page))
        self._send("WebAuthn.enable")
        made = {
            "protocol": "ctap2",
            "ctap2Version": "ctap2_1",
            "transport": "internal",
            "hasResidentKey": True,
            "hasUserVerification": True,
            "isUserVerified": True,
            "automaticPresenceSimulation": True,
        } | options
        self.id = self._send("WebAuthn.addVirtualAuthenticator", options=made)["authenticatorId"]

    def _send(self, command: str, **parameters: Any) -> Any:  # noqa: ANN401 - JSON
        return self._tab.do(lambda: self._session.send(command, parameters))

    def verifies(self, verified: bool) -> None:
        self._send("WebAuthn.setUserVerified", authenticatorId=self.id, isUserVerified=verified)

    def credentials(self) -> list[dict[str, Any]]:
        return list(self._send("WebAuthn.getCredentials", authenticatorId=self.id)["credentials"])

    def clear(self) -> None:
        self._send("WebAuthn.clearCredentials", authenticatorId=self.id)


@pytest.fixture
def authenticator(tab: Tab) -> VirtualAuthenticator:
    return VirtualAuthenticator(tab)


def logged_in_with_phone(lab: Lab, token: str, tab: Tab, directory: Path) -> str:
    """Log the tab in by QR code and phone; return who that is."""
    phone = PhoneCommand(lab, directory / "home", token)
    username = phone.enrolled()
    tab.go(lab.server.url)
    assert tab.state("waiting") == "waiting"
    done = phone("scan", str(tab.screenshot(directory / "screen.png")))
    assert done.code == 0, done.all
    tab.at("/account")
    tab.wait_for_text("#words", f"You are {username}")
    return username


def passkeys_of(lab: Lab, username: str) -> list[dict[str, Any]]:
    home = ("--home", str(lab.server.home))
    return list(invoke("server", "passkey", "list", "--user", username, *home, "--json").json["passkeys"])


def test_a_passkey_is_made_beside_the_phone_and_logs_in_alone(
    fidoloop_lab: Lab, fidoloop_token: str, tab: Tab, authenticator: VirtualAuthenticator, tmp_path: Path
) -> None:
    username = logged_in_with_phone(fidoloop_lab, fidoloop_token, tab, tmp_path)
    tab.click("#add-passkey")
    tab.wait_for_text("#passkey-words", "The passkey is ready.")
    tab.wait_for_text("#passkey-list", "stays on one device")
    (kept,) = passkeys_of(fidoloop_lab, username)
    (made,) = authenticator.credentials()
    assert made["rpId"] == "localhost"
    assert made["isResidentCredential"]
    # A second one on the same device is refused by the browser itself.
    tab.click("#add-passkey")
    tab.wait_for_text("#passkey-words", "has a passkey for you already")
    assert len(passkeys_of(fidoloop_lab, username)) == 1

    tab.click("#log-out")
    tab.state("waiting")
    tab.click("#by-passkey")
    tab.at("/account")
    tab.wait_for_text("#words", f"You are {username}")
    tab.wait_for_text("#current", kept["id"])
    assert set(tab.cookies()) == {"__Host-fidoloop-login"}
    (used,) = passkeys_of(fidoloop_lab, username)
    assert used["signCounter"] > kept["signCounter"]

    tab.click("#current button")
    tab.wait_for_text("#current", "Really delete it?")
    tab.click("#current button")
    tab.at("/")
    assert passkeys_of(fidoloop_lab, username) == []
    # The browser reports what told the page that it is logged out.
    tab.complaints = [text for text in tab.complaints if "401" not in text]


def test_what_does_not_come_to_anything_is_said(
    fidoloop_lab: Lab, fidoloop_token: str, tab: Tab, authenticator: VirtualAuthenticator, tmp_path: Path
) -> None:
    username = logged_in_with_phone(fidoloop_lab, fidoloop_token, tab, tmp_path)
    tab.click("#add-passkey")
    tab.wait_for_text("#passkey-words", "The passkey is ready.")
    tab.click("#log-out")
    tab.state("waiting")
    # Revoked meanwhile: the authenticator still has it, the server does not.
    (kept,) = passkeys_of(fidoloop_lab, username)
    revoked = invoke("server", "passkey", "revoke", "--home", str(fidoloop_lab.server.home), "--", kept["id"])
    assert revoked.code == 0
    tab.click("#by-passkey")
    tab.wait_for_text("#passkey-words", "the passkey was refused")
    assert tab.state("waiting") == "waiting"
    authenticator.clear()
    authenticator.verifies(False)
    tab.click("#by-passkey")
    tab.wait_for_text("#passkey-words", "No passkey was used")
    # The browser reports the refusal that the page dealt with.
    tab.complaints = [text for text in tab.complaints if "403" not in text]


def test_a_browser_without_passkeys_is_not_offered_any(fidoloop_lab: Lab, tab: Tab) -> None:
    tab.do(lambda: tab.page.add_init_script("delete window.PublicKeyCredential"))
    tab.go(fidoloop_lab.server.url)
    tab.state("waiting")
    assert not tab.shows("#by-passkey")
