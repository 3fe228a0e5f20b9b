"""The counters and gauges of one server.

They are plain numbers, counted where things happen and read whenever somebody wants to know. Two servers in
one process have one of these each.
"""

from collections import OrderedDict
from dataclasses import dataclass, fields

__all__ = ["MAX_DROPPED_ADDRESSES", "Metrics", "MetricsSnapshot"]

#: Addresses in `dropped_by_ip`: enough to see who it is, not enough to be a way to fill the memory.
MAX_DROPPED_ADDRESSES = 1000


@dataclass(frozen=True, slots=True)
class MetricsSnapshot:
    """The numbers at one moment.

    Attributes:
        active_connections: WebSocket connections that are open.
        total_messages_sent: messages handed to members since the start, each counted once a member.
        total_messages_received: messages that members published since the start.
        total_channels: channels that have members or a history.
        total_errors: connections that were ended for a fault, theirs or ours, since the start.
        total_dropped_connections: connections that were turned away before they were served, since the start.
        dropped_by_ip: of those, how many came from each address; the last `MAX_DROPPED_ADDRESSES` addresses.
        history_waiting: messages that are in memory alone until they are stored; with a durable history.
        history_lost: messages that will never be stored, since the start.
        history_faults: times the history could not be stored, since the start.
        certificate_ends: when the certificate that is shown for each domain ends, in seconds since 1970.
        certificate_errors: why the last order of a certificate failed, for the domains where it did.
    """

    active_connections: int
    total_messages_sent: int
    total_messages_received: int
    total_channels: int
    total_errors: int
    total_dropped_connections: int
    dropped_by_ip: dict[str, int]
    history_waiting: int
    history_lost: int
    history_faults: int
    certificate_ends: dict[str, float]
    certificate_errors: dict[str, str]

    def __str__(self) -> str:
        return ", ".join(f"{field.name} {getattr(self, field.name)}" for field in fields(self))


class Metrics:
    """The numbers as they are counted; the attributes are those of `MetricsSnapshot`."""

    __slots__ = (
        "_dropped_by_ip",
        "active_connections",
        "certificate_ends",
        "certificate_errors",
        "history_faults",
        "history_lost",
        "history_waiting",
        "total_channels",
        "total_dropped_connections",
        "total_errors",
        "total_messages_received",
        "total_messages_sent",
    )

    def __init__(self) -> None:
        self.active_connections = 0
        self.total_messages_sent = 0
        self.total_messages_received = 0
        self.total_channels = 0
        self.total_errors = 0
        self.total_dropped_connections = 0
        self._dropped_by_ip: OrderedDict[str, int] = OrderedDict()
        self.history_waiting = 0
        self.history_lost = 0
        self.history_faults = 0
        self.certificate_ends: dict[str, float] = {}
        self.certificate_errors: dict[str, str] = {}

    def dropped(self, address: str) -> None:
        """A connection from an address was turned away."""
        self.total_dropped_connections += 1
        self._dropped_by_ip[address] = self._dropped_by_ip.pop(address, 0) + 1
        if len(self._dropped_by_ip) > MAX_DROPPED_ADDRESSES:
            self._dropped_by_ip.popitem(last=False)

    def snapshot(self) -> MetricsSnapshot:
        """The numbers now."""
        return MetricsSnapshot(
            self.active_connections,
            self.total_messages_sent,
            self.total_messages_received,
            self.total_channels,
            self.total_errors,
            self.total_dropped_connections,
            dict(self._dropped_by_ip),
            self.history_waiting,
            self.history_lost,
            self.history_faults,
            dict(self.certificate_ends),
            dict(self.certificate_errors),
        )
