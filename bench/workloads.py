"""What is measured: the workloads of the table and the curves of growth.

A workload says what load there is. It knows nothing of servers, processes or results.
"""

from dataclasses import dataclass
from enum import Enum

from .pages import BROWSER_CODINGS, DOWNLOAD, LARGE_SCRIPT, PAGE, PICTURE, SCRIPT, Page

__all__ = ["CURVES", "WORKLOADS", "Curve", "Kind", "Workload", "find", "names"]


class Kind(Enum):
    """What a workload does, and what is told of it."""

    FANOUT = "fanout"  # server CPU for each delivery
    JOIN = "join"  # server CPU for each join
    IDLE = "idle"  # resident memory of the server for each member
    WEB = "web"  # server CPU for each request for a static file
    PAIR = "pair"  # latency between two members, 99th percentile, while static files are asked for

    @property
    def unit(self) -> str:
        """The unit of its figures."""
        return {Kind.JOIN: "ms", Kind.IDLE: "KiB"}.get(self, "µs")

    @property
    def subject(self) -> str:
        """What promises are about."""
        return "serving" if self is Kind.PAIR else "ours"

    @property
    def references(self) -> tuple[str, ...]:
        """What that is held against; promises are about the first one."""
        return {Kind.WEB: ("plain",), Kind.PAIR: ("alone",)}.get(self, ("naive", "floor"))


@dataclass(frozen=True, slots=True)
class Workload:
    """A load that a server is put under.

    Args:
        name: what `--only` takes.
        title: what the table says.
        kind: what it does.
        channels: how many, with `subscribers` and `publishers` each.
        idle_channels: how many more there are, with one member each that does nothing.
        window: messages each publisher keeps in flight, unless there is a `rate`.
        rate: messages a second of all publishers together; 0: as many as the window allows.
        message_bytes: the size of a message.
        count: how many join (JOIN), are there in the end (IDLE), or ask for static files (WEB, PAIR).
        page: the file they ask for.
        history: messages the channel's history holds and keeps at; the server is one of our own, with just that limit.
            None: the limit as shipped.
        promise: the largest ratio to the first of the references that is promised.
        most_rounds: where one round takes long.
        in_quick: whether `--quick` measures it.
    """

    name: str
    title: str
    kind: Kind = Kind.FANOUT
    channels: int = 1
    idle_channels: int = 0
    subscribers: int = 100
    publishers: int = 1
    window: int = 1
    rate: float = 0.0
    message_bytes: int = 128
    count: int = 0
    page: Page | None = None
    history: int | None = None
    promise: float | None = None
    most_rounds: int | None = None
    in_quick: bool = True

    @property
    def connections(self) -> int:
        """The most that are open at one time."""
        if self.kind not in (Kind.FANOUT, Kind.PAIR):
            return self.count
        asking = self.count if self.kind is Kind.PAIR else 0
        return asking + self.channels * (self.subscribers + self.publishers) + self.idle_channels

    def arguments(self, seconds: float, warm_up: float) -> list[str]:
        """The load generator's arguments. Idle members are asked for on its standard input.

        Args:
            seconds: how long messages are measured.
            warm_up: seconds of the same load before that.
        """
        match self.kind:
            case Kind.JOIN:
                chosen = ["-m", "join", "-n", self.count]
            case Kind.IDLE:
                chosen = ["-m", "hold", "-n", self.count]
            case Kind.WEB:
                return self.web_arguments(seconds, warm_up)
            case Kind.FANOUT | Kind.PAIR:
                load = ["-r", self.rate] if self.rate else ["-w", self.window]
                members = ["-s", self.subscribers, "-u", self.publishers, "-i", self.idle_channels]
                chosen = ["-m", "fanout", *members, "-b", self.message_bytes, *load, "-d", seconds, "-W", warm_up]
        return [str(argument) for argument in (*chosen, "-c", self.channels, "-e", self.history or 0)]

    def web_arguments(self, seconds: float, warm_up: float) -> list[str]:
        """The arguments of the load generator for static files.

        Args:
            seconds: how long requests are measured; 0: until the end of its standard input.
            warm_up: seconds of the same load before that.
        """
        assert self.page is not None
        asked = ["-f", f"/{self.page.name}", "-E", BROWSER_CODINGS]
        return [*asked, "-n", str(self.count), "-d", str(seconds), "-W", str(warm_up)]


@dataclass(frozen=True, slots=True)
class Curve:
    """One load at growing sizes.

    Args:
        name: what `--only` takes.
        title: what the chart says.
        axis: what grows.
        points: each size with its workload.
    """

    name: str
    title: str
    axis: str
    points: tuple[tuple[int, Workload], ...]


# Rows of the table that are points of a curve as well: they are measured once.
_LARGE = Workload("large-channel", "1x1000, P1, W4: large channel", subscribers=1000, window=4, promise=0.22)
_LARGEST = Workload(
    "10k-members", "1x10000, P1, W4: largest channel", subscribers=10_000, window=4, most_rounds=1, in_quick=False
)

#: Connections that ask for static files. A browser opens six.
_ASKING = 32


def _web(name: str, title: str, page: Page, promise: float | None = 0.33, in_quick: bool = True) -> Workload:
    return Workload(name, title, Kind.WEB, count=_ASKING, page=page, promise=promise, in_quick=in_quick)


def _pair(name: str, title: str, page: Page, in_quick: bool = True) -> Workload:
    return Workload(
        name, title, Kind.PAIR, subscribers=1, rate=500.0, count=_ASKING, page=page, promise=2.0, in_quick=in_quick
    )


#: The rows of the tables. CxS: channels and subscribers of each; P: publishers of each; W: messages in flight of each.
WORKLOADS = (
    Workload("saturated", "1x100, P1, W32: saturated fan-out", window=32, promise=0.10),
    _LARGE,
    Workload(
        "several-channels",
        "10x10, P3, W4: several channels",
        channels=10,
        subscribers=10,
        publishers=3,
        window=4,
        promise=0.22,
    ),
    Workload("one-at-a-time", "1x100, P1, W1: one message at a time", promise=0.33),
    Workload("light", "1x100, P1, 100/s: light load", rate=100.0, promise=0.5),
    Workload(
        "small-channels", "100x1, P1, W8: many small channels", channels=100, subscribers=1, window=8, promise=0.30
    ),
    Workload(
        "small-channels-w1", "100x1, P1, W1: many small channels", channels=100, subscribers=1, window=1, promise=0.28
    ),
    Workload("join", "join and go, all to one channel", Kind.JOIN, count=400, promise=0.6),
    Workload("join-apart", "join and go, each to its own channel", Kind.JOIN, channels=400, count=400),
    Workload("idle", "memory of an idle TLS member", Kind.IDLE, channels=1500, count=1500, promise=0.9, most_rounds=1),
    Workload("large-messages", "1x100, P1, W4: 64 KiB messages", window=4, message_bytes=65536),
    _LARGEST,
    _web("page", "page of 1 KiB", PAGE),
    _web("script", "script of 10 KiB", SCRIPT, in_quick=False),
    _web("large-script", "script of 300 KiB", LARGE_SCRIPT),
    _web("picture", "picture of 100 KiB", PICTURE),
    _web("download", "download of 1 MiB, from the disk", DOWNLOAD, promise=None, in_quick=False),
    _pair("pair-page", "pair, 500/s; pages of 1 KiB", PAGE),
    _pair("pair-script", "pair, 500/s; scripts of 300 KiB", LARGE_SCRIPT, in_quick=False),
    _pair("pair-picture", "pair, 500/s; pictures of 100 KiB", PICTURE, in_quick=False),
    _pair("pair-download", "pair, 500/s; downloads of 1 MiB", DOWNLOAD, in_quick=False),
)


#: Channels with two members on the curve of channels; the others have one. Systems give so many descriptors.
_MOST_ACTIVE = 1000

_DECADES = (10, 100, 1000, 10_000)


def _members(size: int) -> Workload:
    return Workload(f"members-{size}", f"1x{size}, P1, W4", subscribers=size, window=4, most_rounds=3)


def _channels(size: int) -> Workload:
    active = min(size, _MOST_ACTIVE)
    return Workload(
        f"channels-{size}",
        f"{active}x1, P1, 2000/s in all, {size - active} idle",
        channels=active,
        idle_channels=size - active,
        subscribers=1,
        rate=2000.0,
        most_rounds=3 if size <= _MOST_ACTIVE else 1,
    )


def _history(size: int) -> Workload:
    title = f"1x10, P1, W4, {size} messages of history"
    return Workload(f"history-{size}", title, subscribers=10, window=4, history=size, most_rounds=3)


def _history_join(size: int) -> Workload:
    title = f"join and get {size} messages of history"
    return Workload(f"history-join-{size}", title, Kind.JOIN, count=100, history=size, most_rounds=3)


CURVES = (
    Curve(
        "members",
        "CPU for each delivery, by subscribers of one channel",
        "subscribers",
        ((10, _members(10)), (100, _members(100)), (1000, _LARGE), (10_000, _LARGEST)),
    ),
    Curve(
        "channels",
        "CPU for each delivery, by channels; 2,000 messages/s in all",
        "channels",
        tuple((size, _channels(size)) for size in (1, *_DECADES)),
    ),
    Curve(
        "history",
        "CPU for each delivery, by length of history",
        "messages of history",
        tuple((size, _history(size)) for size in (0, *_DECADES)),
    ),
    Curve(
        "history-join",
        "CPU for each join, by length of the history it is sent",
        "messages of history",
        tuple((size, _history_join(size)) for size in (0, *_DECADES)),
    ),
)


def names() -> list[str]:
    """What `--only` takes."""
    return [entry.name for entry in (*WORKLOADS, *CURVES)]


def find(chosen: list[str], quick: bool) -> tuple[list[Workload], list[Curve]]:
    """The workloads and curves with some names; without names all, or the quick ones.

    Raises:
        ValueError: there is no such name.
    """
    for name in chosen:
        if name not in names():
            raise ValueError(f"no workload is called {name!r}: --list shows them")
    if chosen:
        return [w for w in WORKLOADS if w.name in chosen], [c for c in CURVES if c.name in chosen]
    return [w for w in WORKLOADS if w.in_quick or not quick], [] if quick else list(CURVES)
