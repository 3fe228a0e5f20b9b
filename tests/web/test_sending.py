"""Long bodies on their way."""

import os
import tempfile
from collections.abc import Callable
from typing import Any

from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from mles_tx.transport.share import PIECE_BYTES, TurnShare
from mles_tx.web.hosts import make_site
from mles_tx.web.sending import Source, bytes_source, file_source, send
from tests.transport.fakes import FakeTransport, Turns

from .asking import WebTestCase, get

#: Three pieces and a bit.
BODY = bytes(range(250)) * (3 * PIECE_BYTES // 250 + 1) + b"the end"


class _Sender(Resource):
    """Sends something."""

    isLeaf = True

    def __init__(self, source: Source, places: range, share: TurnShare) -> None:
        super().__init__()
        self.source, self.places, self.share = source, places, share

    def render(self, request: Request) -> int:
        request.setHeader(b"content-length", b"%d" % len(self.places))
        send(request, self.source, self.places, self.share)
        return NOT_DONE_YET


class SendTests(WebTestCase):
    """A body that is sent a piece at a time, one piece in each turn."""

    def setUp(self) -> None:
        super().setUp()
        turns: Any = Turns(self.clock)
        self.share = TurnShare(turns, 1)

    def request(self, source: Source, places: range, more: bytes = b"") -> FakeTransport:
        """A client that has asked."""
        peer = self.connect(make_site({"localhost": _Sender(source, places, self.share)}))
        peer.receive(get(b"/") + more)
        return peer

    def body(self, peer: FakeTransport) -> bytes:
        """What it has got since the last look, without heads."""
        return peer.taken().partition(b"\r\n\r\n")[2]

    def test_places(self) -> None:
        """Exactly the places that were asked for are sent, from memory and from a file."""
        with tempfile.TemporaryFile() as opened:
            opened.write(BODY)
            opened.flush()
            for source in (bytes_source(BODY), file_source(opened.fileno())):
                for places in (
                    range(len(BODY)),
                    range(0),
                    range(1),
                    range(5, 7),
                    range(PIECE_BYTES),
                    range(1, PIECE_BYTES + 2),
                    range(len(BODY) - 3, len(BODY)),
                ):
                    peer = self.request(source, places)
                    self.finish()
                    self.assertTrue(self.body(peer) == BODY[places.start : places.stop], places)
                    self.assertIsNone(peer.producer if peer.producer is not peer.protocol else None)

    def test_a_piece_in_a_turn(self) -> None:
        """What is on its way has its share of a turn and no more, and others come in between."""
        first, second = (self.request(bytes_source(BODY), range(len(BODY))) for _ in range(2))
        got = [len(self.body(first)), len(second.taken().partition(b"\r\n\r\n")[2])]
        self.assertEqual(got, [PIECE_BYTES, 0])
        for _ in range(3):
            self.clock.advance(1)
            self.clock.advance(1)
            self.assertEqual([len(first.taken()) > 0, len(second.taken()) > 0], [True, True])

    def test_slow_client(self) -> None:
        """A client that takes nothing is sent nothing more until it does; then it goes on where it was."""
        reads: list[int] = []

        def source(place: int, length: int) -> bytes:
            reads.append(place)
            return BODY[place : place + length]

        peer = self.request(source, range(len(BODY)))
        peer.full = True
        self.finish()
        self.assertEqual(reads, [0, PIECE_BYTES], "the one it took, and the one that filled its connection")
        peer.drained()
        self.finish()
        self.assertTrue(self.body(peer) == BODY)
        self.assertEqual(reads, [0, PIECE_BYTES, 2 * PIECE_BYTES, 3 * PIECE_BYTES])

    def test_pause_while_it_waits(self) -> None:
        """A client that has enough when its turn comes is passed over; asked twice, it gets each piece once."""
        peer = self.request(bytes_source(BODY), range(len(BODY)))
        producer: Any = peer.protocol
        for _ in range(10):
            producer.pauseProducing()
            self.clock.advance(1)
        self.assertEqual(len(self.body(peer)), PIECE_BYTES)
        producer.resumeProducing()
        producer.pauseProducing()
        producer.resumeProducing()
        producer.resumeProducing()
        self.finish()
        self.assertTrue(peer.taken() == BODY[PIECE_BYTES:])

    def test_next_request(self) -> None:
        """When all is sent the next request on the connection is answered."""
        peer = self.request(bytes_source(BODY), range(len(BODY)), get(b"/"))
        self.finish()
        self.assertTrue(peer.taken().count(b"the end") == 2)

    def test_client_goes(self) -> None:
        """Nothing is read for a client that has gone."""
        reads: list[int] = []

        def source(place: int, length: int) -> bytes:
            reads.append(place)
            return BODY[place : place + length]

        peer = self.request(source, range(len(BODY)))
        peer.hang_up()
        self.finish()
        self.assertEqual(reads, [0])
        self.assertEqual(self.logged, [])

    def assert_cut(self, source: Callable[[int, int], bytes]) -> None:
        """The connection is cut in the middle, and no failure is logged."""
        peer = self.request(source, range(len(BODY)))
        self.finish()
        self.assertTrue(peer.aborted)
        self.assertEqual(len(self.body(peer)), PIECE_BYTES)
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_too_short(self) -> None:
        """When there is less than was promised the connection is cut, and so it is when reading fails."""
        self.assert_cut(lambda place, length: b"" if place else BODY[:length])
        self.assertEqual(self.logged, [])

        def fail(place: int, length: int) -> bytes:
            if place:
                raise OSError(5, os.strerror(5))
            return BODY[:length]

        self.assert_cut(fail)
        self.assertEqual(self.logged, ["a file could not be read to its end: Input/output error"])
