"""The lab console in a real browser, which watches what the phone's command line does."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from fidoloop.bridge.scan import scan_image
from fidoloop.cli.exits import Exit
from tests.lab import Lab, running_lab
from tests.server.process import started
from tests.web.browser import Chromium, Tab
from tests.web.phone_command import PhoneCommand

SETTINGS = "[server]\nlab = true\n"


@pytest.fixture
def lab(fidoloop_token: str, tmp_path: Path) -> Iterator[Lab]:
    with running_lab(fidoloop_token, tmp_path / "server", settings=SETTINGS) as running:
        yield running


def enter(lab: Lab, tab: Tab) -> None:
    tab.go(lab.server.console)
    tab.do(lambda: tab.page.wait_for_selector("#lab:not([hidden])"))


def wait_for_state(tab: Tab, state: str) -> None:
    """Wait until the newest session is in this state."""
    tab.do(lambda: tab.page.wait_for_selector(f'#sessions > li:first-child[data-state="{state}"]'))


def unfold(tab: Tab) -> str:
    """Open everything of the story, and return what it says."""
    return str(
        tab.evaluate(
            "(document.querySelectorAll('#entries details').forEach((each) => (each.open = true)),"
            " document.getElementById('entries').innerText)"
        )
    )


def test_a_log_in_by_the_phone_is_watched_from_code_to_success(
    lab: Lab, fidoloop_token: str, tab: Tab, tmp_path: Path
) -> None:
    phone = PhoneCommand(lab, tmp_path / "home", fidoloop_token)
    username = phone.enrolled()
    enter(lab, tab)
    assert urlsplit(tab.page.url).fragment == "", "the token is not left in the address"
    assert username in tab.text("#users")
    assert "fidoloop SoftHSM token, P-256, token PIN" in tab.text("#keys")
    tab.click("#make button")
    wait_for_state(tab, "tokenCreated")
    tab.do(lambda: tab.page.wait_for_selector("#code:not([hidden])"))
    tab.do(lambda: tab.page.locator("#qr").scroll_into_view_if_needed())
    code = scan_image(tab.screenshot(tmp_path / "screen.png"))
    assert code == tab.evaluate("document.getElementById('link').href")
    done = phone("open", code)
    assert done.code == Exit.OK, done.all
    wait_for_state(tab, "succeeded")
    states = tab.text("#sessions > li:first-child ol").split("\n")
    assert [state.split()[0] for state in states] == ["tokenCreated", "clientAuthenticating", "succeeded"]
    tab.wait_for_text("#entries", "/nevisfido/uaf/1.1/authentication")
    tab.wait_for_text("#keys td:nth-child(6)", "1")  # the counter has moved on
    story = unfold(tab)
    for words in ("facetID", "UAFV1_AUTH_ASSERTION", "SIGNATURE", "KEYID", "policy", "HTTP 200", "UAF status 1200"):
        assert words in story
    assert "token: [hidden]" in story
    asked = {f"{urlsplit(url).scheme}://{urlsplit(url).netloc}" for url in tab.requested if not url.startswith("data:")}
    assert asked == {lab.server.url}


def test_a_fault_is_injected_and_its_outcome_is_told(lab: Lab, fidoloop_token: str, tab: Tab, tmp_path: Path) -> None:
    phone = PhoneCommand(lab, tmp_path / "home", fidoloop_token)
    phone.enrolled()
    enter(lab, tab)
    tab.click("#make button")
    wait_for_state(tab, "tokenCreated")
    code = str(tab.evaluate("document.getElementById('link').href"))
    tab.click('[data-fault="expiredToken"]')
    tab.wait_for_text("#fault-words", "refused with 1408")
    done = phone("open", code)
    assert done.code == Exit.REFUSED, done.all
    tab.wait_for_text("#entries", "/nevisfido/token/redeem/authentication")
    wait_for_state(tab, "failed")
    story = unfold(tab)
    assert "Fault: expiredToken" in story
    assert "UAF status 1408" in story


def test_a_real_phone_meets_a_wrong_key_a_clock_that_is_off_and_a_replay(
    lab: Lab, fidoloop_token: str, tab: Tab, tmp_path: Path
) -> None:
    phone = PhoneCommand(lab, tmp_path / "home", fidoloop_token)
    phone.enrolled()
    enter(lab, tab)

    def new_session() -> str:
        before = tab.text("#story-heading")
        tab.click("#make button")
        chosen = "(before) => document.getElementById('story-heading').textContent !== before"
        tab.do(lambda: tab.page.wait_for_function(chosen, arg=before))
        tab.do(lambda: tab.page.wait_for_selector("#faults:not([hidden])"))
        return str(tab.evaluate("document.getElementById('link').href"))

    right = new_session()
    tab.click('[data-fault="wrongKey"]')
    tab.wait_for_text("#fault-words", "another phone's key")
    wrong = str(tab.evaluate("document.getElementById('link').href"))
    assert wrong != right
    done = phone("open", wrong)
    assert done.code == Exit.REFUSED, done.all
    assert "/token/redeem" not in unfold(tab), "the phone asked for nothing"

    code = new_session()
    tab.fill("#minutes", "-30")
    tab.click('[data-fault="clockSkew"]')
    tab.wait_for_text("#fault-words", "-30 minutes")
    done = phone("open", code)
    assert done.code == Exit.REFUSED, done.all
    tab.wait_for_text("#entries", "/nevisfido/uaf/1.1/authentication")
    assert "UAF status 1491" in unfold(tab)

    code = new_session()
    tab.click('[data-fault="replay"]')
    tab.wait_for_text("#fault-words", "As soon as the phone has answered")
    done = phone("open", code)
    assert done.code == Exit.OK, done.all
    tab.wait_for_text("#entries", "sent again by the lab")
    assert "UAF status 1491" in unfold(tab)
    wait_for_state(tab, "succeeded")


def test_the_printed_url_opens_the_lab_once_only(lab: Lab, browser: Chromium, tab: Tab) -> None:
    enter(lab, tab)
    (cookie,) = [value for name, value in tab.cookies().items() if name.startswith("__Host-")]
    assert (cookie["httpOnly"], cookie["secure"], cookie["sameSite"]) == (True, True, "Strict")
    tab.go(f"{lab.server.url}/lab")
    tab.do(lambda: tab.page.wait_for_selector("#lab:not([hidden])"))
    with browser.profile() as other:
        stranger = other.tab()
        stranger.go(lab.server.console)
        stranger.wait_for_text("#words", "it was used")
        assert not stranger.shows("#lab")


@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_the_lab_fits_a_phone_and_follows_the_colours(lab: Lab, browser: Chromium, scheme: str) -> None:
    with browser.profile(viewport={"width": 360, "height": 740}, color_scheme=scheme) as profile:
        tab = profile.tab()
        lab.enrolled()
        enter(lab, tab)
        tab.click("#make button")
        wait_for_state(tab, "tokenCreated")
        assert tab.evaluate("document.documentElement.scrollWidth") <= 360
        paper = tab.evaluate("getComputedStyle(document.body).backgroundColor")
        assert paper == {"dark": "rgb(20, 23, 26)", "light": "rgb(255, 255, 255)"}[scheme]
        assert tab.complaints == []


def test_all_of_it_can_be_done_by_keyboard(lab: Lab, tab: Tab) -> None:
    enter(lab, tab)
    reached = set()
    tab.evaluate("document.getElementById('device').focus()")
    tab.press("Tab")
    tab.press("Enter")
    wait_for_state(tab, "tokenCreated")
    tab.do(lambda: tab.page.wait_for_selector("#faults:not([hidden])"))
    tab.evaluate("document.getElementById('device').focus()")
    for _ in range(12):
        tab.press("Tab")
        reached.add(tab.evaluate("document.activeElement.dataset.fault ?? document.activeElement.id"))
    assert {"link", "expiredToken", "wrongKey", "replay", "clockSkew", "minutes", "others"} <= reached


def test_over_plain_http_on_the_loopback_it_opens_too_and_is_closed_again(tab: Tab, tmp_path: Path) -> None:
    with started(tmp_path / "home", "--lab", "--insecure") as server:
        tab.go(server.lab)
        tab.do(lambda: tab.page.wait_for_selector("#lab:not([hidden])"))
        tab.click("#make button")
        wait_for_state(tab, "tokenCreated")
        tab.click("#leave")
        tab.wait_for_text("#words", "The lab is closed")
        assert not tab.shows("#lab")
        assert tab.cookies() == {}
        assert server.stop() == 0
