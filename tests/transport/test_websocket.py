"""WebSocket: the upgrade, the frames and the closing handshake, whatever is said in them."""

from autobahn.websocket.protocol import WebSocketProtocol
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mles_tx.protocol.closing import CloseReason
from mles_tx.protocol.frames import is_binary, payload_of
from mles_tx.transport.connection import Settings
from mles_tx.transport.origins import any_origin, pages_of_this_machine
from mles_tx.transport.websocket import WebSocketConnection, WebSocketFactory
from tests import examples
from tests.streams import cut, cuts, raw_frame, streams
from tests.wire import Frame, client_frame, close_of, header, split_answer, upgrade

from .fakes import FakeTransport
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
        self.assertNotIn(b"Extensions", head)

    def test_no_delay(self) -> None:
        """Small messages are not held back by the kernel."""
        self.assertTrue(self.open().no_delay)

    def test_options(self) -> None:
        """Every option Autobahn would otherwise copy for each connection stands on the class."""
        attributes = [*WebSocketProtocol.CONFIG_ATTRS_COMMON, *WebSocketProtocol.CONFIG_ATTRS_SERVER]
        missing = [name for name in attributes if name not in WebSocketConnection.__dict__]
        self.assertEqual([], missing)


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
        self.assertEqual([], peer.frames())
        peer.receive(client_frame(0, b"", final=False))
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


class _Recorder(WebSocketConnection):
    """Keeps what comes of a stream, in its order."""

    maxMessagePayloadSize = 100_000  # noqa: N815  # Autobahn's name
    max_fragments = 4

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[tuple[object, ...]] = []
        self.runs = 0  # how often the fast lane was taken

    def message(self, payload: bytes, is_binary: bool) -> None:
        self.heard.append(("message", is_binary, payload))

    def messages(self, frames: list[bytes]) -> None:
        self.runs += 1
        self.heard += [("message", is_binary(frame), payload_of(frame)) for frame in frames]

    def ended(self, reason: CloseReason) -> None:
        self.heard.append(("ended", reason))


class _Wire(FakeTransport):
    """Keeps what its connection does to it, in order with what the connection hears."""

    protocol: _Recorder

    def write(self, data: bytes) -> None:
        self.protocol.heard.append(("wrote", data))
        super().write(data)

    def loseWriteConnection(self) -> None:  # noqa: N802
        self.protocol.heard.append(("finished",))
        super().loseWriteConnection()

    def loseConnection(self) -> None:
        self.protocol.heard.append(("finished",))
        super().loseConnection()

    def abortConnection(self) -> None:
        self.protocol.heard.append(("aborted",))
        super().abortConnection()


class FastLaneTests(SynchronousTestCase):
    """Small messages take a shorter way, and nobody can tell."""

    def setUp(self) -> None:
        self.factory = WebSocketFactory(Clock(), any_origin)
        self.factory.protocol = _Recorder

    def open(self, fast_lane: bool = True) -> tuple[_Recorder, _Wire]:
        """A connection whose upgrade was answered."""
        connection = self.factory.buildProtocol(None)
        assert isinstance(connection, _Recorder)
        wire = _Wire(connection)
        if not fast_lane:
            connection.fast_lane = False
        wire.receive(upgrade())
        connection.heard.clear()
        return connection, wire

    def outcome(self, pieces: list[bytes], fast_lane: bool) -> list[tuple[object, ...]]:
        """What comes of a stream, piece by piece, and how the connection stands in the end."""
        connection, wire = self.open(fast_lane)
        for piece in pieces:
            connection.heard.append(("came", len(piece)))
            wire.receive(piece)
        state = (connection.state, connection.failedByMe, connection.data, connection.inside_message)
        connection.heard.append((*state, connection.current_frame is None, wire.finished, wire.aborted))
        wire.hang_up()
        return connection.heard

    @settings(deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow], max_examples=examples(500))
    @given(data=streams(), lengths=cuts())
    def test_like_autobahn(self, data: bytes, lengths: tuple[int, ...]) -> None:
        """Whatever a client sends, however it is cut, the same comes of it, piece by piece, as with Autobahn alone."""
        pieces = cut(data, lengths)
        self.assertEqual(self.outcome(pieces, fast_lane=True), self.outcome(pieces, fast_lane=False))

    def test_taken(self) -> None:
        """Small messages take the fast lane in one go; larger ones do not, and those behind them do again."""
        connection, wire = self.open()
        wire.receive(client_frame(1, b"a") + client_frame(2, b"b" * 4096))
        self.assertEqual(connection.runs, 1)
        wire.receive(client_frame(2, b"c" * 4097) + client_frame(1, b"d") + client_frame(9) + client_frame(1, b"e"))
        self.assertEqual(connection.runs, 3)
        heard = [what[2] for what in connection.heard if what[0] == "message"]
        self.assertEqual(heard, [b"a", b"b" * 4096, b"c" * 4097, b"d", b"e"])

    def test_closed(self) -> None:
        """While it is closed nothing takes it."""
        connection, wire = self.open(fast_lane=False)
        wire.receive(client_frame(1, b"a") * 3)
        self.assertEqual((connection.runs, connection.heard), (0, [("message", False, b"a")] * 3))

    def test_within_a_frame(self) -> None:
        """The rest of a frame that began earlier is never taken for a message, even when it looks like one."""
        looks = client_frame(1, b"never said")
        for start in range(2, 16):
            # Its key is zero, so that what is sent is the payload.
            frame = raw_frame(0x82, b"12345678" + looks, key=bytes(4))
            connection, wire = self.open()
            wire.receive(frame[:start])
            self.assertEqual(connection.heard, [], f"{start=}")
            wire.receive(frame[start:])
            self.assertEqual((connection.runs, connection.heard), (0, [("message", True, b"12345678" + looks)]))

    def test_within_a_head(self) -> None:
        """The rest of the head of a frame is never taken for a message either."""
        connection, wire = self.open()
        frame = raw_frame(0x82, b"\0" * 0x8182, key=bytes(4))  # its length reads like the beginning of a short text
        wire.receive(frame[:2])
        wire.receive(frame[2:])
        self.assertEqual((connection.runs, connection.heard), (0, [("message", True, b"\0" * 0x8182)]))

    def test_within_a_payload(self) -> None:
        """The same holds when the cut is exactly where something that looks like a message begins."""
        looks = client_frame(1, b"never said")
        for payload in (looks, looks * 300):
            connection, wire = self.open()
            frame = raw_frame(0x82, payload, key=bytes(4))
            wire.receive(frame[: len(frame) - len(payload)])
            wire.receive(frame[len(frame) - len(payload) :])
            self.assertEqual((connection.runs, connection.heard), (0, [("message", True, payload)]))

    def test_within_a_message(self) -> None:
        """A new message before the last fragment of another is the fault it always was."""
        for between in (b"", client_frame(9)):
            connection, wire = self.open()
            wire.receive(client_frame(1, b"a", final=False) + between)
            wire.receive(client_frame(1, b"b"))
            self.assertEqual(connection.runs, 0)
            self.assertIn(("ended", CloseReason.PROTOCOL_ERROR), connection.heard)
            self.assertNotIn(("message", False, b"b"), connection.heard)

    def test_apart(self) -> None:
        """What is under way on one connection, messages, characters, frames, is nothing to another."""
        one, one_wire = self.open()
        one_wire.receive(client_frame(1, b"\xe2\x82", final=False) + client_frame(0, b"\xac rest")[:6])
        other, other_wire = self.open()
        other_wire.receive(client_frame(1, b"a", final=False) + client_frame(0, b"\xc3", final=False))
        other_wire.receive(client_frame(0, b"\xa4") + client_frame(1, b"b"))
        one_wire.receive(client_frame(0, b"\xac rest")[6:] + client_frame(1, b"c"))
        self.assertEqual(other.heard, [("message", False, "aä".encode()), ("message", False, b"b")])
        self.assertEqual(one.heard, [("message", False, "€ rest".encode()), ("message", False, b"c")])

    def test_behind_the_end(self) -> None:
        """Behind a close frame, theirs or ours, nothing takes it."""
        connection, wire = self.open()
        wire.receive(client_frame(8) + client_frame(1, b"a"))
        wire.receive(client_frame(1, b"b"))
        other, other_wire = self.open()
        other.close(CloseReason.TOO_SLOW)
        other_wire.receive(client_frame(1, b"c"))
        for one in (connection, other):
            self.assertEqual((one.runs, [what for what in one.heard if what[0] == "message"]), (0, []))


class MemberFastLaneTests(ConnectionTestCase):
    """The fast lane of connections that become members: their first frame takes it as well."""

    def test_first_frame(self) -> None:
        """A first frame and what is said behind it may come in one piece: it is all understood, in its order."""
        bob = self.join("bob")
        alice = self.open()
        alice.receive(header("alice") + b"".join(client_frame(2, bytes((number,))) for number in range(9)))
        self.end_turn()
        self.assertEqual([bytes((number,)) for number in range(9)], bob.messages())
        self.assertEqual(9, self.factory.metrics.total_messages_received)
        carol = self.join("carol")
        alice.receive(client_frame(1, b"later"))
        self.end_turn()
        self.assertEqual([[b"later"], [b"later"]], [bob.messages(), carol.messages()])

    def test_refused(self) -> None:
        """Behind a first frame that is refused nothing counts: no message, and no better first frame."""
        bob = self.join("bob")
        behind = [header("alice"), client_frame(1, b"hello"), header("alice")]
        for first, reason in (
            (client_frame(1, b"no header"), CloseReason.HEADER_NOT_JSON),
            (client_frame(2, b"{}"), CloseReason.HEADER_NOT_TEXT),
            (header("alice", auth="0"), CloseReason.AUTH_WRONG),
            (client_frame(1, b" " * 16385), CloseReason.HEADER_TOO_LARGE),
        ):
            for pieces in ([b"".join([first, *behind])], [first, *behind]):
                peer = self.open()
                for piece in pieces:
                    peer.receive(piece)
                self.assertClosed(peer, reason)
                peer.hang_up()
        self.end_turn()
        self.assertEqual([], bob.messages())
        self.assertEqual([bob.connection], list(self.registry.members))
        self.assertEqual(0, self.factory.metrics.total_messages_received)

    def test_while_joining(self) -> None:
        """While the holder of its uid is asked a newcomer's messages wait, and then come in their order."""
        bob, _, newcomer = self.join("bob"), self.join("alice"), self.open()
        newcomer.receive(header("alice") + client_frame(1, b"1"))
        newcomer.receive(client_frame(1, b"2") + client_frame(1, b"3")[:4])
        self.end_turn()
        self.assertEqual([], bob.messages())
        self.clock.advance(3)
        newcomer.receive(client_frame(1, b"3")[4:] + client_frame(1, b"4"))
        self.end_turn()
        self.assertEqual([b"1", b"2", b"3", b"4"], bob.messages())

    def outcome(self, pieces: list[bytes], fast_lane: bool) -> list[object]:
        """What a client gets and others get from it, piece by piece, with a channel of its own."""
        self.setUp()
        bob, peer = self.join("bob"), self.connect()
        if not fast_lane:
            peer.connection.fast_lane = False
        found: list[object] = []
        for piece in pieces:
            peer.receive(piece)
            self.clock.advance(0.01)
            found.append((bob.taken(), peer.taken(), peer.finished, peer.producerState))
        self.clock.advance(4)
        metrics = self.factory.metrics
        found.append((bob.taken(), peer.taken(), metrics.total_messages_received, metrics.total_errors))
        found.append(sorted(member.uid for member in self.registry.members))
        peer.hang_up()
        bob.hang_up()
        self.factory.stop()
        self.registry.stop()
        return found

    @settings(
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.too_slow],
        max_examples=examples(200),
    )
    @given(
        first=st.sampled_from(
            (
                *(header("alice"), header("bob"), header("alice", history=0), header("alice", receive=False)),
                *(b"", client_frame(1, b"no header"), client_frame(2, b"{}"), client_frame(9) + header("alice")),
            )
        ),
        data=streams(),
        lengths=cuts(),
    )
    def test_like_autobahn(self, first: bytes, data: bytes, lengths: tuple[int, ...]) -> None:
        """Whatever a client says first and then, and however it is cut, everybody gets what they get without it."""
        pieces = [upgrade(), *cut(first + data, lengths)]
        self.assertEqual(self.outcome(pieces, fast_lane=True), self.outcome(pieces, fast_lane=False))
        joined = upgrade() + first + data
        self.assertEqual(self.outcome([joined], fast_lane=True), self.outcome([joined], fast_lane=False))
