"""How long to wait before the next try."""

import json
from datetime import timedelta
from pathlib import Path

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mles_tx.transport.certificates.backoff import REFUSED, UNAVAILABLE, Backoff

from .making import NOW


class BackoffTests(SynchronousTestCase):
    """The failures of one name."""

    def setUp(self) -> None:
        self.path = Path(self.mktemp()) / "tries" / "a.test.json"
        self.clock = Clock()
        self.now = NOW
        self.random = 0.5
        self.backoff = self.another()

    def another(self) -> Backoff:
        """The same, as another process or the next one sees it."""
        return Backoff(self.path, self.clock, lambda: self.now, lambda: self.random)

    def pass_time(self, seconds: float) -> None:
        """Both clocks go on."""
        self.clock.advance(seconds)
        self.now += timedelta(seconds=seconds)

    def test_new(self) -> None:
        """What was never tried can be tried, and nothing is written."""
        self.assertEqual((self.backoff.wait, self.backoff.failures, self.backoff.error), (0.0, 0, None))
        self.assertFalse(self.path.exists())

    def test_refused(self) -> None:
        """After each refusal the wait is five times as long, up to six hours."""
        waits = []
        for _ in range(7):
            self.backoff.begin()
            waits.append(self.backoff.failed("no"))
            self.assertEqual(self.backoff.wait, waits[-1])
            self.pass_time(waits[-1])
            self.assertEqual(self.backoff.wait, 0.0)
        self.assertEqual(waits, [60, 300, 1500, 7500, 21600, 21600, 21600])

    def test_unavailable(self) -> None:
        """An authority that is gone is asked again within seconds, and never less often than it was urgent."""
        waits = [self.backoff.failed("gone", UNAVAILABLE, longest=30.0) for _ in range(50)]
        self.assertEqual(waits[:4], [5, 10, 20, 30])
        self.assertEqual(set(waits[4:]), {30})
        self.assertEqual(UNAVAILABLE.after(10**6, 21600.0), 21600.0)

    def test_jitter(self) -> None:
        """Waits differ by up to a tenth, so that servers that failed together do not come back together."""
        for random, wait in ((0.0, 54.0), (0.5, 60.0), (1.0, 66.0)):
            self.random = random
            self.assertAlmostEqual(self.another().failed("no"), wait)
            self.path.unlink()

    def test_retry_after(self) -> None:
        """The authority's wish makes a wait longer, never shorter, and no longer than a day."""
        for wish, wait in ((0.0, 60.0), (10.0, 60.0), (4000.0, 4000.0), (1e12, 86400.0)):
            self.assertEqual(self.another().failed("no", REFUSED, wish), wait)
            self.path.unlink()

    def test_restart(self) -> None:
        """After a restart the rest of the wait remains, and the reason is known."""
        self.backoff.begin("http-01")
        self.backoff.failed("no")
        self.pass_time(20.0)
        again = self.another()
        self.assertAlmostEqual(again.wait, 40.0)
        self.assertEqual((again.failures, again.error, again.hint), (1, "no", "http-01"))
        self.pass_time(40.0)
        self.assertEqual(self.another().wait, 0.0)
        self.assertEqual(self.another().failures, 1)

    def test_crash(self) -> None:
        """A try that never ended counts as one that failed: a server that crashes again and again waits as well."""
        for failures, wait in ((1, 60.0), (2, 300.0), (3, 1500.0)):
            crashing = self.another()
            crashing.begin()
            found = self.another()
            self.assertEqual((found.failures, found.error), (failures, "the server ended in the middle of the order"))
            self.assertAlmostEqual(found.wait, wait)

    def test_given_up(self) -> None:
        """A try that was given up counts as none."""
        self.backoff.begin()
        self.backoff.failed("no")
        self.pass_time(60.0)
        self.backoff.begin()
        self.backoff.undo()
        self.assertEqual((self.backoff.failures, self.backoff.error, self.backoff.wait), (1, "no", 0.0))
        self.assertEqual((self.another().failures, self.another().wait), (1, 0.0))

    def test_succeeded(self) -> None:
        """Success makes all forgotten but what worked."""
        self.backoff.begin()
        self.backoff.failed("no")
        self.backoff.begin()
        self.backoff.succeeded("http-01")
        for found in (self.backoff, self.another()):
            self.assertEqual((found.failures, found.error, found.wait, found.hint), (0, None, 0.0, "http-01"))

    def test_other_processes(self) -> None:
        """What another process has tried counts here as soon as one looks."""
        other = self.another()
        other.failed("no")
        self.assertEqual(self.backoff.wait, 0.0)
        self.backoff.reload()
        self.assertEqual((self.backoff.wait, self.backoff.error), (60.0, "no"))
        other.succeeded()
        self.backoff.reload()
        self.assertEqual((self.backoff.wait, self.backoff.error), (0.0, None))

    def test_wall_clock(self) -> None:
        """A step of the wall clock changes nothing while running, and after a restart no wait is longer than it was."""
        self.backoff.failed("no")
        for step in (-31, 31, -31):
            self.now += timedelta(days=step)
            self.backoff.reload()
            self.assertEqual(self.backoff.wait, 60.0)
        self.assertAlmostEqual(self.another().wait, 60.0)
        self.now += timedelta(days=62)
        self.assertEqual(self.another().wait, 0.0)

    def test_broken(self) -> None:
        """A broken file is no reason to wait, nor to fail."""
        good = {"failures": 1, "delay": 60.0, "until": NOW.timestamp() + 60.0}
        for content in (
            b"",
            b"\xff\0",
            b"[]",
            b"7",
            b"{}",
            b"[" * 50000,
            json.dumps({**good, "failures": "x"}).encode(),
            json.dumps({**good, "failures": -1}).encode(),
            json.dumps({**good, "delay": float("nan")}).encode(),
            json.dumps({**good, "until": float("inf")}).encode(),
            json.dumps({**good, "until": None}).encode(),
        ):
            self.path.parent.mkdir(exist_ok=True, parents=True)
            self.path.write_bytes(content)
            found = self.another()
            self.assertEqual((found.wait, found.failures, found.error), (0.0, 0, None), content)
        self.path.write_text(json.dumps({**good, "error": "a\nb"}))
        self.assertEqual(self.another().error, "a b")

    def test_not_written(self) -> None:
        """A try that cannot be written down is not to be made; one that has failed waits all the same."""
        self.path.parent.parent.mkdir(parents=True)
        self.path.parent.write_bytes(b"in the way")
        self.assertRaises(OSError, self.backoff.begin)
        self.assertEqual(self.backoff.failed("disk"), 60.0)
        self.assertEqual((self.backoff.wait, self.backoff.error), (60.0, "disk"))
