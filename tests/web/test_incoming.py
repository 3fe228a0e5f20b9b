"""A request's head, understood strictly, and as an upstream is to get it."""

from h11 import SERVER, Connection
from twisted.trial.unittest import SynchronousTestCase

from mles_tx.protocol.forwarded import Client
from mles_tx.web.incoming import Incoming, Refusal, outgoing, read_head, understand
from mles_tx.web.pages import BAD_REQUEST
from tests.wire import upgrade

CLIENT = Client("10.0.0.7", "https")


def head(*lines: str, start: str = "POST /x HTTP/1.1") -> bytes:
    """A head with a Host."""
    return "\r\n".join((start, "Host: localhost", *lines)).encode("latin-1") + b"\r\n\r\n"


def understood(data: bytes) -> Incoming:
    """What is understood of a head."""
    http = Connection(SERVER)
    return understand(http, read_head(http, data))


#: Head, and whether it has no body, asks for WebSocket, may be sent twice, and asks whether to send the body.
GOOD = (
    (head(start="GET /x HTTP/1.1"), (True, False, True, False)),
    (head(start="HEAD /x HTTP/1.0"), (True, False, True, False)),
    (head(start="DELETE /x HTTP/1.1"), (True, False, True, False)),
    (head(), (True, False, False, False)),
    (head("Content-Length: 0"), (True, False, False, False)),
    (head("Content-Length: 0", start="PUT /x HTTP/1.1"), (True, False, True, False)),
    (head("Content-Length: 5", start="PUT /x HTTP/1.1"), (False, False, False, False)),
    (head("Content-Length: 5", start="GET /x HTTP/1.1"), (False, False, False, False)),
    (head("Transfer-Encoding: Chunked", start="GET /x HTTP/1.1"), (False, False, False, False)),
    (head("Content-Length: 5", "Expect: 100-Continue"), (False, False, False, True)),
    (head("Content-Length: 5", "Expect: 100-continue", start="POST /x HTTP/1.0"), (False, False, False, False)),
    (upgrade(), (True, True, False, False)),
    (upgrade().replace(b"GET", b"POST"), (True, False, False, False)),
    (upgrade().replace(b"HTTP/1.1", b"HTTP/1.0"), (True, False, True, False)),
    (upgrade().replace(b"websocket\r\n", b"h2c\r\n", 1), (True, False, True, False)),
    (upgrade("Content-Length: 5"), (False, False, False, False)),
)

#: Head, status.
BAD = (
    (head("Content-Length: 5", "Content-Length: 5"), 400),
    (head("Content-Length: 5, 5"), 400),
    (head("Content-Length: 5", "Transfer-Encoding: chunked"), 400),
    (head("Content-Length: 5", "content_length: 5"), 400),
    (head("Transfer-Encoding: chunked", "Transfer_Encoding: x"), 400),
    (head("Content-Length: 5x"), 400),
    (head("Content-Length: "), 400),
    (head("Transfer-Encoding: gzip"), 501),
    (head("Transfer-Encoding: chunked", start="POST /x HTTP/1.0"), 400),
    (head("X: a\nY: b"), 400),
    (head("X: a\rY: b"), 400),
    (head("X: a\x00b"), 400),
    (head("X : a"), 400),
    (head(" X: a", start="POST /x HTTP/1.1\r\nX: y").replace(b"Host", b"(Host"), 400),
    (head(start="CONNECT /x HTTP/1.1"), 400),
    (head(start="GET /x HTTP/0.9"), 400),
    (head(start="GET /x HTTP/2.0"), 400),
    (head(start="GET /x"), 400),
    (head(start="GET  /x HTTP/1.1"), 400),
    (head(start="GET /x y HTTP/1.1"), 400),
    (head("Host: localhost"), 400),
)


class UnderstandTests(SynchronousTestCase):
    """What is understood."""

    def test_good(self) -> None:
        """A usual request tells what has to be known of it."""
        for data, expected in GOOD:
            found = understood(data)
            self.assertEqual((found.is_whole, found.is_upgrade, found.is_repeatable, found.expects), expected, data)

    def test_bad(self) -> None:
        """What could be understood in two ways is refused."""
        for data, status in BAD:
            refusal = self.assertRaises(Refusal, understood, data)
            self.assertEqual((refusal.status, refusal.text), (status, BAD_REQUEST.text), data)


class OutgoingTests(SynchronousTestCase):
    """What an upstream gets."""

    def test_framing(self) -> None:
        """The length goes on, chunks are announced anew; a question only when somebody waits for its answer."""
        asks = "Expect: 100-continue"
        for data, fields in (
            (head("Content-Length: 5"), [(b"content-length", b"5")]),
            (head("Transfer-Encoding: CHUNKED"), [(b"transfer-encoding", b"chunked")]),
            (head("Content-Length: 5", asks), [(b"content-length", b"5"), (b"expect", b"100-continue")]),
            (head(asks, start="POST /x HTTP/1.0"), []),
            (head(), []),
        ):
            sent = outgoing(understood(data), b"/v1/x", CLIENT)
            own = [field for field in sent.headers if not field[0].startswith(b"x-forwarded") and field[0] != b"host"]
            self.assertEqual((sent.method, sent.target, own), (b"POST", b"/v1/x", fields))
            self.assertIn((b"x-forwarded-for", b"10.0.0.7"), list(sent.headers))
