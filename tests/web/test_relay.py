"""One request, passed on: how it goes there, what comes back, and how long each part may take."""

import gc
import weakref

from twisted.internet.interfaces import ISSLTransport

from mles_tx.protocol.closing import CloseReason
from mles_tx.protocol.frames import client_close_frame, close_frame
from mles_tx.web.clientside import CONTINUE_SECONDS
from mles_tx.web.pool import CONNECT_SECONDS
from mles_tx.web.progress import IDLE_LOOKS, LOOK_SECONDS, MIN_BYTES, SILENT_LOOKS
from mles_tx.web.upstream import MAX_PIECES
from tests.wire import client_frame, header, split_answer, upgrade

from .proxying import Peer, ProxyTestCase, ask

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
PUT = ask("/api/x", "Content-Length: 1000000", method="PUT")
CHUNKED = ask("/api/x", "Transfer-Encoding: chunked", method="POST")
EXPECTS = ask("/api/x", "Content-Length: 2", "Expect: 100-continue", method="PUT")
UPGRADE = upgrade(path="/api/ws", protocol="chat")
SWITCHING = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n"
)
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


def status(peer: Peer) -> bytes:
    """The status of the answer since the last look; nothing when there was none."""
    return peer.taken()[9:12]


class PassedOnTests(ProxyTestCase):
    """From the client to the upstream, and back."""

    def test_exchange(self) -> None:
        """A request goes on, and its answer comes back; the connection goes on as it was."""
        client, upstream = self.exchange(ask("/api/x?y", "X: z"))
        self.assertEqual(
            upstream.taken(),
            b"GET /api/x?y HTTP/1.1\r\nHost: localhost\r\nX: z\r\nX-Forwarded-For: 192.168.1.1\r\n"
            b"X-Forwarded-Proto: http\r\nX-Forwarded-Host: localhost\r\n\r\n",
        )
        upstream.receive_by_byte(OK)
        self.assertEqual(client.taken(), OK)
        client.receive(ask("/"))
        self.assertIn(b"a page", client.taken())
        client.receive(ask("/api/x"))
        self.assertTrue(upstream.taken().startswith(b"GET /api/x HTTP/1.1\r\n"), "the same connection is used again")
        self.assert_nothing_left()

    def test_over_tls(self) -> None:
        """A request over TLS says so."""
        client = Peer(self.door.buildProtocol(None), ISSLTransport)
        client.protocol.handshakeCompleted()
        client.receive(ask())
        self.assertIn(b"X-Forwarded-Proto: https\r\n", self.accept().taken())

    def test_body(self) -> None:
        """A body goes on piece by piece as it comes, from before the connection was there on."""
        client = self.connect(PUT + b"first")
        self.assertFalse(client.is_read, "before the upstream takes it nothing more is read")
        upstream = self.accept()
        self.assertTrue(client.is_read)
        self.assertEqual(split_answer(upstream.taken())[1], b"first")
        client.receive(b"second")
        self.assertEqual(upstream.taken(), b"second")
        client.receive(b"x" * (1000000 - 11) + ask("/"))
        self.assertEqual(len(upstream.taken()), 1000000 - 11)
        upstream.receive(OK)
        self.assertIn(b"ok", taken := client.taken())
        self.assertIn(b"a page", taken)

    def test_chunks(self) -> None:
        """Chunks are put together anew, and their extensions and trailers stay behind."""
        client, upstream = self.exchange(CHUNKED + b"1;ext=x\r\na\r\n2\r\nbc\r\n3\r\nd")
        head, body = split_answer(upstream.taken())
        self.assertIn(b"\r\nTransfer-Encoding: chunked", head)
        self.assertEqual(body, b"4\r\nabcd\r\n")
        client.receive(b"ef\r\n0\r\nX-Trailer: x\r\n\r\n")
        self.assertEqual(upstream.taken(), b"2\r\nef\r\n0\r\n\r\n")

    def test_pace_of_upstream(self) -> None:
        """A client is read as fast as the upstream takes its body."""
        client, upstream = self.exchange(PUT)
        upstream.full = True
        client.receive(b"x" * 1000)
        self.assertFalse(client.is_read)
        upstream.drained()
        self.assertTrue(client.is_read)
        client.receive(b"x" * 999000)
        upstream.full = True
        upstream.receive(OK)
        self.assertTrue(client.is_read)

    def test_pace_of_client(self) -> None:
        """An upstream is read as fast as the client takes the answer."""
        client, upstream = self.exchange(ask())
        client.full = True
        upstream.receive(b"HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n\r\n" + b"x" * 1000)
        self.assertFalse(upstream.is_read)
        client.drained()
        self.assertTrue(upstream.is_read)
        client.full = True
        upstream.receive(b"x" * 1000)
        self.assertTrue(upstream.is_read, "whoever uses it next is not held up")

    def test_answers_nobody_reads(self) -> None:
        """A client that reads none of its answers gets no further ones, whoever makes them; nor is it read."""
        client, upstream = self.exchange(ask() * 3 + ask(host="elsewhere.example") + ask("/"))
        client.full = True
        for count in range(1, 4):
            upstream.receive(OK)
            self.assertEqual(upstream.taken().count(b"GET"), 1)
            self.assertEqual(client.taken(), OK)
            client.receive(b"x" * 20000)
            self.assertFalse(client.is_read)
            if count < 3:
                client.drained()
                client.full = True
        client.drained()
        self.assertEqual(client.taken().count(b"HTTP/1.1"), 3)

    def test_last_answer_nobody_reads(self) -> None:
        """A client that does not take the end of its answer is cut off, one that is slow is not."""
        for taken, cut in ((MIN_BYTES, False), (MIN_BYTES - 1, True)):
            client, upstream = self.exchange(ask())
            client.full = True
            upstream.receive(OK)
            self.assertTrue(upstream.is_read)
            for _ in range(20):
                client.bytes_acknowledged += taken
                self.reactor.advance(LOOK_SECONDS)
            self.assertEqual(client.aborted, cut)
        self.assert_nothing_left()

    def test_many_pieces(self) -> None:
        """A body in tiny pieces is passed on a share at a time, so that others have their turns."""
        chunks = b"1\r\na\r\n" * (3 * MAX_PIECES)
        client, upstream = self.exchange(CHUNKED)
        upstream.taken()
        upstream.receive(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks)
        client.receive(chunks + b"0\r\n\r\n" + ask("/"))
        share = b"c8\r\n" + b"a" * MAX_PIECES + b"\r\n"
        self.assertEqual((client.is_read, upstream.is_read), (False, False))
        self.assertTrue(client.taken().endswith(b"\r\n\r\n" + share))
        self.assertEqual(upstream.taken(), share)
        client.full = upstream.full = True
        self.reactor.advance(0)  # this clock takes all turns in one
        self.assertEqual((client.is_read, upstream.is_read), (True, False), "the request is whole, the answer is not")
        self.assertEqual((client.taken(), upstream.taken()), (share * 2, share * 2 + b"0\r\n\r\n"))
        client.drained()
        upstream.drained()
        self.assertEqual((client.is_read, upstream.is_read), (True, True))
        upstream.receive(b"0\r\n\r\n")
        self.assertTrue(client.taken().startswith(b"0\r\n\r\nHTTP/1.1 200 OK\r\n"))
        self.assert_nothing_left()

    def test_many_pieces_and_an_end(self) -> None:
        """When either side goes in between, there is no next share."""
        chunks = b"1\r\na\r\n" * (3 * MAX_PIECES)
        client, upstream = self.exchange(CHUNKED + chunks)
        client.hang_up()
        self.assertTrue(upstream.aborted)
        client, upstream = self.exchange(ask())
        upstream.receive(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks)
        upstream.reset()
        self.assertTrue(client.aborted)
        self.reactor.advance(0)
        self.assertEqual(len(self.logged), 1)
        self.assert_nothing_left()

    def test_both_at_once(self) -> None:
        """The answer may come while the body is still on its way; a client that sends on is let go when it ends."""
        client, upstream = self.exchange(PUT)
        upstream.receive(OK[:-2])
        self.assertEqual(client.taken(), OK[:-2])
        client.receive(b"more")
        self.assertTrue(upstream.taken().endswith(b"more"))
        upstream.receive(b"ok")
        self.assertEqual((client.taken(), client.finished, upstream.aborted), (b"ok", True, True))

    def test_ahead(self) -> None:
        """What a client sends ahead of its answers waits, and a client that sends much ahead is not read."""
        client, upstream = self.exchange(ask())
        client.receive(ask("/"))
        self.assertTrue(client.is_read)
        client.receive(ask("/", "X: " + "x" * 9000))
        client.receive(ask("/", "X: " + "x" * 9000))
        self.assertFalse(client.is_read)
        upstream.receive(OK)
        self.assertEqual(client.taken().count(b"a page"), 3)
        self.assertTrue(client.is_read)

    def test_framing_of_answers(self) -> None:
        """Answers with a length, in chunks, until the end, and without a body: each arrives as a whole."""
        for method, answer, expected in (
            (
                "GET",
                b"200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX: y\r\n\r\n",
                b"\r\n\r\n2\r\nok\r\n0\r\n\r\n",
            ),
            (
                "GET",
                b"200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 9\r\n\r\n2\r\nok\r\n0\r\n\r\n",
                b"2\r\nok\r\n0\r\n\r\n",
            ),
            ("GET", b"200 OK\r\n\r\nok", b"2\r\nok\r\n0\r\n\r\n"),
            ("HEAD", b"200 OK\r\nContent-Length: 99\r\n\r\n", b"Content-Length: 99\r\n\r\n"),
            (
                "GET",
                b"304 Not Modified\r\nContent-Length: 99\r\nETag: x\r\n\r\n",
                b"Content-Length: 99\r\nETag: x\r\n\r\n",
            ),
            ("GET", b"204 No Content\r\nContent-Length: 0\r\n\r\n", b"204 No Content\r\n\r\n"),
            ("DELETE", b"200\r\nContent-Length: 0\r\n\r\n", b"Content-Length: 0\r\n\r\n"),
        ):
            client, upstream = self.exchange(ask(method=method))
            upstream.receive(b"HTTP/1.1 " + answer)
            if expected == b"2\r\nok\r\n0\r\n\r\n" and b"Transfer" not in answer:
                upstream.end()
            taken = client.taken()
            self.assertTrue(taken.endswith(expected), (answer, taken))
            self.assertFalse(client.finished)
            client.receive(ask("/"))
            self.assertIn(b"a page", client.taken())
            self.reactor.advance(10)

    def test_old_client(self) -> None:
        """A client of HTTP/1.0 gets no chunks: its answer ends with the connection."""
        client, upstream = self.exchange(ask().replace(b"HTTP/1.1", b"HTTP/1.0"))
        self.assertTrue(upstream.taken().startswith(b"GET /api/x HTTP/1.1\r\n"))
        upstream.receive(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n")
        self.assertTrue(client.taken().endswith(b"Connection: close\r\n\r\nok"))
        self.assertTrue(client.finished)

    def test_wants_to_close(self) -> None:
        """A client that asks for it has its connection closed; the upstream's stays."""
        client, upstream = self.exchange(ask("/api/x", "Connection: close"))
        upstream.receive(OK)
        self.assertTrue(client.finished)
        self.assertEqual((upstream.finished, upstream.aborted), (False, False))

    def test_informed(self) -> None:
        """Hints before the answer come through; old clients, who do not know them, get none."""
        hints = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\nConnection: y\r\n\r\n"
        for version, count in ((b"HTTP/1.1", 2), (b"HTTP/1.0", 0)):
            client, upstream = self.exchange(ask().replace(b"HTTP/1.1", version))
            upstream.receive(hints * 2 + CONTINUE + OK)
            taken = client.taken()
            self.assertEqual((taken.count(b"103 Early Hints\r\nLink: </x>\r\n\r\n"), taken.count(b"100")), (count, 0))
            self.reactor.advance(10)

    def test_expect(self) -> None:
        """A client that asks first is answered by the upstream: to go on, or not to."""
        client, upstream = self.exchange(EXPECTS)
        self.assertIn(b"\r\nExpect: 100-continue\r\n", upstream.taken())
        self.assertEqual(client.taken(), b"")
        upstream.receive(CONTINUE)
        self.assertEqual(client.taken(), CONTINUE)
        client.receive(b"hi")
        self.assertEqual(upstream.taken(), b"hi")
        upstream.receive(OK)
        self.assertEqual(client.taken(), OK)
        client, upstream = self.exchange(EXPECTS)
        upstream.receive(b"HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n")
        self.assertEqual(status(client), b"417")
        self.assertTrue(client.finished)
        self.reactor.advance(CONTINUE_SECONDS)
        self.assertEqual(client.taken(), b"")

    def test_expect_unheard(self) -> None:
        """An upstream that does not know the question is not waited for; nobody is told what he did not ask."""
        client, _ = self.exchange(EXPECTS)
        self.reactor.advance(CONTINUE_SECONDS)
        self.assertEqual(client.taken(), CONTINUE)
        client, upstream = self.exchange(EXPECTS + b"hi")
        self.assertEqual(split_answer(upstream.taken())[1], b"hi")
        self.reactor.advance(CONTINUE_SECONDS)
        self.assertEqual(client.taken(), b"")
        client, upstream = self.exchange(EXPECTS.replace(b"HTTP/1.1", b"HTTP/1.0"))
        self.assertNotIn(b"Expect", upstream.taken())


class RefusedTests(ProxyTestCase):
    """What is not passed on."""

    def test_bad_body(self) -> None:
        """Chunks that are none end the request: the upstream is cut off before it takes it for whole."""
        client, upstream = self.exchange(CHUNKED + b"2\r\nok\r\n")
        client.receive(b"2\r\nokXX0\r\n\r\n" + ask("/"))
        self.assertEqual((status(client), client.finished, upstream.aborted), (b"400", True, True))
        self.assertNotIn(b"0\r\n\r\n", upstream.taken())
        client, upstream = self.exchange(CHUNKED)
        upstream.receive(OK[:-2])
        client.receive(b"XX\r\n")
        self.assertEqual((client.aborted, upstream.aborted), (True, True))

    def test_unknown_coding(self) -> None:
        """A body in a coding nobody knows is refused, and so is a request that says twice where it ends."""
        for line, code in (
            ("Transfer-Encoding: gzip", b"501"),
            ("Transfer-Encoding: chunked\r\nContent-Length: 5", b"400"),
            ("Content-Length: 5\r\nContent-Length: 5", b"400"),
            ("Content-Length: 5,5", b"400"),
            ("content_length: 5\r\nContent-Length: 5", b"400"),
            ("Content-Length: " + "9" * 30, b"400"),
        ):
            client = self.connect(ask("/api/x", line, method="POST") + b"0\r\n\r\n" + ask("/"))
            answer = client.taken()
            self.assertEqual((answer[9:12], answer.count(b"HTTP/1.1"), client.finished), (code, 1, True), line)
        self.assertEqual(self.opening, [])

    def test_head(self) -> None:
        """A refusal of HEAD has no body either, whatever it was refused for."""
        client = self.connect(ask(host="elsewhere.example", method="HEAD") + ask("/"))
        self.assertIn(b"Content-Length: 34\r\n\r\nHTTP/1.1 200 OK", client.taken())
        for head in (
            ask(method="HEAD").replace(b"HTTP/1.1", b"HTTP/2.1"),
            ask("/api/x", "Transfer-Encoding: chunked", method="HEAD").replace(b"HTTP/1.1", b"HTTP/1.0"),
        ):
            client = self.connect(head)
            answer, body = split_answer(client.taken())
            self.assertEqual((answer[:12], body, client.finished), (b"HTTP/1.1 400", b"", True))


class FailureTests(ProxyTestCase):
    """Upstreams that do not do what they should, and clients that do not."""

    def test_refuses(self) -> None:
        """Nobody listens: 502, and the client may ask for something else on the same connection."""
        client = self.connect(ask())
        self.refuse()
        answer = client.taken()
        self.assertTrue(answer.startswith(b"HTTP/1.1 502 Bad Gateway\r\n"))
        self.assertTrue(answer.endswith(b"\r\n\r\nThe server behind this address does not answer as it should.\n"))
        client.receive(ask("/"))
        self.assertEqual(status(client), b"200")
        self.assertEqual(self.logged, ["proxy: http://127.0.0.1:3000 did not accept a connection"])

    def test_refuses_body(self) -> None:
        """The same for a request whose body is not all there: its connection is closed."""
        client = self.connect(PUT)
        self.refuse()
        self.assertIn(b"\r\nConnection: close\r\n", answer := client.taken())
        self.assertEqual((answer[9:12], client.finished, client.is_read), (b"502", True, True))

    def test_does_not_connect(self) -> None:
        """A connection that does not come about is given up: 504."""
        client = self.connect(ask())
        self.reactor.advance(CONNECT_SECONDS)
        self.assertEqual(status(client), b"504")
        self.assertEqual(self.logged, ["proxy: http://127.0.0.1:3000 did not accept a connection in time"])
        self.assert_nothing_left()

    def test_silent(self) -> None:
        """An upstream that has the whole request and says nothing for a minute: 504."""
        client, upstream = self.exchange(ask())
        self.reactor.advance(LOOK_SECONDS - 1)
        self.assertEqual(client.taken(), b"")
        self.reactor.advance(1)
        self.assertEqual((status(client), upstream.aborted, client.finished), (b"504", True, False))

    def test_silent_after_upload(self) -> None:
        """The minute begins with the end of the body."""
        client, upstream = self.exchange(PUT)
        for _ in range(50):
            client.receive(b"x" * 20000)
            self.reactor.advance(LOOK_SECONDS - 1)
        self.assertEqual(client.taken(), b"")
        self.reactor.advance(1)
        self.assertEqual((status(client), upstream.aborted), (b"504", True))

    def test_broken(self) -> None:
        """What breaks off before its head, or is no HTTP, is 502."""
        for data in (
            b"",
            b"HTTP/1.1 200 OK\r\nContent-",
            b"220 mail ESMTP\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nbad header: x\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70000,
            b"HTTP/1.1 99 Low\r\n\r\n",
            SWITCHING,
        ):
            client, upstream = self.exchange(ask())
            if data:
                upstream.receive(data)
            upstream.reset()
            self.assertEqual(status(client), b"502", data[:40])
            self.assertFalse(client.finished)
        self.assertEqual(len(self.logged), 1)
        self.assert_nothing_left()

    def test_broken_off(self) -> None:
        """An answer that breaks off breaks off for the client as well."""
        for answer in (
            b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        ):
            for end in (Peer.end, Peer.reset):
                client, upstream = self.exchange(ask())
                upstream.receive(answer)
                end(upstream)
                self.assertTrue(client.taken().endswith((b"half", b"4\r\nhalf\r\n")))
                self.assertTrue(client.aborted)
        client, upstream = self.exchange(ask())
        upstream.receive(b"HTTP/1.1 200 OK\r\n\r\nhalf")
        upstream.reset()
        self.assertTrue(client.aborted, "a reset is no end of an answer without a length")

    def test_bad_chunk_of_answer(self) -> None:
        """So does one that is no longer HTTP."""
        client, upstream = self.exchange(ask())
        upstream.receive(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nXX\r\n")
        self.assertEqual((client.aborted, upstream.aborted), (True, True))

    def test_silent_within_answer(self) -> None:
        """An answer may pause for minutes, but not for ever."""
        client, upstream = self.exchange(ask())
        upstream.receive(b"HTTP/1.1 200 OK\r\n\r\n")
        for _ in range(3):
            upstream.receive(b"x")
            self.reactor.pump([LOOK_SECONDS] * (SILENT_LOOKS - 1))
            self.assertFalse(client.aborted)
        self.reactor.pump([LOOK_SECONDS] * 2)
        self.assertEqual((client.aborted, upstream.aborted), (True, True))
        self.assert_nothing_left()

    def test_client_that_does_not_read(self) -> None:
        """A client that takes next to nothing of its answer is cut off; a slow one is not."""
        for taken, cut in ((MIN_BYTES, False), (MIN_BYTES - 1, True)):
            client, upstream = self.exchange(ask())
            client.full = True
            upstream.receive(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 100000)
            for _ in range(20):
                client.bytes_acknowledged += taken
                self.reactor.advance(LOOK_SECONDS)
            self.assertEqual((client.aborted, upstream.aborted), (cut, cut))

    def test_slow_upload(self) -> None:
        """A body that crawls is refused; one that is slow may take hours."""
        for came, code in ((MIN_BYTES, b""), (60, b"408")):
            client, upstream = self.exchange(PUT)
            for _ in range(300):
                client.receive(b"x" * came)
                self.reactor.advance(LOOK_SECONDS)
            self.assertEqual((status(client), client.finished, upstream.aborted), (code, bool(code), bool(code)))
            client.hang_up()

    def test_upload_nobody_takes(self) -> None:
        """An upstream that takes nothing of a body for a minute has failed: 504; a slow one has not."""
        for taken, code in ((MIN_BYTES, b""), (1, b"504")):
            client, upstream = self.exchange(PUT)
            upstream.full = True
            client.receive(b"x" * 10000)
            self.reactor.advance(LOOK_SECONDS - 1)
            for _ in range(20):
                upstream.bytes_acknowledged += taken
                self.reactor.advance(LOOK_SECONDS)
            self.assertEqual((status(client), upstream.aborted), (code, bool(code)))
            client.hang_up()

    def test_client_goes(self) -> None:
        """A client that goes takes its request along, at every moment."""
        waiting = self.connect(ask())
        waiting.hang_up()
        self.assertEqual(self.proxy.upstreams.opening, 0)
        for data, answer in ((ask(), b""), (PUT + b"x", b""), (ask(), OK[:-1]), (PUT, OK[:-1]), (EXPECTS, b"")):
            client, upstream = self.exchange(data)
            if answer:
                upstream.receive(answer)
            client.hang_up()
            self.assertTrue(upstream.aborted, (data, answer))
        self.assertEqual(self.logged, [])
        self.assert_nothing_left()

    def test_used_connection_is_closed(self) -> None:
        """A connection that turns out to be closed when it is used again is replaced by another one, once."""
        client, upstream = self.exchange(ask())
        upstream.receive(OK)
        client.receive(ask())
        upstream.reset()
        fresh = self.accept()
        self.assertEqual(len(self.opening), 2)
        self.assertTrue(fresh.taken().startswith(b"GET /api/x "))
        client.taken()
        fresh.reset()
        self.assertEqual((status(client), len(self.opening)), (b"502", 2))

    def test_not_sent_twice(self) -> None:
        """What may not be sent twice goes over a new connection; and what was answered in part is not sent again."""
        client, upstream = self.exchange(ask())
        upstream.receive(OK)
        client.taken()
        for request in (
            ask(method="POST"),
            ask(method="PATCH"),
            ask("/api/x", "Content-Length: 2", method="PUT") + b"hi",
        ):
            before = len(self.opening)
            other, fresh = self.exchange(request)
            self.assertEqual(len(self.opening), before + 1)
            fresh.reset()
            self.assertEqual((status(other), len(self.opening)), (b"502", before + 1))
        before = len(self.opening)
        client.receive(ask())
        upstream.receive(b"HTTP/1.1")
        upstream.reset()
        self.assertEqual((status(client), len(self.opening)), (b"502", before))


class SplicedTests(ProxyTestCase):
    """WebSocket."""

    def switched(self) -> tuple[Peer, Peer]:
        """A client and an upstream that have switched to WebSocket."""
        client, upstream = self.exchange(UPGRADE)
        upstream.taken()
        upstream.receive(SWITCHING)
        client.taken()
        return client, upstream

    def test_switch(self) -> None:
        """An upgrade goes to the upstream, with what belongs to it, and its answer comes back."""
        client, upstream = self.exchange(UPGRADE)
        head = upstream.taken()
        self.assertTrue(head.startswith(b"GET /api/ws HTTP/1.1\r\nHost: localhost\r\nSec-WebSocket-Key: "))
        self.assertIn(b"\r\nSec-WebSocket-Protocol: chat\r\n", head)
        self.assertTrue(head.endswith(b"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"))
        client.receive(b"early")
        upstream.receive(SWITCHING + b"greeting")
        self.assertEqual(
            client.taken(),
            b"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: x\r\n"
            b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\ngreeting",
        )
        self.assertEqual(upstream.taken(), b"early")
        client.receive(b"\x81\x01a\r\n\r\n")
        upstream.receive(b"HTTP/1.1 200 OK\r\n\r\n")
        self.assertEqual((upstream.taken(), client.taken()), (b"\x81\x01a\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n"))

    def test_declined(self) -> None:
        """Another answer is passed on like any other, and the connection goes on."""
        client, upstream = self.exchange(UPGRADE)
        upstream.receive(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
        self.assertEqual(client.taken(), b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
        client.receive(upgrade() + header("alice"))
        self.assertEqual(status(client), b"101")
        self.assertEqual([member.uid for member in self.mles.registry.members], ["alice"])

    def test_not_an_upgrade(self) -> None:
        """What is not a WebSocket upgrade goes on as a plain request."""
        for request in (
            UPGRADE.replace(b"GET", b"POST"),
            UPGRADE.replace(b"HTTP/1.1", b"HTTP/1.0"),
            UPGRADE.replace(b"websocket", b"h2c"),
            UPGRADE.replace(b"Connection: Upgrade", b"X: y"),
            UPGRADE.replace(b"Upgrade\r\n", b"Upgrade\r\nContent-Length: 2\r\n") + b"hi",
        ):
            client, upstream = self.exchange(request)
            self.assertNotIn(b"\r\nUpgrade:", upstream.taken(), request)
            upstream.receive(SWITCHING)
            self.assertEqual(status(client), b"502")

    def test_pace(self) -> None:
        """Each side is read as fast as the other one takes it."""
        client, upstream = self.switched()
        client.full = True
        upstream.receive(b"x")
        self.assertEqual((client.is_read, upstream.is_read), (True, False))
        upstream.full = True
        client.receive(b"x")
        self.assertEqual((client.is_read, upstream.is_read), (False, False))
        client.drained()
        upstream.drained()
        self.assertEqual((client.is_read, upstream.is_read), (True, True))

    def test_upstream_ends_first(self) -> None:
        """The end of one side reaches the other, which may finish what it has to say."""
        client, upstream = self.switched()
        upstream.receive(b"bye")
        upstream.end()
        self.assertEqual((client.taken(), client.finished, upstream.finished), (b"bye", True, False))
        client.receive(b"bye, too")
        self.assertEqual(upstream.taken(), b"bye, too")
        client.protocol.readConnectionLost()
        self.assertTrue(upstream.finished)
        client.hang_up()
        upstream.hang_up()
        self.assertEqual(self.logged, [])
        self.assert_nothing_left()

    def test_client_ends_first(self) -> None:
        """The same the other way round."""
        client, upstream = self.switched()
        client.receive(b"bye")
        client.protocol.readConnectionLost()
        self.assertEqual((upstream.taken(), upstream.finished, client.finished), (b"bye", True, False))
        upstream.receive(b"bye, too")
        upstream.end()
        self.assertEqual((client.taken(), client.finished), (b"bye, too", True))

    def test_one_side_vanishes(self) -> None:
        """When one side breaks off the other one is closed, with what was on its way."""
        client, upstream = self.switched()
        client.reset()
        self.assertEqual((upstream.finished, upstream.aborted), (True, False))
        client, upstream = self.switched()
        upstream.reset()
        self.assertEqual((client.finished, client.aborted), (True, False))
        client, upstream = self.switched()
        upstream.full = True
        client.receive(b"x")
        client.reset()
        self.assertTrue(upstream.aborted, "it takes nothing: there is no waiting for it")
        self.reactor.advance(30)
        self.assert_nothing_left()

    def test_half_closed_for_long(self) -> None:
        """A side that says nothing and does not go after the other one has ended is cut off."""
        client, upstream = self.switched()
        upstream.end()
        self.reactor.pump([LOOK_SECONDS] * 2)
        self.assertEqual((client.aborted, upstream.aborted), (True, True))

    def test_idle(self) -> None:
        """A WebSocket may be silent for an hour, and then has to be given up."""
        client, upstream = self.switched()
        for _ in range(3):
            client.receive(b"x")
            self.reactor.pump([LOOK_SECONDS] * (IDLE_LOOKS - 1))
            upstream.receive(b"x")
            self.reactor.pump([LOOK_SECONDS] * (IDLE_LOOKS - 1))
        self.assertFalse(client.aborted)
        self.reactor.pump([LOOK_SECONDS] * 2)
        self.assertEqual((client.aborted, upstream.aborted), (True, True))

    def test_side_that_does_not_read(self) -> None:
        """A side that takes nothing is cut off, whichever it is, while the other one talks."""
        for index in (0, 1):
            pair = self.switched()
            deaf, other = pair[index], pair[1 - index]
            deaf.full = True
            other.receive(b"x" * 100000)
            for _ in range(3):
                deaf.receive(b"I do talk")
                self.reactor.advance(LOOK_SECONDS)
            self.assertEqual((deaf.aborted, other.aborted), (True, True), index)

    def test_server_ends(self) -> None:
        """When the server ends both sides are told, and the connections are closed; nobody is waited for."""
        client, upstream = self.switched()
        client.receive(client_frame(1, b"hello"))
        upstream.taken()
        self.proxy.close_all(CloseReason.SERVER_STOPPING)
        self.assertEqual(client.taken(), close_frame(CloseReason.SERVER_STOPPING))
        self.assertEqual(upstream.taken(), client_close_frame(CloseReason.SERVER_STOPPING))
        self.assertEqual((client.finished, upstream.finished), (True, True))
        self.assertEqual((client.aborted, upstream.aborted), (False, False))
        client.receive(client_frame(8))
        client.hang_up()
        upstream.hang_up()
        self.assert_nothing_left()

    def test_server_ends_in_the_middle(self) -> None:
        """Whoever is in the middle of a frame, or was told by the other side, is not told; it ends all the same."""
        client, upstream = self.switched()
        upstream.receive(client_frame(1, b"hello", masked=False)[:-1])
        client.receive(client_frame(8))
        client.taken()
        upstream.taken()
        self.proxy.close_all(CloseReason.SERVER_STOPPING)
        self.assertEqual((client.taken(), upstream.taken()), (b"", b""))
        self.assertEqual((client.finished, upstream.finished), (True, True))

    def test_server_ends_for_who_takes_nothing(self) -> None:
        """A side that takes nothing is not waited for beyond the grace."""
        client, upstream = self.switched()
        client.full = upstream.full = True
        client.receive(client_frame(1, b"hello"))
        upstream.receive(client_frame(1, b"hello", masked=False))
        self.proxy.close_all(CloseReason.SERVER_STOPPING)
        self.assertTrue(upstream.aborted)
        self.door.abort_all()
        self.assertTrue(client.aborted)
        self.assert_nothing_left()

    def test_server_ends_before_the_switch(self) -> None:
        """Also when the upstream has not switched by then, or the connection to it is not there yet."""
        asking = self.connect(UPGRADE)
        waiting, upstream = self.exchange(UPGRADE)
        upstream.taken()
        self.proxy.close_all(CloseReason.SERVER_RESTARTING, 60)
        self.door.finish_all()
        for client, server in ((waiting, upstream), (asking, self.accept(0))):
            server.taken()
            self.assertFalse(client.finished)
            server.receive(SWITCHING)
            self.assertTrue(client.taken().endswith(close_frame(CloseReason.SERVER_RESTARTING)))
            self.assertEqual(server.taken(), client_close_frame(CloseReason.SERVER_RESTARTING))
            self.assertEqual((client.finished, server.finished), (True, True))
            client.hang_up()
            server.hang_up()
        self.assert_nothing_left()

    def test_rest_at_once(self) -> None:
        """Who was to be told later can be told now, and then no timer is left."""
        self.proxy.close_rest()
        pairs = [self.switched() for _ in range(3)]
        self.proxy.close_all(CloseReason.SERVER_RESTARTING, 3600)
        self.proxy.close_rest()
        for client, upstream in pairs:
            self.assertEqual(client.taken(), close_frame(CloseReason.SERVER_RESTARTING))
            client.hang_up()
            upstream.hang_up()
        self.assert_nothing_left()

    def test_nothing_to_look_for(self) -> None:
        """What has passed on a request or a WebSocket is gone at once, and Python need not look for it."""
        gc.disable()
        self.addCleanup(gc.enable)
        for how, data, said in (
            ("answered", ask(), OK),
            ("cut", ask(), OK[:-1]),
            ("body", PUT, b""),
            ("switched", UPGRADE, SWITCHING),
            ("wrong answer", ask(), b"no HTTP\r\n\r\n"),
            ("wrong body", CHUNKED + b"no size\r\n", b""),
        ):
            client, upstream = self.exchange(data)
            if said:
                upstream.receive(said)
            relay, door = client.protocol._relay, client.protocol
            left = [weakref.ref(each) for each in (relay, door, upstream.protocol) if each is not None]
            del relay, door
            client.hang_up()
            upstream.hang_up()
            del client.protocol, upstream.protocol, client, upstream  # as Twisted's transports do
            self.reactor.advance(0)
            self.reactor.tcpClients.clear()
            self.assertEqual([each() for each in left], [None] * len(left), how)

    def test_server_ends_slowly(self) -> None:
        """The end may be spread over a while: who is not told yet goes on."""
        pairs = [self.switched() for _ in range(3)]
        self.proxy.close_all(CloseReason.SERVER_RESTARTING, 30)
        self.assertEqual([client.finished for client, _ in pairs], [True, False, False])
        pairs[1][0].receive(b"x")
        self.assertEqual(pairs[1][1].taken(), b"x")
        self.reactor.pump([1] * 30)
        self.assertEqual([client.finished for client, _ in pairs], [True, True, True])
        self.assertEqual(pairs[2][0].taken(), close_frame(CloseReason.SERVER_RESTARTING))


class EndTests(ProxyTestCase):
    """The server ends."""

    def test_answer_is_finished(self) -> None:
        """What is being answered is answered, and then the connection is closed."""
        client, upstream = self.exchange(ask())
        self.door.finish_all()
        self.assertFalse(client.finished)
        upstream.receive(OK)
        self.assertEqual((client.taken(), client.finished), (OK, True))
        client.hang_up()
        self.assert_nothing_left()

    def test_cut_off(self) -> None:
        """What is not finished in time is cut off, at both ends."""
        client, upstream = self.exchange(ask())
        upstream.receive(OK[:-1])
        connecting = self.connect(PUT)
        self.door.abort_all()
        self.assertEqual((client.aborted, upstream.aborted, connecting.aborted), (True, True, True))
        self.assert_nothing_left()
