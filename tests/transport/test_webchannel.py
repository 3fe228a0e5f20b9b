"""twisted.web behind the door: one request at a time."""

from typing import Any

from .doorways import GET, DoorTestCase


class RequestTests(DoorTestCase):
    """What twisted.web gets to see of a connection."""

    def test_body(self) -> None:
        """A request with a body is refused before the body comes."""
        for line in (b"Content-Length: 5", b"Transfer-Encoding: chunked", b"Content-Length: 99999999999"):
            peer = self.connect()
            peer.receive(b"POST / HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n" + line + b"\r\n\r\n")
            self.assertEqual([b"413"], self.answers(peer))
            self.assertTrue(peer.finished)
            peer.receive(b"hello" + GET)
            self.assertEqual([], self.answers(peer))

    def test_nonsense(self) -> None:
        """What is no HTTP is answered with 400, and nothing of it is repeated."""
        for request in (
            b"evil\r\n\r\n",
            b"GET / HTTP/1.1\r\nevil\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: localhost\r\nevil: a\nb\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: localhost\r\nevil header: x\r\n\r\n",
        ):
            peer = self.connect()
            peer.receive(request)
            answer = peer.taken()
            self.assertTrue(answer.startswith(b"HTTP/1.1 400 "), request)
            self.assertNotIn(b"evil", answer)
            self.assertTrue(peer.finished)

    def test_connection_close(self) -> None:
        """A client that asks for it, or speaks HTTP/1.0, has its connection closed after the answer."""
        for request in (
            GET[:-2] + b"Connection: close\r\n\r\n",
            GET.replace(b"HTTP/1.1", b"HTTP/1.0"),
        ):
            peer = self.connect()
            peer.receive(request)
            self.assertIn(b"hello", peer.taken())
            self.assertTrue(peer.finished)

    def test_peer_vanishes(self) -> None:
        """A peer that vanishes while its page is being made leaves nothing behind."""
        peer = self.connect()
        peer.receive(GET.replace(b"localhost", b"late"))
        ended: list[Any] = []
        self.late.requests[0].notifyFinish().addErrback(ended.append)
        peer.hang_up()
        self.assertEqual(1, len(ended))
        self.assertEqual(set(), self.factory.doors)
