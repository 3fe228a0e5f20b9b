"""The probes notice what is wrong: each of them fails on a server that breaks its promise, and on no other."""

import shlex
import sys
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests import rounds

from .broken import BREAKS
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
    ("time_wasters", "--handshakes 5 --heads 5 --patience 12", {"waits": "handshakes the server"}),
    ("refused_join", "--step 6", {"silent": "refused joins that got"}),
    ("burst", "--messages 300", {"drops": "messages that came", "shuffles": "messages that came"}),
    ("first_frames", "--large 20 --small 300", {"pins": "memory grows"}),
    ("oversized", "--peers 1", {"boundless": "refused"}),
    ("hostile_frames", "--step 6 --frames 6 --rubbish 5", {"lenient": "frames refused", "raises": "faults in its log"}),
    ("hostile_paths", "", {"serves": "served of what"}),
    ("hostile_hosts", "", {"mirrors": "reflected"}),
    ("pings", "--pings 5", {"spreads": "others hear"}),
    ("same_uid", "--messages 0", {"keeps": "done", "replaces": "who answers stays"}),
    ("signals", "--times 3", {"deaf": ""}),
    ("ending", "--members 10 --channels 2", {"abrupt": "members who got"}),
    ("killed", "--kills 1 --rate 200 --durability strict", {"forgets": "of those missing"}),
    ("refused_join", "--step 20", {"stumbles": "the pair: latest"}),
    ("idle_members", "--members 1000 --channels 5", {"weighs": "memory of a member", "pins": "a second wave"}),
    ("lossy_link", "--messages 1500 --kilobits 300 --seconds 120", {"spills": "messages that came"}),
    ("handshake_flood", "--seconds 1 --clients 4", {"blocks": "the pair: 99th percentile"}),
    ("few_descriptors", "", {"spins": "processor time"}),
)

#: The same for our own server with one thing broken; whether the probe needs TLS is in its options. That it finds
#: nothing where nothing is broken is what all of them are run for.
_BROKEN: tuple[tuple[str, str, dict[str, str]], ...] = (
    ("tls_policy", "", {"old_tls": "versions it agrees to"}),
    ("secrets", "--plain", {"tells": "planted secrets in the log"}),
    ("key_files", "", {"shows_keys": "modes of the files"}),
    ("as_root", "--plain", {"stays_root": "its user ids"}),
    ("wall_clock", "--plain --seconds 1.5 --patience 5", {"follows_the_clock": "pings after"}),
    ("authority_down", "--seconds 3 --patience 20", {"gives_up": "the real certificate"}),
    ("renewal", "--renewals 1", {"hammers": "tries a second"}),
    ("power_cut", "--plain --points 4 --seconds 1", {"does_not_sync": "of those missing after"}),
    ("full_disk", "--plain", {"swallows": "messages heard that are in it"}),
    ("redis_outage", "--plain --seconds 1 --cuts 2 --patience 3", {"forgets_meanwhile": "killed: senders"}),
    ("many_names", "--plain --addresses 40000 --channels 1200", {"remembers": "as many others add"}),
)

#: Faults that only a time tells of. What is judged by time here is so far off that no machine is too slow for it.
_TIMED = ("stumbles", "blocks", "spins")

#: Where a toy is no measure: its members take 2 KiB, and what Python keeps of those who have left is 5 % of that.
_ROUGH = ("idle_members",)


def _found(probe: str, options: str, *start: str, is_timed: bool = False) -> list[Finding]:
    """What a probe finds on a server."""
    command = ["env", f"PYTHONPATH={_ROOT}", sys.executable, "-m", *start]
    arguments = ["--start", shlex.join(command), "--interval", "0.004", *options.split()]
    arguments += [] if is_timed else ["--untimed"]
    return perform(import_module(f"tests.torture.{probe}").PROBE, arguments)


def _on_toy(probe: str, options: str, fault: str) -> list[Finding]:
    """What a probe finds on a toy with a fault."""
    more = ["--fault", fault] if fault else []
    if probe == "time_wasters":
        more += ["--deadline", "3"]
    if probe == "hostile_paths":
        more += ["--wwwroot", "{directory}/www"]
    if probe == "killed":
        more += ["--history", "{directory}/history"]
    if probe == "lossy_link":
        more += ["--interface", "0.0.0.0"]
    toy = ("tests.torture.toy", "--port", "{port}", *more)
    return _found(probe, f"--plain {options}", *toy, is_timed=fault in _TIMED)


def _broken(found: list[Finding]) -> list[str]:
    return [finding.what for finding in found if finding.verdict is Verdict.BROKEN]


#: Those that every run of the tests has time for; the others are tried with TESTS_LONG=1.
_QUICK = ("burst", "refused_join", "pings", "ending", "killed", "hostile_hosts", "tls_policy", "secrets", "key_files")


#: How often one is looked for where the machine does not let it be told.
_TRIES = 3


class FaultTests(SynchronousTestCase):
    """Probes on toys, and on our own server with something broken."""

    def notices(self, look: Callable[[], list[Finding]], figure: str) -> None:
        """A figure is broken; the test is skipped where this machine cannot tell, again and again."""
        for _ in range(_TRIES):
            found = look()
            figures = [finding for finding in found if finding.what.startswith(figure)]
            unknown = [finding for finding in figures or found if finding.verdict is Verdict.UNKNOWN]
            if not unknown:
                self.assertTrue(any(name.startswith(figure) for name in _broken(found)), f"{figure}: {found}")
                return
        raise SkipTest(unknown[0].line())

    def check(self, probe: str, options: str, faults: dict[str, str]) -> None:
        """Nothing is found on a toy without a fault, and each fault is."""
        if probe not in _ROUGH:
            found = _on_toy(probe, options, "")
            self.assertEqual(_broken(found), [], f"{probe} on a toy without a fault: {found}")
        for fault, figure in faults.items():
            self.notices(partial(_on_toy, probe, options, fault), figure)

    def check_broken(self, probe: str, options: str, breaks: dict[str, str]) -> None:
        """Our own server with something broken is found out."""
        for name, figure in breaks.items():
            start = ("tests.torture.broken", name, "serve", "{flags}")
            self.notices(partial(_found, probe, options, *start), figure)


def _add(probe: str, options: str, faults: dict[str, str], on_toy: bool) -> None:
    def test(self: FaultTests) -> None:
        (self.check if on_toy else self.check_broken)(probe, options, faults)

    said = [FAULTS[fault] if on_toy else BREAKS[fault].__doc__ for fault in faults]
    test.__doc__ = f"The probe {probe} notices a server that {', '.join(map(str, said))}."
    setattr(FaultTests, f"test_{probe}_{min(faults)}", test)


for _cases, _on_toys in ((_CASES, True), (_BROKEN, False)):
    for _case in _cases:
        if rounds(_case[0] in _QUICK, True):
            _add(*_case, _on_toys)
