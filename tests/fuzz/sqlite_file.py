"""The file of a history in which bytes were changed: three bytes of place and one of value, again and again.

The first byte says whether it is strict.
"""

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from mles_tx.channels.history import HistoryError
from mles_tx.stores.sqlite import SqliteHistory
from tests.channels.fakes import said
from tests.stores.contract import Listener, join_of
from tests.stores.threads import PromptThread

from .logged import nothing_failed

__all__ = ["run", "seeds"]

_CHANNELS = ("example", "other")

#: Where a file costs least: what is synced is not on a disk.
_PLACE = "/dev/shm" if Path("/dev/shm").is_dir() else None


def run(data: bytes) -> None:
    """What is said is delivered, what is remembered is whole frames, and the broken file is kept."""
    strict, changes = bool(data[:1] and data[0] & 1), data[1:]
    content = bytearray(_sound())
    for at in range(0, len(changes) - 3, 4):
        content[int.from_bytes(changes[at : at + 3], "big") % len(content)] = changes[at + 3]
    with TemporaryDirectory(dir=_PLACE) as name, nothing_failed():
        path = Path(name) / "history.db"
        path.write_bytes(content)
        Path(f"{path}.lock").touch()
        _use(path, strict)
        kept = [other for other in Path(name).glob("history.db*") if _looks_like(other, bytes(content))]
        assert kept, sorted(Path(name).iterdir())


def _looks_like(path: Path, content: bytes) -> bool:
    """Whether a file is the broken one: that is set aside as it was, or in use and as large as it was at least."""
    if ".corrupt-" in path.name:
        return path.name[-4:] in ("-wal", "-shm") or path.stat().st_size >= len(content) // 2
    return path.name == "history.db" and path.stat().st_size >= len(content) // 2


def _use(path: Path, strict: bool) -> None:
    clock, listener = Clock(), Listener()
    history = SqliteHistory(
        clock, path, 50, strict=strict, thread=PromptThread(), wall_clock=lambda: 1_700_000_100.0 + clock.seconds()
    )
    history.start(listener)
    try:
        history.open()
    except HistoryError as error:
        assert str(error).isprintable()
        return
    for channel in _CHANNELS:
        replay = history.replay(channel, "zoe", None, ())
        history.append(channel, [said(f"new on {channel}")])
        for _ in range(4):
            clock.advance(0.05)
        _read(replay.pull(1 << 20))
        _read(history.replay(channel, "zoe", 10, ()).pull(1 << 20))
    clock.advance(20)
    for channel in _CHANNELS:
        refused = [batch for name, batch in listener.sent_back if name == channel]
        assert listener.texts(channel) == [f"new on {channel}"] or (strict and refused), channel
    assert history.close().called
    assert clock.getDelayedCalls() == []


def _read(pulled: "list[bytes] | Deferred[list[bytes]]") -> None:
    frames: Any = pulled if isinstance(pulled, list) else pulled.result
    for frame in frames:
        assert isinstance(frame, bytes) and frame[0] in (0x81, 0x82) and frame[1] < 128, frame


@cache
def _sound() -> bytes:
    """A file with two channels."""
    with TemporaryDirectory(dir=_PLACE) as name:
        path = Path(name) / "history.db"
        clock = Clock()
        history = SqliteHistory(clock, path, 50, thread=PromptThread(), wall_clock=lambda: 1_700_000_000.0)
        history.start(Listener())
        history.open()
        for number in range(20):
            for channel in _CHANNELS:
                history.append(channel, [said(f"{number} on {channel}", "bob")])
        history.append("example", [join_of("ann")])
        clock.advance(1)
        history.close()
        return path.read_bytes()


def seeds() -> list[bytes]:
    """Nothing changed; and changes all over the file."""
    size = len(_sound())
    places = range(0, size, max(1, size // 40))
    some = [b"\0" + place.to_bytes(3, "big") + b"\xff" for place in places]
    return [b"\0", b"\1", *some, b"\1" + b"".join(change[1:] for change in some[::7])]
