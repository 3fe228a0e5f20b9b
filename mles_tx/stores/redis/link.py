"""Two connections to Redis that come back by themselves: one for commands, one for what is announced.

What was asked on a connection that is lost fails with it; what is to be done then, and what was missed meanwhile, is
not known here. Importing this module imports the reactor, as txredisapi does.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from random import uniform
from typing import Any

import hiredis
import txredisapi
from twisted.internet.defer import CancelledError, Deferred, TimeoutError, fail, gatherResults, succeed
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IDelayedCall, IStreamClientEndpoint
from twisted.internet.protocol import Factory, connectionDone
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from .address import RedisAddress
from .endpoint import CONNECT_SECONDS, endpoint_for
from .keys import node_announcements, node_key
from .scripts import Script
from .seam import ILink, ILinked, LinkDownError

__all__ = ["NODE_SECONDS", "Link"]

#: Seconds after which a node that says nothing is taken for dead.
NODE_SECONDS = 5.0

#: Seconds between two signs of life, and how long the answer to one may take.
_BEAT_SECONDS = 1.0
_SILENCE_SECONDS = 2.0

#: Seconds before a connection is tried again: the first time, and at most.
_FIRST_DELAY = 0.05
_MAX_DELAY = 2.0


def _packed(*command: Any) -> bytes:
    """A command as it goes over the wire."""
    return bytes(hiredis.pack_command(command))


class _Connection(txredisapi.RedisProtocol):  # type: ignore[misc]
    """One connection: txredisapi's, with bytes as they come.

    Commands are made in C, and an answer goes straight to who waits for it: that is half of what a message costs.

    Args:
        lane: whose it is.
    """

    def __init__(self, lane: "_Lane") -> None:
        super().__init__(charset=None, convertNumbers=False)
        self._lane = lane
        self._answers: deque[Deferred[Any]] = deque()  # those who wait
        self.lost: Deferred[None] = Deferred()  # somebody waits for that
        self.ended: Deferred[None] = Deferred()  # and somebody else

    def execute_command(self, *args: Any, **kwargs: Any) -> "Deferred[Any]":
        if not self.connected:
            return fail(LinkDownError("the connection was lost"))
        self.transport.write(_packed(*args))
        answer: Deferred[Any] = Deferred()
        self._answers.append(answer)
        return answer

    def replyReceived(self, reply: Any) -> None:
        answer = self._answers.popleft()
        if isinstance(reply, Exception):
            answer.errback(reply)
        else:
            answer.callback(reply)

    def dataReceived(self, data: bytes, unpause: bool = False) -> None:
        self._lane.has_heard = True
        self._reader.feed(data)
        while self.connected and (reply := self._reader.gets()) is not False:
            self._lane.replied(self, reply)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.connected = 0
        # Why TLS was refused is to be read; that connections end is nothing new.
        is_usual = reason.check(ConnectionDone, ConnectionLost, ConnectionAborted)
        error = LinkDownError("the connection was lost" if is_usual else _text_of(reason.value))
        self._lane.broken(self, error)
        while self._answers:
            self.replyReceived(error)
        super().connectionLost(reason)
        self.lost.callback(None)
        self.ended.callback(None)


class _Lane:
    """One of the two connections, and how it is kept.

    Args:
        link: whose it is.
    """

    _log = Logger()

    def __init__(self, link: "Link") -> None:
        self._link = link
        self._clock = link.clock
        self._endpoint: IStreamClientEndpoint
        self._factory = Factory.forProtocol(self._make)
        self._factory.noisy = False
        self._keeping: Deferred[None] | None = None
        self._is_wanted = False
        self._made: _Connection | None = None  # the last one
        self._beating: IDelayedCall | None = None
        self._asked_at: float | None = None
        self.has_heard = False
        self._why = ""  # it was given up
        self._told = ""  # what has been logged
        self.connection: _Connection | None = None

    def start(self, endpoint: IStreamClientEndpoint) -> None:
        self._endpoint = endpoint
        self._is_wanted = True
        self._keeping = Deferred.fromCoroutine(self._keep())

    def stop(self) -> "Deferred[None]":
        if self._keeping is None:
            return succeed(None)
        keeping, self._keeping = self._keeping, None
        self._is_wanted = False
        keeping.addErrback(lambda failure: failure.trap(CancelledError) and None)
        keeping.cancel()
        return keeping.addCallback(lambda _: self._made.ended if self._made is not None else None)

    def abort(self, why: str) -> None:
        """Give the connection up; the next one is tried soon."""
        if self.connection is not None:
            self._why = self._why or why
            self.connection.transport.abortConnection()

    def _make(self) -> _Connection:
        self._made = _Connection(self)
        return self._made

    async def _keep(self) -> None:
        failures = 0
        while self._is_wanted:
            connection: _Connection | None = None
            try:
                await self._endpoint.connect(self._factory)
                connection = self._made
                assert connection is not None
                await self.prepare(connection).addTimeout(CONNECT_SECONDS, self._clock)
                failures = 0
                self.connection = connection
                self._why = self._told = ""
                self._beating = self._clock.callLater(_BEAT_SECONDS, self._beat)
                self.up()
                await connection.lost
                self._failed(self._why or "the connection was lost")
            except CancelledError:
                raise
            except Exception as error:
                if self._is_wanted:  # else it has been cancelled, and says so in its own way
                    self._failed(_text_of(error))
            finally:
                self._gone(connection)
            if self._is_wanted:
                delay = min(_FIRST_DELAY * 1.7**failures, _MAX_DELAY) * uniform(0.8, 1.2)
                failures += failures < 20
                await deferLater(self._clock, delay)

    def _failed(self, why: str) -> None:
        """A connection could not be made, or is lost: that is said once for each reason."""
        self._link.fault = why
        if why != self._told:
            self._told = why
            self._log.warn("Redis at {address}: {why}", address=str(self._link.address), why=why)

    def _gone(self, connection: _Connection | None) -> None:
        if self._beating is not None:
            self._beating.cancel()
            self._beating = None
        self._asked_at = None
        was_up, self.connection = self.connection is not None, None
        if connection is not None and connection.connected:
            connection.transport.abortConnection()
        if was_up:
            self.down()

    def _beat(self) -> None:
        """Look whether the other end is there, and let it know that we are."""
        now = self._clock.seconds()
        if self.has_heard:
            self._asked_at = None
        if self._asked_at is not None and now - self._asked_at >= _SILENCE_SECONDS:
            self._beating = None
            self.abort("no answer")
            return
        self._beating = self._clock.callLater(_BEAT_SECONDS, self._beat)
        if self._asked_at is None:
            self._asked_at = now
        self.has_heard = False
        self.ask()

    # -- what the two do differently

    def prepare(self, connection: _Connection) -> "Deferred[Any]":
        raise NotImplementedError

    def up(self) -> None:
        raise NotImplementedError

    def down(self) -> None:
        raise NotImplementedError

    def ask(self) -> None:
        raise NotImplementedError

    def broken(self, connection: _Connection, error: LinkDownError) -> None:
        """Nothing more is to be written to a connection; those who wait for answers are told next."""

    def replied(self, connection: _Connection, reply: Any) -> None:
        connection.replyReceived(reply)


def _text_of(error: object) -> str:
    """What went wrong, in a line, without a password: Redis repeats none."""
    if isinstance(error, TimeoutError):
        return "no answer"
    text = " ".join(str(error).split()) or type(error).__name__
    return text[:200]


class _Commands(_Lane):
    """The connection for commands."""

    def prepare(self, connection: _Connection) -> "Deferred[Any]":
        steps = self._link.login(connection)
        steps += [connection.execute_command("SCRIPT", "LOAD", script.text) for script in self._link.scripts]
        steps.append(self._live(connection))
        return gatherResults(steps, consumeErrors=True).addErrback(_first_error)

    def up(self) -> None:
        self._link.is_up = True
        self._link.linked.link_up()

    def down(self) -> None:
        self._link.is_up = False
        self._link.linked.link_down()

    def broken(self, connection: _Connection, error: LinkDownError) -> None:
        if self.connection is connection:
            self._link.is_up = False

    def ask(self) -> None:
        if self.connection is not None:
            self._live(self.connection).addErrback(self._cannot)

    def _cannot(self, failure: Failure) -> None:
        self._link.drop(_text_of(failure.value))

    def _live(self, connection: _Connection) -> "Deferred[Any]":
        """Say that this node lives, which also shows whether Redis can be written to, and look at its clock."""
        lives = connection.execute_command("SET", node_key(self._link.node), "1", "PX", int(NODE_SECONDS * 1000))
        return gatherResults(
            [lives, connection.execute_command("TIME").addCallback(self._told_time)], consumeErrors=True
        ).addErrback(_first_error)

    def _told_time(self, time: list[bytes]) -> None:
        self._link.clock_offset = int(time[0]) + int(time[1]) / 1e6 - self._clock.seconds()


class _Announcements(_Lane):
    """The connection on which announcements come."""

    _begun: Deferred[None] | None = None

    def prepare(self, connection: _Connection) -> "Deferred[Any]":
        return Deferred.fromCoroutine(self._begin(connection))

    async def _begin(self, connection: _Connection) -> None:
        await gatherResults(self._link.login(connection), consumeErrors=True).addErrback(_first_error)
        self._begun = Deferred()
        connection.transport.write(_packed("SUBSCRIBE", self._link.own_announcements))
        await self._begun

    def broken(self, connection: _Connection, error: LinkDownError) -> None:
        if self._begun is not None and not self._begun.called:
            self._begun.errback(error)

    def up(self) -> None:
        self._link.is_hearing = True
        self._link.linked.hearing_again()

    def down(self) -> None:
        self._link.is_hearing = False
        self._link.linked.deaf()

    def ask(self) -> None:
        if self.connection is not None:
            self.connection.transport.write(_packed("PING"))

    def replied(self, connection: _Connection, reply: Any) -> None:
        # Answers to SUBSCRIBE and PING are announcements as well, and belong to no command.
        kind = reply[0] if isinstance(reply, list) else None
        if kind == b"message":
            self._link.linked.heard(reply[1], reply[2])
        elif kind == b"subscribe":
            if self.connection is connection:
                self._link.linked.hearing(reply[1])
            elif self._begun is not None and not self._begun.called:
                self._begun.callback(None)
        elif kind not in (b"unsubscribe", b"pong"):
            connection.replyReceived(reply)


def _first_error(failure: Failure) -> Failure:
    """The error itself, instead of the one that says that there was one."""
    inner = getattr(failure.value, "subFailure", None)
    return inner if isinstance(inner, Failure) else failure


@implementer(ILink)
class Link:
    """A way to a Redis over the network.

    Args:
        reactor: who connects.
        address: where to, and how.
        node: who we are.
        scripts: what is to be run there.
    """

    def __init__(self, reactor: Any, address: RedisAddress, node: str, scripts: Sequence[Script]) -> None:
        self.clock = reactor
        self.node = node
        self.scripts = scripts
        self.own_announcements = node_announcements(node, address.database)
        self.is_up = False
        self.is_hearing = False
        self.fault = ""
        self.clock_offset: float | None = None
        self.linked: ILinked
        self.address = address
        self._commands = _Commands(self)
        self._announcements = _Announcements(self)

    def start(self, linked: ILinked) -> None:
        self.linked = linked
        endpoint = endpoint_for(self.clock, self.address)
        self._commands.start(endpoint)
        self._announcements.start(endpoint)

    def stop(self) -> "Deferred[None]":
        stopped = [lane.stop() for lane in (self._announcements, self._commands)]
        return gatherResults(stopped).addCallback(lambda _: None)

    def call(self, *command: bytes | str | int) -> "Deferred[Any]":
        connection = self._commands.connection
        if connection is None or not self.is_up:
            return fail(LinkDownError("not connected"))
        answer: Deferred[Any] = connection.execute_command(*command)
        return answer

    def run(self, script: Script, keys: Sequence[str], *arguments: bytes | str | int) -> "Deferred[Any]":
        return self.call("EVALSHA", script.digest, len(keys), *keys, *arguments)

    def listen(self, announcements: Iterable[bytes]) -> None:
        connection, names = self._announcements.connection, list(announcements)
        if connection is not None and names:
            connection.transport.write(_packed("SUBSCRIBE", *names))

    def ignore(self, announcements: bytes) -> None:
        connection = self._announcements.connection
        if connection is not None:
            connection.transport.write(_packed("UNSUBSCRIBE", announcements))

    def drop(self, why: str) -> None:
        self._commands.abort(why)

    def login(self, connection: Any) -> "list[Deferred[Any]]":
        """Say who we are and which database is ours."""
        steps = []
        if self.address.password is not None:
            steps.append(connection.auth(self.address.password, self.address.user))
        if self.address.database:
            steps.append(connection.execute_command("SELECT", self.address.database))
        return steps
