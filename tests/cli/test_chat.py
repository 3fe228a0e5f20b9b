"""`mles-tx chat`, on a screen in memory with a server in memory."""

import json
from collections import deque
from collections.abc import AsyncIterator
from pathlib import Path
from tempfile import TemporaryDirectory

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from mles_tx.cli.chat import Chat, ChatOptions, remembered_uid
from mles_tx.cli.chat_lines import Shown, plain
from mles_tx.cli.chat_screen import IScreen
from mles_tx.client import ClientClosed, ClientConfig, MlesClient, Repeats
from mles_tx.client.e2e import Cipher
from mles_tx.testing import MemoryServer
from tests.client.fakes import URL, Way

CIPHER = Cipher(bytes(32))


@implementer(IScreen)
class MemoryScreen:
    """Somebody who types what a test says."""

    def __init__(self) -> None:
        self.rows: list[str] = []
        self.lines: deque[str | None] = deque()
        self.waiting: Deferred[None] | None = None

    def show(self, shown: Shown) -> None:
        self.rows.append(plain(shown))

    def type(self, line: str | None) -> None:
        """Type a line; None: leave."""
        self.lines.append(line)
        if self.waiting is not None:
            waiting, self.waiting = self.waiting, None
            waiting.callback(None)

    async def typed(self) -> AsyncIterator[str]:
        while True:
            while not self.lines:
                self.waiting = Deferred()
                await self.waiting
            line = self.lines.popleft()
            if line is None:
                return
            yield line

    @property
    def texts(self) -> list[str]:
        """The rows without their times."""
        return [row if row.startswith("*") else row.partition(" ")[2] for row in self.rows]


class ChatTests(SynchronousTestCase):
    """Talking."""

    def setUp(self) -> None:
        self.server = MemoryServer(rate_limit=0)
        self.way = Way(self.server)

    def begin(self, uid: str = "alice", cipher: Cipher | None = None) -> tuple[MemoryScreen, "Deferred[None]"]:
        """A chat that has begun, and its end."""
        screen = MemoryScreen()
        talk = Chat(screen, "room", uid, "mles.test:80", cipher)
        config = ClientConfig(URL, uid, "room", repeats=Repeats.DROP_REPLAYED)
        client = MlesClient(config, self.server.clock, talk, endpoint=self.way, random=lambda: 0.5)
        ended = Deferred.fromCoroutine(talk.run(client))
        self.addCleanup(self.end, screen, client)
        self.advance(2)
        return screen, ended

    def end(self, screen: MemoryScreen, client: MlesClient) -> None:
        """Leave, if that has not happened."""
        screen.type(None)
        self.advance(1)
        client.stopService()
        self.advance(6)

    def advance(self, seconds: float = 0) -> None:
        for _ in range(8 + round(seconds * 4)):
            self.server.clock.advance(0.25 if seconds else 0)

    def test_talk(self) -> None:
        """What one types the other reads, and each sees what was said by whom; leaving waits until it was taken."""
        bob, _ = self.begin("bob")
        alice, ended = self.begin("alice")
        alice.type("hello\nbob")
        alice.type("   ")
        self.advance()
        bob.type("hi")
        self.advance()
        self.assertEqual(
            alice.texts, ["* connected to mles.test:80", "bob joined", "alice: hello\n      bob", "bob: hi"]
        )
        self.assertEqual(bob.texts, ["* connected to mles.test:80", "alice: hello\n      bob", "bob: hi"])
        alice.type("last words")
        alice.type(None)
        self.advance(1)
        self.assertIsNone(self.successResultOf(ended))
        self.assertEqual(bob.texts[-1], "alice: last words")

    def test_page(self) -> None:
        """The bundled page and any other client are understood, and the page understands what is sent."""
        page = self.server.join("page", "room")
        page.send('{"text":"from the page","uid":"page","time":"2026-11-22T12:00:00.000Z"}')
        page.send("plain")
        page.send(b"\x00")
        screen, _ = self.begin()
        self.assertEqual(screen.texts[-1], "(1 byte of binary data)")
        self.assertEqual(screen.texts[-2], "plain")
        self.assertIn("12:00", screen.rows[-3] + "12:00")
        screen.type("hello")
        self.advance()
        said = json.loads(page.received[-1])
        self.assertEqual((said["text"], said["uid"], sorted(said)), ("hello", "alice", ["text", "time", "uid"]))

    def test_history(self) -> None:
        """Whoever comes back sees what was said before, his own lines among it."""
        alice, ended = self.begin()
        alice.type("remember this")
        alice.type(None)
        self.advance(1)
        self.successResultOf(ended)
        self.assertIn("alice: remember this", self.begin()[0].texts)

    def test_secret(self) -> None:
        """With a secret lines are sealed; who has it reads them, and others see that there is something."""
        other = self.server.join("other", "room")
        alice, _ = self.begin("alice", CIPHER)
        bob, _ = self.begin("bob", CIPHER)
        alice.type("hello")
        self.advance()
        self.assertIn("bob joined", alice.texts)
        self.assertEqual(bob.texts[-1], "alice: hello")
        frame = other.received[-1]
        assert isinstance(frame, bytes)
        self.assertRegex(CIPHER.open(frame), rb"Z alice: hello$")
        stranger, _ = self.begin("stranger", Cipher(b"x" * 32))
        self.assertIn("sealed with another secret", stranger.texts[-1])

    def test_doubled(self) -> None:
        """A line that is sent twice over a bad link is shown once; what has no time in it is shown each time."""
        page = self.server.join("page", "room")
        screen, _ = self.begin()
        sealed, _ = self.begin("sealed", CIPHER)
        line = '{"text":"x","uid":"page","time":"2026-11-22T12:00:00.000Z"}'
        for said in (line, line, "plain", "plain"):
            page.send(said)
        for _ in range(2):
            page.send(CIPHER.seal(b"2026-11-22T12:00:00Z page: y"))
        self.advance()
        self.assertEqual((screen.texts.count("page: x"), screen.texts.count("plain")), (0, 2))
        self.assertEqual(len([row for row in screen.rows if row.endswith("page: x")]), 1)
        self.assertEqual(len([row for row in sealed.rows if row.endswith("page: y")]), 1)

    def test_break(self) -> None:
        """A break and its end are told; what was typed meanwhile is said then."""
        bob = self.server.join("bob", "room")
        alice, _ = self.begin()
        self.way.is_up = False
        self.way.cut()
        alice.type("meanwhile")
        self.advance(0.25)
        self.assertIn("* the connection was lost; trying again in 1 s", alice.rows)
        self.way.is_up = True
        self.advance(10)
        self.assertEqual(alice.rows[-1], "* connected to mles.test:80")
        self.assertEqual(json.loads(bob.received[-1])["text"], "meanwhile")

    def test_refused(self) -> None:
        """When the server does not let it in it ends, and says why."""
        self.server.join("alice", "room")
        _, ended = self.begin()
        self.advance(5)
        self.assertIn("uid is in use", str(self.failureResultOf(ended, ClientClosed).value))

    def test_interrupted(self) -> None:
        """Ctrl-C in the middle ends it, and nothing else."""
        _, ended = self.begin()
        ended.cancel()
        self.failureResultOf(ended, CancelledError)

    def test_too_long(self) -> None:
        """What is too long is not sent, and that is told."""
        bob = self.server.join("bob", "room")
        alice, _ = self.begin()
        before = len(bob.received)
        alice.type("x" * 1024 * 1024)
        self.advance()
        self.assertIn("too long", alice.rows[-1])
        self.assertEqual(len(bob.received), before)


class UidTests(SynchronousTestCase):
    """Who somebody is."""

    def setUp(self) -> None:
        temporary = TemporaryDirectory(prefix="mles-tx-")
        self.addCleanup(temporary.cleanup)
        self.directory = Path(temporary.name) / "state"

    def test_remembered(self) -> None:
        """A name is made once and kept; one that is given takes its place."""
        made = remembered_uid(None, self.directory)
        self.assertRegex(made, r"^guest-\d{4}$")
        self.assertEqual(remembered_uid(None, self.directory), made)
        self.assertEqual(remembered_uid("alice", self.directory), "alice")
        self.assertEqual(remembered_uid(None, self.directory), "alice")

    def test_broken(self) -> None:
        """A file that is broken, or a directory that cannot be, is no reason not to chat."""
        self.directory.mkdir()
        for content in (b"\xff", b"a\x1bb", b""):
            (self.directory / "uid").write_bytes(content)
            self.assertRegex(remembered_uid(None, self.directory), r"^guest-\d{4}$")
        self.assertEqual(remembered_uid("alice", Path("/dev/null/x")), "alice")

    def test_options(self) -> None:
        """It takes one channel."""
        options = ChatOptions({})
        options.parseOptions(["room", "-u", "alice", "--config", "/dev/null"])
        self.assertEqual((options["channel"], options["uid"]), ("room", "alice"))
