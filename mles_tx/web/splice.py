"""Bytes both ways between two connections, at the pace of the slower one, each direction to its own end.

Of what is said on them it knows where frames end, so that it can be told that it is over; nothing else.
"""

from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

from mles_tx.protocol.boundaries import FrameStream
from mles_tx.protocol.closing import CloseReason
from mles_tx.protocol.frames import client_close_frame, close_frame

__all__ = ["Flow", "Splice"]


@implementer(IPushProducer)
class Flow:
    """What is read from one connection, as the producer of the one it is written to.

    Args:
        source: the transport that is not read while the other one takes nothing; None: there is none any more.
    """

    def __init__(self, source: Any) -> None:
        self._source = source
        self._drained: Callable[[], object] | None = None
        self.is_paused = False  #: the destination takes nothing at the moment
        self._is_held = False

    def pauseProducing(self) -> None:
        if not self.is_paused:
            self.is_paused = True
            if self._source is not None and not self._is_held:
                self._source.pauseProducing()

    def resumeProducing(self) -> None:
        if self.is_paused:
            self.is_paused = False
            if self._source is not None and not self._is_held:
                self._source.resumeProducing()
            if self._drained is not None:
                self._drained()

    def hold(self) -> None:
        """Do not read the source, whatever the destination takes."""
        if not self._is_held:
            self._is_held = True
            if self._source is not None and not self.is_paused:
                self._source.pauseProducing()

    def release(self) -> None:
        """Read the source again when the destination takes something."""
        if self._is_held:
            self._is_held = False
            if self._source is not None and not self.is_paused:
                self._source.resumeProducing()

    def let_go(self) -> None:
        """The source has nothing more for the destination: it is somebody else's now, who reads it or not."""
        self._source = None

    def when_drained(self, drained: Callable[[], object]) -> None:
        """Have something called as soon as the destination, which takes nothing now, asks for more."""
        self._drained = drained

    def stopProducing(self) -> None:
        pass  # the connection it goes to is lost: whoever made the flow hears of it


class Splice:
    """Two connections that are one from now on.

    Each is told when the other's peer has ended its half, after all that came before. Whoever makes a splice hands it
    what comes, closes both connections when both directions have ended, and looks after deadlines.

    Args:
        client: the transport of one.
        upstream: the transport of the other; neither has a producer.
    """

    def __init__(self, client: Any, upstream: Any) -> None:
        self._client = client
        self._upstream = upstream
        self.moved = 0  #: bytes that came so far, from both sides
        self._ended: set[Flow] = set()
        self._client_says, self._upstream_says = FrameStream(), FrameStream()
        self.to_client = Flow(upstream)
        self.to_upstream = Flow(client)
        client.registerProducer(self.to_client, True)
        upstream.registerProducer(self.to_upstream, True)

    def from_client(self, data: bytes) -> None:
        """The client has sent something."""
        self.moved += len(data)
        self._client_says.feed(data)
        self._upstream.write(data)

    def from_upstream(self, data: bytes) -> None:
        """The upstream has sent something."""
        self.moved += len(data)
        self._upstream_says.feed(data)
        self._client.write(data)

    def client_ended(self) -> None:
        """The client sends nothing more."""
        self._end(self.to_upstream, self._upstream)

    def upstream_ended(self) -> None:
        """The upstream sends nothing more."""
        self._end(self.to_client, self._client)

    def tell_end(self, reason: CloseReason) -> None:
        """Tell both sides with a close frame why it ends here; not in the middle of a frame, nor behind another end."""
        for says, flow, destination, frame in (
            (self._upstream_says, self.to_client, self._client, close_frame(reason)),
            (self._client_says, self.to_upstream, self._upstream, client_close_frame(reason)),
        ):
            if says.takes_frame and flow not in self._ended:
                destination.write(frame)

    @property
    def ended(self) -> int:
        """How many of the two directions have ended."""
        return len(self._ended)

    def _end(self, flow: Flow, destination: Any) -> None:
        if flow not in self._ended:
            self._ended.add(flow)
            destination.unregisterProducer()
            destination.loseWriteConnection()
