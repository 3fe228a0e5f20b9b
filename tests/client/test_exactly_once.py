"""Two clients, a server in memory and links that break at random: everything is heard once, in order."""

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mles_tx.testing import MemoryServer
from tests import examples

from .fakes import Heard, Way


class ExactlyOnceTests(SynchronousTestCase):
    """What one says and the other hears."""

    @settings(max_examples=examples(25))
    @given(st.integers(0, 2**32))
    def test_random_breaks(self, seed: int) -> None:
        """Cuts on either side, links that hang, and a reader that pauses: nothing is lost, doubled or out of order."""
        random = Random(seed)
        server = MemoryServer(rate_limit=0, limit=100_000)
        ways = Way(server), Way(server)
        alice, bob = Heard(ways[0], "alice"), Heard(ways[1], "bob")
        alice.client.startService()
        bob.client.startService()
        said = self.misbehave(random, alice, bob)
        for way in ways:
            way.sides[-1].peer.is_read = True
        bob.client.resume_receiving()
        finished = alice.client.finish()
        for _ in range(1500):
            server.clock.advance(0.1)
        self.assertFalse(self.successResultOf(finished).is_error)
        self.assertEqual(bob.said, [f"message {number}" for number in range(said)])

    def misbehave(self, random: Random, alice: Heard, bob: Heard) -> int:
        """Let some happen; how many messages Alice has said."""
        said = 0
        for _ in range(random.randrange(20, 150)):
            what = random.random()
            way = random.choice((alice.way, bob.way))
            side = way.sides[-1]
            if what < 0.6:
                for _ in range(random.randrange(1, 8)):
                    alice.client.publish(f"message {said}")
                    said += 1
            elif what < 0.7 and side.is_connected:
                way.cut()
            elif what < 0.75 and way is alice.way:
                side.peer.is_read = False  # what she says now is on its way, and will be lost by a cut
            elif what < 0.8:
                bob.client.pause_receiving()
            elif what < 0.9:
                bob.client.resume_receiving()
            alice.way.server.clock.advance(random.choice((0, 0, 0, 0.1, 1)))
        return said
