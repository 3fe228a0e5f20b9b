"""Keeps a client linked: one attempt or link at a time, deadlines, signs of life, and when to try again.

    start → CONNECTING → JOINING → LIVE
                ↑           ↓        ↓
                └──────  WAITING ←───┘    → CLOSED

It must not know what is said on a link.
"""

from collections.abc import Callable
from enum import Enum, auto
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime, IStreamClientEndpoint
from twisted.python.failure import Failure
from zope.interface import Interface, implementer

from mles_tx.protocol.closing import CloseReason, may_retry

from .backoff import Backoff
from .config import ClientConfig
from .faults import Fault, fault_of
from .interfaces import State, Status
from .link import Ending, ILinkUser, Link, LinkFactory

__all__ = ["CLOSE_SECONDS", "ILinksUser", "Links"]

#: Seconds a server has to end the connection when everything is said.
CLOSE_SECONDS = 5.0

#: Seconds without a frame, beside those the connection took to open, after which a replay seems to be over.
_QUIET_SECONDS = 1.0

#: After a broken link it may begin so late: a server gives the holder of a uid 3 s before a newcomer gets it.
_LATE_SECONDS = 5.0

#: The longest wait for all that: a channel may never be quiet.
_PATIENCE_SECONDS = 10.0

#: Seconds an attempt has at the least, however little patience is left.
_LEAST_SECONDS = 1.0

#: Seconds a link that was silent has to answer a ping.
_ANSWER_SECONDS = 10.0

#: For so long after a link its uid may still be taken by it.
_GHOST_SECONDS = 60.0


class ILinksUser(Interface):
    """Who says something on the links."""

    def link_open(link: Link) -> None:
        """A WebSocket is open: send the first frame."""

    def link_settled(link: Link) -> None:
        """The replay on it seems to be over."""

    def link_received(payload: bytes, is_binary: bool) -> None:
        """A message came."""

    def link_writable() -> None:
        """More can be written."""

    def link_ended(answered: bool) -> None:
        """The link is gone; `answered`: the server had answered our close frame, so it has taken everything."""

    def status_changed(status: Status) -> None:
        """It stands differently."""


class _Goodbye(Enum):
    """Whether the client wants to leave."""

    NO = auto()
    SAID = auto()  #: as soon as the server has answered the close frame; until then it comes back
    NOW = auto()  #: answered or not


@implementer(ILinkUser)
class Links:
    """The links of one client, one after the other.

    Args:
        config: what the client is told.
        reactor: the reactor, or a `Clock` in tests.
        endpoint: how the server is reached.
        random: any number from 0 to 1.
        user: an `ILinksUser`.

    Attributes:
        status: how it stands.
        link: the link that is open; None: there is none.
    """

    def __init__(
        self,
        config: ClientConfig,
        reactor: Any,
        endpoint: IStreamClientEndpoint,
        random: Callable[[], float],
        user: Any,
    ) -> None:
        self.status = Status(State.IDLE)
        self.link: Link | None = None
        self._config = config
        self._server = config.server
        self._clock: IReactorTime = reactor
        self._endpoint = endpoint
        self._user = user
        self._factory = LinkFactory(config, self, reactor)
        self._backoff = Backoff(random)
        self._goodbye = _Goodbye.NO
        self._is_read = True
        self._attempt: Deferred[Any] | None = None
        self._opening: Link | None = None  # connected, and not yet a WebSocket
        self._deadline: IDelayedCall | None = None  # of the attempt, the wait, or the silence
        self._quiet: IDelayedCall | None = None
        self._started_at = self._began_at = self._opened_at = self._heard_at = 0.0
        self._given_up_at = 0.0  # the attempt, if there is no WebSocket by then
        self._in_at: float | None = None  # when it last was a member
        self._is_broken = False  # the last link may live on at the server
        self._is_asked = False  # a silent link was asked for a sign of life

    def start(self) -> None:
        """Begin; once."""
        self._started_at = self._clock.seconds()
        self._connect()

    def say_goodbye(self) -> None:
        """Everything was said on the link that is open: close it, and be closed when the server has answered."""
        if self._goodbye is not _Goodbye.NOW:
            self._goodbye = _Goodbye.SAID
        if self.link is not None:
            self.link.sendClose(1000)

    def leave(self) -> None:
        """Be closed as soon as that is possible."""
        self._goodbye = _Goodbye.NOW
        if self.link is not None:
            self.link.sendClose(1000)
            self._set_deadline(CLOSE_SECONDS, self.link.abort)
        elif self._attempt is not None:
            self._attempt.cancel()
        elif self._opening is not None:
            self._opening.abort()
        elif self.status.state is not State.CLOSED:
            self._close(Status(State.CLOSED, "left"))

    def read(self, is_read: bool) -> None:
        """Take what comes, or do not: then silence proves nothing."""
        if self._is_read == is_read:
            return
        self._is_read = is_read
        self._heard_at = self._clock.seconds()
        if self.link is not None and not self.link.has_ended:
            if is_read:
                self.link.transport.resumeProducing()
            else:
                self.link.transport.pauseProducing()

    # -- beginning

    def _connect(self) -> None:
        self._began_at = self._clock.seconds()
        self._tell(Status(State.CONNECTING))
        if self._goodbye is _Goodbye.NOW:
            return
        seconds = self._config.connect_seconds
        if self._in_at is None and self._config.patience:
            left = self._started_at + self._config.patience - self._began_at
            seconds = min(seconds, max(left, _LEAST_SECONDS))
        self._given_up_at = self._began_at + seconds
        attempt = self._attempt = self._endpoint.connect(self._factory)
        self._set_deadline(seconds, attempt.cancel)
        attempt.addCallbacks(self._connected, self._not_connected)

    def _connected(self, protocol: Any) -> None:
        self._attempt = None
        link: Link = getattr(protocol, "wrappedProtocol", protocol)  # TLS may be between
        if link.has_ended or self.link is link:
            return
        self._opening = link
        if self._goodbye is _Goodbye.NOW:
            link.abort()
        else:
            self._set_deadline(self._given_up_at - self._clock.seconds(), link.abort)

    def _not_connected(self, failure: Failure) -> None:
        self._attempt = None
        self._failed(fault_of(Ending(), failure, self._server))

    def link_open(self, link: Link) -> None:
        if self._goodbye is _Goodbye.NOW:
            link.abort()
            return
        self.link, self._opening = link, None
        self._opened_at = self._heard_at = self._clock.seconds()
        self._is_asked = False
        if not self._is_read:
            link.transport.pauseProducing()
        self._await_silence()
        if link.extensions is None:
            self._await_quiet(_LATE_SECONDS if self._is_broken else _QUIET_SECONDS)
        self._tell(Status(State.JOINING))
        if self.link is link:
            self._user.link_open(link)

    def _await_quiet(self, seconds: float) -> None:
        if self._quiet is not None:
            self._quiet.cancel()
        opening = self._opened_at - self._began_at
        patience = self._opened_at + _PATIENCE_SECONDS - self._clock.seconds()
        self._quiet = self._clock.callLater(max(0.0, min(seconds + opening, patience)), self._settled)

    def _settled(self) -> None:
        self._quiet = None
        if not self._is_read:
            self._quiet = self._clock.callLater(_QUIET_SECONDS, self._settled)
            return
        self._in_at = self._clock.seconds()
        self._is_broken = False
        self._tell(Status(State.LIVE))
        if self.link is not None:
            self._user.link_settled(self.link)

    # -- while there is a link

    def link_received(self, link: Link, payload: bytes, is_binary: bool) -> None:
        if link is not self.link:
            return
        if self._quiet is not None:
            self._in_at = self._clock.seconds()
            self._await_quiet(_QUIET_SECONDS)
        self._user.link_received(payload, is_binary)

    def link_heard(self, link: Link) -> None:
        self._heard_at = self._clock.seconds()
        self._is_asked = False

    def link_caught_up(self, link: Link) -> None:
        if link is self.link and self.status.state is State.JOINING:
            self._settled()

    def link_writable(self, link: Link) -> None:
        if link is self.link:
            self._user.link_writable()

    def _await_silence(self) -> None:
        self._set_deadline(self._config.silence_seconds, self._look)

    def _look(self) -> None:
        self._deadline = None
        link = self.link
        assert link is not None
        left = self._heard_at + self._config.silence_seconds - self._clock.seconds()
        if not self._is_read:
            self._await_silence()
        elif left > 0:
            self._set_deadline(left, self._look)
        elif self._is_asked or not link.can_send:
            link.abort()
        else:
            # Servers ping, so there is hardly ever need to; some pass pings on to everybody.
            self._is_asked = True
            link.sendPing()
            self._set_deadline(_ANSWER_SECONDS, self._look)

    # -- end

    def link_closing(self, link: Link) -> None:
        self._set_deadline(CLOSE_SECONDS, link.abort)

    def link_ended(self, link: Link, ending: Ending) -> None:
        assert ending.failure is not None
        was_open, self.link, self._opening = self.link is link, None, None
        if self.status.state is State.LIVE:
            self._in_at = self._clock.seconds()
        self._stop_timers()
        if was_open:
            self._user.link_ended(ending.answered)
            self._backoff.lasted(self._clock.seconds() - self._opened_at)
            self._is_broken = ending.code is None
        if ending.answered and self._goodbye is not _Goodbye.NO:
            self._close(Status(State.CLOSED, "left", code=ending.code))
        else:
            self._failed(fault_of(ending, ending.failure, self._server))

    def _failed(self, fault: Fault) -> None:
        self._stop_timers()
        if self._goodbye is _Goodbye.NOW:
            self._close(Status(State.CLOSED, "left", code=fault.code))
        elif self._is_final(fault):
            self._close(Status(State.CLOSED, fault.text, code=fault.code, is_error=True))
        else:
            seconds = self._backoff.failed()
            if self._in_at is None and self._config.patience is not None:
                seconds = min(seconds, self._started_at + self._config.patience - self._clock.seconds())
            self._set_deadline(seconds, self._connect)
            self._tell(Status(State.WAITING, fault.text, seconds, fault.code))

    def _is_final(self, fault: Fault) -> bool:
        now = self._clock.seconds()
        if fault.code == CloseReason.UID_TAKEN.code and self._in_at is not None:
            return now - self._in_at > _GHOST_SECONDS
        if fault.code is not None and not may_retry(fault.code):
            return True
        if self._in_at is not None:
            return False
        patience = self._config.patience
        return fault.is_final or (patience is not None and now - self._started_at >= patience)

    def _close(self, status: Status) -> None:
        self._stop_timers()
        self._tell(status)

    def _tell(self, status: Status) -> None:
        self.status = status
        self._user.status_changed(status)

    def _set_deadline(self, seconds: float, call: Callable[[], object]) -> None:
        if self._deadline is not None and self._deadline.active():
            self._deadline.cancel()
        self._deadline = self._clock.callLater(max(0.0, seconds), call)

    def _stop_timers(self) -> None:
        for timer in (self._deadline, self._quiet):
            if timer is not None and timer.active():
                timer.cancel()
        self._deadline = self._quiet = None
