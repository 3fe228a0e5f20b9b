"""The reverse proxy: which requests are passed on, and to whom.

The door asks it before anybody else. It must not know how a request is passed on.
"""

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from math import ceil
from typing import Any

from h11 import Request
from twisted.internet.defer import Deferred

from mles_tx.channels.deadlines import Deadlines
from mles_tx.protocol.closing import CloseReason
from mles_tx.protocol.forwarded import NOBODY, Client, TrustedProxies
from mles_tx.transport.door import Door
from mles_tx.transport.drain import Drain
from mles_tx.transport.websocket import SUBPROTOCOL

from .forwarding import asks_for_upgrade, sender_of
from .hosts import host_name, was_named_otherwise
from .incoming import Refusal
from .pages import BAD_REQUEST, MISDIRECTED, NOT_FOUND
from .pool import Upstream, Upstreams
from .progress import LOOK_SECONDS
from .relay import RequestRelay
from .routes import Route, Routes, climbs

__all__ = ["Proxy"]

#: The beginning of a head, with the path: of a usual target alone (RFC 9112 section 3.2.1).
_PATH = re.compile(rb"[^\s]+ (/[^\s?#]*)")

#: An upgrade that can only be meant for Mles.
_MLES = re.compile(
    rb"\r\nSec-WebSocket-Protocol:(?:[^\r\n]*,)?[ \t]*" + SUBPROTOCOL.encode("ascii") + rb"[ \t]*[,\r]", re.IGNORECASE
)


class Proxy:
    """Passes requests on to upstreams, by the prefix of their path.

    Args:
        reactor: whose connections these are.
        routes: the prefixes, no two of them alike, and their upstreams.
        hosts: the hosts there are, in lower case, IPv6 addresses without brackets. Others get 404.
        connections: how many there may be to all upstreams together.
        trusted: whose word on their clients is taken.
        seconds_to_wait: counts a WebSocket of a client that one of these tells of; how long the client has to wait
            because it has too many, 0.0 when it is let in.
    """

    def __init__(
        self,
        reactor: Any,
        routes: Iterable[Route],
        hosts: Collection[str],
        connections: int,
        trusted: TrustedProxies = NOBODY,
        seconds_to_wait: Callable[[str], float] = lambda client: 0.0,
    ) -> None:
        self._reactor = reactor
        self._routes = Routes(routes)
        self._hosts = hosts
        self._trusted = trusted
        self._seconds_to_wait = seconds_to_wait
        self.upstreams = Upstreams(reactor, connections)
        self._looks = Deadlines[RequestRelay](reactor, LOOK_SECONDS, RequestRelay.look)
        self._drain: Drain[RequestRelay] | None = None
        self._ending: CloseReason | None = None

    def takes(self, head: bytes) -> bool:
        """Whether a request with this head is to be passed on: one with a prefix, whatever its host.

        The prefix ``/`` takes no upgrade to Mles: there would be no other way to it.
        """
        match = _PATH.match(head)
        route = None if match is None else self._routes.find(match[1])
        return route is not None and not (route.prefix == "/" and _MLES.search(head))

    def relay(self, door: Door) -> RequestRelay:
        """What passes on one request."""
        return RequestRelay(self._reactor, self._looks, self._choose, door, lambda: self._ending)

    def close_all(self, reason: CloseReason, seconds: float = 0.0) -> None:
        """Tell both sides of every WebSocket that it is over, also of one that is not there yet; requests are answered.

        Args:
            reason: what they are told.
            seconds: over how long that is spread.
        """

        def tell(relays: Sequence[RequestRelay]) -> None:
            for relay in relays:
                relay.close(reason)

        self._ending = reason
        self._drain = Drain(self._reactor, [relay for relay in self._looks if relay.is_spliced], seconds, tell)
        self._drain.start()

    def close_rest(self) -> None:
        """Tell those whom `close_all` has not told yet, now."""
        if self._drain is not None:
            self._drain.finish()

    def stop(self) -> "Deferred[None]":
        """End all connections to upstreams; those of clients have gone.

        Returns:
            A Deferred that fires when none is left, and no timer.
        """
        if self._drain is not None:
            self._drain.stop()
        self._looks.stop()
        return self.upstreams.stop()

    def _choose(self, transport: Any, request: Request) -> tuple[Upstream, bytes, Client]:
        """To whom a request on a connection is passed on, with which target, and who has sent it."""
        hosts = [value for name, value in request.headers if name == b"host"]
        host = host_name(hosts[0]) if len(hosts) == 1 else None
        path = request.target.partition(b"?")[0]
        route = self._routes.find(path)
        if host is None or b"#" in request.target or climbs(path):
            raise Refusal.like(BAD_REQUEST)
        if host not in self._hosts or route is None:
            raise Refusal.like(NOT_FOUND)
        if was_named_otherwise(transport, host):
            raise Refusal.like(MISDIRECTED)
        upstream = self.upstreams.get(route.host, route.port, route.origin)
        sender = sender_of(transport, request.headers.raw_items(), self._trusted)
        if asks_for_upgrade(request.headers.raw_items()) and self._comes_from_proxy(transport):
            wait = self._seconds_to_wait(sender.address)
            if wait:
                raise Refusal(429, f"There are too many connections from your address; wait {ceil(wait)} seconds.")
        return upstream, route.target(request.target), sender

    def _comes_from_proxy(self, transport: Any) -> bool:
        """Whether a connection is one of a trusted proxy's, which is not counted."""
        return getattr(transport.getPeer(), "host", "") in self._trusted
