"""Who fills a channel: the steps alone; what becomes of what they send is in `test_registry`."""

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mles_tx.channels.channel import Channel
from mles_tx.channels.history import IHistory, MemoryHistory
from mles_tx.channels.refills import NOBODY, Refills

from .fakes import FakeMember, LateReplay


class _Claims:
    """Other nodes, and how often the filling was claimed and released."""

    def __init__(self, answer: "Deferred[bool]") -> None:
        self.answer = answer
        self.claimed = self.released = 0

    def attach(self, holders: object) -> None:
        raise AssertionError("nobody is asked here")

    def claim(self, channel: str, uid: str) -> "Deferred[bool]":
        assert uid == NOBODY
        self.claimed += 1
        return self.answer

    def placed(self, channel: str) -> "Deferred[None] | None":
        raise AssertionError("nobody joins here")

    def release(self, channel: str, uid: str) -> None:
        self.released += 1


class RefillsTests(SynchronousTestCase):
    """One channel without messages."""

    def setUp(self) -> None:
        self.channel, self.alice, self.bob = Channel("example"), FakeMember("alice"), FakeMember("bob")
        self.history: IHistory = MemoryHistory(Clock(), 200)

    def decide(self, refills: Refills, member: FakeMember) -> "Deferred[None]":
        return Deferred.fromCoroutine(refills.decide(self.channel, member))

    def test_one(self) -> None:
        """Who offers fills the channel until it ends; before it has begun another one may take its place."""
        refills = Refills(self.history, None)
        for member in (self.alice, self.bob):
            self.successResultOf(self.decide(refills, member))
            self.assertIs(self.channel.filled_by, member)
        refills.end(self.channel, self.alice)
        self.assertIs(self.channel.filled_by, self.bob)
        self.channel.has_spoken = True
        self.successResultOf(self.decide(refills, self.alice))
        self.assertIs(self.channel.filled_by, self.bob)
        refills.end(self.channel, self.bob)
        self.assertIsNone(self.channel.filled_by)

    def test_while_it_is_found_out(self) -> None:
        """Nobody takes the place of one about whom the store is still asked."""
        late = LateReplay([])
        self.patch(self.history, "replay", lambda *asked: late)
        refills = Refills(self.history, None)
        deciding = self.decide(refills, self.alice)
        self.successResultOf(self.decide(refills, self.bob))
        late.answer()
        self.successResultOf(deciding)
        self.assertIs(self.channel.filled_by, self.alice)

    def test_released_once(self) -> None:
        """Whatever other nodes say, the claim is given back once."""
        for is_free in (True, False):
            claims = _Claims(succeed(is_free))
            refills = Refills(self.history, claims)  # type: ignore[arg-type]
            self.successResultOf(self.decide(refills, self.alice))
            self.assertEqual(self.channel.filled_by, self.alice if is_free else None)
            for _ in range(2):
                refills.end(self.channel, self.alice)
            self.assertEqual((claims.claimed, claims.released), (1, 1))

    def test_goes_meanwhile(self) -> None:
        """Who goes while the store or other nodes are asked leaves the channel free."""
        late = LateReplay([])
        self.patch(self.history, "replay", lambda *asked: late)
        for claims in (_Claims(Deferred()), _Claims(succeed(True))):
            refills = Refills(self.history, claims)  # type: ignore[arg-type]
            deciding = self.decide(refills, self.alice)
            deciding.cancel()
            self.failureResultOf(deciding, CancelledError)
            refills.end(self.channel, self.alice)
            self.assertEqual((self.channel.filled_by, claims.claimed, claims.released), (None, 1, 1))
