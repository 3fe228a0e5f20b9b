"""One channel with members on this node: its place in the stream, and what is remembered of it here.

Every entry has the id of the one before it. An announcement that follows on what was seen last is delivered; after
a gap, a lost connection or a new subscription the stream is read from the last id on, and what is announced
meanwhile is held back. So nothing is missed, and nothing comes twice: of each node the number of its last batch is
known, too.

    ===========  ======================================================  ===========================
    state        meaning                                                 an announcement
    ===========  ======================================================  ===========================
    ALONE        Redis is away, or has not been asked yet                is not heard
    LOADING      what the channel remembers is being read                waits
    READING      the stream is being read from the last id on            waits
    FOLLOWING    everything up to the last id was seen                   is delivered if it is next
    ===========  ======================================================  ===========================

What is remembered is a copy of the end of the stream, so that a join does not wait for Redis. What this node has
delivered before it had a place in the stream, because Redis was away, stands behind it until it comes by.
"""

from collections.abc import Sequence
from enum import Enum, auto
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from mles_tx.channels.history import ChannelLog, IReplay, Message

from .backlog import Pending, Place
from .entries import Batch, Entry, author, decode, is_before
from .keys import channel_keys
from .news import Announced, HeldNews
from .node import INode
from .replays import WaitingReplay, with_more
from .scripts import LOAD, READ, Script
from .seam import ILink, LinkDownError, is_unable

__all__ = ["Followed", "State"]

#: Bytes asked for at a time.
_PAGE_BYTES = 256 * 1024

#: Nodes whose last number is known: a node that starts anew counts as another one.
_MAX_NODES = 256

#: Seconds by which our idea of the clock of Redis may be wrong.
_MARGIN_SECONDS = 0.25


class State(Enum):
    """How far a channel is."""

    ALONE = auto()
    LOADING = auto()
    READING = auto()
    FOLLOWING = auto()


class Followed:
    """A channel with members on this node.

    Args:
        name: the channel's name.
        link: the way to Redis.
        node: this node.
        node_name: what it is called.
        limits: messages and bytes that are remembered.
        own: batches of this node that have no place in the stream yet, by their numbers; shared with the node.

    Attributes:
        state: how far it is.
        is_heard: whether announcements come.
        is_alone: whether who joins has to do with what is known here.
    """

    _log = Logger()

    def __init__(
        self, name: str, link: ILink, node: INode, node_name: str, limits: Sequence[int], own: dict[int, Pending]
    ) -> None:
        self.name = name
        self.state = State.ALONE
        self.is_heard = False
        self.is_alone = False
        self.log = ChannelLog()
        self._is_loaded = False
        self._link = link
        self._keys = channel_keys(name, "log", "meta")
        self._node = node
        self._node_name = node_name
        self._limits = limits
        self._own = own
        self._began = node.seconds()
        self._is_late = not link.is_up  # whether it is read only some time after it was begun here
        self._place: Place | None = None
        self._seen: dict[str, int] = {}  # by node, the number of its last batch
        self._held = HeldNews()
        self._is_behind = False  # something has to be read that is not held
        self._taken: list[Pending] = []  # when the stream was last read, what had to be in it
        self._waiting: list[WaitingReplay] = []
        self._unplaced: list[Deferred[None]] = []
        self._asked = 0  # which question to Redis is the last one: answers to others do not count
        self.log.used_at = node.seconds()
        node.remembered(self.log.memory)

    @property
    def place(self) -> Place:
        """Where the stream was when it was last seen."""
        return self._place or (b"", b"")

    @property
    def is_idle(self) -> bool:
        """Whether nothing is on its way."""
        return self.state in (State.FOLLOWING, State.ALONE) and not self._own and not self._waiting

    # -- what happens to the link

    def resume(self) -> None:
        """Commands can be given: find out what was missed, or what there is at all."""
        self.is_alone = False
        (self._read if self._is_loaded else self._load)()

    def pause(self) -> None:
        """They cannot any more. As long as announcements come one by one, none is needed."""
        self._asked += 1
        self._is_late = True
        if self.state is not State.FOLLOWING:
            self._stand_alone()

    def hear(self) -> None:
        """From now on announcements come."""
        self.is_heard = True
        if self.state is State.FOLLOWING:
            self._read()
        else:
            self._is_behind = True

    def give_up(self) -> None:
        """Redis does not answer: those who wait for it get what is known here."""
        self.is_alone = True
        self._find_waiting()

    def forget(self) -> None:
        """Give the memory back: what is remembered is read again when it is needed."""
        before, self.log = self.log, ChannelLog()
        self.log.used_at = before.used_at
        self._node.remembered(self.log.memory - before.memory)
        self._is_loaded = False

    # -- what members want

    def replay(self, uid: str, history: int | None, since: Sequence[int]) -> IReplay:
        """What somebody is to be sent who joins now."""
        # Messages that are on their way come when they are delivered; join frames are not delivered to anybody.
        behind = [pending for pending in self._own.values() if pending.is_delivered or pending.batch[0].is_join]

        def compose() -> IReplay:
            more = [message for pending in behind if not pending.is_seen for message in pending.batch]
            return with_more(self.log, more, self._limits).replay(uid, history, since)

        if self._is_loaded:
            return compose()
        waiting = WaitingReplay(compose)
        self._waiting.append(waiting)
        if self.state is not State.LOADING and self._link.is_up:
            # A read that is under way is begun again behind it: what it is to bring stands behind the replay.
            self._is_behind = self._is_behind or self.state is State.READING
            self._load()
        if self.is_alone:
            self._find_waiting()
        return waiting

    def placed(self) -> "Deferred[None] | None":
        """As `IClaims.placed`."""
        if self._place is not None or self.is_alone:
            return None
        placed: Deferred[None] = Deferred()
        self._unplaced.append(placed)
        return placed

    def _find_waiting(self) -> None:
        self._is_late = True
        waiting, self._waiting = self._waiting, []
        for replay in waiting:
            try:
                replay.find()
            except Exception:
                self._log.failure("a history could not be handed over")
        unplaced, self._unplaced = self._unplaced, []
        for placed in unplaced:
            placed.callback(None)

    # -- what Redis says

    def announce(self, news: Announced) -> None:
        """Something was said on this channel, here or elsewhere."""
        if self.state is State.ALONE:
            return  # it is read when that has an end
        if self.state is not State.FOLLOWING:
            self._hold(news)
        elif self._is_next(news):
            self._place = news.epoch, news.entry.id
            self._pass(news.entry)
        elif not self._is_old(news):
            self._hold(news)
            self._read()

    def taken(self, pending: Pending, is_new: bool, epoch: bytes, before: bytes, entry_id: bytes) -> None:
        """A batch of this node has been appended. Its announcement may have come already, or is on its way."""
        if pending.is_seen or self.state is State.ALONE:
            return
        news = Announced(epoch, before, Entry(entry_id, b""))
        pending.place = entry_id if is_new else None
        if self.state is not State.FOLLOWING:
            self._is_behind = self._is_behind or not is_new or not self.is_heard
        elif not is_new:
            self._read()  # it was there already, on the connection before this one
        elif self._is_next(news):
            self._place = epoch, entry_id
            self._pass_own(pending)
        elif self._is_old(news):
            self._lose([pending])
        elif not self.is_heard:
            self._read()

    def _is_next(self, news: Announced) -> bool:
        epoch, last = self.place
        return news.before == last and (news.epoch == epoch or not epoch)

    def _is_old(self, news: Announced) -> bool:
        epoch, last = self.place
        return news.epoch == epoch and not is_before(last, news.entry.id)

    def _hold(self, news: Announced) -> None:
        if not self._held.hold(news):
            self._is_behind = True

    def _stand_alone(self) -> None:
        self.state = State.ALONE
        self._held.take()

    def _ask(self, script: Script, keys: Sequence[str], answered: Any, *arguments: Any) -> None:
        asked = self._asked = self._asked + 1

        def answer(reply: Any) -> None:
            if asked == self._asked:
                answered(reply)

        def failed(failure: Failure) -> None:
            if asked == self._asked:
                self._not_read(failure)

        self._link.run(script, keys, *arguments).addCallback(answer).addErrback(failed)

    def _not_read(self, failure: Failure) -> None:
        self._stand_alone()
        if failure.check(LinkDownError):
            return  # it is tried again as soon as there is another connection
        text = str(failure.value)[:200]
        if is_unable(text):
            self._link.drop(f"nothing can be read: {text}")
            return
        self._log.failure("the history of a channel could not be read", failure)
        self._find_waiting()

    # -- what is remembered

    def _load(self) -> None:
        """Read the end of the stream, newest first."""
        self.state = State.LOADING
        begin = b""
        if self._place is not None:
            begin = self._place[1]
        elif self._is_late and (began := self._node.redis_seconds(self._began)) is not None:
            # What was said since is still to be delivered.
            begin = b"%d-0" % int((began - _MARGIN_SECONDS) * 1000)
        self._load_page(begin, begin, [], 0, 0)

    def _load_page(self, begin: bytes, at: bytes, batches: list[Batch], count: int, size: int) -> None:
        was_late = self._is_late

        def answered(reply: list[Any]) -> None:
            epoch, last, entries = reply
            nonlocal begin, count, size
            if not begin:
                if self._is_late and not was_late:
                    self._load()  # members have not waited for the answer
                    return
                self._place = epoch, last
                begin = last
            elif self._place is None:
                self._place = b"", begin
            elif self._place[0] and epoch != self._place[0]:
                entries = []  # of another stream: it is read from its beginning
            for entry_id, body in entries:
                at_id = entry_id
                try:
                    batch = decode(body)
                except ValueError:
                    continue
                batches.append(batch)
                count += len(batch.messages)
                size += sum([len(message.frame) for message in batch.messages])
            if entries and count < self._limits[0] and size < self._limits[1]:
                self._load_page(begin, b"(" + at_id, batches, count, size)
            else:
                self._loaded(batches)

        self._ask(LOAD, self._keys, answered, at, _PAGE_BYTES)

    def _loaded(self, batches: list[Batch]) -> None:
        self.forget()
        for batch in reversed(batches):
            self._seen[batch.node] = max(batch.number, self._seen.get(batch.node, 0))
            self._remember(batch.messages)
        self._is_loaded = True
        self._find_waiting()
        if self.is_heard or self._is_behind:
            self._read()
        else:
            self.state = State.FOLLOWING

    # -- reading on

    def _read(self) -> None:
        """Read the stream from the last id on."""
        self.state = State.READING
        self._is_behind = False
        self._taken = [pending for pending in self._own.values() if pending.is_taken]
        self._read_on()

    def _read_on(self) -> None:
        self._ask(READ, self._keys, self._read_page, *self.place, _PAGE_BYTES)

    def _read_page(self, reply: list[Any]) -> None:
        epoch, end, begin, trimmed, entries = reply
        known = self.place[0]
        if known and known != epoch:
            self._log.warn(
                "the history of a channel was lost in Redis, wholly or from some point on, and goes on anew: {channel}",
                channel=self.name[:64],
            )
        if is_before(begin, trimmed):
            self._node.missed(self.name)
        self._place = epoch, begin
        for entry_id, body in entries:
            self._place = epoch, entry_id
            self._pass(Entry(entry_id, body))
        if entries and entries[-1][0] != end:
            self._read_on()
            return
        self._place = epoch, end
        passed = [own for own in self._own.values() if own.place is not None and not is_before(end, own.place)]
        self._lose([*self._taken, *passed])
        held, was_behind = self._held.take(), self._is_behind
        self.state = State.FOLLOWING
        for index, news in enumerate(held):
            if self._is_next(news):
                self._place = news.epoch, news.entry.id
                self._pass(news.entry)
            elif not self._is_old(news) and entries:
                for later in held[index:]:
                    self._held.hold(later)
                was_behind = True
                break
        if was_behind:
            self._read()

    def _pass(self, entry: Entry) -> None:
        try:
            node, number = author(entry.body)
            if number <= self._seen.get(node, 0):
                return
            if node == self._node_name and (pending := self._own.get(number)) is not None:
                self._pass_own(pending)
                return
            messages = decode(entry.body).messages
        except ValueError:
            self._log.error("an entry in Redis was not understood: {id}", id=entry.id)
            return
        if node not in self._seen and len(self._seen) >= _MAX_NODES:
            del self._seen[next(iter(self._seen))]
        self._seen[node] = number
        self._remember(messages)
        if node != self._node_name:  # else it was given up here, and has been delivered
            self._node.deliver(self.name, messages)

    def _pass_own(self, pending: Pending) -> None:
        self._seen[self._node_name] = pending.number
        self._lose([other for other in self._own.values() if other.number < pending.number and other.is_taken])
        self._remember(pending.batch)
        self._settle(pending)

    def _lose(self, taken: Sequence[Pending]) -> None:
        """What Redis has taken, and does not have any more: a join frame that is not the newest, or it was lost."""
        for pending in taken:
            if not pending.is_seen:
                if not pending.batch[0].is_join:
                    self._remember(pending.batch)
                self._settle(pending)

    def _settle(self, pending: Pending) -> None:
        del self._own[pending.number]
        pending.is_seen = True
        if not pending.is_delivered:
            pending.is_delivered = True
            self._node.deliver(self.name, pending.batch)
        self._node.settled(pending)

    def _remember(self, batch: Sequence[Message]) -> None:
        self.log.used_at = self._node.seconds()
        self._node.remembered(self.log.append(batch, *self._limits))
