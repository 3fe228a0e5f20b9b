"""TLS straight on the socket.

Twisted's own TLS keeps the records in memory between OpenSSL and the socket: each byte is copied twice more, and
each write passes three more layers. Here OpenSSL reads and writes the socket itself, and everything else (buffers,
producers, half close) stays Twisted's.

    =========  ==================================  =====================================
    phase      readable or writable                a write
    =========  ==================================  =====================================
    HANDSHAKE  the next step, if the port has one  waits
               left in this turn
    OPEN       records, up to a share of the turn  goes out at once; what the kernel
                                                   refuses waits
    ENDING     after the rest and our               is sent, too, until our
               close_notify, records are thrown     close_notify
               away until the peer's end
    =========  ==================================  =====================================

OpenSSL may want to write in order to read, and to read in order to write: the call it could not finish is made again
when the socket is ready for what it wanted.

Records are read and written with OpenSSL's own functions, as pyOpenSSL does it in `Connection.recv` and
`Connection.send`: a read that finds nothing, one for each message, is then 1.4 instead of 3.4 µs, and a write 1.3 µs
cheaper. All else, and whatever goes wrong, is pyOpenSSL's.
"""

from contextlib import suppress
from socket import SHUT_WR
from typing import Any

from OpenSSL import SSL
from OpenSSL.crypto import X509
from twisted.internet import main
from twisted.internet.interfaces import IHandshakeListener, INegotiated, ISSLTransport
from twisted.python.failure import Failure
from zope.interface import implementer

from .certificates.names import is_ip_address
from .contexts import ICertificates
from .tcp import OPEN, READ_BYTES, WRITE_BYTES, Phase, TCPServer

__all__ = ["HANDSHAKE_STEPS", "TLSServer", "record_memory"]

#: Bytes of a record at most (RFC 8446 section 5.1). Reading that much takes whole records: none is left in OpenSSL,
#: where the reactor would not see it.
_RECORD_BYTES = 16 * 1024

#: Records read in a turn: small ones cost as much as large ones.
_READ_RECORDS = 64

#: When a record came alone, as many of the next ones are read without looking for more: where messages come one by
#: one that saves a tenth of the work, and when they begin to come together it is soon seen.
_LONE_READS = 4

#: Steps of handshakes in a turn, of all connections of a port: about 8 ms, most of it for signatures. So a flood of
#: them does not hold up those who talk.
HANDSHAKE_STEPS = 16


_pyopenssl: Any = SSL
_ffi = _pyopenssl._ffi
_unpack = _ffi.unpack
_ssl_read = _pyopenssl._lib.SSL_read
_ssl_write = _pyopenssl._lib.SSL_write
_ssl_do_handshake = _pyopenssl._lib.SSL_do_handshake
_ssl_get_error = _pyopenssl._lib.SSL_get_error
_ssl_clear_mode = _pyopenssl._lib.SSL_clear_mode
_err_clear_error = _pyopenssl._lib.ERR_clear_error
_AUTO_RETRY: int = _pyopenssl._lib.SSL_MODE_AUTO_RETRY
_WANT_READ: int = _pyopenssl._lib.SSL_ERROR_WANT_READ
_WANT_WRITE: int = _pyopenssl._lib.SSL_ERROR_WANT_WRITE
_ZERO_RETURN: int = _pyopenssl._lib.SSL_ERROR_ZERO_RETURN


def record_memory() -> Any:
    """Where the connections of a port read their records to, one after the other."""
    return _ffi.new("char[]", _RECORD_BYTES)


_HANDSHAKE = Phase.HANDSHAKE  # like `OPEN`


@implementer(ISSLTransport, INegotiated)
class TLSServer(TCPServer):
    """A connection that speaks TLS from its first byte, or from the end of its preface.

    Its protocol is made before the handshake, and told of its end when it is an `IHandshakeListener`. It is made by a
    `ListeningPort` that has certificates.

    `loseConnection` sends what waits and a close_notify, and then waits for the peer's end: whoever cannot wait for
    ever calls `abortConnection` when there was time enough. So does Twisted's own.
    """

    phase = Phase.HANDSHAKE

    #: What is shown to the peer, if the preface has found out; else the port's certificates know.
    context: SSL.Context | None = None

    _tls: SSL.Connection | None = None
    _ssl: Any = None  # what is in it
    _lone_reads = 0
    _read_wants_write = False
    _write_wants_read = False
    _handshake_writes = False  # it waits until the socket can be written to
    _is_paused = False
    _is_peer_done = False
    _is_broken = False  # the peer went without a word, or broke the rules: it is not told anything any more

    # -- what Twisted's interfaces ask for

    @property
    def negotiatedProtocol(self) -> bytes | None:
        """The application protocol (ALPN), or None."""
        return (self._tls and self._tls.get_alpn_proto_negotiated()) or None

    def server_name(self) -> str | None:
        """The host the client has named (RFC 6066 section 3), in lower case; None: it has named none. Some name the
        address they connect to, which that section forbids, and which says nothing."""
        name = None if self._tls is None else self._tls.get_servername()
        text = "" if name is None else name.decode("latin-1").lower().rstrip(".")
        return None if not text or is_ip_address(text) else text

    def getPeerCertificate(self) -> X509 | None:
        """Nobody is asked for a certificate."""
        return None if self._tls is None else self._tls.get_peer_certificate()

    def startTLS(self, ctx: object, normal: bool = True) -> None:
        raise RuntimeError("this connection speaks TLS already")

    # -- reading

    def doRead(self) -> Any:
        if self.phase is _HANDSHAKE:
            return self._handshake()
        if self._write_wants_read:
            self._write_wants_read = False
            self.startWriting()
        ssl = self._ssl
        memory = self.server.read_memory  # type: ignore[attr-defined]
        if self._lone_reads:
            self._lone_reads -= 1
            count = _ssl_read(ssl, memory, _RECORD_BYTES)
            if count <= 0:
                return self._nothing_read(count)
            if not self.disconnecting:
                self.protocol.dataReceived(_unpack(memory, count))
            return None
        parts: list[bytes] = []
        size = 0
        why = None
        # What arrived together is handled together, and to see that nothing else did takes one more system call.
        while (count := _ssl_read(ssl, memory, _RECORD_BYTES)) > 0:
            parts.append(_unpack(memory, count))
            size += count
            if len(parts) == _READ_RECORDS or size >= READ_BYTES:
                break
        else:
            why = self._nothing_read(count)
        if len(parts) == 1:
            self._lone_reads = _LONE_READS
        if parts and not self.disconnecting:
            self.protocol.dataReceived(parts[0] if len(parts) == 1 else b"".join(parts))
            if self._aborting or self.disconnected:
                return None
        return why

    def _nothing_read(self, result: int) -> Any:
        """Find out why OpenSSL has read nothing; returns why the connection is over, if it is."""
        error = _ssl_get_error(self._ssl, result)
        if error == _WANT_READ:
            return None
        if error == _WANT_WRITE:
            self._read_wants_write = True
            self.stopReading()  # what the peer goes on saying would wake us up for nothing
            self.startWriting()
            return None
        if error == _ZERO_RETURN:
            self._is_peer_done = True
            return main.CONNECTION_DONE
        _err_clear_error()  # or it would be found by the next connection
        self._is_broken = True
        self._shouldShutdown = False  # Twisted's: closing does all that is left to be done
        # Who has been told that it is over may go without a word.
        return main.CONNECTION_DONE if self._writeDisconnected else main.CONNECTION_LOST

    # -- writing

    def write(self, data: bytes) -> None:
        # Within `writeSomeData` it would need no conditions of its own, but small writes would take 5 % longer.
        size = len(data)
        if (
            self.phase is OPEN
            and (self.producer is None or self.streamingProducer)
            and 0 < size <= _RECORD_BYTES
            and self._eager_bytes < WRITE_BYTES
            and not (self.dataBuffer or self._tempDataBuffer)
        ):
            result = _ssl_write(self._ssl, data, size)
            if result > 0:
                self._eager_bytes += result
                if result == size:
                    return
                data = data[result:]  # the client has asked for smaller records
            else:
                self._fault(result)
        super().write(data)

    def _fault(self, result: int) -> None:
        """Something went wrong in OpenSSL; it is forgotten there, or it would be found by the next connection."""
        with suppress(SSL.Error):
            self._tls._raise_ssl_error(self._ssl, result)  # type: ignore[union-attr]
        _err_clear_error()  # pyOpenSSL leaves there what the system has said

    def writeSomeData(self, data: Any) -> Any:
        send: Any = self._tls.send  # type: ignore[union-attr]
        view = memoryview(data)[:WRITE_BYTES]
        sent = 0
        try:
            while sent < len(view):
                # What OpenSSL could not send it has encrypted already: the next try begins with the same bytes.
                sent += send(view[sent : sent + _RECORD_BYTES])
        except SSL.WantWriteError:
            pass
        except SSL.WantReadError:
            self._write_wants_read = True
            self.stopWriting()
        except SSL.Error:
            _err_clear_error()
            return main.CONNECTION_LOST
        return sent

    def doWrite(self) -> Any:
        if self.phase is Phase.HANDSHAKE:
            return self._handshake()
        if self._read_wants_write:
            self._read_wants_write = False
            self._listen()
            why = self.doRead()
            if why is not None or self.disconnected or self._read_wants_write:
                return why
        return super().doWrite()

    def startWriting(self) -> None:
        # Else what waits is sent when the handshake has ended, or something was read.
        if self.phase is not Phase.HANDSHAKE and not self._write_wants_read and not self._writeDisconnected:
            super().startWriting()

    def pauseProducing(self) -> None:
        if not self.disconnecting:  # else the peer's end is waited for
            self._is_paused = True
            super().pauseProducing()

    def resumeProducing(self) -> None:
        self._is_paused = False
        if not self._read_wants_write:
            super().resumeProducing()

    # -- the handshake

    def _handshake(self) -> Any:
        port: Any = self.server
        if not port.handshakes.take():
            return None  # the socket stays ready
        if self._tls is None:
            self._begin(port.certificates)
        result = _ssl_do_handshake(self._ssl)
        if result <= 0:
            return self._handshake_stopped(result)
        self._tls.set_app_data(None)  # type: ignore[union-attr]
        if self._handshake_writes:
            self._listen()
        self.phase = Phase.ENDING if self.disconnecting or self._writeDisconnecting else OPEN
        if self._tempDataBuffer or self.phase is Phase.ENDING:
            self.startWriting()
        elif self._handshake_writes:
            self.stopWriting()
        if IHandshakeListener.providedBy(self.protocol):
            self.protocol.handshakeCompleted()
        # Most clients have sent their request by now, and nothing behind it.
        self._lone_reads = _LONE_READS
        return self.doRead() if self.phase is OPEN and not self._is_paused else None

    def _handshake_stopped(self, result: int) -> Any:
        """Find out what the handshake waits for; returns why the connection is over, if it is."""
        error = _ssl_get_error(self._ssl, result)
        if error == _WANT_READ:
            if self._handshake_writes:
                self._handshake_writes = False
                self.reactor.removeWriter(self)
                self._listen()
            return None
        if error == _WANT_WRITE:
            self._handshake_writes = True
            self.stopReading()  # what the peer goes on saying would wake us up for nothing
            self.reactor.addWriter(self)
            return None
        self._fault(result)
        self._is_broken = True
        return main.CONNECTION_LOST

    def _listen(self) -> None:
        if not self._is_paused or self.disconnecting:
            self.startReading()

    def _begin(self, certificates: ICertificates) -> None:
        context = certificates.context_for(None) if self.context is None else self.context
        self._tls = SSL.Connection(context, self.socket)
        self._ssl = self._tls._ssl
        # With it one read would take in all that a peer says about its keys: 20,000 such records were 0.3 s.
        _ssl_clear_mode(self._ssl, _AUTO_RETRY)
        self._tls.set_app_data(certificates)  # for when the client names the server
        self._tls.set_accept_state()
        self._write_wants_read = False  # asked for with each message, as what `TCPServer` begins with

    # -- the end

    def loseConnection(self) -> None:
        if not self.connected or self.disconnecting:
            return
        if self.phase is Phase.HANDSHAKE and not self._tempDataBuffer:
            self.abortConnection()  # there is nothing to be sent, and nobody to take leave of
            return
        self._ends()
        self.disconnecting = True
        if self._is_peer_done and self._writeDisconnected:
            self.connectionLost(Failure(main.CONNECTION_DONE))
            return
        if not self._is_peer_done and not self._read_wants_write:
            self.startReading()  # for the peer's end
        if not self._writeDisconnected:
            self.startWriting()

    def _postLoseConnection(self) -> Any:
        if not self._take_leave():
            return None
        if self._is_peer_done:
            return main.CONNECTION_DONE
        self._writeDisconnected = True
        with suppress(OSError):
            self.socket.shutdown(SHUT_WR)
        return None

    def _closeWriteConnection(self) -> None:
        self._writeDisconnected = False  # Twisted has set it already
        self._writeDisconnected = self._take_leave()
        if self._writeDisconnected:
            super()._closeWriteConnection()

    def readConnectionLost(self, reason: Failure) -> None:
        if self.disconnecting:
            if self._writeDisconnected:
                self.connectionLost(reason)
        else:
            super().readConnectionLost(reason)

    def _depart(self, reason: Failure) -> None:
        waits = self.dataBuffer or self._tempDataBuffer
        is_told = self._aborting or self._is_broken or self._writeDisconnected
        if self._tls is not None and not is_told and not waits:
            self._take_leave()
        super()._depart(reason)
        self._tls = self._ssl = None

    def _take_leave(self) -> bool:
        """Send our close_notify; False when the kernel does not take it now, and it is to be tried again."""
        tls: Any = self._tls
        try:
            tls.shutdown()
        except SSL.WantWriteError:
            self.startWriting()
            return False
        except SSL.Error:
            _err_clear_error()  # there is nobody to be told
        return True
