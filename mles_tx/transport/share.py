"""How much of a reactor turn goes into one kind of work, so that a flood of it does not hold up everybody else.

It must not know what the work is.
"""

from collections import deque
from collections.abc import Callable
from typing import Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

__all__ = ["PIECE_BYTES", "Paced", "Pieces", "Share", "TurnShare"]

#: Bytes of a piece: one record of TLS, with the turn around it 50 µs. Four times as many make a picture of 100 KiB a
#: seventh cheaper, and turns twice as long.
PIECE_BYTES = 16 * 1024


#: How much more is done in a turn for which nobody waits.
_ALONE = 8


class Share(Protocol):
    """What some kind of work may do in one turn of the reactor."""

    def run(self, work: Callable[[], object]) -> None:
        """Do a piece of work now, or in a later turn when enough was done in this one."""


class TurnShare:
    """Work in pieces: some are done in each turn of the reactor, the others wait in the order they came.

    Args:
        clock: whose turns these are.
        pieces: how many are done in a turn.
        is_alone: asked at the beginning of a turn whether nobody else is there who would wait; then eight times as many
            are done, which takes the turns around them from what each costs.
    """

    _log = Logger()

    def __init__(self, clock: IReactorTime, pieces: int, is_alone: Callable[[], bool] = lambda: False) -> None:
        self._clock = clock
        self._pieces = self._left = pieces
        self._is_alone = is_alone
        self._waiting: deque[Callable[[], object]] = deque()
        self._next: IDelayedCall | None = None

    def take(self) -> bool:
        """Whether a piece of work may be done at once; False means that it has to be handed to `run`."""
        if self._waiting or self._left <= 0:
            return False
        self.charge(1)
        return True

    def charge(self, pieces: int) -> None:
        """Count so many pieces of this turn as done: for work that turns out to be more than one."""
        self._left -= pieces
        if self._next is None:
            self._next = self._clock.callLater(0, self._turn)

    def run(self, work: Callable[[], object]) -> None:
        """Do a piece of work now, or in a later turn when enough was done in this one."""
        if self.take():
            work()
        else:
            self._waiting.append(work)

    def stop(self) -> None:
        """Forget what waits, and the timer."""
        self._waiting.clear()
        if self._next is not None:
            self._next.cancel()
            self._next = None
        self._left = self._pieces

    def _turn(self) -> None:
        """A new turn: some of those that wait are done first."""
        self._next = None
        self._left = allowed = self._pieces * (_ALONE if self._is_alone() else 1)
        while self._waiting and self._left > 0:
            self._left -= 1
            try:
                self._waiting.popleft()()
            except Exception:
                self._log.failure("a piece of work failed")
        if self._next is None and self._left < allowed:  # else whoever comes now would begin in the same turn
            self._next = self._clock.callLater(0, self._turn)


class Paced:
    """Work that goes on piece by piece: each in its turn, and none while it is paused.

    Args:
        share: how much is done in a turn.
    """

    def __init__(self, share: Share) -> None:
        self._share = share
        self._is_paused = False
        self._is_due = False  # a piece waits for its turn
        self._is_over = False

    def piece(self) -> None:
        """Do the next piece, and call `go_on` when there are more, or `stop`; to be overridden."""
        raise NotImplementedError

    def begin(self) -> None:
        """Do the first piece at once: its turn has come."""
        self._turn()

    def pause(self) -> None:
        """Nobody takes anything at the moment."""
        self._is_paused = True

    def resume(self) -> None:
        """The next ones are wanted."""
        self._is_paused = False
        self.go_on()

    def stop(self) -> None:
        """The rest is not wanted any more, or there is none."""
        self._is_over = True

    def go_on(self) -> None:
        """Do the next piece when its turn comes."""
        if not self._is_due and not self._is_paused and not self._is_over:
            self._is_due = True
            self._share.run(self._turn)

    def _turn(self) -> None:
        self._is_due = False
        if not self._is_paused and not self._is_over:
            self.piece()


class Pieces(Paced):
    """A head and a body on their way to a peer, as many bytes in a turn as are a piece of work.

    The body may be in memory once for many peers. To put a head before it would copy it for each.

    Args:
        write: hands some bytes on.
        head: what goes first; shorter than a piece.
        body: what follows.
        share: how much is done in a turn.
        ended: called when the last of them was handed on.
    """

    def __init__(
        self,
        write: Callable[[bytes], object],
        head: bytes,
        body: bytes,
        share: Share,
        ended: Callable[[], object],
    ) -> None:
        super().__init__(share)
        self._write = write
        self._head = head
        self._body = memoryview(body)
        self._ended = ended
        self._place = 0

    def stop(self) -> None:
        super().stop()
        self._head, self._body = b"", memoryview(b"")

    def piece(self) -> None:
        head, self._head = self._head, b""
        start, self._place = self._place, self._place + PIECE_BYTES - len(head)
        is_last = self._place >= len(self._body)
        if is_last:
            super().stop()
        self._write(b"".join((head, self._body[start : self._place])))
        if is_last:
            self._ended()
        else:
            self.go_on()
