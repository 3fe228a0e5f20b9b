"""The client's side of a request that is passed on."""

from typing import Any

from h11 import NEED_DATA, Data, EndOfMessage, InformationalResponse, Response
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from mles_tx.web.clientside import CONTINUE_SECONDS, ClientSide
from mles_tx.web.upstream import MAX_PIECES
from tests.wire import split_answer

from .proxying import ask

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
EARLY = InformationalResponse(status_code=103, headers=[("Link", "x")], reason=b"Early Hints")


class ClientSideTests(SynchronousTestCase):
    """Requests of a client, and what it is sent."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.transport = StringTransport()

    def side(self, request: bytes) -> ClientSide:
        """A request whose head was read."""
        side = ClientSide(self.clock, self.transport)
        side.http.receive_data(request)
        head: Any = side.http.next_event()
        side.is_head = head.method == b"HEAD"
        return side

    def written(self, side: ClientSide) -> bytes:
        """What is written when all is flushed."""
        side.flush()
        data: bytes = self.transport.value()
        self.transport.clear()
        return data

    def test_answer(self) -> None:
        """An answer of an upstream goes out as it is, in one piece, and another request may follow."""
        side = self.side(ask() + b"rest")
        self.assertEqual(side.read(), (b"", EndOfMessage()))
        self.assertEqual((side.has_answer, side.is_over), (False, False))
        side.begin_answer(Response(status_code=200, headers=[("Content-Length", "2"), ("X", "y")], reason=b"Fine"))
        side.send(Data(data=b"ok"))
        side.send(EndOfMessage())
        self.assertEqual(self.transport.value(), b"")
        self.assertEqual(self.written(side), b"HTTP/1.1 200 Fine\r\nContent-Length: 2\r\nX: y\r\n\r\nok")
        self.assertEqual((side.has_answer, side.is_over, side.rest), (True, True, b"rest"))

    def test_own_answer(self) -> None:
        """One of our own says whether the connection can be used on, and has no body when none is asked for."""
        for request, is_over, body in (
            (ask(), True, b"Sorry.\n"),
            (ask(method="HEAD"), True, b""),
            (ask("/", "Content-Length: 5", method="PUT"), False, b"Sorry.\n"),
        ):
            side = self.side(request)
            side.read()
            side.answer(421, "Sorry.")
            head, found = split_answer(self.written(side))
            self.assertTrue(head.startswith(b"HTTP/1.1 421 Misdirected Request\r\n"), head)
            self.assertEqual((found, b"Connection: close" in head, side.is_over), (body, not is_over, is_over))

    def test_body(self) -> None:
        """A body is read a share at a time."""
        side = self.side(ask("/", "Transfer-Encoding: chunked", method="PUT") + b"1\r\na\r\n" * (MAX_PIECES + 1))
        body, event = side.read()
        self.assertEqual((body, type(event)), (b"a" * MAX_PIECES, Data))
        self.assertEqual(side.read(), (b"a", NEED_DATA))
        side.http.receive_data(b"0\r\n\r\n")
        self.assertEqual(side.read(), (b"", EndOfMessage()))

    def test_continue(self) -> None:
        """Who asks first is told after a second, once, and not when the upstream has answered meanwhile."""
        request = ask("/", "Content-Length: 2", "Expect: 100-continue", method="PUT")
        waits, told, answered = self.side(request), self.side(request), self.side(request)
        for side in (waits, told, answered):
            side.await_continue()
        told.inform(InformationalResponse(status_code=100, headers=[], reason=b""))
        self.assertEqual(self.written(told), CONTINUE)
        answered.begin_answer(Response(status_code=413, headers=[("Content-Length", "0")], reason=b""))
        self.assertIn(b" 413 ", self.written(answered))
        self.clock.advance(CONTINUE_SECONDS)
        self.assertEqual(self.written(waits), CONTINUE)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_nobody_asks(self) -> None:
        """Who does not ask is told nothing."""
        side = self.side(ask("/", "Content-Length: 2", method="PUT"))
        side.await_continue()
        side.say_continue()
        self.assertEqual((self.written(side), self.clock.getDelayedCalls()), (b"", []))

    def test_early(self) -> None:
        """Answers before the answer are for clients that know them."""
        for version, told in ((b"HTTP/1.1", True), (b"HTTP/1.0", False)):
            side = self.side(ask().replace(b"HTTP/1.1", version))
            side.inform(EARLY)
            self.assertEqual(self.written(side).startswith(b"HTTP/1.1 103 "), told)
