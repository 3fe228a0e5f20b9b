"""The WebSocket connection of the server, on the server's ports and TLS, with nothing on top but an echo.

A program: ``python -m tests.conformance.echo_server [--tls]`` listens on a free port of the loopback address, says
where, and echoes until a signal ends it. With ``--tls`` it keeps a self-signed certificate below the directory it is
started in.
"""

import argparse
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from twisted.internet import reactor as installed_reactor
from twisted.logger import globalLogBeginner, textFileLogObserver

from mles_tx.protocol.closing import CloseReason
from mles_tx.protocol.frames import encode_message
from mles_tx.transport.certificates.choice import FixedCertificates
from mles_tx.transport.certificates.selfsigned import self_signed_pair
from mles_tx.transport.certificates.store import CertificateDirectory
from mles_tx.transport.origins import any_origin
from mles_tx.transport.port import ListeningPort, bind
from mles_tx.transport.websocket import WebSocketConnection, WebSocketFactory

__all__ = ["EchoConnection", "EchoFactory"]


class EchoConnection(WebSocketConnection):
    """Sends back what it is sent, in the fast lane or beside it. The limits that the suite goes beyond are higher."""

    maxMessagePayloadSize = 16 * 1024 * 1024  # noqa: N815  # cases 9.1.6 and 9.2.6
    max_fragments = 4 * 1024 * 1024 // 64 + 1  # cases 9.3.1 and 9.4.1, and the empty one they end with

    def message(self, payload: bytes, is_binary: bool) -> None:
        self._outbox.write(encode_message(payload, is_binary))

    def messages(self, frames: list[bytes]) -> None:
        self._outbox.write(b"".join(frames))

    def ended(self, reason: CloseReason) -> None:
        pass  # nobody waits for it


class EchoFactory(WebSocketFactory):
    """Builds connections that echo."""

    protocol = EchoConnection


def main(arguments: list[str]) -> None:
    """Serve until a signal ends it."""
    parser = argparse.ArgumentParser(prog="python -m tests.conformance.echo_server", description="Echo messages.")
    parser.add_argument("--tls", action="store_true", help="speak TLS")
    is_secure = parser.parse_args(arguments).tls
    globalLogBeginner.beginLoggingTo([textFileLogObserver(sys.stdout)], redirectStandardIO=False)
    reactor: Any = installed_reactor
    certificates = None
    if is_secure:
        directory = CertificateDirectory(Path("cache", "self-signed"))
        certificates = FixedCertificates([self_signed_pair(directory, ["localhost"], datetime.now(UTC))])
    (listening,) = bind(["127.0.0.1"], 0)
    port = ListeningPort(listening, EchoFactory(reactor, any_origin), reactor, certificates=certificates)
    port.startListening()
    print(f"echoing on {'wss' if is_secure else 'ws'}://localhost:{port.getHost().port}/", flush=True)
    reactor.run()


if __name__ == "__main__":
    main(sys.argv[1:])
