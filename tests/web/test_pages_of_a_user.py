"""Enrolment, confirmation and deletion in a real browser, with the phone's command."""

from pathlib import Path

import pytest

from fidoloop.authenticator.user_verification import Prompt, VerificationRequest
from fidoloop.bridge.phone import Phone
from fidoloop.cli.exits import Exit
from tests.cli.command import run
from tests.lab import Lab
from tests.web.browser import Tab
from tests.web.phone_command import PhoneCommand
from tests.web.reading import read_code

HOSTILE = "<img src=x onerror=\"document.title='owned'\">"


def log_in(lab: Lab, tab: Tab, phone: Phone, directory: Path) -> None:
    tab.go(lab.server.url)
    phone.scan(read_code(tab, directory))
    tab.at("/account")
    tab.wait_for_text("#words", "You are")


def rows(tab: Tab, selector: str) -> dict[str, str]:
    """A list of names and values."""
    lines = tab.text(selector).split("\n")
    return dict(zip(lines[::2], lines[1::2], strict=True))


def test_a_code_that_was_given_out_enrols_a_phone_and_the_user_logs_in(
    fidoloop_lab: Lab, fidoloop_token: str, tab: Tab, tmp_path: Path
) -> None:
    phone = PhoneCommand(fidoloop_lab, tmp_path / "home", fidoloop_token)
    username = fidoloop_lab.new_user()
    given = run("server", "enrol", username, "--code", "--home", str(fidoloop_lab.server.home))
    assert given.code == Exit.OK, given.all
    tab.go(f"{fidoloop_lab.server.url}/enrol")
    assert not tab.shows("#own")
    tab.fill("#code", given.out)
    tab.click("text=Show it to my phone")
    read_code(tab, tmp_path)
    done = phone.register(str(tmp_path / "screen.png"))
    assert done.code == Exit.OK, done.all
    tab.wait_for_text("#words", "The phone is enrolled.")
    assert rows(tab, "#key")["AAID"] == "F10B#0111"
    tab.click("text=Go on")
    read_code(tab, tmp_path)
    assert phone("scan", str(tmp_path / "screen.png")).code == Exit.OK
    tab.wait_for_text("#words", f"You are {username}")


def test_a_code_that_is_none_is_refused_in_words(fidoloop_lab: Lab, tab: Tab) -> None:
    tab.go(f"{fidoloop_lab.server.url}/enrol")
    tab.fill("#code", HOSTILE)
    tab.click("text=Show it to my phone")
    tab.state("failed")
    assert tab.text("#words") == "this is no enrolment code"
    assert all("400" in text for text in tab.complaints)
    tab.complaints.clear()


def test_a_user_adds_a_phone_and_takes_it_back(fidoloop_lab: Lab, tab: Tab, tmp_path: Path) -> None:
    phone, _ = fidoloop_lab.enrolled()
    log_in(fidoloop_lab, tab, phone, tmp_path)
    tab.click("text=Add a phone")
    tab.at("/enrol")
    tab.click("button:has-text('Add a phone')")
    second = fidoloop_lab.phone()
    second.register(read_code(tab, tmp_path), server=fidoloop_lab.server.url, target_name="second")
    tab.wait_for_text("#words", "The phone is enrolled.")
    key_id = rows(tab, "#key")["KeyID"]
    tab.go(f"{fidoloop_lab.server.url}/account")
    tab.wait_for_text("#others", key_id)
    tab.do(tab.page.go_back)
    tab.click("button:has-text('Add a phone')")
    third = fidoloop_lab.phone()
    third.register(read_code(tab, tmp_path), server=fidoloop_lab.server.url, target_name="third")
    tab.wait_for_text("#words", "The phone is enrolled.")
    taken_back = rows(tab, "#key")["KeyID"]
    tab.click("#undo")
    tab.wait_for_text("#words", "Taken back: the key is gone.")
    tab.go(f"{fidoloop_lab.server.url}/account")
    tab.wait_for_text("#others", key_id)
    assert taken_back not in tab.text("main")


@pytest.mark.parametrize("text", ["Pay 25.00 to ACME Ltd", HOSTILE])
def test_a_payment_is_confirmed_on_the_phone_which_shows_it(
    fidoloop_lab: Lab, tab: Tab, tmp_path: Path, text: str
) -> None:
    shown: list[VerificationRequest] = []

    def approve(request: VerificationRequest) -> bool:
        shown.append(request)
        return True

    phone, username = fidoloop_lab.enrolled(verification="prompt", verifier=Prompt(approve))
    log_in(fidoloop_lab, tab, phone, tmp_path)
    tab.click("text=Confirm a payment")
    tab.at("/confirm")
    tab.do(lambda: tab.page.select_option("#device", label=f"{username}'s phone"))
    tab.fill("#text", text)
    tab.click("text=Have it confirmed")
    phone.confirm(read_code(tab, tmp_path))
    tab.wait_for_text("#words", "Confirmed on your phone.")
    assert tab.text("#confirmed-text") == text
    assert shown[-1].transaction_text == text
    assert tab.evaluate("document.title") == "Confirm a payment · fidoloop"
    assert tab.evaluate("document.querySelectorAll('main img').length") == 1


def test_a_user_deletes_the_key_he_is_logged_in_by(fidoloop_lab: Lab, tab: Tab, tmp_path: Path) -> None:
    phone, _ = fidoloop_lab.enrolled()
    log_in(fidoloop_lab, tab, phone, tmp_path)
    tab.click("text=Delete this key")
    assert "You are" in tab.text("#words")
    tab.click("text=Really delete it?")
    tab.state("waiting")
    assert all("401" in text for text in tab.complaints)
    tab.complaints.clear()
    tab.go(f"{fidoloop_lab.server.url}/account")
    tab.state("waiting")


def test_hostile_names_are_shown_as_they_are_and_never_run(fidoloop_lab: Lab, tab: Tab, tmp_path: Path) -> None:
    fidoloop_lab.server.add_user(HOSTILE)
    phone = fidoloop_lab.phone()
    phone.register(fidoloop_lab.server.enrol(HOSTILE), server=fidoloop_lab.server.url, target_name=HOSTILE)
    tab.go(fidoloop_lab.server.url)
    tab.click("#remember")
    phone.scan(read_code(tab, tmp_path))
    tab.wait_for_text("#words", "You are <img src=x")
    tab.click("text=Confirm a payment")
    tab.do(lambda: tab.page.wait_for_selector("#device option:nth-child(2)", state="attached"))
    assert tab.evaluate("document.querySelectorAll('#device option')[1].textContent") == HOSTILE
    tab.do(tab.page.go_back)
    tab.click("#log-out")
    tab.wait_for_text("#device-list", "<img src=x")
    assert HOSTILE in tab.text("#device-list")
    assert tab.evaluate("document.querySelectorAll('#device-list img').length") == 0
    assert "owned" not in tab.evaluate("document.title")


def test_markup_and_scripts_are_refused_by_the_browser_itself(fidoloop_lab: Lab, tab: Tab) -> None:
    """The policy holds where a page's own script would fail: no markup from texts, no script that is not ours."""
    tab.go(fidoloop_lab.server.url)
    tab.state("waiting")
    assert tab.evaluate("try { document.body.innerHTML = '<p>'; 'set' } catch (error) { error.name }") == "TypeError"
    made = "Object.assign(document.createElement('{}'), {{ src: 'https://evil.example/x' }})"
    assert tab.evaluate(f"try {{ {made.format('script')}; 'set' }} catch (error) {{ error.name }}") == "TypeError"
    for name, broken in (("img", "img-src"), ("iframe", "frame-src")):
        heard = "document.addEventListener('securitypolicyviolation', (event) => done(event.effectiveDirective))"
        refused = tab.evaluate(f"new Promise((done) => {{ {heard}; document.body.append({made.format(name)}) }})")
        assert refused == broken
    tab.complaints.clear()
