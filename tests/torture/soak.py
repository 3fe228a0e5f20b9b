"""Members come, talk, leave, come back, stall and die for half an hour, at random: ``python -m tests.torture.soak``.

Every message is accounted for; afterwards the server has to be what it was in the beginning. The seed decides who does
what in which order; when exactly it happens is the machine's business.
"""

import argparse
import os
import random
import signal
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from itertools import combinations, pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from twisted.trial.unittest import SkipTest

from mles_tx.protocol.auth import digest
from tests.integration.acme.pebble import Pebble
from tests.integration.acme.servers import SERVE, AcmeServer
from tests.integration.clients import BINARY, CONTINUATION, TEXT, frame
from tests.integration.processes import Server
from tests.integration.support import SECURE
from tests.ports import free_port

from .accounts import Channel, Name, Stay
from .admin import metric
from .findings import Finding, Verdict
from .pair import Pair
from .peers import Crowd, NoAnswer, Peer, fresh_name
from .process import Usage
from .target import Target

KIB, MIB = 1024, 1024 * 1024

#: Messages a channel remembers. Who comes back after more than half as many is not held to have missed none.
_LIMIT = 400

#: Seconds for which certificates are valid: they are renewed after two thirds.
_VALID = 60

#: Seconds within which everything that is dead is noticed: pings go out every ten.
_DEADLINES = 60.0

#: Seconds after which as much is going on as ever will.
_SETTLED = 180.0

#: Minutes from which on it can be told whether memory grows.
_LONG = 25.0

_OPTIONS = ("--limit", str(_LIMIT), "--rate-limit", "300", "--ping-interval", "10000")


@dataclass(eq=False)
class Guest:
    """A member and its books."""

    uid: str
    peer: Peer
    stay: Stay
    recent: list[bytes] = field(default_factory=list)
    goal: int | None = None  # it leaves when it has come to this place
    deadline: float = 0.0
    wakes: float = 0.0  # it does not read until then
    is_slow: bool = False  # it was told to stop reading at some time


class Soak:
    """The half hour.

    Args:
        target: the server.
        chance: decides everything.
        channels: how many.
        most: members at one time, about.
        nudge: sends the server a signal.
    """

    def __init__(
        self, target: Target, chance: random.Random, channels: int, most: int, nudge: Callable[[int], None]
    ) -> None:
        self._target = target
        self._chance = chance
        self._most = most
        self._nudge = nudge
        self.done: Counter[str] = Counter()
        self.ends: Counter[str] = Counter()
        self.faults: list[str] = []
        self._talkers = 0
        self._crowd = Crowd()
        self._guests: list[Guest] = []
        self._gone: list[tuple[str, Channel, list[bytes], int]] = []  # who may come back
        self._stays: list[tuple[Stay, bool]] = []
        self._dead: list[Peer] = []
        self._witnesses: list[tuple[Channel, Peer]] = []
        for number in range(channels):
            channel = Channel(fresh_name(f"soak{number}"))
            witness = Peer(target, "witness", channel.name, history=0)
            witness.on_frame = lambda opcode, payload, channel=channel: _hear(channel, payload)
            self._witnesses.append((channel, witness))
            self._crowd.add(witness)
        self._actions: tuple[tuple[Callable[[], None], int], ...] = (
            (self._talk, 600),
            (self._burst, 20),
            (self._large, 25),
            (self._fragments, 10),
            (self._join, 60),
            (self._come_back, 60),
            (self._leave, 70),
            (self._vanish, 30),
            (self._stall, 12),
            (self._die, 3),
            (self._break_rules, 15),
            (self._signal, 3),
        )

    def fill(self) -> None:
        """Fill the histories, so that what the server holds for them does not grow from then on."""
        for channel, _ in self._witnesses:
            self._talkers += 1
            self._enter(f"guest{self._talkers}", channel, self._talkers * 1000, {"history": 0})
            guest = self._guests[-1]
            for _ in range(170):
                guest.peer.say(self._say(guest, 64 * KIB))
                self._read(0)

    # -- what happens

    def run(self, seconds: float, look: Callable[[], None]) -> None:
        """Go on for so long; `look` is called now and then."""
        end = time.monotonic() + seconds
        actions, weights = zip(*self._actions, strict=True)
        next_look = 0.0
        while time.monotonic() < end:
            (action,) = self._chance.choices(actions, weights)
            try:
                action()
            except (OSError, NoAnswer) as error:
                self.done[f"{action.__name__[1:]} not possible: {type(error).__name__}"] += 1
            else:
                self.done[action.__name__[1:]] += 1
            self._read(self._chance.uniform(0, 0.02))
            if time.monotonic() >= next_look:
                next_look = time.monotonic() + 2
                look()

    def finish(self) -> None:
        """Everybody leaves, and the books are closed."""
        for guest in self._guests:
            guest.wakes = min(guest.wakes, time.monotonic())  # whoever sleeps wakes up
            if guest.goal is None:
                self._begin_to_leave(guest)
        deadline = time.monotonic() + 60
        while self._guests and time.monotonic() < deadline:
            self._read(0.05)
        for peer in self._dead:
            peer.drop()
        self._crowd.run(lambda: False, 1)
        for channel, witness in self._witnesses:
            self.faults += channel.faults
            if witness.is_over:
                self.faults.append(f"{channel.name}: its witness was dropped with {witness.close}")
            witness.leave()
        for stay, left in self._stays:
            self.faults += [*stay.unfinished(), *stay.faults, *stay.unheard(left=left)]

    @property
    def accounted(self) -> tuple[int, int]:
        """Messages on all channels, and deliveries that were looked at."""
        return sum(len(channel.order) for channel, _ in self._witnesses), sum(stay.number for stay, _ in self._stays)

    def _read(self, seconds: float) -> None:
        """Let everybody read; those who have come to their goal leave, and those who were let go are gone."""
        self._crowd.run(lambda: False, seconds)
        now = time.monotonic()
        for guest in list(self._guests):
            guest.stay.look()
            if guest.wakes and now >= guest.wakes:
                guest.wakes = 0.0
                self._crowd.add(guest.peer)
            if guest.wakes:
                continue
            if guest.peer.is_over:
                self._ended(guest)
            elif guest.goal is not None and (guest.stay.place >= guest.goal or now > guest.deadline):
                if guest.stay.place < guest.goal:
                    self.faults.append(f"{guest.uid} waits for place {guest.goal}, and is at {guest.stay.place}")
                self._crowd.remove(guest.peer)
                guest.peer.leave()
                self._close_books(guest, left=True)

    def _ended(self, guest: Guest) -> None:
        """The server has let somebody go: only who has stopped reading may be."""
        code = guest.peer.close[0] if guest.peer.close else 0
        self.ends[f"ended by the server: {code}"] += 1
        if not guest.is_slow:
            self.faults.append(f"{guest.uid} was let go with {guest.peer.close}")
        guest.peer.drop()
        self._close_books(guest, left=False)

    def _close_books(self, guest: Guest, *, left: bool) -> None:
        self._guests.remove(guest)
        self._stays.append((guest.stay, left))
        self._gone.append((guest.uid, guest.stay.channel, guest.recent[-8:], guest.stay.talker))
        del self._gone[:-50]

    # -- what members do

    def _some(self) -> Guest | None:
        """Anybody who is neither leaving nor asleep."""
        able = [guest for guest in self._guests if guest.goal is None and not guest.wakes and not guest.peer.is_over]
        return self._chance.choice(able) if able else None

    def _say(self, guest: Guest, size: int) -> bytes:
        payload = b"%d %d " % (guest.stay.talker, guest.stay.said)
        guest.stay.said += 1
        return payload.ljust(size, b".")

    def _talk(self) -> None:
        if (guest := self._some()) is not None:
            guest.peer.say(self._say(guest, self._chance.randrange(20, 300)), self._chance.choice((TEXT, BINARY)))

    def _burst(self) -> None:
        if (guest := self._some()) is not None:
            many = range(self._chance.randrange(20, 300))
            guest.peer.send(b"".join(frame(BINARY, self._say(guest, 60)) for _ in many))

    def _large(self) -> None:
        if (guest := self._some()) is not None:
            guest.peer.say(self._say(guest, self._chance.randrange(16 * KIB, MIB)))

    def _fragments(self) -> None:
        if (guest := self._some()) is not None:
            payload = self._say(guest, self._chance.randrange(100, 20_000))
            cut = self._chance.randrange(1, len(payload))
            guest.peer.send(frame(BINARY, payload[:cut], final=False) + frame(CONTINUATION, payload[cut:]))

    def _join(self) -> None:
        if len(self._guests) < self._most:
            channel, _ = self._chance.choice(self._witnesses)
            self._talkers += 1
            self._enter(f"guest{self._talkers}", channel, self._talkers * 1000, {})

    def _come_back(self) -> None:
        if self._gone and len(self._guests) < self._most:
            uid, channel, recent, talker = self._gone.pop(self._chance.randrange(len(self._gone)))
            since = {"since": [f"{digest(payload):016x}" for payload in recent]} if recent else {}
            # Nobody says more than a thousand times who he is.
            self._enter(uid, channel, talker + 1, since, self._last(channel, recent))

    def _last(self, channel: Channel, recent: list[bytes]) -> int | None:
        """The place behind which somebody goes on who has heard these last; None: that cannot be told.

        What the witness had not heard by then has a place by now, or nothing is known. With many of its own in between,
        the first of them may be forgotten: then all is replayed, as documented.
        """
        places = [channel.place.get(_name_of(payload), -1) for payload in recent]
        if not places or min(places) < 0 or len(channel.order) - min(places) >= _LIMIT // 2:
            return None
        return max(places)

    def _enter(self, uid: str, channel: Channel, talker: int, more: Mapping[str, Any], last: int | None = -1) -> None:
        heard = len(channel.order)
        stay = Stay(channel, talker)
        if last is not None and last >= 0:
            stay.after, stay.first_at_latest = last, last + 1
        elif heard:
            stay.first_at_latest = heard
        peer = Peer(self._target, uid, channel.name, **more)
        guest = Guest(uid, peer, stay)
        peer.on_frame = lambda opcode, payload: _note(guest, payload)
        for _, payload in peer.take_found():
            _note(guest, payload)
        self._guests.append(guest)
        self._crowd.add(peer)

    def _leave(self) -> None:
        if len(self._guests) > self._most // 2 and (guest := self._some()) is not None:
            self._begin_to_leave(guest)

    def _begin_to_leave(self, guest: Guest) -> None:
        guest.goal, guest.deadline = guest.stay.goal(), time.monotonic() + 30

    def _vanish(self) -> None:
        if (guest := self._some()) is not None:
            self._crowd.remove(guest.peer)
            guest.peer.drop()
            guest.stay.look()
            self._close_books(guest, left=False)

    def _stall(self) -> None:
        """Read nothing for a while."""
        if (guest := self._some()) is not None:
            guest.is_slow = True
            guest.wakes = time.monotonic() + self._chance.uniform(1, 15)
            self._crowd.remove(guest.peer)

    def _die(self) -> None:
        """A member that will never read again, a handshake that stalls, or one who never says who it is."""
        kind = self._chance.randrange(3)
        if kind == 0:
            channel, _ = self._chance.choice(self._witnesses)
            self._dead.append(Peer(self._target, fresh_name("dead"), channel.name, receive_buffer=4096, settle=False))
        elif kind == 1:
            self._dead.append(Peer(self._target))
        else:
            with self._target.dial() as dialed:
                dialed.send(b"\x16\x03\x01")
        while len(self._dead) > 20:
            self._dead.pop(0).drop()

    def _break_rules(self) -> None:
        channel, _ = self._chance.choice(self._witnesses)
        data = self._chance.choice(
            (frame(3), frame(TEXT, b"\xff"), frame(BINARY, announced=2**62), self._chance.randbytes(500))
        )
        with Peer(self._target, fresh_name("wrong"), channel.name, history=0, receive=False) as peer:
            peer.send(data)

    def _signal(self) -> None:
        self._nudge(self._chance.choice((signal.SIGHUP, signal.SIGUSR1)))


def _hear(channel: Channel, payload: bytes) -> None:
    name = _name_of(payload)
    if name[0] >= 0:
        channel.heard(name)


def _name_of(payload: bytes) -> Name:
    """The name of a message; that of one by somebody who breaks rules is (-1, 0)."""
    who, number, *_ = [*payload[:30].split(b" ", 2), b""]
    return (int(who), int(number)) if who.isdigit() and number.isdigit() else (-1, 0)


def _note(guest: Guest, payload: bytes) -> None:
    if payload.startswith(b"{"):
        return  # a join frame
    name = _name_of(payload)
    if name[0] >= 0:
        guest.stay.heard.append(name)
    if name[0] // 1000 != guest.stay.talker // 1000:
        guest.recent = [*guest.recent[-7:], payload]


def slope(points: list[tuple[float, float]]) -> float:
    """How much something grows in ten minutes: the median of the slopes between all looks (Theil-Sen).

    Members who come, and large messages on their way, take some 5 MiB more or less from minute to minute, so that the
    slope of 27 minutes without any leak is anything up to 0.4 MiB (its standard deviation), and that of five minutes
    nothing to go by.

    Args:
        points: times in seconds, and figures.
    """
    slopes = [(b[1] - a[1]) / (b[0] - a[0]) for a, b in combinations(points, 2)]
    return statistics.median(slopes) * 600 if slopes else 0.0


def wake_ups(pid: int, windows: int = 5, seconds: float = 4.0) -> float:
    """How often a process that has nothing to do wakes up, a second: what its timers do.

    It is the median of some windows: a certificate may be renewed in one of them.
    """

    def count() -> int:
        status = Path(f"/proc/{pid}/status").read_text()
        return int(status.partition("\nvoluntary_ctxt_switches:")[2].split()[0])

    counts = [count()]
    for _ in range(windows):
        time.sleep(seconds)
        counts.append(count())
    return statistics.median(b - a for a, b in pairwise(counts)) / seconds


def _start(stack: ExitStack, admin: int) -> tuple[Server, Target]:
    """A server with certificates that are renewed every minute, if there is an authority to be had."""
    more = (*_OPTIONS, "--admin", f"tcp:{admin}")
    try:
        ca = Pebble(validity=_VALID, bad_nonces=20)
    except SkipTest as skip:
        print(f"without renewals: {skip}")
        plain = Server([*SECURE, *more])
        stack.callback(plain.stop)
        ca_file = plain.directory / "cache" / "self-signed" / "localhost.pem"
        return plain, Target(plain.url, str(ca_file), (plain.pid,))
    stack.callback(ca.remove)
    ca.start()
    cache = Path(stack.enter_context(TemporaryDirectory(prefix="mles-tx-soak-")))
    server = AcmeServer(SERVE, ca, cache, "--port", str(ca.tls_port), "--domains", "a.test", *more)
    stack.callback(server.stop)
    server.await_certificates("a.test")
    return server, Target(server.url, None, (server.pid,), "127.0.0.1")


def main() -> int:
    """The program; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.torture.soak", description="Half an hour of everything.")
    parser.add_argument("--minutes", type=float, default=30.0, help="how long (%(default)s)")
    parser.add_argument("--seed", type=int, default=None, help="who does what; without it another one each time")
    parser.add_argument("--channels", type=int, default=8, help="how many (%(default)s)")
    parser.add_argument("--members", type=int, default=60, help="at one time, about (%(default)s)")
    parser.add_argument("--verbose", action="store_true", help="show every look at the memory")
    options = parser.parse_args()
    seed = int.from_bytes(os.urandom(3), "big") if options.seed is None else options.seed
    print(f"--seed {seed}, {options.minutes:g} minutes", flush=True)
    with ExitStack() as stack:
        admin = free_port()
        server, target = _start(stack, admin)
        time.sleep(2)
        idle = wake_ups(server.pid)
        start = Usage.of(server.pid)
        points: list[tuple[float, float]] = []
        began = time.monotonic()

        def look() -> None:
            memory = Usage.of(server.pid).memory - metric(admin, "mles_history_bytes")
            points.append((time.monotonic() - began, memory / MIB))

        with Pair(target) as pair:
            soak = Soak(target, random.Random(seed), options.channels, options.members, server.signal)
            soak.fill()
            soak.run(options.minutes * 60, look)
            soak.finish()
            report = pair.report()
        time.sleep(_DEADLINES)
        after = Usage.of(server.pid)
        idle_after = wake_ups(server.pid)
        output = server.output
    if options.verbose:
        for at, mib in points:
            print(f"    {at:6.0f} s {mib:8.1f} MiB")
    settled = [point for point in points if point[0] > _SETTLED]
    messages, deliveries = soak.accounted
    for what, count in sorted((soak.done + soak.ends).items()):
        print(f"  {count:>7} {what}")
    print(f"  {output.count('serving the certificate')} certificates, {len(points)} looks at the memory")
    findings = [
        Finding.equal(f"wrong of {deliveries} deliveries of {messages} messages", len(soak.faults), 0),
        *report.findings(judged=False),
        Finding.below(
            "memory grows, histories aside, in 10 minutes by", slope(settled), 1, "MiB", judged=options.minutes >= _LONG
        ),
        Finding.below("descriptors more than at the start", after.descriptors - start.descriptors, 3),
        Finding.below("threads more than at the start", after.threads - start.threads, 9),
        Finding.below("wake-ups a second when idle, more than at the start", idle_after - idle, 2),
        Finding.equal("faults in its log", output.count("Traceback") + output.count("Unhandled"), 0),
    ]
    for finding in findings:
        print(finding.line())
    for fault in soak.faults[:20]:
        print(f"    {fault}")
    return int(any(finding.verdict is Verdict.BROKEN for finding in findings))


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        sys.exit(main())
    sys.exit(130)
