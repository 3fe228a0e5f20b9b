"""RFC 6455 as the Autobahn|Testsuite understands it, in a selection; `make conformance` runs all of it."""

import socket
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import cache

from twisted.trial.unittest import SkipTest

from tests.conformance.outcome import Outcome, count, describe
from tests.conformance.suite import NoPython2, Suite, find_python2, install
from tests.conformance.targets import NOT_QUICK, QUICK, TARGETS, Result, Target

from .clients import BINARY, CLOSE, PING, PONG, TEXT, frame
from .support import IntegrationTestCase, build_directory

#: Cases of the selection in each section. They were all run, or the suite would have complained; this says which.
CASES = {"1": 16, "2": 11, "3": 7, "4": 10, "5": 20, "6": 141, "7": 37, "9": 6, "10": 1}

#: Cases about which the standard says nothing: data behind a close frame, and close codes from 5000 up.
OPEN_CASES = {"7.1.6", "7.13.1", "7.13.2"}

#: Cases that send a good message and a bad frame at once. A server may end the connection without the echo, and
#: one with a companion behind it nearly always does.
HASTY_CASES = {"3.2", "3.3", "3.4", "4.1.3", "4.1.4", "4.1.5", "4.2.3", "4.2.4", "4.2.5", "5.15"}

#: Some of the cases the whole server is spared otherwise.
LARGE_CASES = ("9.1.4", "9.2.4", "9.4.9")


@cache
def _suite() -> Suite:
    try:
        return install(find_python2())
    except NoPython2 as reason:
        raise SkipTest(str(reason)) from reason


@cache
def _running() -> "dict[str, Future[Result]]":
    """The runs against all targets, side by side: most of the time one of them waits for something."""
    suite = _suite()
    pool = ThreadPoolExecutor(len(TARGETS))
    running = {
        target.name: pool.submit(target.run, suite, build_directory() / "conformance" / target.name, QUICK, NOT_QUICK)
        for target in TARGETS
    }
    pool.shutdown(wait=False)
    return running


class ConformanceTests(IntegrationTestCase):
    """What the fuzzing client finds."""

    def check(self, name: str) -> Sequence[Outcome]:
        """The cases against a target were all run, and none has failed."""
        result = _running()[name].result()
        failed = [outcome for outcome in result.outcomes if outcome.verdict == "FAILED"]
        outcomes = result.outcomes
        if failed:
            # The suite gives each case a second, and there were many programs at work: once more, by themselves.
            (target,) = [target for target in TARGETS if target.name == name]
            cases = [outcome.case for outcome in failed]
            again = target.run(_suite(), build_directory() / "conformance" / f"{name}-again", cases)
            outcomes = [*[outcome for outcome in outcomes if outcome.case not in cases], *again.outcomes]
            failed = [outcome for outcome in again.outcomes if outcome.verdict == "FAILED"]
        if failed or result.faults:
            told = [describe(outcome) for outcome in failed]
            self.fail("\n".join([f"{name} has failed {len(failed)} cases:", *told, result.faults]))
        self.assertEqual({section: found.total() for section, found in count(outcomes).items()}, CASES)
        self.assertEqual({found.case for found in outcomes if found.verdict == "INFORMATIONAL"}, OPEN_CASES)
        return outcomes

    def test_connection(self) -> None:
        """The WebSocket connection does what the standard wants, to the letter."""
        outcomes = self.check("connection-ws")
        self.assertEqual([found.case for found in outcomes if found.verdict == "NON-STRICT"], [])

    def test_secure_connection(self) -> None:
        """So it does over TLS."""
        outcomes = self.check("connection-wss")
        self.assertEqual([found.case for found in outcomes if found.verdict == "NON-STRICT"], [])

    def test_server(self) -> None:
        """Two members of a channel of the whole server are to each other what the standard wants."""
        outcomes = self.check("server-ws")
        self.assertEqual({found.case for found in outcomes if found.verdict == "NON-STRICT"} - HASTY_CASES, set())

    def test_secure_server(self) -> None:
        """So they are over TLS."""
        outcomes = self.check("server-wss")
        self.assertEqual({found.case for found in outcomes if found.verdict == "NON-STRICT"} - HASTY_CASES, set())

    def test_too_large(self) -> None:
        """What the server is spared it refuses for its length, with 1009, and the suite notices."""
        server = replace(TARGETS[-1], excluded={})
        result = server.run(_suite(), build_directory() / "conformance" / "large", LARGE_CASES)
        self.assertEqual(result.faults, "")
        self.assertEqual([found.case for found in result.outcomes], list(LARGE_CASES))
        for found in result.outcomes:
            self.assertEqual(found.verdict, "FAILED", describe(found))
            self.assertIn(" got 1009 ", describe(found))


class ShimTests(IntegrationTestCase):
    """What stands between the suite and the whole server: a client must not be able to tell."""

    def check(self, target: Target) -> None:
        """Messages, the ends of streams and resets pass, and there is a channel for each connection."""
        server, shim = self.enterContext(target.start())
        first, second = self.raw(shim), self.raw(shim)
        for client in (first, second):
            self.assertEqual(client.upgrade().status, 101)
        first.send(frame(TEXT, b"one") + frame(BINARY, b"two"))
        self.assertEqual([first.read_frame() for _ in range(2)], [(TEXT, b"one"), (BINARY, b"two")])
        second.send(frame(PING, b"three"))
        self.assertEqual(second.read_frame(), (PONG, b"three"))
        first.send(frame(CLOSE, b"\x03\xe8"))
        self.assertEqual(first.read_frame(), (CLOSE, b"\x03\xe8"))
        self.assertEqual(first.read_some(), b"")
        first.close()
        server.expect(r"left: uid fuzzer, channel case-\d, member \d: left ")
        second.reset()
        server.expect(r"left: uid fuzzer, channel case-\d, member \d: connection_lost ")
        third = self.raw(shim)
        self.assertEqual(third.upgrade().status, 101)
        third.socket.shutdown(socket.SHUT_WR)
        self.assertEqual(third.read_some(), b"")
        server.expect(r"left: uid fuzzer, channel case-3, member \d: connection_lost ")
        server.expect(r"left: uid companion, channel case-3, member \d: left ")
        self.assertEqual((server.new_faults(), shim.new_faults()), ("", ""))

    def test_plain(self) -> None:
        """In front of a server without TLS."""
        self.check(TARGETS[2])

    def test_secure(self) -> None:
        """In front of a server with TLS: there an end without a word is that of TLS."""
        self.check(TARGETS[3])
