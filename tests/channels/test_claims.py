"""The seam for claims; how a registry uses it is in `test_registry`."""

from twisted.trial.unittest import SynchronousTestCase

from mles_tx.channels.claims import IClaims, IHolders


class SeamTests(SynchronousTestCase):
    """What a registry and other nodes ask each other."""

    def test_questions(self) -> None:
        """A registry claims, waits for its place and releases; other nodes challenge and expel."""
        self.assertEqual(set(IClaims.names()), {"attach", "claim", "placed", "release"})
        self.assertEqual(set(IHolders.names()), {"challenge", "expel"})
