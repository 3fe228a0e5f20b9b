"""The fast lane of small messages: nobody can tell that they take it."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mles_tx.protocol.closing import CloseReason
from mles_tx.transport.origins import any_origin
from mles_tx.transport.websocket import WebSocketFactory
from tests import examples
from tests.streams import cut, cuts, raw_frame, streams
from tests.wire import client_frame, header, upgrade

from .peers import ConnectionTestCase
from .recording import Recorder, Wire


class FastLaneTests(SynchronousTestCase):
    """Small messages take a shorter way, and nobody can tell."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.factory = WebSocketFactory(self.clock, any_origin)
        self.factory.protocol = Recorder

    def open(self, fast_lane: bool = True) -> tuple[Recorder, Wire]:
        """A connection whose upgrade was answered."""
        connection = self.factory.buildProtocol(None)
        assert isinstance(connection, Recorder)
        wire = Wire(connection)
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
            self.clock.advance(0)
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

    def test_control(self) -> None:
        """A ping that comes alone or behind messages takes it as well, a second one does not; answers are the same."""
        connection, wire = self.open()
        parsed: list[bytes] = []
        parse = connection._dataReceived

        def note(data: bytes) -> None:
            parsed.append(data)
            parse(data)

        self.patch(connection, "_dataReceived", note)
        ping, pong = client_frame(9, b"x"), client_frame(10)
        for came, left in (
            (ping, None),
            (pong, None),
            (client_frame(1, b"a") + ping, None),
            (ping + ping, ping + ping),
            (ping + pong, ping + pong),
            (ping[:-1], ping[:-1]),
            (ping[-1:] + ping, ping[-1:] + ping),
        ):
            wire.receive(came)
            self.assertEqual(parsed.pop() if parsed else None, left, came)
        wrote = [what[1] for what in connection.heard if what[0] == "wrote"]
        self.assertEqual(wrote, [b"\x8a\x01x"] * 7)

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
        self.factory.headers, self.factory.more_headers = {}, b""  # they name this server, and no two are called alike
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
