"""Checks and their table, on a clock."""

import gc

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mles_tx.cli.checks import CHECK_SECONDS, Check, Finding, Result, Verdict, exit_code, run_checks, table, worst

GOOD, WARNED = Finding(Verdict.OK, "fine"), Finding(Verdict.WARN, "hm", "mend it")
FAILED, UNKNOWN = Finding(Verdict.FAIL, "broken", "repair it"), Finding(Verdict.UNKNOWN, "who knows", "ask")

#: Findings, the one that matters most.
WORST = (
    ((GOOD,), GOOD),
    ((GOOD, UNKNOWN), UNKNOWN),
    ((UNKNOWN, WARNED, GOOD), WARNED),
    ((WARNED, FAILED, UNKNOWN), FAILED),
    ((WARNED, Finding(Verdict.WARN, "second")), WARNED),
)


class _Slow:
    """A check that finds something when the test says so."""

    def __init__(self) -> None:
        self.cancelled = 0
        self.found: Deferred[Finding] = Deferred(self._cancel)

    def _cancel(self, _: object) -> None:
        self.cancelled += 1

    async def look(self) -> Finding:
        return await self.found


class RunTests(SynchronousTestCase):
    """How checks are run."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.slow = [_Slow() for _ in range(3)]
        checks = [Check(f"check {number}", slow.look) for number, slow in enumerate(self.slow)]
        self.done: Deferred[list[Result]] = Deferred.fromCoroutine(run_checks(self.clock, checks))

    def test_order(self) -> None:
        """All run at once, and the results stand in the order of the checks."""
        for slow, finding in ((self.slow[2], WARNED), (self.slow[0], GOOD)):
            slow.found.callback(finding)
            self.assertNoResult(self.done)
        self.slow[1].found.callback(FAILED)
        results = [("check 0", GOOD), ("check 1", FAILED), ("check 2", WARNED)]
        self.assertEqual(self.successResultOf(self.done), results)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_deadline(self) -> None:
        """What takes too long is given up and told so; the others are not touched by that."""
        self.slow[0].found.callback(GOOD)
        self.clock.advance(CHECK_SECONDS - 0.1)
        self.slow[2].found.callback(WARNED)
        self.assertNoResult(self.done)
        self.clock.advance(0.1)
        late = Finding(Verdict.UNKNOWN, "there was no answer within 5 seconds", "try again")
        self.assertEqual(self.successResultOf(self.done), [("check 0", GOOD), ("check 1", late), ("check 2", WARNED)])
        self.assertEqual([slow.cancelled for slow in self.slow], [0, 1, 0])

    def test_fault(self) -> None:
        """A check that breaks is one line of the table, and no traceback."""
        self.slow[0].found.errback(OSError("out of order"))
        for slow in self.slow[1:]:
            slow.found.callback(GOOD)
        (_, finding), *_ = self.successResultOf(self.done)
        self.assertEqual(finding, Finding(Verdict.UNKNOWN, "this could not be looked at: OSError: out of order"))

    def test_interrupted(self) -> None:
        """Given up as a whole, everything that was under way is given up."""
        self.done.addErrback(lambda _: [])
        self.done.cancel()
        gc.collect()
        self.assertEqual(self.flushLoggedErrors(), [])
        self.assertEqual([slow.cancelled for slow in self.slow], [1, 1, 1])
        self.assertEqual(self.clock.getDelayedCalls(), [])


class TableTests(SynchronousTestCase):
    """What is shown."""

    def test_lines(self) -> None:
        """A line for each check, with the remedy below it."""
        results = [("clock", GOOD), ("name example.org", FAILED), ("cache", UNKNOWN)]
        self.assertEqual(
            table(results),
            [
                "clock             ok       fine",
                "name example.org  fail     broken",
                "                           -> repair it",
                "cache             unknown  who knows",
                "                           -> ask",
            ],
        )

    def test_text_of_others(self) -> None:
        """What comes from elsewhere cannot write lines of its own, colour the terminal, or fill it."""
        finding = Finding(Verdict.OK, "a\nb\x1b[31m\u202ec\x00" + "d" * 400, "\re")
        first, second = table([("x", finding)])
        self.assertEqual(first, "x  ok       a?b?[31m?c?" + "d" * 286 + "...")
        self.assertEqual(second, "            -> ?e")

    def test_exit_code(self) -> None:
        """Only what has failed makes the command fail."""
        for findings, code in (((), 0), ((GOOD, WARNED, UNKNOWN), 0), ((GOOD, FAILED), 1)):
            self.assertEqual(exit_code([("x", finding) for finding in findings]), code)

    def test_worst(self) -> None:
        """Of several findings the worst stands for all."""
        self.assertEqual([(findings, worst(findings)) for findings, _ in WORST], list(WORST))
