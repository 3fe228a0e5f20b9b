"""Tests of lines that come again and again."""

from math import inf
from threading import Thread

from twisted.trial.unittest import SynchronousTestCase

from mles_tx.service import repeats
from mles_tx.service.repeats import Repeats


class RepeatTests(SynchronousTestCase):
    """What is written."""

    def setUp(self) -> None:
        self.written: list[tuple[str, int]] = []
        self.repeats = Repeats(lambda line, more: self.written.append((line, more)))

    def log(self, text: str, when: float, count: int = 1) -> None:
        for _ in range(count):
            self.repeats.take(f"{when} {text}", text, when)

    def test_few(self) -> None:
        """A few lines that say the same are written each."""
        self.log("a", 10.0, 5)
        self.log("b", 11.0)
        self.assertEqual(self.written, [("10.0 a", 0)] * 5 + [("11.0 b", 0)])

    def test_flood(self) -> None:
        """Of a thousand in a second five are written, and, when it is over, the last with the number of the others."""
        self.log("a", 10.0, 999)
        self.log("a", 10.9)
        self.log("b", 10.9)
        self.assertEqual(self.written, [("10.0 a", 0)] * 5 + [("10.9 b", 0)])
        self.written.clear()
        self.log("c", 11.0)
        self.assertEqual(self.written, [("10.9 a", 995), ("11.0 c", 0)])
        self.written.clear()
        self.log("a", 11.1, 7)
        self.repeats.settle(12.0)
        self.assertEqual(self.written, [("11.1 a", 0)] * 5)
        self.repeats.settle(12.2)
        self.assertEqual(self.written[5:], [("11.1 a", 2)])

    def test_signal(self) -> None:
        """A signal handler may log while a line is being written: it waits for nobody."""

        def write(line: str, more: int) -> None:
            self.written.append((line, more))
            if line == "1.0 a":
                self.log("SIGTERM", 1.0)

        self.repeats = Repeats(write)
        thread = Thread(target=self.log, args=("a", 1.0), daemon=True)
        thread.start()
        thread.join(5)
        self.assertFalse(thread.is_alive(), "it waits for itself")
        self.assertEqual(self.written, [("1.0 a", 0), ("1.0 SIGTERM", 0)])

    def test_end(self) -> None:
        """At the end nothing is held back."""
        self.log("a", 10.0, 6)
        self.repeats.settle(inf)
        self.assertEqual(self.written[5:], [("10.0 a", 1)])

    def test_clock_set_back(self) -> None:
        """When the clock is set back, what was counted is told, and counting begins anew."""
        self.log("a", 10.0, 6)
        self.log("a", 5.0)
        self.assertEqual(self.written[5:], [("10.0 a", 1), ("5.0 a", 0)])

    def test_many_kinds(self) -> None:
        """However many different lines there are, all are written, and the memory is bounded."""
        self.patch(repeats, "_KINDS", 3)
        for number in range(10):
            self.log(f"{number}", 10.0, 2)
        self.assertEqual(len(self.written), 20)
        self.assertEqual(len(self.repeats._kinds), 3)
