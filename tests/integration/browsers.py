"""A real browser, Chromium, and the bundled page in its windows."""

import atexit
import json
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from selenium import webdriver
from selenium.common.exceptions import WebDriverException
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait
from twisted.trial.unittest import SkipTest

from page.fetch import FetchError, fetch, install, is_fetched

from .clients import Reachable
from .parts import installed_program
from .processes import WAIT
from .support import IntegrationTestCase, build_directory

__all__ = ["Chat", "PageTestCase"]

#: Headless, and without what browsers look for elsewhere.
_OPTIONS = (
    *("--headless=new", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync"),
    *("--disable-component-update", "--disable-quic", "--hide-scrollbars", "--window-size=1100,800"),
    # Windows behind others live as they would on top.
    *("--disable-backgrounding-occluded-windows", "--disable-renderer-backgrounding"),
    "--disable-background-timer-throttling",
)

#: Seconds within which everything happens: a bound, not a measure. A page has more to do than a program.
_PATIENCE = 4 * WAIT

#: How often something is looked for, in seconds.
_GLANCE = 0.03

#: Says afterwards which first frames a page has sent.
_RECORDER = """
window.sentFrames = [];
const send = WebSocket.prototype.send;
WebSocket.prototype.send = function (frame) { window.sentFrames.push(frame); return send.call(this, frame); };
"""


@cache
def _browser() -> webdriver.Chrome:
    """One for all tests."""
    chromium = installed_program("chromium", "chromium")
    driver = installed_program("chromium-driver", "chromedriver")
    if not is_fetched():
        try:
            fetch()
        except FetchError as error:
            raise SkipTest(f"the page lacks what it takes from npm: {error}") from error
    options = webdriver.ChromeOptions()
    options.binary_location = str(chromium)
    profile = TemporaryDirectory(prefix="mles-tx-test-", ignore_cleanup_errors=True)
    for option in (*_OPTIONS, *(("--no-sandbox",) if os.geteuid() == 0 else ()), f"--user-data-dir={profile.name}"):
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = webdriver.Chrome(options=options, service=Service(str(driver)))
    atexit.register(profile.cleanup)
    atexit.register(browser.quit)
    return browser


@cache
def axe() -> str:
    """The source of axe-core, which looks for what keeps people from using a page.

    Raises:
        SkipTest: it is not to be had here.
    """
    directory = build_directory() / "axe"
    directory.mkdir()
    try:
        packages = install(Path(__file__).with_name("accessibility"), directory)
    except FetchError as error:
        raise SkipTest(f"axe-core is not to be had: {error}") from error
    return (packages / "axe-core" / "axe.min.js").read_text("utf-8")


#: A driver shows a window before it asks it anything: what is behind others has to be said.
_LOOK = """
(() => {
  Object.defineProperty(document, 'hidden', { configurable: true, get: () => arguments[0] });
  document.dispatchEvent(new Event('visibilitychange'));
})()
"""


class Chat:
    """The page in a window of its own.

    Args:
        browser: the browser.
        url: where it is, with the channel.
        uid: the name it is to have; None: that of a guest.
    """

    def __init__(self, browser: webdriver.Chrome, url: str, uid: str | None = None) -> None:
        self._browser = browser
        browser.switch_to.new_window("window")
        self._handle = browser.current_window_handle
        browser.execute_cdp_cmd("Emulation.setFocusEmulationEnabled", {"enabled": True})
        browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": _RECORDER})
        if uid is not None:
            named = f"sessionStorage['mles-tx-uid'] ??= JSON.stringify({json.dumps(uid)})"
            browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": named})
        browser.get(url)

    @property
    def browser(self) -> webdriver.Chrome:
        """The browser, with this window in front."""
        self._browser.switch_to.window(self._handle)
        return self._browser

    def look_away(self, is_away: bool = True) -> None:
        """Let the page believe that another tab is in front of it, or not any more."""
        self.ask(_LOOK, is_away)

    def ask(self, script: str, *arguments: object) -> Any:
        """The value of an expression, of which promises are waited for; what it is given is `arguments`."""
        wrapped = f"return (async () => ({script}))()"
        return self.browser.execute_script(wrapped, *arguments)

    def wait(self, script: str, *arguments: object) -> Any:
        """Wait until an expression is true; its value."""

        def look(_: object) -> Any:
            return self.ask(script, *arguments)

        def what() -> str:
            return f"never: {script} {arguments}; {self.state}, {self.texts()}, {self.news()!r}"

        return self._until(look, what)

    def _until(self, look: Callable[[object], Any], what: Callable[[], str]) -> Any:
        try:
            return WebDriverWait(self.browser, _PATIENCE, _GLANCE).until(look)
        except WebDriverException as error:
            raise AssertionError(f"{what()}: {error.msg}") from error

    def find(self, selector: str) -> WebElement:
        """An element."""
        return self.browser.find_element(By.CSS_SELECTOR, selector)

    def click(self, selector: str) -> None:
        """Click an element."""
        self.find(selector).click()

    def try_now(self) -> None:
        """Let it not wait any longer, or not any more."""
        self.ask("document.getElementById('retry').click()")

    def fill(self, selector: str, text: str) -> None:
        """Replace what stands in a field."""
        field = self.find(selector)
        field.clear()
        field.send_keys(text)

    def say(self, text: str) -> None:
        """Type something, and Enter."""
        self.find("#text").send_keys(text, Keys.ENTER)

    def attach(self, *paths: Path) -> None:
        """Choose files, and send them."""
        self.find("#chooser").send_keys("\n".join(map(str, paths)))
        self.wait("document.querySelectorAll('#staged li').length === arguments[0]", len(paths))
        self.click("#composer [type=submit]")

    def joined(self) -> "Chat":
        """Wait until it is on the channel, and has its history."""
        self.wait("document.body.dataset.state === 'joined'")
        return self

    @property
    def state(self) -> str:
        """What it is doing."""
        return str(self.ask("document.body.dataset.state"))

    def texts(self, rows: str = "#messages li:not(.day)") -> list[str]:
        """What stands in its messages, without names, times and days; notes included."""
        found: list[str] = self.ask(
            "[...document.querySelectorAll(arguments[0])]"
            ".map((row) => row.querySelector('.text, .file, .picture') ?? row)"
            ".map((shown) => shown.innerText || shown.getAttribute('aria-label'))",
            rows,
        )
        return found

    def await_texts(self, *texts: str, rows: str = "#messages li:not(.day)") -> None:
        """Wait until exactly these stand there."""
        self._until(lambda _: self.texts(rows) == list(texts), lambda: f"{self.texts(rows)} are not {texts}")

    def news(self) -> str:
        """What it says about its connection, beside its state; nothing while all is well."""
        return str(self.ask("document.querySelector('#banner:not([hidden]) #news')?.innerText ?? ''"))

    def first_frames(self) -> list[str]:
        """The first frames it has sent since it was loaded."""
        frames: list[str] = self.ask(
            "window.sentFrames.filter((frame) => typeof frame === 'string' && 'channel' in JSON.parse(frame))"
        )
        return frames


class PageTestCase(IntegrationTestCase):
    """A test with windows of a browser, which are closed with it. The browser's console has to stay empty.

    Attributes:
        may_miss_the_server: whether the console may speak of connections that failed.
    """

    may_miss_the_server = False

    def setUp(self) -> None:
        super().setUp()
        self._chats: list[Chat] = []
        self._origins: set[str] = set()

    def open(self, server: Reachable, fragment: str = "", uid: str | None = None) -> Chat:
        """The page of a server, in a new window.

        Args:
            server: the server.
            fragment: the channel, and more; none: the one of this test.
            uid: see `Chat`.
        """
        browser = _browser()
        if not self._chats:
            self._home = browser.window_handles[0]
            browser.get_log("browser")
            self.addCleanup(self._close_all)
        browser.switch_to.window(self._home)  # another one may be closed
        origin = f"http://localhost:{server.port}"
        self._origins.add(origin)
        chat = Chat(browser, f"{origin}/#{fragment or self.room}", uid)
        self._chats.append(chat)
        return chat

    @property
    def room(self) -> str:
        """A channel for this test alone."""
        return self.id().rpartition(".")[2]

    def _close_all(self) -> None:
        browser = _browser()
        said = [entry["message"] for entry in browser.get_log("browser")]
        for handle in browser.window_handles:
            if handle != self._home:
                browser.switch_to.window(handle)
                browser.close()
        browser.switch_to.window(self._home)
        for origin in self._origins:
            browser.execute_cdp_cmd("Storage.clearDataForOrigin", {"origin": origin, "storageTypes": "all"})
        if self.may_miss_the_server:
            missed = ("ERR_CONNECTION_REFUSED", "WebSocket connection to")
            said = [text for text in said if not any(what in text for what in missed)]
        self.assertEqual(said, [])
