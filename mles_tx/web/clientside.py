"""The client's side of a request that is passed on: h11 reads what the client sends, and frames what it is sent.

It must not know where requests go, nor where answers come from.
"""

from typing import Any

from h11 import (
    DONE,
    IDLE,
    SEND_RESPONSE,
    SERVER,
    Connection,
    Data,
    EndOfMessage,
    Event,
    InformationalResponse,
    Response,
)
from twisted.internet.interfaces import IDelayedCall
from twisted.web.http import datetimeToString

from mles_tx.transport.door import MAX_HEAD_BYTES

from .forwarding import response_fields
from .pages import phrase
from .upstream import MAX_PIECES

__all__ = ["CONTINUE_SECONDS", "ClientSide"]

#: Seconds an upstream has to say that it wants a body the client asks about first (RFC 9110 section 10.1.1): as long
#: as curl waits. Upstreams that do not know the question say nothing.
CONTINUE_SECONDS = 1.0


class ClientSide:
    """One request and its answer, as the client's connection has them.

    Args:
        clock: the reactor, or a `Clock` in tests.
        transport: the client's connection.

    Attributes:
        http: what is known of them.
        is_head: the request is one for a head alone.
    """

    def __init__(self, clock: Any, transport: Any) -> None:
        self._clock = clock
        self._transport = transport
        self.http = Connection(SERVER, MAX_HEAD_BYTES)
        self.is_head = False
        self._unsent: list[bytes] = []
        self._continue: IDelayedCall | None = None

    @property
    def has_answer(self) -> bool:
        """Whether the answer has begun, those before it not counted."""
        return self.http.our_state not in (IDLE, SEND_RESPONSE)

    @property
    def is_over(self) -> bool:
        """Whether all of the request has come and all of the answer was sent, and another request may follow."""
        return self.http.our_state is DONE and self.http.their_state is DONE

    @property
    def rest(self) -> bytes:
        """What the client has sent behind the request."""
        data: bytes = self.http.trailing_data[0]
        return data

    def read(self) -> tuple[bytes, Any]:
        """What has come of the request's body, at most `MAX_PIECES` of it, and the event at which that ends.

        Raises:
            RemoteProtocolError: it is no HTTP.
        """
        pieces: list[bytes] = []
        event: Any = None
        while len(pieces) < MAX_PIECES and type(event := self.http.next_event()) is Data:
            pieces.append(event.data)
        return b"".join(pieces), event

    def send(self, event: Event) -> None:
        """A part of the answer; it is written by the next `flush`."""
        data = self.http.send(event)
        if data:
            self._unsent.append(data)

    def flush(self) -> None:
        """Write what has been sent so far, in one piece."""
        if self._unsent:
            data = b"".join(self._unsent)
            self._unsent.clear()
            self._transport.write(data)

    def inform(self, event: InformationalResponse) -> None:
        """An answer of the upstream's before the answer; clients that speak HTTP/1.0 know none."""
        if event.status_code == 100:
            self.say_continue()
        elif not self.has_answer and self.http.their_http_version == b"1.1":
            fields = response_fields(event.headers.raw_items())
            self.send(InformationalResponse(status_code=event.status_code, headers=fields, reason=event.reason))

    def switch(self, event: InformationalResponse) -> None:
        """The upstream's answer to an upgrade; what follows is no HTTP."""
        fields = response_fields(event.headers.raw_items(), upgrade=True)
        self.send(InformationalResponse(status_code=101, headers=fields, reason=event.reason))
        self.flush()

    def begin_answer(self, event: Response) -> None:
        """The head of the upstream's answer."""
        fields = response_fields(event.headers.raw_items())
        if event.status_code == 204:
            fields = [(name, value) for name, value in fields if name.lower() != b"content-length"]
        self.cancel_continue()
        self.send(Response(status_code=event.status_code, headers=fields, reason=event.reason))

    def answer(self, status: int, text: str) -> None:
        """A whole answer of our own, of one line; there must be none yet."""
        page = text.encode("ascii") + b"\n"
        fields = [
            (b"Date", datetimeToString()),
            (b"Content-Type", b"text/plain; charset=utf-8"),
            (b"Content-Length", b"%d" % len(page)),
        ]
        if self.http.their_state is not DONE:
            fields.append((b"Connection", b"close"))  # there is no telling where the next request begins
        self.send(Response(status_code=status, headers=fields, reason=phrase(status)))
        if not self.is_head:
            self.send(Data(data=page))
        self.send(EndOfMessage())

    def await_continue(self) -> None:
        """If the client asks first whether its body is wanted, tell it so in a second, unless the upstream does."""
        if self.http.they_are_waiting_for_100_continue:
            self._continue = self._clock.callLater(CONTINUE_SECONDS, self.say_continue)

    def say_continue(self) -> None:
        """Tell the client that its body is wanted, if it asks."""
        self.cancel_continue()
        if self.http.they_are_waiting_for_100_continue and not self.has_answer:
            self.send(InformationalResponse(status_code=100, headers=[], reason=b"Continue"))
            self.flush()

    def cancel_continue(self) -> None:
        """Keep no timer."""
        timer, self._continue = self._continue, None
        if timer is not None and timer.active():
            timer.cancel()
