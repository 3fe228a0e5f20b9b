"""Checks and what they find: run at once, each with a deadline of its own, and shown as a table.

It must not know what is looked at.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.interfaces import IReactorTime

__all__ = ["CHECK_SECONDS", "Check", "Finding", "Result", "Verdict", "exit_code", "run_checks", "table", "worst"]

#: Seconds for one check. All of them run at once, so this is what the whole takes at most.
CHECK_SECONDS = 5.0

#: Characters of a finding or a remedy that are shown: some of them come from other machines.
_MAX_TEXT = 300


class Verdict(Enum):
    """How it looks. The value is what the table shows."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"
    UNKNOWN = "unknown"


#: Which verdict stands for several.
_WORST_FIRST = (Verdict.FAIL, Verdict.WARN, Verdict.UNKNOWN, Verdict.OK)


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check has found.

    Attributes:
        verdict: how it looks.
        text: one line that says what there is.
        remedy: one line that says what to do; empty when there is nothing to do.
    """

    verdict: Verdict
    text: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing to look at.

    Attributes:
        name: what is looked at.
        look: begins to look.
    """

    name: str
    look: Callable[[], Awaitable[Finding]]


#: The name of a check, and what it has found.
Result: TypeAlias = tuple[str, Finding]


_LATE = Finding(Verdict.UNKNOWN, f"there was no answer within {CHECK_SECONDS:g} seconds", "try again")


async def run_checks(clock: IReactorTime, checks: Sequence[Check]) -> list[Result]:
    """Run checks at once.

    Args:
        clock: the reactor, or a `Clock` in tests.
        checks: what to look at. One that takes too long, or fails, is a finding like others.

    Returns:
        What was found, in the order of the checks.
    """
    looks = [
        Deferred.fromCoroutine(_look(check)).addTimeout(CHECK_SECONDS, clock, lambda *_: _LATE) for check in checks
    ]
    findings: list[Finding] = await gatherResults(looks, consumeErrors=True)
    return [(check.name, finding) for check, finding in zip(checks, findings, strict=True)]


async def _look(check: Check) -> Finding:
    try:
        return await check.look()
    except CancelledError:
        raise
    except Exception as error:
        return Finding(Verdict.UNKNOWN, f"this could not be looked at: {type(error).__name__}: {error}")


def worst(findings: Iterable[Finding]) -> Finding:
    """The finding that matters most; at least one is there. Among equals it is the first."""
    return min(findings, key=lambda finding: _WORST_FIRST.index(finding.verdict))


def table(results: Sequence[Result]) -> list[str]:
    """The lines of a table: check, verdict and finding, and below it the remedy where there is one."""
    names = max(len(_plain(name)) for name, _ in results)
    verdicts = max(len(verdict.value) for verdict in Verdict)
    lines = []
    for name, finding in results:
        lines.append(f"{_plain(name):{names}}  {finding.verdict.value:{verdicts}}  {_plain(finding.text)}")
        if finding.remedy:
            lines.append(f"{'':{names}}  {'':{verdicts}}  -> {_plain(finding.remedy)}")
    return lines


def exit_code(results: Sequence[Result]) -> int:
    """1 when a check has failed, else 0."""
    return int(any(finding.verdict is Verdict.FAIL for _, finding in results))


def _plain(text: str) -> str:
    shown = "".join(letter if letter.isprintable() else "?" for letter in text)
    return shown if len(shown) <= _MAX_TEXT else shown[: _MAX_TEXT - 3] + "..."
