"""Who is let in at all: decided when a connection is accepted, before a byte is read or TLS begins.

Each address may open so many connections in a while. A trusted proxy may open any number: its clients are counted
instead, each as soon as its address is known. All of them together are bounded by the descriptors
the process has: above the bound a few more are let in far enough to be told so, the rest are closed.
"""

import sys
from collections.abc import Callable
from typing import Protocol

from twisted.internet.interfaces import IAddress, IProtocol, IProtocolFactory, IReactorTime
from twisted.internet.protocol import Factory

from mles_tx.metrics import Metrics
from mles_tx.protocol.admission import AddressWindow, source
from mles_tx.protocol.forwarded import NOBODY, TrustedProxies

__all__ = ["Admission", "AdmittingFactory", "MakeWindow", "Window", "own_window"]

#: Connections above the bound that are answered with 503 instead of being closed without a word.
SURPLUS = 16


class Window(Protocol):
    """Where the connections of each address are counted, as `AddressWindow` does it."""

    def __len__(self) -> int: ...

    def change(self, limit: int, seconds: float) -> None: ...

    def admit(self, address: str, now: float) -> bool: ...

    def seconds_left(self, address: str, now: float) -> float: ...

    def forget_expired(self, now: float) -> None: ...


#: Makes one, from the connections of an address in a window and its length in seconds.
MakeWindow = Callable[[int, float], Window]


def own_window(limit: int, seconds: float) -> Window:
    """A table of this process alone."""
    return AddressWindow(limit, seconds)


class Admission:
    """The count of connections, of all and of each address.

    Args:
        clock: where the time comes from.
        metrics: where those who are turned away are counted.
        per_ip_limit: connections of one address in a window; 0: any number.
        per_ip_window: length of the window in seconds.
        max_connections: connections at one time.
        trusted: proxies; their connections are not counted for their addresses.
        only_trusted: whether nobody else is let in.
        make_window: makes the table in which addresses are counted.
    """

    def __init__(
        self,
        clock: IReactorTime,
        metrics: Metrics,
        per_ip_limit: int = 0,
        per_ip_window: float = 60.0,
        max_connections: int = sys.maxsize,
        trusted: TrustedProxies = NOBODY,
        only_trusted: bool = False,
        make_window: MakeWindow = own_window,
    ) -> None:
        self._clock = clock
        self._metrics = metrics
        self._windows: Window | None = None
        self._make_window = make_window
        self.trusted = trusted
        self._only_trusted = only_trusted
        self.open = 0
        self.change(per_ip_limit, per_ip_window, max_connections)

    def change(self, per_ip_limit: int, per_ip_window: float, max_connections: int) -> None:
        """Have other limits, from the next connection on; what was counted of an address stays."""
        self.max_connections = max_connections
        if not per_ip_limit:
            self._windows = None
        elif self._windows is None:
            self._windows = self._make_window(per_ip_limit, per_ip_window)
        else:
            self._windows.change(per_ip_limit, per_ip_window)

    @property
    def addresses(self) -> int:
        """Addresses that are being counted."""
        return 0 if self._windows is None else len(self._windows)

    @property
    def is_full(self) -> bool:
        """Whether a connection that is accepted now is one too many."""
        return self.open >= self.max_connections

    def admits(self, address: IAddress) -> bool:
        """Count a connection that is being accepted; False when it is to be closed."""
        peer = getattr(address, "host", "")
        host = source(peer)
        is_proxy = self.trusted and peer in self.trusted
        if not is_proxy and (self._only_trusted or not self._counts(host)):
            self._metrics.dropped(host)
            return False
        if self.is_full:
            self._metrics.dropped(host)
            return self.open < self.max_connections + SURPLUS
        return True

    def seconds_to_wait(self, client: str) -> float:
        """Count a connection of a client that a trusted proxy tells of, if it is not one of the proxies itself.

        Args:
            client: its address.

        Returns:
            Seconds it has to wait because it has too many; 0.0: it is let in.
        """
        if self._windows is None or client in self.trusted:
            return 0.0
        host = source(client)
        if self._counts(host):
            return 0.0
        self._metrics.dropped(host)
        return self._windows.seconds_left(host, self._clock.seconds())

    def _counts(self, host: str) -> bool:
        return self._windows is None or self._windows.admit(host, self._clock.seconds())

    def sweep(self) -> None:
        """Forget the addresses whose window has ended."""
        if self._windows is not None:
            self._windows.forget_expired(self._clock.seconds())


class AdmittingFactory(Factory):
    """Builds what another factory builds, for those who are admitted.

    Args:
        admission: who decides.
        inner: who builds.
        interface: where those come in; for the log.
    """

    noisy = False

    def __init__(self, admission: Admission, inner: IProtocolFactory, interface: str = "") -> None:
        self._admission = admission
        self._inner = inner
        self._interface = interface

    def logPrefix(self) -> str:  # noqa: N802
        # Twisted has a line for each port, and would have the name of this class and the port's number in it.
        return f"listener at {self._interface}"

    def buildProtocol(self, addr: IAddress) -> IProtocol | None:  # type: ignore[override]
        return self._inner.buildProtocol(addr) if self._admission.admits(addr) else None
