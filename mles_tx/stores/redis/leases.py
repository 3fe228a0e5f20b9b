"""Which node's member has a uid: claims that a dead node loses within seconds.

A channel has a hash with who holds each uid: a node and a number of that node's. A holder counts as long as its node
lives, which the node says every second. A holder that lives is asked through announcements, and answers as on one
node: a member that gives no sign of life is replaced, one that does keeps its uid.

While Redis is away every node decides for itself. When it returns, each claims what its members have: who finds a
uid taken by a living member of another node loses its own (4512, uid_taken).
"""

import json
from collections.abc import Callable, Sequence
from itertools import count, islice
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from mles_tx.channels.claims import IHolders
from mles_tx.protocol.closing import CloseReason

from .keys import channel_keys, node_announcements, node_key
from .scripts import CLAIM, RELEASE
from .seam import ILink, LinkDownError

__all__ = ["ASK_SECONDS", "Leases"]

#: Seconds for a living node to say whether a member of it is alive: it takes up to three to find out.
ASK_SECONDS = 4.0

#: Seconds between two looks at a node that lives and cannot be asked at the moment.
_RETRY_SECONDS = 0.5

#: Uids of a channel that are claimed in one go.
_MANY = 500

#: Claims that are looked at in one sweep: with a channel for each, what is said waits some 30 ms for them.
_NEXT = 2000

_Key = tuple[str, str]


class _Claim:
    """A uid of a channel that this node claims.

    Attributes:
        holder: node and number, as it stands in Redis.
        count: members that want it: those who wait, and the one who has it.
        is_ours: whether it is; None: that is being found out.
        waiting: who waits for that.
    """

    __slots__ = ("count", "holder", "is_ours", "waiting")

    def __init__(self, holder: str) -> None:
        self.holder = holder
        self.count = 0
        self.is_ours: bool | None = None
        self.waiting: list[Deferred[bool]] = []


class Leases:
    """The claims of one node.

    Args:
        clock: for waiting.
        link: the way to Redis.
        node: who we are.
        database: the number of the database, for announcements.
        is_alone: whether Redis is away, and nobody can be asked.
        timed: given each answer somebody waits for, it looks whether Redis takes too long.
    """

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        link: ILink,
        node: str,
        database: int,
        is_alone: Callable[[], bool],
        timed: Callable[["Deferred[Any]"], "Deferred[Any]"],
    ) -> None:
        self._clock = clock
        self._link = link
        self._node = node
        self._database = database
        self._is_alone = is_alone
        self._timed = timed
        self._numbers = count(1)
        self._claims: dict[_Key, _Claim] = {}
        self._questions: dict[int, Deferred[bool | None]] = {}
        self._timers: set[IDelayedCall] = set()
        self._holders: IHolders

    def __len__(self) -> int:
        return len(self._claims)

    def attach(self, holders: IHolders) -> None:
        """Begin; the node's own members are to be asked there."""
        self._holders = holders

    # -- for the registry

    def claim(self, channel: str, uid: str) -> "Deferred[bool]":
        """As `IClaims.claim`."""
        key = channel, uid
        claim = self._claims.get(key)
        is_new = claim is None
        if claim is None:
            claim = self._claims[key] = _Claim(f"{self._node} {next(self._numbers)}")
        claim.count += 1
        if claim.is_ours is None and self._is_alone():
            claim.is_ours = True  # it is settled when Redis returns
        if claim.is_ours is not None:
            return succeed(claim.is_ours)
        answer: Deferred[bool] = Deferred()
        claim.waiting.append(answer)
        if is_new:
            Deferred.fromCoroutine(self._obtain(key, claim)).addErrback(self._not_obtained).addCallback(
                lambda is_ours: self._decide(key, claim, is_ours)
            )
        return answer

    def release(self, channel: str, uid: str) -> None:
        """As `IClaims.release`."""
        key = channel, uid
        claim = self._claims[key]
        claim.count -= 1
        if not claim.count:
            del self._claims[key]
            if claim.is_ours:
                self._give_back(key, claim)

    def give_up(self) -> None:
        """Redis does not answer: who waits for it is let in."""
        for key, claim in list(self._claims.items()):
            if claim.is_ours is None:
                self._decide(key, claim, True)

    def settle(self) -> None:
        """Redis is there again: see to it that everything this node has is its own."""
        self._settle_all(list(self._claims))

    def settle_next(self) -> None:
        """Likewise for some, in turn, now and then: so Redis forgets none of them for being old, or is told again."""
        keys = list(islice(self._claims, _NEXT))
        for key in keys:
            self._claims[key] = self._claims.pop(key)  # to the end
        self._settle_all(keys)

    def stop(self) -> None:
        """Wait for nobody any more."""
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        questions, self._questions = self._questions, {}
        for question in questions.values():
            question.errback(LinkDownError("it is not waited for any more"))
            question.addErrback(lambda _: None)  # while it is being asked, nobody listens yet

    # -- what other nodes say

    def heard(self, data: bytes) -> None:
        """Another node asks, answers, or has taken something."""
        try:
            said = json.loads(data)
            if "answer" in said:
                question = self._questions.pop(said["answer"], None)
                if question is not None:
                    question.callback(bool(said["alive"]))
            elif "ask" in said:
                answering = self._answer(str(said["from"]), int(said["ask"]), (str(said["channel"]), str(said["uid"])))
                Deferred.fromCoroutine(answering).addErrback(self._failed)
            elif "taken" in said:
                self._lose((said["channel"], said["uid"]), said["taken"])
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
            self._log.error("what another node said was not understood")

    async def _answer(self, node: str, number: int, key: _Key) -> None:
        claim = self._claims.get(key)
        if claim is not None and claim.is_ours:
            await self._holders.challenge(*key)
        # Let go, it has been released; a member that is just coming in is alive.
        alive = key in self._claims
        await self._tell(node, {"answer": number, "alive": alive})

    def _lose(self, key: _Key, holder: str) -> None:
        """A node that could not ask us in time has taken a uid."""
        claim = self._claims.get(key)
        if claim is not None and claim.holder == holder:
            self._holders.expel(*key, CloseReason.REPLACED)

    def _tell(self, node: str, what: dict[str, object]) -> "Deferred[int]":
        return self._link.call("PUBLISH", node_announcements(node, self._database), json.dumps(what))

    # -- with Redis

    async def _obtain(self, key: _Key, claim: _Claim) -> bool:
        """Take a uid, if need be from one who is dead; False when its holder is alive."""
        channel, uid = key
        taken_from = ""
        try:
            until = self._clock.seconds() + ASK_SECONDS
            while True:
                keys = channel_keys(channel, "uids")
                taken = await self._timed(self._link.run(CLAIM, keys, uid, claim.holder, taken_from))
                if not taken:
                    if taken_from:
                        await self._tell(
                            taken_from.split(" ")[0], {"taken": taken_from, "channel": channel, "uid": uid}
                        )
                    return True
                holder = taken[1].decode()
                node = holder.split(" ")[0]
                if node != self._node and await self._link.call("EXISTS", node_key(node)):
                    alive = await self._ask(node, key)
                    if alive:
                        return False
                    if alive is None and self._clock.seconds() < until:
                        await self._sleep(_RETRY_SECONDS)
                        continue
                if self._claims.get(key) is not claim:
                    return False  # nobody wants it any more, so it is taken from nobody
                taken_from = holder
        except LinkDownError:
            return True

    async def _ask(self, node: str, key: _Key) -> bool | None:
        """Whether a member of another node is alive; False also when that does not answer; None: it does not listen."""
        number = next(self._numbers)
        answer = self._questions[number] = Deferred()
        if not await self._tell(node, {"ask": number, "from": self._node, "channel": key[0], "uid": key[1]}):
            self._questions.pop(number, None)
            return None
        timer = self._clock.callLater(ASK_SECONDS, self._no_answer, number)
        self._timers.add(timer)
        alive = await answer
        self._timers.discard(timer)
        if timer.active():
            timer.cancel()
        return alive

    def _no_answer(self, number: int) -> None:
        question = self._questions.pop(number, None)
        if question is not None:
            question.callback(False)

    async def _sleep(self, seconds: float) -> None:
        slept: Deferred[None] = Deferred()
        timer = self._clock.callLater(seconds, slept.callback, None)
        self._timers.add(timer)
        await slept
        self._timers.discard(timer)

    def _decide(self, key: _Key, claim: _Claim, is_ours: bool) -> None:
        if claim.is_ours is not None:
            if claim.is_ours and not is_ours and self._claims.get(key) is claim:
                self._holders.expel(*key, CloseReason.UID_TAKEN)  # it was let in before that was known
            return
        claim.is_ours = is_ours
        if self._claims.get(key) is not claim:  # nobody wants it any more
            if is_ours:
                self._give_back(key, claim)
            return
        waiting, claim.waiting = claim.waiting, []
        for answer in waiting:
            if not answer.called:
                answer.callback(is_ours)

    def _settle_all(self, keys: Sequence[_Key]) -> None:
        by_channel: dict[str, list[str]] = {}
        for key in keys:
            if self._claims[key].is_ours:
                by_channel.setdefault(key[0], []).append(key[1])
        for channel, uids in by_channel.items():
            for start in range(0, len(uids), _MANY):
                self._settle(channel, uids[start : start + _MANY])

    def _settle(self, channel: str, uids: list[str]) -> None:
        arguments: list[str] = []
        for uid in uids:
            arguments += (uid, self._claims[channel, uid].holder, "")

        def settled(taken: list[bytes]) -> None:
            for uid in taken[::2]:
                key = channel, uid.decode()
                claim = self._claims.get(key)
                if claim is not None and claim.is_ours:
                    Deferred.fromCoroutine(self._obtain(key, claim)).addCallback(self._settled, key, claim).addErrback(
                        self._failed
                    )

        self._link.run(CLAIM, channel_keys(channel, "uids"), *arguments).addCallback(settled).addErrback(self._failed)

    def _settled(self, is_ours: bool, key: _Key, claim: _Claim) -> None:
        if self._claims.get(key) is claim:
            if not is_ours:
                self._holders.expel(*key, CloseReason.UID_TAKEN)
        elif is_ours:
            self._give_back(key, claim)

    def _give_back(self, key: _Key, claim: _Claim) -> None:
        self._link.run(RELEASE, channel_keys(key[0], "uids"), key[1], claim.holder).addErrback(self._failed)

    def _not_obtained(self, failure: Failure) -> bool:
        self._failed(failure)
        return True

    def _failed(self, failure: Failure) -> None:
        # Without a link nothing is held: it is settled when there is one again.
        if not failure.check(LinkDownError):
            self._log.failure("a uid could not be claimed or released", failure)
