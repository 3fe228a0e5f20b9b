"""A quick selection of the probes against the server as it is: judged by what is lost and closed, and not by time."""

from importlib import import_module

from twisted.trial.unittest import SynchronousTestCase

from .findings import Verdict
from .program import perform

#: Probes and their sizes: each takes a second or two.
_CASES = (
    "stopped_reader --megabytes 24 --seconds 15",
    "unread_history --plain --members 10 --megabytes 4 --seconds 1",
    "vanishing --members 100 --waiting 100",
    "refused_join --plain --step 6",
    "burst --messages 300",
    "first_frames --plain --large 20 --small 50",
    "oversized --plain --peers 4",
    "hostile_frames --plain --step 8 --rubbish 5",
    "hostile_paths --plain",
    "hostile_hosts --seconds 1",
    "killed --plain --durability strict --kills 1 --rate 1000",
    "ending --members 50 --channels 5",
    "signals --times 20",
    "secrets --plain",
    "key_files",
    "pings --pings 5",
    "tls_policy",
)


class QuickTests(SynchronousTestCase):
    """Promises, put to the test in small."""


def _add(case: str) -> None:
    name, *options = case.split()
    probe = import_module(f"tests.torture.{name}").PROBE

    def test(self: QuickTests) -> None:
        found = perform(probe, [*options, "--untimed", "--interval", "0.004"])
        self.assertEqual([finding.line() for finding in found if finding.verdict is Verdict.BROKEN], [])

    test.__doc__ = f"{probe.promise[0].upper()}{probe.promise[1:]}."
    setattr(QuickTests, f"test_{name}", test)


for _case in _CASES:
    _add(_case)
