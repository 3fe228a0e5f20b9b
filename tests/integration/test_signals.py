"""How a server ends: members are told, the process ends cleanly, and who insists does not wait."""

import contextlib
import signal
from collections.abc import Callable
from functools import wraps
from subprocess import TimeoutExpired
from typing import Concatenate, ParamSpec, TypeVar

from .clients import RawClient
from .processes import Server
from .support import LOCAL, SECURE, Contract, IntegrationTestCase

STOPPING = (1001, "server is stopping")

#: A member that does not answer its close frame is waited for, for 5 seconds: bounds on either side, in seconds.
LESS_THAN_DRAIN = 4.0
WITHIN_PROMISE = 10.0

_Case = TypeVar("_Case", bound=IntegrationTestCase)
_P = ParamSpec("_P")


def again_if_late(attempt: Callable[Concatenate[_Case, _P], None]) -> Callable[Concatenate[_Case, _P], None]:
    """Let something have a second try, with a new server, when a process did not end in `LESS_THAN_DRAIN`.

    A busy machine may take that long to end an interpreter; a server that waits for somebody does so both times.
    """

    @wraps(attempt)
    def tried(case: _Case, /, *args: _P.args, **kwargs: _P.kwargs) -> None:
        with contextlib.suppress(TimeoutExpired):
            attempt(case, *args, **kwargs)
            return
        case.channel += "+"  # those of the first try may still be there
        attempt(case, *args, **kwargs)

    return tried


class SignalsContract(Contract):
    """What holds for both commands."""

    command: tuple[str, ...]

    #: Exit codes by signal; below zero: a signal's number.
    codes: dict[int, int]

    def test_members_are_told(self) -> None:
        """On SIGTERM and on SIGINT each member gets what was said before, then a close frame, and the process ends."""
        for number in (signal.SIGTERM, signal.SIGINT):
            self.tell_members(number)

    @again_if_late
    def tell_members(self, number: int) -> None:
        """Send a signal to a server with members."""
        server = self.start_server(*self.command)
        alice = self.member(server, "alice")
        bob = self.member(server, "bob", history=0)
        elsewhere = self.member(server, "carol", "elsewhere")
        stranger = self.raw(server)
        self.assertEqual(stranger.upgrade().status, 101)
        alice.send("the last")
        alice.settle()
        server.signal(number)
        self.assertEqual(bob.receive(), "the last")
        self.assertEqual([member.closed() for member in (alice, bob, elsewhere)], [STOPPING] * 3)
        self.assertEqual(stranger.read_close(), STOPPING)
        stranger.answer_close()
        self.assertEqual(server.wait(LESS_THAN_DRAIN), self.codes[number])
        self.assert_no_faults(server)

    @again_if_late
    def test_nobody_there(self) -> None:
        """A server without members ends at once, also when a browser keeps its connection open."""
        server = self.start_server(*self.command)
        browser = self.raw(server)
        self.assertEqual(browser.request().status, 200)
        silent = self.raw(server)
        server.signal(signal.SIGTERM)
        for client in (browser, silent):
            client.read_to_end()
            client.close()
        self.assertEqual(server.wait(LESS_THAN_DRAIN), self.codes[signal.SIGTERM])
        self.assert_no_faults(server)

    def test_second_signal(self) -> None:
        """While a member lets it wait nobody new is let in, and a second signal ends it at once."""
        for first, second in ((signal.SIGINT, signal.SIGINT), (signal.SIGTERM, signal.SIGINT)):
            self.insist(first, second)

    @again_if_late
    def insist(self, first: int, second: int) -> None:
        """Send a second signal to a server that waits for a member."""
        server, stubborn = self.draining(first)
        self.assertRaises(ConnectionRefusedError, server.dial)
        server.signal(second)
        self.assertEqual(server.wait(LESS_THAN_DRAIN), self.codes[first])
        stubborn.read_to_end()
        self.assert_no_faults(server)

    @again_if_late
    def test_twice_in_a_row(self) -> None:
        """Two signals that come together end it at once and cleanly, and members are told."""
        server = self.start_server(*self.command)
        stubborn, member = self.raw_member(server, "stubborn"), self.member(server, "alice")
        server.signal(signal.SIGSTOP)  # so that it finds both
        server.signal(signal.SIGTERM)
        server.signal(signal.SIGINT)
        server.signal(signal.SIGCONT)
        self.assertEqual((member.closed(), stubborn.read_close()), (STOPPING, STOPPING))
        self.assertEqual(server.wait(LESS_THAN_DRAIN), self.codes[signal.SIGINT])  # which has the lower number
        stubborn.read_to_end()
        self.assert_no_faults(server)

    def draining(self, number: int) -> tuple[Server, RawClient]:
        """A server that was sent a signal and now waits for a member that has read its close frame, and is silent."""
        server = self.start_server(*self.command)
        stubborn = self.raw_member(server, "stubborn")
        server.signal(number)
        self.assertEqual(stubborn.read_close(), STOPPING)
        return server, stubborn


class LocalSignalsTests(SignalsContract, IntegrationTestCase):
    """`mles-tx serve`: a clean end is no error, whatever asked for it."""

    command = LOCAL
    codes = {signal.SIGTERM: 0, signal.SIGINT: 0}


class TwistdSignalsTests(SignalsContract, IntegrationTestCase):
    """Under twistd, which ends with the signal itself."""

    command = SECURE
    codes = {signal.SIGTERM: -signal.SIGTERM, signal.SIGINT: -signal.SIGINT}

    def test_stubborn_member(self) -> None:
        """A member that does not answer its close frame keeps nobody waiting for longer than 10 seconds."""
        server, stubborn = self.draining(signal.SIGTERM)
        self.assertEqual(server.wait(WITHIN_PROMISE), self.codes[signal.SIGTERM])
        stubborn.read_to_end()
        self.assert_no_faults(server)
