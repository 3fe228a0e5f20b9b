"""WebSocket: the upgrade, the frames and the closing handshake, whatever is said in them."""

from mles_tx.protocol.closing import CloseReason
from mles_tx.transport.connection import Settings
from mles_tx.transport.origins import pages_of_this_machine
from tests.wire import Frame, client_frame, close_of, split_answer, upgrade

from .peers import ConnectionTestCase


class UpgradeTests(ConnectionTestCase):
    """The handshake."""

    settings = Settings(origin_allowed=pages_of_this_machine)

    def test_subprotocol_is_confirmed(self) -> None:
        """A client that offers mles-websocket, alone or in a list, gets it."""
        for offered in ("mles-websocket", "chat, mles-websocket", "mles-websocket,x"):
            peer = self.connect()
            peer.receive(upgrade(protocol=offered, path="/any/path?x=1"))
            head, _ = split_answer(peer.taken())
            self.assertIn(b"\r\nSec-WebSocket-Protocol: mles-websocket", head)
            self.assertNotIn(b"Server:", head)

    def test_missing_subprotocol_is_named(self) -> None:
        """A client without the subprotocol is told what is missing, and the connection ends."""
        for offered in (None, "mles", "MLES-WEBSOCKET"):
            peer = self.connect()
            peer.receive(upgrade(protocol=offered))
            head, body = split_answer(peer.taken())
            self.assertTrue(head.startswith(b"HTTP/1.1 400 "), head)
            self.assertIn(b"mles-websocket", body)
            self.assertTrue(peer.finished)

    def test_refusals_quote_nothing(self) -> None:
        """What is wrong with a request is not repeated in the answer."""
        marks = {
            "bad key": upgrade().replace(b"dGhlIHNhbXBsZSBub25jZQ==", b"<evil>"),
            "bad version": upgrade().replace(b"Version: 13", b"Version: 99"),
            "bad host": upgrade().replace(b"Host: localhost", b"Host: evil:evil"),
            "post": upgrade().replace(b"GET /", b"EVIL /"),
            "no host": upgrade().replace(b"Host: localhost\r\n", b""),
            "two origins": upgrade("Origin: http://evil", "Origin: http://evil"),
        }
        for name, request in marks.items():
            peer = self.connect()
            peer.receive(request)
            answer = peer.taken()
            self.assertRegex(answer, rb"^HTTP/1\.1 4\d\d ", name)
            self.assertNotIn(b"evil", answer.lower(), name)
            self.assertTrue(peer.finished, name)

    def test_version_that_is_spoken_is_named(self) -> None:
        """A client of another version learns which one is spoken here."""
        peer = self.connect()
        peer.receive(upgrade().replace(b"Version: 13", b"Version: 8"))
        head, _ = split_answer(peer.taken())
        self.assertTrue(head.startswith(b"HTTP/1.1 426 "))
        self.assertIn(b"\r\nSec-WebSocket-Version: 13", head)

    def test_origins(self) -> None:
        """Pages of this machine, files and apps may connect; other web pages may not."""
        cases = {
            "http://localhost:8080": 101,
            "http://127.0.0.1:8080": 101,
            "http://[::1]:8080": 101,
            "null": 101,
            "file://": 101,
            "app://": 101,
            "https://evil.example": 403,
            "http://localhost.evil.example": 403,
            "http://[": 403,
        }
        for origin, code in cases.items():
            peer = self.connect()
            peer.receive(upgrade(f"Origin: {origin}"))
            self.assertEqual(f"HTTP/1.1 {code} ".encode(), peer.taken()[:13], origin)

    def test_deflate_is_declined(self) -> None:
        """A browser that offers compression gets a connection without it."""
        peer = self.connect()
        peer.receive(upgrade("Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"))
        head, _ = split_answer(peer.taken())
        self.assertTrue(head.startswith(b"HTTP/1.1 101 "))
        self.assertNotIn(b"WebSocket-Extensions", head)

    def test_no_delay(self) -> None:
        """Small messages are not held back by the kernel."""
        self.assertTrue(self.open().no_delay)


class LimitTests(ConnectionTestCase):
    """Sizes and fragments."""

    def test_largest_message(self) -> None:
        """A message of 1 MiB passes; one byte more closes the connection as soon as it is announced."""
        alice, bob = self.join("alice"), self.join("bob")
        alice.receive(client_frame(2, bytes(1048576)))
        self.end_turn()
        self.assertEqual([1048576], [len(message) for message in bob.messages()])
        alice.receive(client_frame(2, bytes(1048577))[:14])
        self.assertClosed(alice, CloseReason.MESSAGE_TOO_LARGE)

    def test_announced_sizes(self) -> None:
        """However much a frame announces, nothing of it is waited for."""
        for size in (1 << 30, (1 << 63) - 1):
            peer = self.join("alice")
            peer.receive(b"\x82\xff" + size.to_bytes(8, "big") + b"mask")
            self.assertClosed(peer, CloseReason.MESSAGE_TOO_LARGE)
            peer.hang_up()

    def test_sum_of_fragments(self) -> None:
        """Fragments that add up to more than 1 MiB are refused like one large frame."""
        peer = self.join("alice")
        peer.receive(client_frame(2, bytes(700_000), final=False))
        peer.receive(client_frame(0, bytes(400_000), final=False)[:14])
        self.assertClosed(peer, CloseReason.MESSAGE_TOO_LARGE)

    def test_fragments(self) -> None:
        """A message in pieces arrives as one."""
        alice, bob = self.join("alice"), self.join("bob")
        alice.receive(client_frame(1, b"hel", final=False))
        alice.receive(client_frame(9, b"in between"))
        alice.receive(client_frame(0, b"lo"))
        self.end_turn()
        self.assertEqual([b"hello"], bob.messages())
        self.assertEqual([Frame(10, b"in between")], alice.frames())

    def test_endless_fragments(self) -> None:
        """A message of ever more empty fragments is cut off."""
        peer = self.join("alice")
        peer.receive(client_frame(1, b"", final=False) + client_frame(0, b"", final=False) * 16383)
        self.end_turn()
        self.assertEqual([], peer.frames())
        peer.receive(client_frame(0, b"", final=False))
        self.end_turn()
        self.assertClosed(peer, CloseReason.TOO_MANY_FRAGMENTS)

    def test_many_fragmented_messages(self) -> None:
        """The number of fragments counts for each message, not for the connection."""
        alice, bob = self.join("alice"), self.join("bob")
        for _ in range(5):
            alice.receive(client_frame(2, b"", final=False) + client_frame(0, b"", final=False) * 9000)
            alice.receive(client_frame(0, b"end"))
            self.clock.advance(1)
        self.assertEqual([b"end"] * 5, bob.messages())


class LeavingTests(ConnectionTestCase):
    """The closing handshake."""

    def test_member_leaves(self) -> None:
        """Who closes gets its code back and then the end of the stream."""
        alice = self.join("alice")
        alice.receive(client_frame(8, (3001).to_bytes(2, "big") + b"bye"))
        self.assertEqual((3001, "bye"), close_of(alice.frames()[-1]))
        self.assertTrue(alice.finished)
        self.assertFalse(alice.aborted)
        self.assertEqual([], list(self.registry.members))

    def test_empty_close_frame(self) -> None:
        """A close frame without a code is answered by one without a code."""
        alice = self.join("alice")
        alice.receive(client_frame(8))
        self.assertEqual([Frame(8, b"")], alice.frames())

    def test_last_words(self) -> None:
        """What was said in the same breath as the close frame is delivered."""
        alice, bob = self.join("alice"), self.join("bob")
        alice.receive(client_frame(1, b"last words") + client_frame(8))
        self.end_turn()
        self.assertEqual([b"last words"], bob.messages())

    def test_messages_behind_the_close_frame(self) -> None:
        """What comes behind a close frame is not heard."""
        alice, bob = self.join("alice"), self.join("bob")
        alice.receive(client_frame(8) + client_frame(1, b"too late"))
        self.end_turn()
        self.assertEqual([], bob.messages())

    def test_flood_behind_the_end(self) -> None:
        """Nothing is kept of what a peer sends when all is said and done, however it came to that."""
        refused, left, strange = self.connect(), self.join("alice"), self.join("bob")
        refused.receive(upgrade(protocol=None))
        left.receive(client_frame(8))
        strange.receive(client_frame(3) * 2)
        for peer in (refused, left, strange):
            self.assertTrue(peer.finished)
            for _ in range(10):
                peer.receive(bytes(16384))
            self.assertEqual(0, len(peer.connection.data))

    def test_answer_behind_a_fault(self) -> None:
        """Who breaks a rule is told, and may say a little more before its close frame."""
        strange = self.join("alice")
        strange.receive(client_frame(3))
        self.assertClosed(strange, CloseReason.PROTOCOL_ERROR)
        self.assertFalse(strange.finished)
        strange.receive(client_frame(1, b"on its way") + client_frame(8))
        self.assertTrue(strange.finished)

    def test_flood_behind_a_fault(self) -> None:
        """A flood behind a fault is not parsed, and not waited for."""
        strange = self.join("alice")
        strange.receive(client_frame(3) + client_frame(9) * 64)
        self.assertClosed(strange, CloseReason.PROTOCOL_ERROR)
        self.assertFalse(strange.finished)
        parsing = self.factory.parsing
        parsing.take = lambda: self.fail("something is parsed")  # type: ignore[method-assign]
        strange.receive(client_frame(9) * 1000)
        self.assertTrue(strange.finished)
        self.assertEqual(0, len(strange.connection.data))
        self.assertEqual([], strange.frames())

    def test_peer_that_never_hangs_up(self) -> None:
        """A peer that keeps the connection after the closing handshake is cut off."""
        alice = self.join("alice")
        alice.receive(client_frame(8))
        self.clock.advance(5)
        self.assertTrue(alice.aborted)

    def test_fault_while_closing(self) -> None:
        """A second fault while a connection is closing ends it without waiting."""
        alice = self.join("alice")
        alice.receive(client_frame(3, b""))
        self.assertClosed(alice, CloseReason.PROTOCOL_ERROR)
        alice.receive(client_frame(3, b""))
        self.assertTrue(alice.finished)

    def test_behind_a_backlog(self) -> None:
        """A member that closes while it is behind gets its answer when it has caught up with what was begun."""
        alice, bob = self.join("alice"), self.join("bob")
        bob.full = True
        alice.receive(client_frame(2, bytes(500_000)))
        self.end_turn()
        bob.receive(client_frame(8))
        self.assertFalse(bob.finished)
        bob.drained()
        self.assertEqual([2, 8], [frame.opcode for frame in bob.frames()])
        self.assertTrue(bob.finished)

    def test_crossing(self) -> None:
        """Close frames that cross each other end the connection as soon as ours is out, and not at the deadline."""
        alice, bob = self.join("alice"), self.join("bob")
        bob.full = True
        alice.receive(client_frame(2, bytes(500_000)))
        self.end_turn()
        bob.connection.close(CloseReason.TOO_SLOW)
        bob.receive(client_frame(8))
        self.assertFalse(bob.finished)
        bob.drained()
        self.assertEqual([2, 8], [frame.opcode for frame in bob.frames()])
        self.assertTrue(bob.finished)
        self.assertFalse(bob.aborted)

    def test_a_fault_of_ours(self) -> None:
        """When the server itself fails, at a small message or a large one, the peer gets 1011 and no word about why."""
        alice, bob = self.join("alice"), self.join("bob")
        for member, frame in ((alice, client_frame(1, b"hello")), (bob, client_frame(2, bytes(5000)))):
            member.connection.messages = None  # type: ignore[method-assign,assignment]
            member.connection.message = None  # type: ignore[method-assign,assignment]
            member.receive(frame + client_frame(1, b"and more"))
            self.assertEqual(1, len(self.flushLoggedErrors(TypeError)))
            self.assertClosed(member, CloseReason.INTERNAL_ERROR)
