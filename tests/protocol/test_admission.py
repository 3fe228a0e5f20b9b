"""Tests of how many connections an address may open in a while."""

from twisted.trial.unittest import SynchronousTestCase

from mles_tx.protocol import admission
from mles_tx.protocol.admission import MAX_ADDRESSES, AddressWindow, source

#: Host, and the address its connections are counted by.
SOURCES = (
    ("1.2.3.4", "1.2.3.4"),
    ("::ffff:1.2.3.4", "1.2.3.4"),
    ("::FFFF:1.2.3.4", "1.2.3.4"),
    ("2001:db8::1", "2001:db8::/64"),
    ("2001:db8::2", "2001:db8::/64"),
    ("2001:db8:0:0:ffff:ffff:ffff:ffff", "2001:db8::/64"),
    ("2001:db8:0:1::1", "2001:db8:0:1::/64"),
    ("::1", "::/64"),
    ("fe80::1%eth0", "fe80::/64"),
    ("", ""),
)


class AddressWindowTests(SynchronousTestCase):
    """A fixed window for each address."""

    def test_change(self) -> None:
        """Another limit and another length count at once, with what was counted before."""
        window = AddressWindow(1, 10.0)
        self.assertEqual([window.admit("a", 0.0), window.admit("a", 1.0)], [True, False])
        window.change(3, 5.0)
        self.assertTrue(window.admit("a", 2.0))
        self.assertFalse(window.admit("a", 3.0))
        self.assertTrue(window.admit("a", 5.0))

    def test_limit(self) -> None:
        """An address may open as many connections as the limit says, and not one more until its window has ended."""
        for limit in (1, 2, 60):
            window = AddressWindow(limit, 10.0)
            found = [window.admit("a", number * 9.0 / (limit + 2)) for number in range(limit + 2)]
            self.assertEqual(found, [True] * limit + [False] * 2)

    def test_addresses_apart(self) -> None:
        """Who has used up its connections takes none from anybody else."""
        window = AddressWindow(1, 10.0)
        self.assertEqual([window.admit("a", 0.0), window.admit("a", 0.0), window.admit("b", 0.0)], [True, False, True])

    def test_window_ends(self) -> None:
        """A window ends so many seconds after its first connection, however many were turned away since."""
        window = AddressWindow(1, 10.0)
        self.assertTrue(window.admit("a", 100.0))
        self.assertFalse(window.admit("a", 105.0))
        self.assertFalse(window.admit("a", 109.9))
        self.assertTrue(window.admit("a", 110.0))
        self.assertFalse(window.admit("a", 119.9))

    def test_own_window(self) -> None:
        """Each address has its window from its own first connection on."""
        window = AddressWindow(1, 10.0)
        window.admit("a", 0.0)
        window.admit("b", 5.0)
        self.assertTrue(window.admit("a", 10.0))
        self.assertFalse(window.admit("b", 14.0))
        self.assertTrue(window.admit("b", 15.0))

    def test_shrinks(self) -> None:
        """Addresses whose window has ended are forgotten, in the end all of them."""
        window = AddressWindow(1, 10.0)
        for number in range(5):
            window.admit(str(number), float(number))
        for now, left in ((9.9, 5), (10.0, 4), (12.5, 2), (14.0, 0), (14.0, 0)):
            window.forget_expired(now)
            self.assertEqual(len(window), left)

    def test_newcomer_sweeps(self) -> None:
        """Addresses whose window has ended go when anybody comes."""
        window = AddressWindow(1, 10.0)
        for number in range(5):
            window.admit(str(number), 0.0)
        window.admit("new", 10.0)
        self.assertEqual(len(window), 1)

    def test_full(self) -> None:
        """When there are too many addresses the oldest goes, and none of the others."""
        self.patch(admission, "MAX_ADDRESSES", 3)
        window = AddressWindow(1, 10.0)
        for address in ("a", "b", "c", "d"):
            self.assertTrue(window.admit(address, 0.0))
        self.assertEqual(len(window), 3)
        self.assertEqual([window.admit(address, 1.0) for address in ("b", "c", "d")], [False] * 3)
        self.assertTrue(window.admit("a", 1.0))
        self.assertEqual(len(window), 3)

    def test_numbers(self) -> None:
        """The table has room for a hundred thousand addresses."""
        self.assertEqual(MAX_ADDRESSES, 100_000)

    def test_seconds_left(self) -> None:
        """Who has opened too many connections can be told when its window ends; who has not need not wait."""
        window = AddressWindow(1, 10.0)
        window.admit("a", 5.0)
        self.assertEqual([window.seconds_left("a", now) for now in (5.0, 12.5, 15.0, 20.0)], [10.0, 2.5, 0.0, 0.0])
        self.assertEqual(window.seconds_left("b", 5.0), 0.0)


class SourceTests(SynchronousTestCase):
    """What counts as one address."""

    def test_sources(self) -> None:
        """IPv4 addresses are themselves in either notation; of IPv6 the network of one subscriber counts."""
        self.assertEqual([(host, source(host)) for host, _ in SOURCES], list(SOURCES))
