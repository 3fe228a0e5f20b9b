"""One request, passed on to an upstream: its body there and the answer back, each at the pace of who reads it.

Both sides are h11's, so that what is passed on is what was understood, framed anew: no byte of one side's framing
reaches the other. How long each phase may take stands in `progress`. It must not know which requests it is for.
"""

from collections.abc import Callable
from typing import Any

from h11 import Data, EndOfMessage, InformationalResponse, RemoteProtocolError, Request, Response
from twisted.internet.defer import CancelledError, Deferred, TimeoutError
from twisted.internet.error import ConnectingCancelledError
from twisted.internet.error import TimeoutError as ConnectTimeoutError
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from mles_tx.channels.deadlines import Deadlines
from mles_tx.protocol.closing import CloseReason
from mles_tx.protocol.forwarded import Client
from mles_tx.transport.door import Door
from mles_tx.transport.tcp import bytes_taken

from .clientside import ClientSide
from .incoming import Incoming, Refusal, outgoing, read_head, understand
from .pages import BAD_REQUEST
from .pool import FAULTS, TooManyConnections, Upstream
from .progress import REPORTS, Phase, Progress, Seen, Verdict
from .splice import Flow, Splice
from .upstream import UpstreamConnection

__all__ = ["RequestRelay"]

#: Bytes of further requests that are taken while one is answered.
_MAX_AHEAD = 16 * 1024

_BROKEN = 502, "The server behind this address does not answer as it should."
_SILENT = 504, "The server behind this address does not answer in time."
_FULL = 503, "This server has too much to do."
_TOO_SLOW = 408, "The request comes too slowly."

#: What the client is told after a look, unless its answer has begun.
_ANSWERS = {
    Verdict.CLIENT_SLOW: _TOO_SLOW,
    Verdict.UPSTREAM_STALLS: _SILENT,
    Verdict.UPSTREAM_LATE: _SILENT,
}


class RequestRelay:
    """A request and its answer.

    Args:
        clock: the reactor, or a `Clock` in tests.
        looks: where this is looked after, every so often.
        choose: asked for the upstream of a request and for what it is asked; it may raise `Refusal`.
        door: where the request comes from.
        ending: asked what a WebSocket is told that is there only now; None: it may stay.
    """

    _log = Logger()

    def __init__(
        self,
        clock: Any,
        looks: "Deadlines[RequestRelay]",
        choose: Callable[[Any, Request], tuple[Upstream, bytes, Client]],
        door: Door,
        ending: Callable[[], CloseReason | None],
    ) -> None:
        self._clock = clock
        self._looks = looks
        self._choose = choose
        self._door = door
        self._ending = ending
        self._client: Any = door.transport
        self._side = ClientSide(clock, self._client)
        self._phase = Phase.CONNECTING
        self._rest = b""  # of what the client has sent, not looked at yet
        self._is_whole = False  # the request, its body included, is with the upstream
        self._is_repeatable = False
        self._from_client = Flow(self._client)
        self._from_upstream: Flow | None = None
        self._connecting: Deferred[UpstreamConnection] | None = None
        self._connection: UpstreamConnection | None = None
        self._splice: Splice | None = None
        self._later: IDelayedCall | None = None  # what has come of the body and was not passed on yet
        self._came = 0  # bytes from the client
        self._progress = Progress()

    # -- the client's side

    def begin(self, head: bytes, rest: bytes) -> None:
        """The request's head, and what the client has sent behind it."""
        self._rest = rest
        self._client.setTcpNoDelay(True)
        try:
            request = read_head(self._side.http, head)
            self._side.is_head = request.method == b"HEAD"  # a refusal, too, is framed as its answer
            self._pass_on(understand(self._side.http, request))
        except Refusal as refusal:
            self._answer(refusal.status, refusal.text)
        except Exception:
            self._log.failure("a request could not be passed on")
            self._cut()

    def received(self, data: bytes) -> None:
        """The client has sent something more."""
        if self._splice is not None:
            self._splice.from_client(data)
        elif self._phase is Phase.SENDING:
            self._feed(data)
        else:
            self._rest += data
            if len(self._rest) > _MAX_AHEAD:
                self._from_client.hold()

    def half_closed(self) -> None:
        """The client sends nothing more; only after a switch."""
        if self._splice is not None:
            self._splice.client_ended()
            self._end_splice()

    def lost(self) -> None:
        """The client is gone."""
        self._from_upstream = None  # nothing is written to it any more
        self._end_upstream(politely=self._splice is not None and not self._from_client.is_paused)

    # -- the upstream's side

    def informed(self, event: InformationalResponse) -> None:
        """An answer before the answer."""
        self._side.inform(event)

    def answered(self, event: Response) -> None:
        """The head of the answer."""
        self._side.begin_answer(event)
        if self._is_whole:
            self._watch(Phase.ANSWERING)

    def body(self, data: bytes) -> None:
        """A piece of its body."""
        self._side.send(Data(data=data))

    def ended(self) -> None:
        """The whole answer was there."""
        self._connection = None
        self._side.send(EndOfMessage())
        self._finish()

    def switched(self, event: InformationalResponse, rest: bytes) -> None:
        """The upstream switches to WebSocket."""
        connection = self._connection
        if connection is None:
            return
        self._side.switch(event)
        self._client.unregisterProducer()
        self._from_client.release()
        self._door.allow_half_close()
        self._splice = Splice(self._client, connection.transport)
        self._from_client, self._from_upstream = self._splice.to_upstream, self._splice.to_client
        self._watch(Phase.SPLICED)
        ahead, self._rest = self._rest, b""
        if rest:
            self._splice.from_upstream(rest)
        if ahead:
            self._splice.from_client(ahead)
        reason = self._ending()
        if reason is not None:
            self.close(reason)

    def upstream_received(self, data: bytes) -> None:
        """After a switch: the upstream has sent something."""
        if self._splice is not None:
            self._splice.from_upstream(data)

    def upstream_half_closed(self) -> None:
        """After a switch: the upstream sends nothing more."""
        if self._splice is not None:
            self._splice.upstream_ended()
            self._end_splice()

    def failed(self) -> None:
        """The connection to the upstream is gone, before the end of the answer."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        if self._splice is not None:
            self._detach()
            self._door.leave()
        elif self._side.has_answer:
            self._upstream.report("broke off in the middle of an answer")
            self._upstream.failed("cut")
            self._cut()
        elif self._is_repeatable and connection.is_reused and not connection.received:
            self._free_client()
            self._connect(fresh=True)  # it was closed while it was idle
        else:
            self._upstream.report("broke off, or did not answer in HTTP")
            self._answer(*_BROKEN)

    # -- the end of the server

    @property
    def is_spliced(self) -> bool:
        """Whether it is a WebSocket by now."""
        return self._splice is not None

    def close(self, reason: CloseReason) -> None:
        """End a WebSocket: both sides are told, and let go when they have taken what was said to them."""
        if self._splice is not None and self._phase is not Phase.OVER:
            self._splice.tell_end(reason)
            self._detach(politely=not self._from_client.is_paused)
            self._door.leave()

    # -- deadlines

    def look(self) -> None:
        """See whether anything has moved since the last look."""
        self._looks.start(self)
        verdict = self._progress.judge(self._phase, self._seen())
        if verdict in REPORTS:
            self._upstream.report(REPORTS[verdict])
        if verdict in _ANSWERS and self._splice is None:
            self._answer(*_ANSWERS[verdict])
        elif verdict is not Verdict.GOES_ON:
            if verdict in REPORTS:
                self._upstream.failed("cut")
            self._cut()

    def _watch(self, phase: Phase) -> None:
        self._phase = phase
        self._looks.start(self)
        self._progress.begin(self._seen())

    def _seen(self) -> Seen:
        connection, splice = self._connection, self._splice
        moved = 0 if connection is None else connection.received
        return Seen(
            came=self._came,
            moved=moved if splice is None else splice.moved,
            taken_by_client=bytes_taken(self._client),
            taken_by_upstream=0 if connection is None else connection.bytes_taken,
            client_stalls=self._from_upstream is not None and self._from_upstream.is_paused,
            upstream_stalls=self._from_client.is_paused,
            is_half_closed=splice is not None and splice.ended > 0,
        )

    # -- the request

    def _pass_on(self, incoming: Incoming) -> None:
        request = incoming.request
        self._is_whole = incoming.is_whole
        self._is_repeatable = incoming.is_repeatable
        self._upstream, target, sender = self._choose(self._client, request)
        self._upstream.asked()
        self._request = outgoing(incoming, target, sender)
        if not self._is_whole:
            self._from_client.hold()
        self._connect(fresh=not self._is_repeatable)

    def _connect(self, *, fresh: bool) -> None:
        self._phase = Phase.CONNECTING
        self._connecting = connecting = self._upstream.connect(fresh=fresh)
        # A connection that is there already calls back before this returns.
        connecting.addCallbacks(self._connected, self._not_connected).addErrback(self._broken)

    def _not_connected(self, failure: Failure) -> None:
        self._connecting = None
        if self._phase is Phase.OVER:
            return
        if failure.check(TooManyConnections):
            self._upstream.report("was not asked: there are too many connections")
            self._answer(*_FULL)
        elif failure.check(TimeoutError, ConnectTimeoutError, ConnectingCancelledError, CancelledError):
            self._upstream.report("did not accept a connection in time")
            self._answer(*_SILENT)
        else:
            self._upstream.report("did not accept a connection")
            self._answer(*_BROKEN)

    def _broken(self, failure: Failure) -> None:
        self._log.failure("a request could not be passed on", failure)
        self._cut()

    def _connected(self, connection: UpstreamConnection) -> None:
        self._connecting = None
        if self._phase is Phase.OVER:
            connection.abort()
            return
        self._connection = connection
        connection.use(self)
        self._from_upstream = Flow(connection)
        self._client.registerProducer(self._from_upstream, True)
        connection.send(self._request)
        if self._is_whole:
            connection.send(EndOfMessage())
            self._watch(Phase.WAITING)
            return
        connection.transport.registerProducer(self._from_client, True)
        self._watch(Phase.SENDING)
        self._side.await_continue()
        self._from_client.release()
        rest, self._rest = self._rest, b""
        if rest:
            self._feed(rest)

    def _feed(self, data: bytes) -> None:
        """Pass on what has come of the request's body."""
        self._side.http.receive_data(data)
        if self._later is None:
            self._feed_on()

    def _feed_on(self) -> None:
        self._later = None
        try:
            self._pass_pieces()
        except RemoteProtocolError as error:
            error.__traceback__ = None  # h11 has raised it in a frame that refers to it
            self._answer(BAD_REQUEST.code, BAD_REQUEST.text)
        except Exception:
            self._log.failure("a request could not be passed on")
            self._cut()

    def _pass_pieces(self) -> None:
        body, event = self._side.read()
        connection = self._connection
        if connection is None:
            return
        if type(event) is Data:
            self._from_client.hold()  # the others have their turn first
            self._later = self._clock.callLater(0, self._feed_on)
        else:
            self._from_client.release()
        if body:
            self._came += len(body)
            connection.send(Data(data=body))
        if type(event) is EndOfMessage:
            self._is_whole = True
            connection.send(EndOfMessage())
            connection.transport.unregisterProducer()
            self._from_client.resumeProducing()
            self._side.cancel_continue()
            self._watch(Phase.ANSWERING if self._side.has_answer else Phase.WAITING)

    # -- the answer

    def flush(self) -> None:
        """Write what has been sent so far."""
        self._side.flush()

    def _answer(self, status: int, text: str) -> None:
        """Answer with a page of our own; when it is too late for one, cut the connection off."""
        is_late = self._side.has_answer
        if str(status) in FAULTS:
            self._upstream.failed("cut" if is_late else str(status))
        if is_late:
            self._cut()
            return
        self._side.answer(status, text)
        self._finish()

    # -- the end

    def _finish(self) -> None:
        """The whole answer has been sent: the connection goes back to the door as soon as the client has taken it."""
        self._end_upstream()
        if self._from_upstream is None:
            self._from_upstream = Flow(None)
            self._client.registerProducer(self._from_upstream, True)
        self._side.flush()
        if self._from_upstream.is_paused and self._side.is_over:
            self._from_upstream.when_drained(self._hand_back)
            self._watch(Phase.DRAINING)  # or answers that nobody reads would pile up
        else:
            self._hand_back()

    def _hand_back(self) -> None:
        self._detach()
        if self._side.is_over:
            self._door.answered(self._side.rest + self._rest)
        else:
            self._door.leave()

    def _end_splice(self) -> None:
        if self._splice is not None and self._splice.ended == 2:
            self._detach(politely=True)
            self._door.leave()

    def _cut(self) -> None:
        """End it so that the client knows that something is missing."""
        self._detach()
        self._door.abort()

    def _detach(self, *, politely: bool = False) -> None:
        """Let go of the upstream, and of the client's transport."""
        self._end_upstream(politely=politely)
        self._free_client()
        self._from_client.resumeProducing()
        self._from_client.release()

    def _end_upstream(self, *, politely: bool = False) -> None:
        self._phase = Phase.OVER
        self._looks.met(self)
        self._side.cancel_continue()
        later, self._later = self._later, None
        if later is not None:
            later.cancel()
        connecting, self._connecting = self._connecting, None
        if connecting is not None:
            connecting.cancel()
        connection, self._connection = self._connection, None
        if connection is not None and politely:
            connection.close()
        elif connection is not None:
            connection.abort()
        if self._from_upstream is not None:
            self._from_upstream.let_go()

    def _free_client(self) -> None:
        if self._from_upstream is not None:
            self._from_upstream = None
            self._client.unregisterProducer()
