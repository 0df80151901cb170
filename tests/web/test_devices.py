"""A remembered browser's choice of devices, and the number to type, in a real browser."""

import re
from pathlib import Path

from fidoloop.protocol import outofband
from tests.lab import Lab
from tests.web.browser import Chromium, Tab
from tests.web.reading import read_code


def test_a_remembered_browser_offers_its_users_devices_until_it_is_forgotten(
    fidoloop_lab: Lab, browser: Chromium, tab: Tab, tmp_path: Path
) -> None:
    phone, username = fidoloop_lab.enrolled()
    tab.go(fidoloop_lab.server.url)
    assert not tab.shows("#devices")
    tab.click("#remember")
    phone.scan(read_code(tab, tmp_path))
    tab.at("/account")
    tab.click("#log-out")
    tab.wait_for_text("#devices", username)
    cookie = tab.cookies()["__Host-fidoloop-browser"]
    assert (cookie["httpOnly"], cookie["secure"], cookie["sameSite"]) == (True, True, "Strict")
    plain = read_code(tab, tmp_path)
    tab.click(f"text=Code for {username}'s phone")
    tab.do(lambda: tab.page.wait_for_function("link => document.getElementById('link').href !== link", arg=plain))
    text = read_code(tab, tmp_path)
    assert outofband.decode_scanned(text).nma_data_content_type == "application/jose"
    phone.scan(text)
    tab.at("/account")
    tab.wait_for_text("#words", username)
    tab.click("#log-out")
    tab.click("#forget")
    tab.do(lambda: tab.page.wait_for_selector("#devices", state="hidden"))
    tab.go(fidoloop_lab.server.url)
    tab.state("waiting")
    assert not tab.shows("#devices")
    with browser.profile() as other:
        stranger = other.tab()
        stranger.go(fidoloop_lab.server.url)
        stranger.state("waiting")
        assert not stranger.shows("#devices")


def test_a_number_to_type_is_shown_large_whoever_is_asked(fidoloop_lab: Lab, tab: Tab) -> None:
    tab.go(fidoloop_lab.server.url)
    tab.state("waiting")
    tab.fill("#username", "nobody there")
    tab.click("text=Send to my phone")
    tab.wait_for_text("#words", "it was asked")
    assert re.fullmatch(r"\d\d", tab.text("#number"))
    assert tab.evaluate("parseFloat(getComputedStyle(document.getElementById('number')).fontSize)") >= 60
    assert not tab.shows("#qr")
    tab.click("#cancel")
    tab.state("failed")
    assert not tab.shows("#number")
    tab.click("#retry")
    tab.state("waiting")
    tab.click("text=Send to my phone")
    tab.wait_for_text("#words", "it was asked")
