"""What `/metrics` shows of a server: a row for each metric, and the collector that reads them for Prometheus.

Everything is read when somebody asks. A new metric is one more row, and one more in `docs/operations.md`.
"""

import platform
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

import mles_tx
import twisted
from mles_tx.metrics import MetricsSnapshot
from mles_tx.protocol.closing import CloseReason
from mles_tx.web.pool import FAULTS, UpstreamCounts

from .config import ServerConfig
from .lag import LAG_BOUNDS, ReactorLag

if TYPE_CHECKING:
    from .server import MlesService

__all__ = [
    "EXPORTED",
    "Exported",
    "Reading",
    "ServerCollector",
    "families",
    "make_registry",
    "read_all",
    "running_versions",
    "server_name",
]

_Read = Callable[["MlesService", MetricsSnapshot], "float | Mapping[str, float]"]


@dataclass(frozen=True, slots=True)
class Exported:
    """One metric.

    Attributes:
        name: its name; that of a counter ends with ``_total``.
        kind: whether it only grows.
        help: what it is.
        read: its value, or one for each value of its label. It is to be quick also with 10,000 members.
        label: the name of the label, with few values known beforehand; empty: it has none but `server`.
        adds_up: how those of several processes make one.
    """

    name: str
    kind: Literal["gauge", "counter"]
    help: str
    read: _Read
    label: str = ""
    adds_up: Literal["sum", "min", "max"] = "sum"


def _closed(server: "MlesService", snapshot: MetricsSnapshot) -> dict[str, float]:
    counts = server.counts.closed
    return {reason.label: counts.get(reason.label, 0) for reason in CloseReason}


def _upstreams(server: "MlesService") -> UpstreamCounts:
    proxy = server.listener.proxy
    return UpstreamCounts(0, dict.fromkeys(FAULTS, 0), 0) if proxy is None else proxy.upstreams.counts()


EXPORTED = (
    Exported(
        "mles_ready",
        "gauge",
        "1: the server can do all it is there for.",
        lambda s, m: not s.not_ready(),
        adds_up="min",
    ),
    Exported("mles_workers", "gauge", "Processes that serve.", lambda s, m: s.is_serving),
    Exported(
        "mles_worker_restarts_total",
        "counter",
        "Processes that have ended by themselves, and were started again.",
        lambda s, m: 0,
    ),
    Exported(
        "mles_active_connections",
        "gauge",
        "WebSocket connections that are open.",
        lambda s, m: m.active_connections,
    ),
    Exported(
        "mles_open_sockets",
        "gauge",
        "Connections that are open, for WebSocket and for web pages.",
        lambda s, m: s.listener.admission.open,
    ),
    Exported(
        "mles_max_sockets",
        "gauge",
        "Connections the process has descriptors for.",
        lambda s, m: s.listener.admission.max_connections,
    ),
    Exported("mles_members", "gauge", "Members of all channels.", lambda s, m: s.channels.registry.member_count),
    Exported("mles_channels", "gauge", "Channels that have members or a history.", lambda s, m: m.total_channels),
    Exported(
        "mles_active_channels",
        "gauge",
        "Channels that have members.",
        lambda s, m: s.channels.registry.active_channels,
    ),
    Exported(
        "mles_messages_received_total",
        "counter",
        "Messages that members published.",
        lambda s, m: m.total_messages_received,
    ),
    Exported(
        "mles_messages_sent_total",
        "counter",
        "Messages handed to members, each counted once for each member.",
        lambda s, m: m.total_messages_sent,
    ),
    Exported(
        "mles_errors_total",
        "counter",
        "Connections that were ended for a fault, theirs or ours.",
        lambda s, m: m.total_errors,
    ),
    Exported(
        "mles_dropped_connections_total",
        "counter",
        "Connections that were turned away before they were served.",
        lambda s, m: m.total_dropped_connections,
    ),
    Exported(
        "mles_dropped_addresses",
        "gauge",
        "Addresses among the last 1000 whose connections were turned away.",
        lambda s, m: len(m.dropped_by_ip),
    ),
    Exported(
        "mles_closed_connections_total",
        "counter",
        "WebSocket connections that have ended, by the reason.",
        _closed,
        "reason",
    ),
    Exported(
        "mles_slow_members_cut_total",
        "counter",
        "Members that were cut because they read too slowly.",
        lambda s, m: s.counts.closed.get(CloseReason.TOO_SLOW.label, 0),
    ),
    Exported(
        "mles_waiting_members",
        "gauge",
        "Connections that do not take what they are sent at the moment.",
        lambda s, m: len(s.listener.websocket.stalled),
    ),
    Exported(
        "mles_outbox_bytes",
        "gauge",
        "Bytes of live messages that wait for slow members; what they share counts for each.",
        lambda s, m: s.listener.websocket.backlog,
    ),
    Exported(
        "mles_history_bytes",
        "gauge",
        "Bytes of memory all histories take, about.",
        lambda s, m: s.channels.history.memory,
    ),
    Exported(
        "mles_history_max_bytes",
        "gauge",
        "Bytes of memory all histories may take.",
        lambda s, m: s.config.history_bytes,
    ),
    Exported(
        "mles_history_messages",
        "gauge",
        "Messages in all histories, join frames among them.",
        lambda s, m: s.channels.history.messages,
    ),
    Exported(
        "mles_history_waiting_messages",
        "gauge",
        "Messages that are in memory alone, and not in the file yet.",
        lambda s, m: m.history_waiting,
    ),
    Exported(
        "mles_history_lost_messages_total",
        "counter",
        "Messages that will never be in the file of the history.",
        lambda s, m: m.history_lost,
    ),
    Exported(
        "mles_history_faults_total",
        "counter",
        "Times the file of the history could not be used.",
        lambda s, m: m.history_faults,
    ),
    Exported(
        "mles_web_cache_hits_total",
        "counter",
        "Bodies of web pages that were in the cache.",
        lambda s, m: s.listener.bodies.counts().hits,
    ),
    Exported(
        "mles_web_cache_misses_total",
        "counter",
        "Bodies of web pages that had to be read or compressed.",
        lambda s, m: s.listener.bodies.counts().misses,
    ),
    Exported(
        "mles_web_cache_bytes",
        "gauge",
        "Bytes of memory the cache of web pages takes.",
        lambda s, m: s.listener.bodies.counts().bytes,
    ),
    Exported(
        "mles_web_cache_max_bytes",
        "gauge",
        "Bytes of memory it may take.",
        lambda s, m: s.listener.bodies.room,
    ),
    Exported(
        "mles_web_cache_entries",
        "gauge",
        "Bodies in the cache of web pages.",
        lambda s, m: s.listener.bodies.counts().entries,
    ),
    Exported(
        "mles_proxied_requests_total",
        "counter",
        "Requests for upstreams.",
        lambda s, m: _upstreams(s).requests,
    ),
    Exported(
        "mles_proxy_errors_total",
        "counter",
        "Requests that an upstream did not answer as it should, by what the client got.",
        lambda s, m: _upstreams(s).failed,
        "answer",
    ),
    Exported(
        "mles_upstream_connections",
        "gauge",
        "Connections to upstreams, open or being opened.",
        lambda s, m: _upstreams(s).connections,
    ),
    Exported(
        "mles_certificate_expiry_timestamp_seconds",
        "gauge",
        "When the certificate that is shown ends, in seconds since 1970.",
        lambda s, m: m.certificate_ends,
        "domain",
        "min",
    ),
    Exported(
        "mles_certificate_error",
        "gauge",
        "1: the last order of a certificate failed.",
        lambda s, m: {domain: domain in m.certificate_errors for domain in m.certificate_ends},
        "domain",
        "max",
    ),
)


@dataclass(frozen=True, slots=True)
class Reading:
    """A metric as it was read.

    Attributes:
        name: its name.
        kind: gauge or counter.
        help: what it is.
        label: the name of the label; empty: it has none but `server`.
        adds_up: how those of several processes make one: "sum", "min" or "max".
        value: its value, or one for each value of its label.
    """

    name: str
    kind: str
    help: str
    label: str
    adds_up: str
    value: float | Mapping[str, float]


def read_all(server: "MlesService") -> list[Reading]:
    """Read all of `EXPORTED` now."""
    snapshot = server.metrics()
    readings = []
    for each in EXPORTED:
        value = each.read(server, snapshot)
        value = {label: float(one) for label, one in value.items()} if isinstance(value, Mapping) else float(value)
        readings.append(Reading(each.name, each.kind, each.help, each.label, each.adds_up, value))
    return readings


def running_versions() -> dict[str, str]:
    """The versions of what is running."""
    return {
        "version": mles_tx.__version__,
        "python": platform.python_version(),
        "twisted": twisted.__version__,
    }


def families(
    name: str, readings: Iterable[Reading], lag: Sequence[float], lag_total: float, builds: Iterable[Mapping[str, str]]
) -> Iterator[Metric]:
    """What was read, as Prometheus wants it.

    Args:
        name: the value of the label `server` of all of them.
        readings: the metrics.
        lag: how many looks at the reactor were late by at most each of `LAG_BOUNDS`, and how many there were.
        lag_total: by how many seconds they were late in all.
        builds: what is running, by `running_versions`.
    """
    for reading in readings:
        yield _family(name, reading)
    bounds = [*map(floatToGoString, LAG_BOUNDS), "+Inf"]
    histogram = HistogramMetricFamily(
        "mles_reactor_lag_seconds", "How late a timer is, which everything else is as well.", labels=("server",)
    )
    histogram.add_metric((name,), list(zip(bounds, lag, strict=True)), lag_total)
    yield histogram
    build = InfoMetricFamily("mles_build", "What is running.", labels=("server",))
    for versions in builds:
        build.add_metric((name,), dict(versions))
    yield build


def _family(name: str, reading: Reading) -> Metric:
    labels = ("server", reading.label) if reading.label else ("server",)
    kind = CounterMetricFamily if reading.kind == "counter" else GaugeMetricFamily
    family = kind(reading.name, reading.help, labels=labels)
    if isinstance(reading.value, Mapping):
        for label, each in reading.value.items():
            family.add_metric((name, label), each)
    else:
        family.add_metric((name,), reading.value)
    return family


def server_name(config: ServerConfig) -> str:
    """The value of the label `server` of all metrics: the first domain, or localhost."""
    return config.domains[0] if config.domains else "localhost"


class ServerCollector(Collector):
    """Reads all of `EXPORTED`, the lag of the reactor and what is running.

    Args:
        server: whose metrics these are.
        lag: the lag of its reactor.
    """

    def __init__(self, server: "MlesService", lag: ReactorLag) -> None:
        self._server = server
        self._lag = lag
        self._name = server_name(server.config)

    def collect(self) -> Iterable[Metric]:
        readings = read_all(self._server)
        return families(self._name, readings, self._lag.counts, self._lag.total, [running_versions()])


def make_registry(server: "MlesService", lag: ReactorLag) -> CollectorRegistry:
    """What `/metrics` of a server shows: its own metrics, and those of the process it is in."""
    registry = CollectorRegistry()
    registry.register(ServerCollector(server, lag))
    ProcessCollector(registry=registry)
    return registry
