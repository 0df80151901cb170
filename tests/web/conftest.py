"""One Chromium for the tests of a process; no test ends well if the browser itself complained."""

from collections.abc import Iterator

import pytest

from tests.web.browser import Chromium, Profile, Tab, chromium


@pytest.fixture(scope="session")
def browser() -> Iterator[Chromium]:
    with chromium() as started:
        yield started


@pytest.fixture
def profile(browser: Chromium) -> Iterator[Profile]:
    with browser.profile() as made:
        yield made
        complaints = [text for tab in made.tabs for text in tab.complaints]
        assert complaints == []


@pytest.fixture
def tab(profile: Profile) -> Tab:
    return profile.tab()
