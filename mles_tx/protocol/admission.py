"""How many connections one address may open: table arithmetic, time is an argument."""

from ipaddress import IPv6Address, IPv6Network

__all__ = ["MAX_ADDRESSES", "AddressWindow", "source"]

#: Addresses in the table: about 20 MB. Who has more of them is not held back by a limit for each.
MAX_ADDRESSES = 100_000


class AddressWindow:
    """How many connections an address may open in a while: a fixed window for each address.

    The table holds the addresses of one window, at most `MAX_ADDRESSES`: what has expired goes when
    something new comes, and the oldest goes when it is full.

    Args:
        limit: connections in a window, 1 or more.
        seconds: length of a window.
    """

    __slots__ = ("_limit", "_seconds", "_windows")

    def __init__(self, limit: int, seconds: float) -> None:
        self._limit = limit
        self._seconds = seconds
        self._windows: dict[str, list[float]] = {}  # beginning and count, in the order they began

    def __len__(self) -> int:
        return len(self._windows)

    def change(self, limit: int, seconds: float) -> None:
        """Go on with another limit and length; what was counted stays."""
        self._limit = limit
        self._seconds = seconds

    def admit(self, address: str, now: float) -> bool:
        """Count a connection; False when it is one too many."""
        self.forget_expired(now)
        window = self._windows.get(address)
        if window is None:
            if len(self._windows) >= MAX_ADDRESSES:
                del self._windows[next(iter(self._windows))]
            self._windows[address] = [now, 1]
            return True
        window[1] += 1
        return window[1] <= self._limit

    def seconds_left(self, address: str, now: float) -> float:
        """Seconds until an address may open connections again that has opened too many."""
        window = self._windows.get(address)
        return 0.0 if window is None else max(0.0, window[0] + self._seconds - now)

    def forget_expired(self, now: float) -> None:
        """Drop the windows that have ended."""
        while self._windows:
            address, window = next(iter(self._windows.items()))
            if window[0] + self._seconds > now:
                return
            del self._windows[address]


def source(host: str) -> str:
    """The address connections are counted by.

    IPv4 addresses as they are, also when they come mapped into IPv6; of IPv6 addresses the /64 network, which
    is what one subscriber gets (RFC 6177).
    """
    if ":" not in host:
        return host
    address = IPv6Address(host.partition("%")[0])
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(IPv6Network((int(address) >> 64 << 64, 64)))
