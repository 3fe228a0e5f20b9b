"""The probes notice what is wrong: each of them fails on a server that breaks its promise, and on no other."""

import shlex
import sys
from importlib import import_module
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests import rounds

from .findings import Finding, Verdict
from .program import perform
from .toy import FAULTS

_ROOT = Path(__file__).parents[2]

#: A probe with sizes for a toy, its faults, and the figures (the beginning of what they are called) that show them.
_CASES: tuple[tuple[str, str, dict[str, str]], ...] = (
    (
        "stopped_reader",
        "--megabytes 24 --seconds 4",
        {"hoards": "the slow one is cut"},
    ),
    ("unread_history", "--members 20 --megabytes 4 --seconds 1", {"copies": "memory grows"}),
    ("vanishing", "--members 20 --waiting 50", {"loses": "the pair: messages lost"}),
    ("time_wasters", "--handshakes 5 --heads 5 --patience 4", {"waits": "handshakes the server"}),
    ("refused_join", "--step 6", {"silent": "refused joins that got"}),
    ("burst", "--messages 300", {"drops": "messages that came", "shuffles": "messages that came"}),
    ("first_frames", "--large 20 --small 300", {"pins": "memory grows"}),
    ("oversized", "--peers 1", {"boundless": "refused"}),
    ("hostile_frames", "--step 6 --rubbish 5", {"lenient": "frames refused", "raises": "faults in its log"}),
    ("hostile_paths", "", {"serves": "served of what"}),
    ("hostile_hosts", "", {"mirrors": "reflected"}),
    ("pings", "--pings 5", {"spreads": "others hear"}),
    ("same_uid", "--messages 0", {"keeps": "done", "replaces": "who answers stays"}),
    ("signals", "--times 3", {"deaf": ""}),
    ("ending", "--members 10 --channels 2", {"abrupt": "members who got"}),
    ("killed", "--kills 1 --rate 200 --durability strict", {"forgets": "of those missing"}),
    ("refused_join", "--step 20", {"stumbles": "the pair: latest"}),
)


def failed(probe: str, options: str, fault: str) -> list[Finding]:
    """What a probe finds broken on a toy with a fault."""
    more = ["--fault", fault] if fault else []
    if probe == "time_wasters":
        more += ["--deadline", "1"]
    if probe == "hostile_paths":
        more += ["--wwwroot", "{directory}/www"]
    if probe == "killed":
        more += ["--history", "{directory}/history"]
    toy = ["env", f"PYTHONPATH={_ROOT}", sys.executable, "-m", "tests.torture.toy", "--port", "{port}", *more]
    arguments = ["--plain", "--start", shlex.join(toy), "--interval", "0.004", *options.split()]
    # What is judged by time here is so far off that no machine is too slow for it.
    arguments += [] if fault == "stumbles" else ["--untimed"]
    found = perform(import_module(f"tests.torture.{probe}").PROBE, arguments)
    return [finding for finding in found if finding.verdict is Verdict.BROKEN]


#: Those that every run of the tests has time for; the others are tried with TESTS_LONG=1.
_QUICK = ("burst", "refused_join", "pings", "ending", "killed", "hostile_hosts")


class FaultTests(SynchronousTestCase):
    """Probes on toys."""

    def check(self, probe: str, options: str, faults: dict[str, str]) -> None:
        """Nothing is found where there is no fault, and each fault is."""
        for fault in ("", *faults):
            broken = failed(probe, options, fault)
            names = [finding.what for finding in broken]
            if not fault:
                self.assertEqual(names, [], f"{probe} on a toy without a fault: {broken}")
            else:
                self.assertTrue(any(name.startswith(faults[fault]) for name in names), f"{probe}, {fault}: {names}")


def _add(probe: str, options: str, faults: dict[str, str]) -> None:
    def test(self: FaultTests) -> None:
        self.check(probe, options, faults)

    test.__doc__ = f"The probe {probe} notices a server that {', '.join(FAULTS[fault] for fault in faults)}."
    setattr(FaultTests, f"test_{probe}_{min(faults)}", test)


for _case in _CASES:
    if rounds(_case[0] in _QUICK, True):
        _add(*_case)
