"""Two members on a channel of their own who talk all the time: whether they notice anything of what is done to others.

As a program it is the pair: ``python -m tests.torture.pair --url wss://host:port``. It writes a line when both are in,
talks until its input ends, and writes what came of it. So that nothing a probe does makes it late, it is a process of
its own.
"""

import argparse
import json
import re
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from .findings import Finding
from .peers import Peer, fresh_name
from .target import Target

__all__ = ["INTERVAL", "WORST", "Heard", "Pair", "Report"]

#: Seconds between two messages of the pair. Each of them sends every other one, so that a limit of 100 a second is
#: never reached.
INTERVAL = 0.01

#: Messages they send at least, however short it all is.
_FEWEST = 50

#: What is promised, milliseconds.
WORST = 250.0

#: Seconds after the last message within which all have to be there.
_LATEST = 10.0

#: A message of theirs: its number, and when it was sent.
_MESSAGE = re.compile(rb"(\d+) (\d+\.\d+)")

#: How the frames of those who join begin: a newcomer's is passed on to who is there.
_JOIN_FRAME = b'{"'


@dataclass(frozen=True, slots=True)
class Report:
    """What a pair has seen.

    Attributes:
        sent: messages they have sent.
        lost: of those, how many have not come.
        strange: what has come that neither of them sent, or came twice.
        worst: the longest delay, milliseconds.
        p99: of a hundred, 99 were not later than this.
        asleep: how late its own process was woken up at most: a machine that is busy with others.
        end: how their connections have ended before they left; usually nothing.
    """

    sent: int
    lost: int
    strange: int
    worst: float
    p99: float
    asleep: float
    end: str

    def findings(self, *, judged: bool = True, worst: float = WORST, p99: float | None = None) -> Iterator[Finding]:
        """What this says about the promise; times are `judged` or only shown."""
        yield Finding.equal("the pair: messages lost", f"{self.lost} of {self.sent}{self.end}", f"0 of {self.sent}")
        yield Finding.equal("the pair: messages of nobody's, or twice", self.strange, 0)
        if judged and self.worst >= worst and self.asleep > self.worst / 2:
            figure = f"{self.worst:.0f} ms, its own process {self.asleep:.0f} ms: the machine is too busy to tell"
            yield Finding.unknown("the pair: latest message", figure)
        else:
            yield Finding.below("the pair: latest message", self.worst, worst, "ms", judged=judged)
        if p99 is not None:
            yield Finding.below("the pair: 99th percentile", self.p99, p99, "ms", judged=judged)


class Pair:
    """A pair in a process of its own, from its first message to the report.

    Args:
        target: the server.
        interval: seconds between two messages.
        command: what its command begins with: a way to give it a priority.
        header: more keys of their first frames.
    """

    def __init__(
        self, target: Target, interval: float = INTERVAL, command: tuple[str, ...] = (), auth: str = ""
    ) -> None:
        arguments = ["--url", target.url, "--interval", str(interval)]
        arguments += ["--ca", target.ca] if target.ca else []
        arguments += ["--address", target.address] if target.address else []
        arguments += ["--key", auth] if auth else []
        self._process = subprocess.Popen(
            [*command, sys.executable, "-m", "tests.torture.pair", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._report: Report | None = None

    def __enter__(self) -> Self:
        assert self._process.stdout is not None
        if self._process.stdout.readline() != "talking\n":
            self._process.kill()
            self._process.communicate()
            raise RuntimeError("the pair cannot join")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._report is None:
            self._process.kill()
            self._process.communicate()

    def report(self) -> Report:
        """Let them come to an end, and hear what they have seen; any number of times."""
        if self._report is None:
            output, _ = self._process.communicate("", timeout=_LATEST + 60)
            if not output:
                raise RuntimeError("the pair has come to grief")
            self._report = Report(**json.loads(output))
        return self._report


class Heard:
    """What has come of what they say.

    Attributes:
        delays: seconds on the way, by the number of the message.
        strange: see `Report`.
    """

    def __init__(self) -> None:
        self.delays: dict[int, float] = {}
        self.strange = 0

    def take(self, payload: bytes, now: float) -> None:
        """A message that has come."""
        message = _MESSAGE.fullmatch(payload)
        if message is not None and (number := int(message[1])) not in self.delays:
            self.delays[number] = now - float(message[2])
        elif not payload.startswith(_JOIN_FRAME):
            self.strange += 1


def talk(target: Target, interval: float, key: str, until: int) -> Report:
    """Talk until a descriptor says that its other end is gone."""
    channel, talkers = fresh_name("pair"), []
    for uid in ("alice", "bob"):
        header: dict[str, Any] = {"auth": _auth(uid, channel, key)} if key else {}
        talkers.append(Peer(target, uid, channel, **header))
    for talker in talkers:
        talker.frames()  # the join frames of a history
    print("talking", flush=True)
    sent, asleep, heard = 0, 0.0, Heard()
    due, last = time.monotonic(), 0.0
    sockets = {talker.fileno(): talker for talker in talkers}
    is_over = False
    while not all(talker.is_over for talker in talkers):
        now = time.monotonic()
        if is_over and (len(heard.delays) == sent or now > last + _LATEST):
            break
        if not is_over and now >= due:
            asleep = max(asleep, now - due)
            talker = talkers[sent % 2]
            sent += 1
            due = max(due + interval, now)
            try:
                talker.say(b"%d %.6f" % (sent, time.monotonic()))
            except OSError:
                break
            last = now
        wait = max(0.0, due - time.monotonic()) if not is_over else 0.1
        open_sockets = [fd for fd, talker in sockets.items() if not talker.is_over]
        ready, _, _ = select.select([*open_sockets, *([until] if sent >= _FEWEST else [])], [], [], wait)
        is_over = is_over or (until in ready and sent >= _FEWEST)
        for fd in ready:
            if fd not in sockets:
                continue
            found = sockets[fd].frames()
            now = time.monotonic()
            for _, payload in found:
                heard.take(payload, now)
    end = "".join(f", {talker.close or 'cut'}" for talker in talkers if talker.is_over)
    for talker in talkers:
        talker.leave()
    delays = sorted(heard.delays.values())
    worst, p99 = (delays[-1], delays[int(len(delays) * 0.99)]) if delays else (0.0, 0.0)
    return Report(sent, sent - len(delays), heard.strange, worst * 1e3, p99 * 1e3, asleep * 1e3, end)


def _auth(uid: str, channel: str, key: str) -> str:
    from mles_tx.protocol.auth import auth_value

    return auth_value(uid, channel, key.encode())


def main() -> None:
    """The program."""
    parser = argparse.ArgumentParser(prog="python -m tests.torture.pair", description="Two members who talk.")
    parser.add_argument("--url", required=True)
    parser.add_argument("--ca")
    parser.add_argument("--address")
    parser.add_argument("--key", default="")
    parser.add_argument("--interval", type=float, default=INTERVAL)
    options = parser.parse_args()
    report = talk(
        Target(options.url, options.ca, (), options.address), options.interval, options.key, sys.stdin.fileno()
    )
    print(json.dumps({name: getattr(report, name) for name in Report.__slots__}), flush=True)


if __name__ == "__main__":
    main()
