"""The bundled page in a real browser: people chat, lose the server and come back."""

import contextlib
import json
import signal
import socket
import threading
from datetime import UTC, datetime
from tempfile import TemporaryDirectory

from .browsers import Chat, PageTestCase
from .clients import Member, join_frame
from .processes import Server
from .support import LOCAL

#: What is said in a test.
ALL_FOUR = ("one", "two", "three", "four")


def line(uid: str, text: str) -> str:
    """Something said, as the page says it."""
    return json.dumps({"text": text, "uid": uid, "time": datetime.now(UTC).isoformat(timespec="milliseconds")})


#: Puts the page's clock on by some minutes.
_LATER = "(() => { const now = Date.now; Date.now = () => now() + arguments[0] * 60_000; })()"


class Link:
    """A TCP port that leads to a server, and that can be cut and mended."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._sockets: list[socket.socket] = []
        self._dead: set[socket.socket] = set()
        self.is_cut = False
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listening.accept()
            except OSError:
                return
            if self.is_cut:
                near.close()
                continue
            far = self._server.dial()
            far.settimeout(None)
            self._sockets += [near, far]
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self._pass_on, args=(source, sink), daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):  # cut
            while data := source.recv(65536):
                if source not in self._dead:
                    sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)

    def deaden(self) -> None:
        """Let nothing more through what there is, and nobody know."""
        self._dead.update(self._sockets)

    def cut(self) -> None:
        """Cut what there is, and let nobody through."""
        self.is_cut = True
        while self._sockets:
            cut = self._sockets.pop()
            with contextlib.suppress(OSError):  # it was closed before
                cut.shutdown(socket.SHUT_RDWR)
            cut.close()

    def mend(self) -> None:
        """Let everybody through again."""
        self.is_cut = False

    def close(self) -> None:
        self.cut()
        self._listening.close()

    # What a page is opened at.
    url = ""

    def dial(self, receive_buffer: int | None = None) -> socket.socket:
        return self._server.dial(receive_buffer)

    def trust(self) -> None:
        return None


class ChatTests(PageTestCase):
    """Windows that talk to each other and to other clients."""

    def test_two_windows(self) -> None:
        """Two windows of one browser get names of their own, and each sees what the other says, once."""
        server = self.shared_server(LOCAL)
        first = self.open(server).joined()
        second = self.open(server).joined()
        first.say("hello from the first")
        second.await_texts(f"{self.name(first)} joined", "hello from the first")
        second.say("and from the second")
        first.await_texts("hello from the first", "and from the second")
        self.assertNotEqual(self.name(first), self.name(second))

    @staticmethod
    def name(chat: Chat) -> str:
        """The name a window has."""
        return chat.find("#status").text.removeprefix("Connected as ")

    def test_other_clients(self) -> None:
        """Others get the text frame that the page has always sent; their texts, joins and bytes are shown."""
        server = self.shared_server(LOCAL)
        bob = self.member(server, "bob", self.room)
        bob.send("plain text")
        page = self.open(server, uid="alice").joined()
        page.say("hello")
        self.assertEqual({**json.loads(bob.receive()), "time": ""}, {"text": "hello", "uid": "alice", "time": ""})
        bob.send(line("bob", "in JSON"))
        bob.send(b"\x01\x02\x03")
        bob.send("")
        page.await_texts(
            "bob joined",
            "plain text",
            "hello",
            "in JSON",
            "(3 bytes that this page cannot show)",
            "(an empty message)",
        )

    def test_hostile_texts(self) -> None:
        """Markup stays text, links lead to web pages only, and nothing turns the direction of what follows."""
        server = self.shared_server(LOCAL)
        bob = self.member(server, "bob", self.room)
        page = self.open(server, uid="alice").joined()
        bob.send(line("<b>bob</b>\u202e", "<img src=x onerror=alert(1)> javascript:alert(1) \u202e\x07"))
        bob.send(
            line(
                "bob", "see https://example.org/a_(b), (http://example.com). ftp://example.org https://u:p@example.org"
            )
        )
        page.await_texts(
            "bob joined",
            "<img src=x onerror=alert(1)> javascript:alert(1) \ufffd\ufffd",
            "see https://example.org/a_(b), (http://example.com). ftp://example.org https://u:p@example.org",
        )
        links = page.ask("[...document.querySelectorAll('#messages a')].map(({ href, rel }) => [href, rel])")
        rel = "noopener noreferrer nofollow"
        self.assertEqual(links, [["https://example.org/a_(b)", rel], ["http://example.com/", rel]])
        self.assertEqual(page.ask("document.querySelectorAll('#messages img, #messages b').length"), 0)
        self.assertEqual(page.find("#messages .name").text, "<b>bob</b>\ufffd")

    def test_unread(self) -> None:
        """What comes while another tab is in front is counted in the title, until one looks."""
        server = self.shared_server(LOCAL)
        bob = self.member(server, "bob", self.room)
        bob.send("before")
        page = self.open(server, uid="alice").joined()
        title = page.browser.title
        self.assertTrue(title.startswith(self.room), title)
        page.look_away()
        bob.send("one")
        bob.send(line("bob", "two"))
        page.wait("document.title.startsWith('(2) ')")
        page.look_away(False)
        page.wait("document.title === arguments[0]", title)

    def test_refused(self) -> None:
        """Who is refused reads why in plain words, and is led to the field that helps."""
        server = self.start_server(*LOCAL, environ={"MLES_KEY": "s3cret"})
        page = self.open(server, "example", uid="alice")
        page.wait("document.body.dataset.state === 'stopped'")
        self.assertEqual(
            page.news(), "This server lets in only those who have an auth value. Ask whoever runs it for yours."
        )
        page.click("#remedy")
        page.fill("#auth", "2446b8f3f28ff385")
        page.click("#settings [type=submit]")
        page.joined()
        page.browser.refresh()
        page.joined()  # it is kept
        other = self.open(server, "example", uid="bob")
        other.wait("document.body.dataset.state === 'stopped'")
        other.click("#remedy")
        other.fill("#uid", "alice")
        other.fill("#auth", "2446b8f3f28ff385")
        other.click("#settings [type=submit]")
        other.wait("document.querySelector('#news').innerText.startsWith('Somebody uses this name here already')")
        self.assertEqual(other.state, "stopped")


class ReconnectingTests(PageTestCase):
    """The server is away for a while."""

    may_miss_the_server = True

    def linked(self) -> tuple[Link, Member]:
        """A way to a server that can be cut, and bob, who is there without it."""
        server = self.start_server(*LOCAL)
        link = Link(server)
        self.addCleanup(link.close)
        return link, self.member(server, "bob", self.room)

    def kept(self, link: Link) -> Chat:
        """The page as alice has it, once the browser keeps it."""
        page = self.open(link, uid="alice").joined()
        page.wait("(await navigator.serviceWorker.ready).active !== null")
        return page

    def test_cut_link(self) -> None:
        """What was said while the link was cut is there afterwards, once each; so is what was typed meanwhile."""
        link, bob = self.linked()
        for _ in range(3):
            bob.send("again")  # no client could tell these from each other
        page = self.open(link, uid="alice").joined()
        page.say("one")
        self.assertIn("one", str(bob.receive()))
        bob.send("again")
        bob.send(line("bob", "two"))
        page.await_texts("bob joined", "again", "again", "again", "one", "again", "two")
        link.cut()
        page.wait("document.body.dataset.state === 'waiting'")
        self.assertRegex(page.news(), r"^The (connection was lost|server cannot be reached)\. Trying again in \d+ s\.$")
        page.say("typed meanwhile")
        page.await_texts("typed meanwhile", rows="#waiting li")
        bob.send("again")
        bob.send("again")
        bob.send(line("bob", "three"))
        bob.settle()
        link.mend()
        page.try_now()
        page.joined()
        page.await_texts(
            *("bob joined", "again", "again", "again", "one", "again", "two", "again", "again", "three"),
            "typed meanwhile",
        )
        self.assertEqual(page.texts("#waiting li"), [])
        self.assertIn("typed meanwhile", str(bob.receive()))
        self.assertIn("since", json.loads(page.first_frames()[-1]))
        bob.send("end")
        page.wait("document.querySelector('#messages').innerText.endsWith('end')")
        self.assertEqual(page.texts().count("again"), 6)

    def test_dead_link(self) -> None:
        """What was said while nothing came through is said again, however late the link breaks."""
        link, bob = self.linked()
        page = self.kept(link)
        link.deaden()
        page.say("one")
        page.await_texts("bob joined", "one")
        page.ask(_LATER, 10)
        page.say("two")
        page.await_texts("bob joined", "one", "two")
        page.ask(_LATER, 10)
        link.cut()
        page.wait("document.body.dataset.state === 'waiting'")
        link.mend()
        page.try_now()
        page.joined()
        self.assertEqual([json.loads(str(bob.receive()))["text"] for _ in range(2)], ["one", "two"])

    def test_dead_link_of_a_closed_window(self) -> None:
        """The next window says it again; but nothing that went out hours ago, as if it were new."""
        link, bob = self.linked()
        first = self.kept(link)
        link.deaden()
        for minutes, text in ((-120, "long ago"), (110, "one"), (10, "two")):
            first.ask(_LATER, minutes)
            first.say(text)
        first.await_texts("bob joined", "long ago", "one", "two")
        first.browser.close()
        link.cut()
        link.mend()
        second = self.open(link, uid="alice").joined()
        second.await_texts("bob joined", "one", "two")
        self.assertEqual([json.loads(str(bob.receive()))["text"] for _ in range(2)], ["one", "two"])

    def test_renamed(self) -> None:
        """Who takes another name says nothing again."""
        server = self.start_server(*LOCAL)
        bob = self.member(server, "bob", self.room)
        page = self.open(server, uid="alice").joined()
        page.say("one")
        self.assertIn("one", str(bob.receive()))
        page.click("#open-settings")
        page.fill("#uid", "carol")
        page.click("#settings [type=submit]")
        page.wait("document.getElementById('status').innerText === 'Connected as carol'")
        page.say("two")
        self.assertIn("two", str(bob.receive()))

    def test_forgetful_server(self) -> None:
        """A server that comes back with an empty history: what two windows show stays, once each, and goes on."""
        server = self.start_server(*LOCAL)
        alice = self.open(server, uid="alice").joined()
        bob = self.open(server, uid="bob").joined()
        alice.say("one")
        bob.await_texts("alice joined", "one")
        bob.say("two")
        alice.await_texts("one", "two")
        server.stop()
        for page in (alice, bob):
            page.wait("document.body.dataset.state === 'waiting'")
        alice.say("three")
        self.start_server("mles-tx", "serve", "--port", str(server.port))
        for page in (alice, bob):
            page.try_now()
            page.joined()
        bob.say("four")
        for page in (alice, bob):
            page.wait("document.querySelector('#messages').innerText.includes('four')")
            self.assertEqual(sorted(text for text in page.texts() if "joined" not in text), sorted(ALL_FOUR))
        # What may have been lost was sent again.
        carol = self.open(server, uid="carol").joined()
        carol.wait("document.querySelector('#messages').innerText.includes('four')")
        self.assertEqual(sorted(text for text in carol.texts() if "joined" not in text), sorted(ALL_FOUR))

    def test_left_behind(self) -> None:
        """What waits in a window that is closed goes out from the next one."""
        link, bob = self.linked()
        first = self.kept(link)
        link.cut()
        first.wait("document.body.dataset.state === 'waiting'")
        first.say("typed in vain")
        first.await_texts("typed in vain", rows="#waiting li")
        first.browser.close()
        link.mend()
        second = self.open(link, uid="alice").joined()
        second.await_texts("bob joined", "typed in vain")
        self.assertEqual([json.loads(str(bob.receive())).get("text") for _ in range(1)], ["typed in vain"])

    def test_killed_server(self) -> None:
        """A server that was killed and has come back: nothing is missing, nothing is doubled, not even after a reload
        without a server.
        """
        history = ("--durability", "strict", "--history", f"sqlite:{self.enterContext(TemporaryDirectory())}/history")
        server = self.start_server(*LOCAL, *history)
        bob = self.member(server, "bob", self.room)
        page = self.open(server, uid="alice").joined()
        page.wait("(await navigator.serviceWorker.ready).active !== null")
        page.say("one")
        self.assertIn("one", str(bob.receive()))
        bob.send(line("bob", "two"))
        page.await_texts("bob joined", "one", "two")
        bob.settle()
        server.signal(signal.SIGKILL)
        page.wait("document.body.dataset.state === 'waiting'")
        page.say("three")
        page.say("four")
        page.await_texts("three", "four", rows="#waiting li")
        page.browser.refresh()
        page.wait("document.body.dataset.state === 'waiting'")
        self.assertRegex(page.news(), r"^The server cannot be reached\. Trying again in \d+ s\.$")
        page.await_texts("one", "three", "four", rows="#waiting li")
        self.assertEqual(
            [mark.text for mark in page.browser.find_elements("css selector", "#waiting .mark")],
            ["sent, not confirmed", "not sent yet", "not sent yet"],
        )
        server.wait()
        again = self.start_server("mles-tx", "serve", "--port", str(server.port), *history)
        page.try_now()
        page.joined()
        page.await_texts("bob joined", "one", "two", "three", "four")
        carol = self.member(again, "carol", self.room)
        said = [json.loads(str(frame)).get("text") for frame in carol.receive_some(6)]
        self.assertEqual([text for text in said if text], ["one", "two", "three", "four"])
        carol.send(join_frame("nobody", self.room))
        page.browser.refresh()
        page.joined()
        page.await_texts("bob joined", "one", "two", "three", "four", "carol joined", "nobody joined")
