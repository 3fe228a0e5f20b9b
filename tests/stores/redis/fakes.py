"""A Redis in memory, with the scripts as they are, and links to it that the test cuts, holds and mends."""

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any

import fakeredis
import redis
from twisted.internet.defer import Deferred, fail
from twisted.internet.task import Clock
from zope.interface import implementer

from mles_tx.stores.redis.keys import node_announcements, node_key
from mles_tx.stores.redis.link import NODE_SECONDS
from mles_tx.stores.redis.scripts import Script
from mles_tx.stores.redis.seam import ILink, ILinked, LinkDownError

__all__ = ["FakeLink", "FakeServer"]


class FakeServer:
    """A Redis in memory.

    Attributes:
        redis: to look into it.
        held: whether it answers nothing, as one that is stopped.
    """

    def __init__(self) -> None:
        self.server = fakeredis.FakeServer()
        self.redis = self.client()
        self.links: list[FakeLink] = []
        self.held = False

    def client(self) -> Any:
        return fakeredis.FakeRedis(server=self.server)

    def work(self) -> bool:
        """Handle a command, and tell what was announced; False when there is nothing to do."""
        if self.held:
            return False
        did = [link.handle() for link in self.links]
        told = [link.tell() for link in self.links]
        return any(did) or any(told)

    def settle(self) -> None:
        """Handle everything."""
        while self.work():
            pass


@implementer(ILink)
class FakeLink:
    """A link of one node: commands wait until the server works."""

    def __init__(self, server: FakeServer, node: str, clock: Clock) -> None:
        self.is_up = False
        self.is_hearing = False
        self.fault = ""
        self.clock_offset: float | None = None
        self.node = node
        self.own_announcements = node_announcements(node, 0)
        self.dropped: list[str] = []  #: why it was given up
        self.error: Exception | None = None  #: what every command is answered with
        self._clock = clock
        self._server = server
        self._redis = server.client()
        self._pubsub: Any = None
        self._commands: deque[tuple[tuple[Any, ...], Deferred[Any]]] = deque()
        self._linked: ILinked
        server.links.append(self)

    def start(self, linked: ILinked) -> None:
        self._linked = linked
        self.mend()

    def stop(self) -> "Deferred[None]":
        self.cut()
        done: Deferred[None] = Deferred()
        done.callback(None)
        return done

    def mend(self) -> None:
        """Connect."""
        self.mend_hearing()
        self.mend_commands()

    def mend_commands(self) -> None:
        if not self.is_up:
            self.is_up = True
            self._redis.set(node_key(self.node), 1, px=int(NODE_SECONDS * 1000))
            seconds, micros = self._redis.time()
            self.clock_offset = seconds + micros / 1e6 - self._clock.seconds()
            self._linked.link_up()

    def mend_hearing(self) -> None:
        if not self.is_hearing:
            self._pubsub = self._redis.pubsub()
            self._pubsub.subscribe(self.own_announcements)
            self.is_hearing = True
            self._linked.hearing_again()

    def cut(self, taken: int = 0) -> None:
        """Lose both connections; the first of the commands that wait have reached the server before."""
        self.cut_commands(taken)
        self.cut_hearing()

    def cut_commands(self, taken: int = 0) -> None:
        if self.is_up:
            self.is_up = False
            commands = list(self._commands)
            self._commands.clear()
            for number, (command, answer) in enumerate(commands):
                if number < taken:
                    self._execute(command)
                answer.errback(LinkDownError("cut"))
            self.fault = "cut"
            self._linked.link_down()

    def cut_hearing(self) -> None:
        if self.is_hearing:
            self.is_hearing = False
            self._pubsub.close()
            self._linked.deaf()

    def call(self, *command: Any) -> "Deferred[Any]":
        if not self.is_up:
            return fail(LinkDownError("down"))
        answer: Deferred[Any] = Deferred()
        self._commands.append((command, answer))
        return answer

    def run(self, script: Script, keys: Sequence[str], *arguments: Any) -> "Deferred[Any]":
        return self.call("EVAL", script.text, len(keys), *keys, *arguments)

    def listen(self, announcements: Iterable[bytes]) -> None:
        names = list(announcements)
        if self.is_hearing and names:
            self._pubsub.subscribe(*names)

    def ignore(self, announcements: bytes) -> None:
        if self.is_hearing:
            self._pubsub.unsubscribe(announcements)

    def drop(self, why: str) -> None:
        self.dropped.append(why)
        self.fault = why

    def handle(self) -> bool:
        """Answer a command."""
        if not self._commands:
            return False
        command, answer = self._commands.popleft()
        try:
            found = self._execute(command)
        except redis.ResponseError as error:
            answer.errback(error)
        else:
            answer.callback(found)
        return True

    def tell(self) -> bool:
        """Tell of an announcement."""
        if not self.is_hearing:
            return False
        message = self._pubsub.get_message()
        if message is None:
            return False
        if message["type"] == "subscribe":
            self._linked.hearing(message["channel"])
        elif message["type"] == "message":
            self._linked.heard(message["channel"], message["data"])
        return True

    def _execute(self, command: tuple[Any, ...]) -> Any:
        if self.error is not None:
            raise self.error
        return self._redis.execute_command(*command)
