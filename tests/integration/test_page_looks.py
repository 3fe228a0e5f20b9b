"""The bundled page for everybody: with a keyboard, a screen reader, a phone; installed; with little."""

import base64
import io
import json
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import zxingcpp
from PIL import Image
from selenium.webdriver.common.keys import Keys

from mles_tx.service.pages import bundled_pages

from .browsers import Chat, PageTestCase, axe
from .support import LOCAL

#: A picture of one pixel.
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
)


class LooksTests(PageTestCase):
    """What people have in front of them."""

    def setUp(self) -> None:
        super().setUp()
        self.server = self.shared_server(LOCAL)

    def busy_page(self, channel: str, secret: str = "") -> Chat:
        """A page with one of everything."""
        bob = self.member(self.server, "bob", channel)
        page = self.open(self.server, channel + secret, "alice").joined()
        bob.send("plain")
        for text in ("look at https://example.org", "long\n" * 30):
            bob.send(json.dumps({"text": text, "uid": "bob", "time": "2026-11-22T12:00:00Z"}))
        for name, data in (("pixel.png", PIXEL), ("notes.txt", b"...")):
            bob.send(json.dumps({"file": name, "uid": "carol", "time": "2026-11-22T12:00:00Z"}).encode() + b"\n" + data)
        bob.send(json.dumps({"file": "half", "uid": "carol", "id": "x", "part": 0, "parts": 2}).encode() + b"\n")
        page.say("hello")
        page.wait("document.querySelectorAll('.said').length === 7 && document.querySelector('.picture img').complete")
        return page

    def assert_accessible(self, page: Chat) -> None:
        """axe-core finds nothing that keeps anybody from using it, neither in light colours nor in dark ones."""
        if not page.ask("'axe' in window"):
            page.browser.execute_script(axe())
        for scheme in ("light", "dark"):
            self.emulate(page, "setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
            found: dict[str, Any] = page.ask(
                "(async () => {"
                "  const { passes, violations } = await axe.run(document, { resultTypes: ['violations'] });"
                "  const told = violations.map(({ id, impact, nodes }) => [id, impact, nodes.map(({ html }) => html)]);"
                "  return { passed: passes.length, violations: told };"
                "})()"
            )
            self.assertEqual(found["violations"], [], scheme)
            self.assertGreater(found["passed"], 15)

    @staticmethod
    def emulate(page: Chat, what: str, **how: object) -> None:
        """Let the browser pretend something for this window."""
        page.browser.execute_cdp_cmd(f"Emulation.{what}", how)

    def test_accessible(self) -> None:
        """A busy channel and both dialogs."""
        page = self.busy_page(self.room)
        self.assert_accessible(page)
        page.click("#open-settings")
        page.click("#access summary")
        self.assert_accessible(page)
        page.click("#settings .close")
        page.click("#open-invite")
        page.wait("document.querySelector('#code svg') !== null")
        self.assert_accessible(page)

    def test_narrow(self) -> None:
        """On a small phone nothing sticks out, in the chat and in the dialogs, and there is room for messages."""
        page = self.busy_page(f"{self.room}-with-a-long-name-that-does-not-fit", "&secret=x")
        self.emulate(page, "setDeviceMetricsOverride", width=320, height=568, deviceScaleFactor=1, mobile=True)
        sticking_out = (
            "[...document.querySelectorAll('body, body *')].filter((one) => one.checkVisibility() &&"
            " !one.closest('.unseen') && one.getBoundingClientRect().right > innerWidth + 0.5)"
            ".map(({ outerHTML }) => outerHTML.slice(0, 80))"
        )
        for dialog in ("", "settings", "invite"):
            if dialog:
                page.click(f"#open-{dialog}")
            self.assertEqual(page.ask(sticking_out), [], dialog)
            self.assertEqual(page.ask("document.documentElement.scrollWidth"), 320)
            if dialog:
                self.assertTrue(page.find(f"#{dialog} .close").is_displayed())
                page.click(f"#{dialog} .close")
        self.assertGreater(page.ask("document.querySelector('#log').clientHeight"), 568 * 0.5)

    def test_keyboard(self) -> None:
        """Everything is reached with the Tab key, in the order it is seen; dialogs close with Escape."""
        page = self.open(self.server, uid="alice").joined()
        reached = []
        for _ in range(6):
            page.browser.switch_to.active_element.send_keys(Keys.TAB)
            reached.append(page.ask("document.activeElement.id"))
        self.assertEqual(reached, ["privacy", "open-invite", "open-settings", "log", "empty-invite", "attach"])
        page.find("#open-settings").send_keys(Keys.ENTER)
        page.wait("document.querySelector('#settings').open && document.activeElement.id === 'uid'")
        page.browser.switch_to.active_element.send_keys(Keys.ESCAPE)
        page.wait("!document.querySelector('#settings').open && document.activeElement.id === 'open-settings'")
        page.find("#text").send_keys("one", Keys.SHIFT, Keys.ENTER, Keys.NULL, "two", Keys.ENTER)
        page.await_texts("one\ntwo")
        self.assertEqual(page.ask("document.activeElement.id"), "text")
        self.assertEqual(page.find("#log").get_attribute("aria-live"), "polite")

    def test_code(self) -> None:
        """A reader of QR codes reads the link in the invitation, in dark colours as well."""
        page = self.open(self.server, f"{self.room}&secret=correct%20horse", "alice").joined()
        page.click("#open-settings")
        page.find("#theme").send_keys("dark")
        page.click("#settings .close")
        page.click("#open-invite")
        page.wait("document.querySelector('#code svg') !== null")
        shown = Image.open(io.BytesIO(page.browser.get_screenshot_as_png())).convert("RGB")
        self.assertEqual([code.text for code in zxingcpp.read_barcodes(shown)], [page.browser.current_url])
        self.assertLess(sum(shown.getpixel((5, 5))), 3 * 64)  # type: ignore[arg-type]
        page.browser.refresh()
        self.assertEqual(page.ask("document.documentElement.dataset.theme"), "dark")

    def test_notifications(self) -> None:
        """Who wants to is notified of what comes while another tab is in front."""
        bob = self.member(self.server, "bob", self.room)
        page = self.open(self.server, uid="alice").joined()
        origin = f"http://localhost:{self.server.port}"
        grant = {"origin": origin, "permissions": ["notifications"]}
        page.browser.execute_cdp_cmd("Browser.grantPermissions", grant)
        page.wait("(await navigator.serviceWorker.ready).active.state === 'activated'")
        page.click("#open-settings")
        page.click("#notify")
        page.wait("localStorage.getItem('mles-tx-notify') === 'true'")
        page.click("#settings .close")
        page.look_away()
        bob.send(json.dumps({"text": "are you there?", "uid": "bob", "time": "2026-11-22T12:00:00Z"}))
        page.wait(
            "(await (await navigator.serviceWorker.ready).getNotifications())"
            ".some(({ title, body }) => title === arguments[0] && body === 'are you there?')",
            f"bob on {self.room}",
        )

    def test_installable(self) -> None:
        """The browser offers to install it."""
        page = self.open(self.server, uid="alice").joined()
        page.wait("(await navigator.serviceWorker.ready).active.state === 'activated'")
        told = page.browser.execute_cdp_cmd("Page.getInstallabilityErrors", {})
        self.assertEqual(told["installabilityErrors"], [])

    def test_policy(self) -> None:
        """The policy is in force: nothing of a text becomes a program."""
        page = self.open(self.server, uid="alice").joined()
        # Not at once: what a driver has run itself may do everything.
        caught = (
            "new Promise((tell) => setTimeout(() => {"
            "  try { %s; } catch (error) { tell(error.name); }"
            "  tell('it ran');"
            "}))"
        )
        self.assertEqual(page.ask(caught % "eval('1')"), "EvalError")
        self.assertEqual(page.ask(caught % "document.body.innerHTML = '<b>x</b>'"), "TypeError")
        self.assertEqual(page.ask(caught % "new Worker('/chat/key-worker.js')"), "TypeError")
        self.assertEqual(page.ask(caught % "trustedTypes.createPolicy('another', {})"), "TypeError")
        page.browser.get_log("browser")  # of all these, it tells

    def test_served(self) -> None:
        """The server serves modules, manifest and style with their types, to be asked for again each time."""
        client = self.raw(self.server)
        for path, kind in (
            ("/", "text/html"),
            ("/chat/session.js", "text/javascript"),
            ("/sw.js", "text/javascript"),
            ("/vendor/@noble/ciphers/chacha.js", "text/javascript"),
            ("/vendor/index.json", "application/json"),
            ("/manifest.webmanifest", "application/manifest+json"),
            ("/style.css", "text/css"),
        ):
            answer = client.request(path=path)
            self.assertEqual((answer.status, answer.header("Cache-Control")), (200, "no-cache"), path)
            self.assertEqual(str(answer.header("Content-Type")).partition(";")[0], kind)


class BareTests(PageTestCase):
    """A server that was installed without what the page takes from npm."""

    def test_bare(self) -> None:
        """The page says what it lacks and chats in the clear; with a secret it does not pretend."""
        folder = Path(self.enterContext(TemporaryDirectory()))
        shutil.copytree(bundled_pages(), folder / "localhost", ignore=shutil.ignore_patterns("vendor"))
        server = self.start_server(*LOCAL, "--wwwroot", str(folder))
        bob = self.member(server, "bob", self.room)
        page = self.open(server, uid="alice").joined()
        self.assertIn("there is no encryption", page.find("#bare").text)
        page.say("hello")
        self.assertIn("hello", str(bob.receive()))
        bob.send("hi")
        page.await_texts("bob joined", "hello", "hi")
        page.click("#open-invite")
        page.wait("document.querySelector('#code').innerText.startsWith('There is no QR code')")
        sealed = self.open(server, f"{self.room}&secret=x", "carol")
        sealed.wait("document.body.dataset.state === 'stopped'")
        self.assertEqual(
            sealed.news(),
            "This server’s page was installed without encryption. Without a secret you can talk in the clear, where "  # noqa: RUF001
            "others without one are.",
        )
        told = page.browser.get_log("browser")
        self.assertEqual([entry for entry in told if "/vendor/" not in entry["message"]], [])
