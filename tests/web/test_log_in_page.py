"""The log-in page in a real browser, and the phone that answers it."""

import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from fidoloop.bridge.errors import TokenRedeemedError
from fidoloop.cli.exits import Exit
from tests.lab import Lab, running_lab
from tests.web.browser import Chromium, Profile, Tab
from tests.web.phone_command import PhoneCommand
from tests.web.reading import read_code

ENROLLED = "fidoloop SoftHSM token, P-256, token PIN"


def test_page_and_phone_command_log_a_user_in_and_out(
    fidoloop_lab: Lab, fidoloop_token: str, tab: Tab, tmp_path: Path
) -> None:
    phone = PhoneCommand(fidoloop_lab, tmp_path / "home", fidoloop_token)
    username = phone.enrolled()
    tab.go(fidoloop_lab.server.url)
    assert tab.state("waiting") == "waiting"
    assert tab.text("#words") == "Scan the code with your phone."
    assert re.fullmatch(r"[12]:\d\d left", tab.text("#countdown"))
    done = phone("scan", str(tab.screenshot(tmp_path / "screen.png")))
    assert done.code == Exit.OK, done.all
    tab.at("/account")
    tab.wait_for_text("#words", f"You are {username}, until ")
    shown = tab.text("#current dl").split("\n")
    facts = dict(zip((line for line in shown[::2]), shown[1::2], strict=True))
    assert facts["Authenticator"] == ENROLLED
    assert facts["AAID"] == "F10B#0111"
    assert facts["Key protection"] == "software"
    assert facts["User verification"] == "passcode"
    assert facts["Counter"] == "1"
    assert not tab.shows("#others")
    assert set(tab.cookies()) == {"__Host-fidoloop-login"}
    tab.click("#log-out")
    tab.state("waiting")
    assert "__Host-fidoloop-login" not in tab.cookies()
    tab.go(f"{fidoloop_lab.server.url}/account")
    tab.state("waiting")


def test_nothing_is_asked_of_anybody_else_and_no_secret_stands_in_a_url(
    fidoloop_lab: Lab, tab: Tab, tmp_path: Path
) -> None:
    phone, _ = fidoloop_lab.enrolled()
    tab.go(fidoloop_lab.server.url)
    phone.scan(read_code(tab, tmp_path))
    tab.at("/account")
    tab.wait_for_text("#words", "You are")
    asked = [urlsplit(url) for url in tab.requested if not url.startswith("data:")]
    assert {f"{parts.scheme}://{parts.netloc}" for parts in asked} == {fidoloop_lab.server.url}
    assert {parts.query for parts in asked} == {""}
    assert not any(re.search(r"[0-9a-f]{8}-[0-9a-f]{4}", parts.path) for parts in asked)


def test_the_code_has_words_and_the_same_as_a_link(fidoloop_lab: Lab, tab: Tab, tmp_path: Path) -> None:
    tab.go(fidoloop_lab.server.url)
    text = read_code(tab, tmp_path)
    assert tab.evaluate("document.getElementById('link').href") == text
    assert text.startswith("fidoloop://authenticate?dispatchTokenResponse=")
    assert "Scan" in tab.evaluate("document.getElementById('qr').alt")
    assert tab.evaluate("document.querySelector('[role=status]').textContent") == "Scan the code with your phone."


def test_a_cancelled_code_is_of_no_use_and_one_can_try_again(fidoloop_lab: Lab, tab: Tab, tmp_path: Path) -> None:
    phone, username = fidoloop_lab.enrolled()
    tab.go(fidoloop_lab.server.url)
    cancelled = read_code(tab, tmp_path)
    tab.click("#cancel")
    tab.state("failed")
    assert tab.text("#words") == "This was cancelled. Nobody was logged in."
    assert not any(tab.shows(selector) for selector in ("#qr", "#link", "#countdown", "#cancel"))
    with pytest.raises(TokenRedeemedError):
        phone.scan(cancelled)
    tab.click("#retry")
    phone.scan(read_code(tab, tmp_path))
    tab.at("/account")
    tab.wait_for_text("#words", username)


def test_a_user_who_says_no_is_told_so(fidoloop_lab: Lab, fidoloop_token: str, tab: Tab, tmp_path: Path) -> None:
    phone = PhoneCommand(fidoloop_lab, tmp_path / "home", fidoloop_token)
    phone.enrolled()
    tab.go(fidoloop_lab.server.url)
    assert phone("scan", read_code(tab, tmp_path), "--deny").code == Exit.USER
    tab.state("failed")
    assert tab.text("#words") == "You said no on your phone. Nobody was logged in."
    assert tab.evaluate("document.activeElement.id") != "cancel"
    assert tab.shows("#retry")


def test_time_that_runs_out_is_counted_down_and_said(fidoloop_token: str, tab: Tab, tmp_path: Path) -> None:
    with running_lab(fidoloop_token, tmp_path, settings="[server.lifetimes]\nauthentication_token = 2\n") as lab:
        tab.go(lab.server.url)
        tab.state("waiting")
        assert tab.text("#countdown") in ("0:02 left", "0:01 left")
        tab.state("failed")
        assert tab.text("#words") == "Time ran out. Nobody was logged in."
        assert not tab.shows("#countdown")


def test_without_the_stream_the_page_asks(fidoloop_lab: Lab, profile: Profile, tmp_path: Path) -> None:
    phone, username = fidoloop_lab.enrolled()
    tab = profile.tab()
    tab.block("**/web/operation/stream")
    tab.go(fidoloop_lab.server.url)
    phone.scan(read_code(tab, tmp_path))
    tab.at("/account")
    tab.wait_for_text("#words", username)
    assert any(url.endswith("/web/operation/status") for url in tab.requested)
    # The browser says what the test did to it.
    assert all("ERR_FAILED" in text for text in tab.complaints)
    tab.complaints.clear()


def test_a_server_that_cannot_be_reached_is_waited_for(fidoloop_token: str, tab: Tab, tmp_path: Path) -> None:
    with running_lab(fidoloop_token, tmp_path) as lab:
        tab.go(lab.server.url)
        tab.state("waiting")
        lab.server.stop()
        tab.wait_for_text("#words", "The server cannot be reached. Trying again…")
    tab.complaints.clear()


def test_a_page_opened_twice_waits_in_both_and_the_other_one_is_told(
    fidoloop_lab: Lab, profile: Profile, tmp_path: Path
) -> None:
    phone, username = fidoloop_lab.enrolled()
    first, second = profile.tab(), profile.tab()
    for tab in (first, second):
        tab.go(fidoloop_lab.server.url)
        tab.state("waiting")
    phone.scan(read_code(first, tmp_path))
    first.at("/account")
    first.wait_for_text("#words", username)
    second.state("failed")
    assert second.text("#words") == "This belongs to another window now, or is over. Nobody was logged in."


def test_somebody_elses_code_logs_in_somebody_elses_browser(
    fidoloop_lab: Lab, browser: Chromium, tab: Tab, tmp_path: Path
) -> None:
    """Whoever shows a victim his own code is logged in as the victim: the phone says where it is from."""
    phone, _ = fidoloop_lab.enrolled()
    tab.go(fidoloop_lab.server.url)
    tab.state("waiting")
    with browser.profile() as attacker:
        other = attacker.tab()
        other.go(fidoloop_lab.server.url)
        phone.scan(read_code(other, tmp_path))
        other.at("/account")
    assert tab.state("waiting") == "waiting"
    assert "__Host-fidoloop-login" not in tab.cookies()


def test_the_page_is_used_with_a_keyboard(fidoloop_lab: Lab, tab: Tab) -> None:
    tab.go(fidoloop_lab.server.url)
    tab.state("waiting")
    reached = []
    for _ in range(6):
        tab.press("Tab")
        reached.append(tab.evaluate("document.activeElement.id || document.activeElement.textContent"))
        if reached[-1] == "cancel":
            assert tab.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    assert reached == ["link", "cancel", "remember", "by-passkey", "username", "Send to my phone"]
    tab.do(lambda: tab.page.focus("#cancel"))
    tab.press("Enter")
    tab.state("failed")
    assert tab.evaluate("document.activeElement.id") == "retry"
    tab.press("Enter")
    tab.state("waiting")
    tab.fill("#username", "nobody")
    tab.press("Enter")
    tab.wait_for_text("#words", "it was asked")
    assert not tab.shows("#qr")


def contrast(tab: Tab, selector: str) -> float:
    """The contrast of a text to the page behind it (WCAG 2.2, 1.4.3)."""

    def luminance(colour: str) -> float:
        parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
        red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    colour = f"getComputedStyle(document.querySelector('{selector}')).color"
    behind = "getComputedStyle(document.body).backgroundColor"
    low, high = sorted((luminance(tab.evaluate(colour)), luminance(tab.evaluate(behind))))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 390, 1280])
def test_dark_or_light_wide_or_narrow_everything_is_legible_and_the_code_scans(
    fidoloop_lab: Lab, browser: Chromium, tmp_path: Path, scheme: str, width: int
) -> None:
    size = {"width": width, "height": 900}
    with browser.profile(color_scheme=scheme, viewport=size) as profile:
        tab = profile.tab()
        tab.go(fidoloop_lab.server.url)
        assert read_code(tab, tmp_path).startswith("fidoloop://")
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
        for selector in ("h1", "#words", "#countdown", "#link", "#cancel", "label"):
            assert contrast(tab, selector) >= 4.5, selector
        tab.click("#cancel")
        tab.state("failed")
        assert contrast(tab, "#words") >= 4.5
        dark = tab.evaluate("getComputedStyle(document.body).backgroundColor") != "rgb(255, 255, 255)"
        assert dark == (scheme == "dark")
        assert tab.complaints == []
