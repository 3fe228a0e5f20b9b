"""TLS on the socket, with an OpenSSL that does as the test says."""

import socket
from itertools import pairwise
from typing import Any

from OpenSSL import SSL
from twisted.internet.error import ConnectionDone, ConnectionLost

from mles_tx.transport import tls
from mles_tx.transport.tcp import READ_BYTES

from .tls_ports import TLSTestCase


class Scripted:
    """An OpenSSL that answers each call as it was told, with a value or a fault; it stands for both of its faces.

    Without an answer it reads nothing, and takes all that is written. `faults` are raised until they are taken back.
    """

    def __init__(self) -> None:
        self.answers: dict[str, list[Any]] = {"do_handshake": [], "recv": [], "send": [], "shutdown": []}
        self.faults: dict[str, Exception] = {}
        self.sent: list[bytes] = []
        self.calls: list[str] = []
        self._fault: Exception = SSL.Error()

    def _answer(self, call: str, usual: Any) -> Any:
        self.calls.append(call)
        if call in self.faults:
            raise self.faults[call]
        answer = self.answers[call].pop(0) if self.answers[call] else usual
        if isinstance(answer, Exception):
            raise answer
        return answer

    # -- as pyOpenSSL

    def send(self, data: Any) -> int:
        taken: int = self._answer("send", len(data))
        self.sent.append(bytes(data[:taken]))
        return taken

    def shutdown(self) -> bool:
        over: bool = self._answer("shutdown", False)
        return over

    def set_app_data(self, data: object) -> None:
        """Nobody asks for it here."""

    def set_accept_state(self) -> None:
        """It knows."""

    @property
    def _ssl(self) -> "Scripted":
        return self

    def _raise_ssl_error(self, ssl: object, result: int) -> None:
        raise self._fault

    # -- as OpenSSL

    @staticmethod
    def do_handshake(ssl: "Scripted") -> int:
        """SSL_do_handshake(3)"""
        try:
            ssl._answer("do_handshake", None)
        except SSL.Error as fault:
            ssl._fault = fault
            return -1
        return 1

    @staticmethod
    def read(ssl: "Scripted", memory: Any, size: int) -> int:
        """SSL_read(3)"""
        try:
            data: bytes = ssl._answer("recv", SSL.WantReadError())
        except SSL.Error as fault:
            ssl._fault = fault
            return -1
        tls._ffi.buffer(memory)[: len(data)] = data
        return len(data)

    @staticmethod
    def write(ssl: "Scripted", data: bytes, size: int) -> int:
        """SSL_write(3)"""
        try:
            return ssl.send(data[:size])
        except SSL.Error as fault:
            ssl._fault = fault
            return -1

    @staticmethod
    def get_error(ssl: "Scripted", result: int) -> int:
        """SSL_get_error(3)"""
        for kind, error in (
            (SSL.WantReadError, tls._WANT_READ),
            (SSL.WantWriteError, tls._WANT_WRITE),
            (SSL.ZeroReturnError, tls._ZERO_RETURN),
        ):
            if isinstance(ssl._fault, kind):
                return error
        return 1


class ScriptedTests(TLSTestCase):
    """What OpenSSL seldom does: it wants to write in order to read, and to read in order to write."""

    tls: Scripted

    def setUp(self) -> None:
        super().setUp()
        self.patch(SSL, "Connection", lambda context, connection: self.tls)
        self.patch(tls, "_ssl_do_handshake", Scripted.do_handshake)
        self.patch(tls, "_ssl_read", Scripted.read)
        self.patch(tls, "_ssl_write", Scripted.write)
        self.patch(tls, "_ssl_get_error", Scripted.get_error)
        self.patch(tls, "_ssl_clear_mode", lambda ssl, mode: None)
        self.tls = Scripted()

    def meet(self, **answers: list[Any]) -> tuple[socket.socket, Any]:
        """A connection that has shaken hands, and answers like this from then on."""
        self.tls = Scripted()
        client, transport = self.connect()
        self.read(transport)
        transport._lone_reads = 0  # as after the first messages
        self.tls.calls.clear()
        self.tls.answers.update(answers)
        return client, transport

    def test_read_wants_write(self) -> None:
        """A read that wants to write is made again as soon as the socket takes something, and before anything else."""
        _, transport = self.meet(recv=[SSL.WantWriteError(), SSL.WantWriteError(), b"hello"])
        self.read(transport)
        self.assertTrue(self.is_writing(transport))
        self.assertFalse(self.is_reading(transport))  # or a peer that reads nothing would wake us up all the time
        transport.pauseProducing()
        transport.resumeProducing()
        self.assertFalse(self.is_reading(transport))
        self.write(transport)
        self.assertTrue(self.is_writing(transport))
        self.assertFalse(self.is_reading(transport))
        self.assertEqual((self.tls.calls, self.built[-1].received), (["recv", "recv"], b""))
        self.write(transport)
        self.assertEqual(self.built[-1].received, b"hello")
        self.assertFalse(self.is_writing(transport))
        self.assertTrue(self.is_reading(transport))

    def test_read_wants_write_while_paused(self) -> None:
        """A protocol that has paused meanwhile is not read again before it wants to be."""
        _, transport = self.meet(recv=[SSL.WantWriteError(), SSL.WantReadError()])
        self.read(transport)
        transport.pauseProducing()
        self.write(transport)
        self.assertFalse(self.is_reading(transport))
        transport.resumeProducing()
        self.assertTrue(self.is_reading(transport))

    def test_read_wants_write_and_ends(self) -> None:
        """What such a read finds out is not lost: the end of the connection."""
        for answer, kind in ((SSL.ZeroReturnError(), ConnectionDone), (SSL.Error(), ConnectionLost)):
            _, transport = self.meet(recv=[SSL.WantWriteError(), b"bye", answer])
            self.read(transport)
            self.write(transport)
            reason = self.built[-1].reason
            assert reason is not None
            self.assertEqual((self.built[-1].received, type(reason.value)), (b"bye", kind))

    def test_write_wants_read(self) -> None:
        """A write that wants to read waits until something has come, and is made again then."""
        _, transport = self.meet()
        self.tls.faults["send"] = SSL.WantReadError()
        transport.write(b"one")
        self.assertFalse(self.is_writing(transport))
        tries = len(self.tls.calls)
        transport.write(b"two")
        self.assertEqual((len(self.tls.calls), self.is_writing(transport)), (tries, False))
        del self.tls.faults["send"]
        self.read(transport)
        self.write(transport)
        self.assertEqual(self.tls.sent, [b"onetwo"])
        self.assertFalse(self.is_writing(transport))

    def test_end_wants_read(self) -> None:
        """A connection that ends while its last write wants to read ends when it has been made."""
        client, transport = self.meet()
        self.tls.faults["send"] = SSL.WantReadError()
        transport.write(b"last")
        transport.loseConnection()
        self.assertFalse(self.is_writing(transport))
        del self.tls.faults["send"]
        self.read(transport)
        self.write(transport)
        self.assertEqual((self.tls.sent, self.tls.calls[-1]), ([b"last"], "shutdown"))
        client.settimeout(20)
        self.assertEqual(client.recv(1), b"")

    def test_handshake_wants_write(self) -> None:
        """A handshake that wants to write goes on when the socket takes something; meanwhile nothing is read."""
        _, transport = self.connect()
        self.tls.answers["do_handshake"] = [SSL.WantWriteError(), SSL.WantWriteError(), SSL.WantReadError()]
        self.read(transport)
        self.assertTrue(self.is_writing(transport))
        self.assertFalse(self.is_reading(transport), "what comes meanwhile would be announced again and again")
        self.write(transport)
        self.write(transport)
        self.assertEqual((self.is_writing(transport), self.is_reading(transport)), (False, True))
        self.read(transport)
        self.assertEqual(self.tls.calls, ["do_handshake"] * 4 + ["recv"])
        self.assertEqual((self.is_writing(transport), self.is_reading(transport)), (False, True))

    def test_handshake_fails(self) -> None:
        """A handshake that fails ends the connection, whatever waits."""
        for answer in (SSL.Error(), SSL.SysCallError(-1, "Unexpected EOF")):
            _, transport = self.connect()
            transport.write(b"waits")
            self.tls.answers["do_handshake"] = [answer]
            self.read(transport)
            reason = self.built[-1].reason
            assert reason is not None
            self.assertIsInstance(reason.value, ConnectionLost)
            self.assertEqual(self.tls.sent, [])

    def test_goodbye_wants_write(self) -> None:
        """A close_notify that does not fit now is tried again; the stream ends behind it, and not before."""
        client, transport = self.meet(shutdown=[SSL.WantWriteError(), SSL.WantWriteError()])
        client.setblocking(False)
        transport.loseConnection()
        for _ in range(2):
            self.write(transport)
            self.assertRaises(BlockingIOError, client.recv, 1)
        self.write(transport)
        self.assertEqual(self.tls.calls, ["shutdown"] * 3)
        self.assertFalse(self.is_writing(transport))
        client.settimeout(20)
        self.assertEqual(client.recv(1), b"")
        self.assertIsNone(self.built[-1].reason)

    def test_half_goodbye_wants_write(self) -> None:
        """So is the one that ends half of the connection."""
        client, transport = self.meet(shutdown=[SSL.WantWriteError()])
        client.setblocking(False)
        transport.loseWriteConnection()
        self.write(transport)
        self.assertRaises(BlockingIOError, client.recv, 1)
        self.write(transport)
        self.assertEqual((self.tls.calls, self.is_writing(transport)), (["shutdown"] * 2, False))
        client.settimeout(20)
        self.assertEqual(client.recv(1), b"")
        self.tls.answers["recv"] = [b"still heard"]
        self.read(transport)
        self.assertEqual(self.built[-1].received, b"still heard")

    def test_one_goodbye(self) -> None:
        """OpenSSL is not asked twice to say goodbye: the second time it would read, and lose what has come."""
        _, transport = self.meet()
        transport.loseWriteConnection()
        self.write(transport)
        transport.loseWriteConnection()
        if self.is_writing(transport):
            self.write(transport)
        self.assertEqual(self.tls.calls, ["shutdown"])

    def test_no_goodbye_to_nobody(self) -> None:
        """A peer that went without a word, or broke the rules, is not told goodbye: there is nobody to hear it."""
        for fault in (SSL.SysCallError(-1, "Unexpected EOF"), SSL.Error()):
            _, transport = self.meet(recv=[fault])
            self.read(transport)
            self.assertEqual((self.tls.calls, transport.connected), (["recv"], 0))

    def test_part_of_a_write(self) -> None:
        """What OpenSSL takes a part of goes on behind that part, in records of the largest size."""
        _, transport = self.meet(send=[16384, 100, SSL.WantWriteError()])
        data = bytes(range(256)) * 200
        transport.write(data)
        self.assertTrue(self.is_writing(transport))
        self.assertEqual([len(part) for part in self.tls.sent], [16384, 100])
        self.write(transport)
        self.assertEqual(b"".join(self.tls.sent), data)
        self.assertLessEqual(max(len(part) for part in self.tls.sent), 16384)

    def test_part_of_a_small_write(self) -> None:
        """So does what would fit into one record: a peer may have asked for smaller ones (RFC 6066 section 4)."""
        for size in (1000, 16384, 16385):
            _, transport = self.meet(send=[512])
            data = bytes(number % 251 for number in range(size))
            transport.write(data)
            if self.is_writing(transport):
                self.write(transport)
            self.assertEqual(b"".join(self.tls.sent), data)

    def test_same_bytes_again(self) -> None:
        """A write that does not fit is tried again with the same bytes first, and no fewer (SSL_write(3))."""
        tries: list[bytes] = []
        _, transport = self.meet()
        real = Scripted.send

        def send(scripted: Scripted, data: Any) -> int:
            tries.append(bytes(data))
            return real(scripted, data)

        self.patch(Scripted, "send", send)
        self.tls.faults["send"] = SSL.WantWriteError()
        for data in (b"one", b"two", bytes(20_000)):
            transport.write(data)
            self.write(transport)
        del self.tls.faults["send"]
        self.write(transport)
        for earlier, later in pairwise(tries[:-1]):
            self.assertTrue(later.startswith(earlier))
        self.assertEqual(b"".join(self.tls.sent), b"onetwo" + bytes(20_000))

    def test_write_fails(self) -> None:
        """A write that fails raises nothing: the reactor finds out, and then the protocol."""
        _, transport = self.meet()
        self.tls.faults["send"] = SSL.SysCallError(32, "EPIPE")
        transport.write(b"nobody is there")
        self.assertIsNone(self.built[-1].reason)
        self.write(transport)
        reason = self.built[-1].reason
        assert reason is not None
        self.assertIsInstance(reason.value, ConnectionLost)

    def test_share_of_reading(self) -> None:
        """In a turn it reads so many bytes, or so many records, and joins them for the protocol."""
        for size in (16_384, 1025, 100, 1):
            records = min(-(-READ_BYTES // size), 64)
            _, transport = self.meet(recv=[b"x" * size] * 100)
            self.read(transport)
            self.assertEqual(len(self.built[-1].received), records * size)

    def test_data_and_end(self) -> None:
        """What comes together with the end is delivered before it."""
        _, transport = self.meet(recv=[b"good", b"bye", SSL.ZeroReturnError()])
        self.read(transport)
        reason = self.built[-1].reason
        assert reason is not None
        self.assertEqual((self.built[-1].received, type(reason.value)), (b"goodbye", ConnectionDone))

    def test_end_while_data_waits(self) -> None:
        """The peer's end does not cut off what waits for it when the connection ends."""
        _, transport = self.meet(recv=[SSL.ZeroReturnError()])
        self.tls.faults["send"] = SSL.WantWriteError()
        transport.write(b"last words")
        transport.loseConnection()
        self.read(transport)
        self.assertIsNone(self.built[-1].reason)
        del self.tls.faults["send"]
        self.write(transport)
        self.assertEqual(self.tls.sent, [b"last words"])
        self.assertIsNotNone(self.built[-1].reason)
