"""A real Chromium, headless, driven from a test that goes on in plain calls."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from playwright.async_api import Browser as PlaywrightBrowser
from playwright.async_api import BrowserContext, ConsoleMessage, Error, Page, async_playwright

CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PATIENCE_MILLIS = 30_000
T = TypeVar("T")


class Loop:
    """An event loop in a thread of its own: the tests' thread may run others meanwhile."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def do(self, work: Callable[[], Awaitable[T]]) -> T:
        """Return what `work` gives: Playwright wants to be called in its loop, and not only awaited there."""

        async def run() -> T:
            return await work()

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result()

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class Tab:
    """One page of a browser profile. `complaints` are what the browser itself objects to: errors, a CSP violation."""

    def __init__(self, loop: Loop, page: Page) -> None:
        self.page = page
        self.do = loop.do
        self.complaints: list[str] = []
        self.requested: list[str] = []
        loop.do(self._listen)

    async def _listen(self) -> None:
        self.page.set_default_timeout(PATIENCE_MILLIS)
        self.page.on("console", self._heard)
        self.page.on("pageerror", self._threw)
        self.page.on("request", lambda request: self.requested.append(request.url))

    def _heard(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.complaints.append(message.text)

    def _threw(self, error: Error) -> None:
        self.complaints.append(str(error))

    def go(self, url: str) -> None:
        self.do(lambda: self.page.goto(url))

    def state(self, *states: str) -> str:
        """Wait until the operation on the page is in one of `states`, and return which."""
        wanted = ", ".join(f'#operation[data-state="{state}"]' for state in states)
        self.do(lambda: self.page.wait_for_selector(wanted))
        found = self.do(lambda: self.page.get_attribute("#operation", "data-state"))
        assert found is not None
        return found

    def at(self, path: str) -> None:
        """Wait until the page is at `path` and has come to rest."""
        self.do(lambda: self.page.wait_for_url(f"**{path}"))

    def text(self, selector: str) -> str:
        return self.do(lambda: self.page.inner_text(selector))

    def wait_for_text(self, selector: str, text: str) -> None:
        self.do(lambda: self.page.wait_for_selector(f'{selector}:has-text("{text}")'))

    def click(self, selector: str) -> None:
        self.do(lambda: self.page.click(selector))

    def fill(self, selector: str, text: str) -> None:
        self.do(lambda: self.page.fill(selector, text))

    def press(self, key: str) -> None:
        self.do(lambda: self.page.keyboard.press(key))

    def shows(self, selector: str) -> bool:
        return self.do(lambda: self.page.is_visible(selector))

    def block(self, pattern: str) -> None:
        """Let requests to the URLs of `pattern` fail."""
        self.do(lambda: self.page.route(pattern, lambda route: route.abort()))

    def evaluate(self, script: str) -> Any:  # noqa: ANN401 - whatever the script returns
        return self.do(lambda: self.page.evaluate(script))

    def screenshot(self, path: Path) -> Path:
        self.do(lambda: self.page.screenshot(path=path))
        return path

    def cookies(self) -> dict[str, dict[str, Any]]:
        return {cookie["name"]: dict(cookie) for cookie in self.do(self.page.context.cookies)}


class Chromium:
    """A browser; each profile has cookies of its own."""

    def __init__(self, loop: Loop, browser: PlaywrightBrowser) -> None:
        self._loop = loop
        self._browser = browser

    @contextmanager
    def profile(self, **options: Any) -> Iterator["Profile"]:  # noqa: ANN401 - options of a browser context
        made = Profile(
            self._loop, self._loop.do(lambda: self._browser.new_context(ignore_https_errors=True, **options))
        )
        try:
            yield made
        finally:
            self._loop.do(made.context.close)


class Profile:
    """Cookies and tabs that share them."""

    def __init__(self, loop: Loop, context: BrowserContext) -> None:
        self._loop = loop
        self.context = context
        self.tabs: list[Tab] = []

    def tab(self) -> Tab:
        self.tabs.append(Tab(self._loop, self._loop.do(self.context.new_page)))
        return self.tabs[-1]


@contextmanager
def chromium() -> Iterator[Chromium]:
    """Start Debian's Chromium."""
    loop = Loop()
    try:
        playwright = loop.do(async_playwright().start)
        try:
            browser = loop.do(lambda: playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS))
            yield Chromium(loop, browser)
            loop.do(browser.close)
        finally:
            loop.do(playwright.stop)
    finally:
        loop.close()
