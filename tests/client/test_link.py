"""One connection: what the server says on it that is out of order."""

from base64 import b64encode
from hashlib import sha1
from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from mles_tx.client.config import ClientConfig
from mles_tx.client.link import Ending, Link, LinkFactory
from mles_tx.protocol.extensions import CAUGHT_UP, Extensions
from mles_tx.protocol.frames import encode_close, encode_message, encode_pong

_MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class User:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.told: list[Any] = []
        self.ending: Ending | None = None

    def link_open(self, link: Link) -> None:
        self.told.append("open")

    def link_received(self, link: Link, payload: bytes, is_binary: bool) -> None:
        self.told.append((payload, is_binary))

    def link_heard(self, link: Link) -> None:
        pass

    def link_caught_up(self, link: Link) -> None:
        self.told.append("caught up")

    def link_writable(self, link: Link) -> None:
        self.told.append("writable")

    def link_closing(self, link: Link) -> None:
        self.told.append("closing")

    def link_ended(self, link: Link, ending: Ending) -> None:
        self.ending = ending


class LinkTests(SynchronousTestCase):
    """Against a server that is written out."""

    def setUp(self) -> None:
        self.user = User()
        config = ClientConfig("ws://[::1]:99/a?b", "alice", "news", origin="https://mles.test")
        self.link = LinkFactory(config, self.user, Clock()).buildProtocol(None)
        self.transport = StringTransport()
        self.link.makeConnection(self.transport)

    def key(self) -> bytes:
        head = self.transport.value()
        key: bytes = head.partition(b"Sec-WebSocket-Key: ")[2].partition(b"\r\n")[0]
        return key

    def upgrade(self, protocol: bytes = b"Sec-WebSocket-Protocol: mles-websocket\r\n") -> None:
        accept = b64encode(sha1(self.key() + _MAGIC).digest())
        self.link.dataReceived(
            b"HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
            + accept
            + b"\r\n"
            + protocol
            + b"\r\n"
        )

    def ended(self) -> Ending:
        self.link.connectionLost(Failure(ConnectionDone()))
        assert self.user.ending is not None
        return self.user.ending

    def test_request(self) -> None:
        """The request says where to, and offers exactly one subprotocol, as the reference wants it."""
        head = self.transport.value()
        self.assertTrue(head.startswith(b"GET /a?b HTTP/1.1\r\nHost: [::1]:99\r\n"), head)
        self.assertIn(b"\r\nSec-WebSocket-Protocol: mles-websocket\r\n", head)
        self.assertIn(b"\r\nOrigin: https://mles.test\r\n", head)
        for word in (b"User-Agent", b"Extensions", b"Python"):
            self.assertNotIn(word, head)

    def test_messages(self) -> None:
        """Messages come with their type, and the end says how it was."""
        self.upgrade()
        self.link.dataReceived(encode_message(b"a", False) + encode_message(b"\xff", True) + encode_close(1013, b"why"))
        self.assertEqual(self.user.told, ["open", (b"a", False), (b"\xff", True), "closing"])
        ending = self.ended()
        self.assertEqual((ending.code, ending.text, ending.answered, ending.status), (1013, "why", False, None))

    def test_extensions(self) -> None:
        """What a server says it knows is known on the link; its answer to the question whether all has come is told."""
        self.upgrade(b"Sec-WebSocket-Protocol: mles-websocket\r\nMles-Extensions: resync; limit=9; run=a\r\n")
        self.assertEqual(self.link.extensions, Extensions(9, "a", ("resync",)))
        self.link.ask_when_caught_up()
        self.assertEqual(self.transport.value()[-16:-14], b"\x89\x8a")  # a ping with ten bytes
        self.link.dataReceived(b"\x8a\x01x" + encode_pong(CAUGHT_UP))
        self.assertEqual(self.user.told, ["open", "caught up"])
        self.setUp()
        self.upgrade()
        self.assertIsNone(self.link.extensions)

    def test_answered(self) -> None:
        """The answer to our close frame is one; a close frame that has crossed it is not."""
        for frame, answered in ((encode_close(1000), True), (encode_close(None), True), (encode_close(4512), False)):
            self.setUp()
            self.upgrade()
            self.link.sendClose(1000)
            self.link.dataReceived(frame)
            self.assertEqual((frame, self.ended().answered), (frame, answered))

    def test_writable(self) -> None:
        """It says when more can be written, once for each pause."""
        self.upgrade()
        self.link.pauseProducing()
        self.assertFalse(self.link.is_writable)
        self.link.resumeProducing()
        self.link.resumeProducing()
        self.assertEqual((self.link.is_writable, self.user.told), (True, ["open", "writable"]))

    def test_no_mles(self) -> None:
        """A WebSocket server of another kind is told apart."""
        self.upgrade(b"")
        ending = self.ended()
        self.assertEqual((ending.status, self.user.told), (101, []))
        self.assertIn("no Mles server", ending.text)

    def test_no_websocket(self) -> None:
        """And so is what speaks HTTP alone, or nothing of the kind."""
        for answer, status in (
            (b"HTTP/1.1 404 Not Found\r\n\r\n", 404),
            (b"SSH-2.0\r\n\r\n", 0),
            (b"\xff\xfe\r\n\r\n", 0),
        ):
            self.setUp()
            self.link.dataReceived(answer)
            ending = self.ended()
            self.assertEqual((answer, ending.status, self.user.told), (answer, status, []))

    def test_endless_head(self) -> None:
        """An answer without end is cut off."""
        self.link.dataReceived(b"HTTP/1.1 101 x\r\n" + b"x: y\r\n" * 20000)
        self.assertTrue(self.transport.disconnecting)

    def test_broken(self) -> None:
        """A frame that breaks a rule, text that is none, or a message without bound ends the link."""
        for data, text in (
            (b"\xff\x00", "broken a rule"),
            (encode_message(b"\xff", False), "broken a rule"),
            (bytes((0x82, 127)) + (1 << 40).to_bytes(8, "big"), "a message of 1099511627776 bytes"),
        ):
            self.setUp()
            self.upgrade()
            self.link.dataReceived(data)
            self.assertTrue(self.transport.disconnecting)
            self.assertIn(text, self.ended().text)
            self.assertEqual(self.user.told, ["open"])
