"""`mles-tx proxy`: joins one channel on several servers, and a topic of MQTT, and passes on what is said.

What clients are made of is imported when it is needed: the other commands are quicker without it.
"""

import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twisted.python import usage

from mles_tx.service.config import LOG_FORMATS
from mles_tx.service.parsing import one_of, whole_number

from .client_options import Command

if TYPE_CHECKING:
    from mles_tx.client.config import Trust
    from mles_tx.client.side import SideCounts

__all__ = ["ProxyOptions", "counts_line", "proxy"]

#: What stands for the key of a server that has none, and the fingerprint of one that needs none.
_NONE = "none"


class ProxyOptions(Command):
    """What `mles-tx proxy` understands.

    Args:
        environ: the environment; `MLES_KEY` and `MLES_TX_MQTT` are looked at.
    """

    synopsis = "[options] --channel CHANNEL URL [URL ...]"

    longdesc = (
        "Joins a channel on two servers or more, and passes on what is said on one to all others, each message once."
        " With --mqtt one server is enough: what is said is published to a topic of a broker, and the other way round."
        " MLES_KEY is the key of the servers, when they have one."
    )

    optFlags = (
        [
            "repeats",
            None,
            "Pass on what is said again in the same words. Only where no other proxy joins these servers.",
        ],
    )

    optParameters = (
        ["channel", None, None, "The channel, called the same on all servers."],
        ["uid", None, None, "Who joins, the same everywhere. [default: somebody new each time]"],
        [
            "mqtt",
            None,
            None,
            "mqtt://[USER:PASSWORD@]HOST[:PORT][/TOPIC] or mqtts://... [default: $MLES_TX_MQTT, else none]",
        ],
        [
            "standby",
            None,
            0,
            "Milliseconds to wait before something is passed on, which is not when it comes another way meanwhile, 1 to"
            " 60000: for a proxy that takes over when another one fails; 0: pass it on at once.",
            whole_number("--standby", 1, 60000, or_zero=True),
        ],
        ["ca-file", None, None, "PEM file with the authorities to trust instead of the system's.", Path],
        [
            "metrics-interval",
            None,
            60,
            "Seconds between two lines of numbers in the log, 1 to 86399; 0: only on SIGUSR1.",
            whole_number("--metrics-interval", 1, 86399, or_zero=True),
        ],
        ["log-format", None, "readable", "readable, or json: one object a line.", one_of("--log-format", LOG_FORMATS)],
    )

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        super().__init__()
        self._environ = environ
        self["key-file"] = []
        self["fingerprint"] = []

    def opt_key_file(self, value: str) -> None:
        """File with the servers' key; given again, one for each server in their order, `none` for one without."""
        self["key-file"].append(value)

    def opt_fingerprint(self, value: str) -> None:
        """SHA-256 of the one certificate to trust; given again, one for each server in their order, or `none`."""
        self["fingerprint"].append(value)

    def parseArgs(self, *servers: str) -> None:  # noqa: N802
        """URLs of servers."""
        self["servers"] = servers

    def postOptions(self) -> None:
        from mles_tx.client.config import ClientConfigError
        from mles_tx.client.proxy import ProxyConfig

        if not self["channel"]:
            raise usage.UsageError("--channel: give the channel")
        mqtt = self["mqtt"] or self._environ.get("MLES_TX_MQTT") or None
        try:
            self["config"] = ProxyConfig(
                channel=self["channel"],
                servers=self["servers"],
                mqtt=mqtt,
                uid=self["uid"],
                keys=self._keys(),
                trusts=self._trusts(),
                mqtt_ca=self["ca-file"],
                passes_repeats=bool(self["repeats"]),
                standby=self["standby"] / 1000,
            )
        except ClientConfigError as error:
            raise usage.UsageError(str(error)) from None

    def _keys(self) -> tuple[bytes | None, ...]:
        keys: list[bytes | None] = []
        for name in self["key-file"]:
            if name == _NONE:
                keys.append(None)
                continue
            try:
                key = Path(name).read_bytes().rstrip(b"\r\n")
            except OSError as error:
                raise usage.UsageError(f"--key-file {name}: {error.strerror}; give a file that can be read") from None
            if not key:
                raise usage.UsageError(f"--key-file {name}: empty; write the key into it, or give {_NONE}")
            keys.append(key)
        if not keys and "MLES_KEY" in self._environ:
            key = self._environ["MLES_KEY"].encode("utf-8", "surrogateescape")
            if not key:
                raise usage.UsageError("MLES_KEY is empty; set it to the servers' key, or unset it")
            keys.append(key)
        return tuple(keys)

    def _trusts(self) -> "tuple[Trust, ...]":
        from mles_tx.client.config import Trust

        by_name = Trust(ca_file=self["ca-file"])
        pinned = tuple(by_name if text == _NONE else Trust.pinned(text) for text in self["fingerprint"])
        return pinned or (by_name,)


def counts_line(name: str, counts: "SideCounts") -> str:
    """What happened on one side, for people."""
    state = "up" if counts.is_up else "down"
    return (
        f"{name}: {state}{', not heard at the moment' if counts.is_held else ''}, {counts.heard} heard,"
        f" {counts.repeated} repeated, {counts.said} said, {counts.spared} spared, {counts.refused} refused,"
        f" {counts.waiting} waiting, {counts.links} links"
    )


def proxy(options: ProxyOptions) -> None:
    """Run until SIGINT or SIGTERM; exits with one line when there is no use in trying on."""
    from twisted.internet import reactor as global_reactor
    from twisted.internet.task import LoopingCall
    from twisted.logger import Logger, globalLogBeginner

    from mles_tx.client.config import ClientConfigError
    from mles_tx.client.proxy import Proxy
    from mles_tx.service.logs import log_to, stream_writer
    from mles_tx.service.turns import follow_monotonic_time

    reactor: Any = global_reactor
    follow_monotonic_time(reactor)
    globalLogBeginner.beginLoggingTo(
        [log_to(stream_writer(sys.stderr), options["log-format"], "info")], redirectStandardIO=False
    )
    log = Logger("mles_tx.proxy")
    faults: list[str] = []

    def failed(line: str) -> None:
        faults.append(line)
        if len(faults) == 1:
            reactor.stop()

    try:
        service = Proxy(options["config"], reactor, failed)
    except ClientConfigError as error:
        sys.exit(f"mles-tx proxy: {error}")
    except ImportError:
        sys.exit("mles-tx proxy: --mqtt needs paho-mqtt; install it with: pip install 'mles-tx[mqtt]'")
    except OSError as error:
        where = f"--ca-file {options['ca-file']}"
        sys.exit(f"mles-tx proxy: {where}: {error.strerror or error}; give a PEM file with certificates")

    def tell() -> None:
        for name, counts in service.counts.items():
            log.info("{line}", line=counts_line(name, counts), side=name)

    def begin() -> None:
        signal.signal(signal.SIGUSR1, lambda *_: reactor.callFromThread(tell))
        service.startService()
        if options["metrics-interval"]:
            looping = LoopingCall(tell)
            looping.clock = reactor
            looping.start(options["metrics-interval"], now=False)

    reactor.callWhenRunning(begin)
    reactor.addSystemEventTrigger("before", "shutdown", service.stopService)
    reactor.run()
    tell()
    if faults:
        sys.exit(f"mles-tx proxy: {faults[0]}")
