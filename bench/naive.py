"""The obvious Mles server in Twisted: what one writes in an afternoon, and the baseline of the benchmark.

TLS through Twisted's memory BIO, Autobahn's `sendMessage` to each member in turn; no history, no limits, no checks.
It knows nothing of mles_tx.

    python naive.py CERTIFICATE_AND_KEY.pem    listens on a free port of 127.0.0.1 and prints "listening on PORT".
"""

import json
import resource
import sys
from collections import defaultdict
from typing import Any

from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from twisted.internet import reactor as global_reactor
from twisted.internet.ssl import DefaultOpenSSLContextFactory

SUBPROTOCOL = "mles-websocket"

_channels: defaultdict[str, set["Member"]] = defaultdict(set)


class Member(WebSocketServerProtocol):
    """A connection; with its first message it becomes a member of a channel."""

    channel: set["Member"] | None = None

    def onConnect(self, request: object) -> str:
        return SUBPROTOCOL

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        if self.channel is None:
            self.channel = _channels[json.loads(payload)["channel"]]
            self.channel.add(self)
            return
        for member in self.channel:
            if member is not self:
                member.sendMessage(payload, isBinary)

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        if self.channel is not None:
            self.channel.discard(self)


def main(certificate: str) -> None:
    """Serve until a signal comes."""
    reactor: Any = global_reactor
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    factory = WebSocketServerFactory(protocols=[SUBPROTOCOL])
    factory.protocol = Member
    context = DefaultOpenSSLContextFactory(certificate, certificate)
    port = reactor.listenSSL(0, factory, context, backlog=1024, interface="127.0.0.1")
    print("listening on", port.getHost().port, flush=True)
    reactor.run()


if __name__ == "__main__":
    main(sys.argv[1])
