"""What a server says about itself: written, read, and read when somebody else wrote it."""

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mles_tx.protocol.extensions import Extensions, parse_extensions


class ExtensionsTests(SynchronousTestCase):
    """The value of the header."""

    def test_there_and_back(self) -> None:
        """What a server writes is read as it was meant."""
        said = Extensions(200, "9f86d081884c7d65")
        self.assertEqual(str(said), "history, since, receive, resync; limit=200; run=9f86d081884c7d65")
        self.assertEqual(parse_extensions(str(said)), said)

    def test_of_later_servers(self) -> None:
        """More keys and more parameters, in another order and with other spaces, do not disturb."""
        found = parse_extensions("resync,history ,color;run=A1 ; tls;limit=5;x=y=z")
        self.assertEqual(found, Extensions(5, "A1", ("resync", "history", "color")))

    def test_not_understood(self) -> None:
        """A server without the header, or with something else in it, has no extensions."""
        for value in (None, "", "resync", "resync; limit=5", "resync; run=a", "resync; limit=-1; run=a"):
            self.assertIsNone(parse_extensions(value), value)
        self.assertIsNone(parse_extensions("resync; limit=1; run=a b"))

    @settings(deadline=None, database=None)
    @given(st.text())
    def test_anything(self, value: str) -> None:
        """Whatever stands there, it is understood or not, and nothing else happens."""
        found = parse_extensions(value)
        self.assertTrue(found is None or found.limit >= 0)
