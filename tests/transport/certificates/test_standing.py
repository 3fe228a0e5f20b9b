"""How it stands with each name, and what is said about it."""

from datetime import datetime, timedelta
from pathlib import Path

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mles_tx.transport.certificates.choice import FixedCertificates
from mles_tx.transport.certificates.pairs import pair_from_pem
from mles_tx.transport.certificates.problems import AccountRefused, Problem, Unavailable
from mles_tx.transport.certificates.renewal import Window
from mles_tx.transport.certificates.standing import Standing

from .making import NOW, listen, make

_DAY = 86400.0


class StandingTests(SynchronousTestCase):
    """Certificates, failures and waits."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.root = Path(self.mktemp())
        self.root.mkdir()
        self.windows: dict[str, Window] = {}
        self.told = listen(self)
        self.standing = self.another()

    def now(self) -> datetime:
        """The wall clock."""
        return NOW + timedelta(seconds=self.clock.seconds())

    def another(self) -> Standing:
        """The same, as another process sees it."""
        fallback = FixedCertificates([pair_from_pem(make("a.test", "b.test").objects)])
        return Standing(
            self.root,
            ["a.test", "b.test"],
            fallback,
            lambda name, identifier: self.windows.get(name),
            self.clock,
            self.now,
            lambda: 0.5,
        )

    def come(self, name: str, days: float = 90) -> bool:
        """A certificate is issued and stored."""
        objects = make(name, days=days).objects
        self.assertIsNone(self.successResultOf(self.standing.certificates.store(name, objects)))
        return self.standing.has_come(name, "http-01")

    def test_nothing_yet(self) -> None:
        """A name without a certificate is due, and waits for nothing."""
        status = self.standing.status("a.test")
        self.assertEqual((status.is_valid, status.error, status.next_try), (False, None, 0.0))
        self.assertTrue(self.standing.is_due("a.test"))
        self.assertFalse(self.standing.is_waiting("a.test") or self.standing.was_tried("a.test"))

    def test_life(self) -> None:
        """A certificate is told when it is served, due when two thirds of its life are over, and valid to its end."""
        self.assertTrue(self.come("a.test"))
        ends = NOW + timedelta(days=90)
        renewal = NOW - timedelta(days=1) + timedelta(days=91) * 2 / 3
        self.assertEqual(
            self.told,
            [
                f"serving the certificate for a.test: valid until {ends.isoformat(' ', 'minutes')},"
                f" to be renewed at {renewal.isoformat(' ', 'minutes')}"
            ],
        )
        self.assertEqual(self.standing.status("a.test").renewal, renewal)
        for day, due, valid in ((59, False, True), (60, True, True), (89, True, True), (90, True, False)):
            self.clock.advance(day * _DAY - self.clock.seconds())
            self.assertEqual((day, self.standing.is_due("a.test")), (day, due))
            self.assertEqual((day, self.standing.is_valid("a.test")), (day, valid))

    def test_window(self) -> None:
        """The authority may say that it is to be renewed earlier, but not as soon as it has come."""
        self.come("a.test")
        self.windows["a.test"] = Window(NOW - timedelta(days=2), NOW - timedelta(days=1), 60.0)
        self.assertFalse(self.standing.is_due("a.test"))
        self.clock.advance(1.01 * _DAY)
        self.assertTrue(self.standing.is_due("a.test"))

    def test_due_already(self) -> None:
        """A certificate that is due when it comes is a failure, and some clock is wrong."""
        self.assertFalse(self.come("a.test", days=0.1))
        self.assertIn("the clock of this machine or of the authority is wrong", self.told[-1])
        self.assertTrue(self.standing.is_waiting("a.test"))
        self.assertFalse(self.standing.is_waiting("b.test"))

    def test_failed(self) -> None:
        """A failure is told with what is served meanwhile; its name waits longer each time, in all processes."""
        self.standing.failed("a.test", "no such name")
        self.assertEqual(
            self.told, ["no certificate for a.test, a self-signed one is served: no such name (next try in 60 s)"]
        )
        self.assertEqual(self.standing.status("a.test").error, "no such name")
        self.assertTrue(self.another().is_waiting("a.test"))
        self.clock.advance(61)
        self.assertFalse(self.standing.is_waiting("a.test"))
        self.standing.failed("a.test", "no such name")
        self.assertIn("(next try in 300 s)", self.told[-1])
        self.assertTrue(self.standing.was_tried("a.test"))
        self.assertFalse(self.standing.was_tried("b.test"))

    def test_failed_renewal(self) -> None:
        """When there is a certificate already the operator is told when it ends."""
        self.come("a.test")
        self.standing.gone_half_way("a.test", Unavailable("no answer"))
        ends = (NOW + timedelta(days=90)).isoformat(" ", "minutes")
        self.assertEqual(
            self.told[-1],
            f"the certificate for a.test is not renewed, and ends at {ends}:"
            " no answer; mles-tx doctor tells more (next try in 60 s)",
        )

    def test_retry_after(self) -> None:
        """A name waits as long as the authority asks for."""
        self.standing.failed("a.test", "too many", 5000.0)
        self.assertIn("(next try in 5000 s)", self.told[-1])

    def test_authority_gone(self) -> None:
        """An authority that is gone holds up all names, for half a minute at most, and is told of now and then."""
        for failure, delay in enumerate((5, 10, 20, 30, 30)):
            self.standing.authority_failed("a.test", Unavailable("no answer"))
            self.standing.authority_failed("b.test", Unavailable("no answer"))  # under way at the same time
            self.assertEqual((failure, self.standing.status("b.test").next_try), (failure, delay))
            self.clock.advance(delay)
        self.assertEqual(len(self.told), 1)
        self.clock.advance(600)
        self.standing.authority_failed("b.test", Unavailable("no answer"))
        self.assertEqual(len(self.told), 2)
        self.standing.authority_answers()
        self.assertFalse(self.standing.is_waiting("a.test"))

    def test_authority_gone_at_renewal(self) -> None:
        """As long as certificates are valid nothing is urgent."""
        for name in ("a.test", "b.test"):
            self.come(name)
        for _ in range(20):
            self.clock.advance(self.standing.authority.wait)
            self.standing.authority_failed("a.test", Unavailable("no answer"))
        self.assertEqual(self.standing.authority.wait, 6 * 3600)

    def test_account_refused(self) -> None:
        """An authority that refuses the account is asked as seldom as one that refuses a name."""
        self.standing.authority_failed("a.test", AccountRefused(Problem("", "go away"), "go away"))
        self.assertEqual(self.standing.authority.wait, 60)
        self.assertNotIn("doctor", self.told[-1])

    def test_askable(self) -> None:
        """The authority is not asked about certificates that do not say who has issued them."""
        self.come("a.test")
        self.assertEqual(list(self.standing.askable()), [])
