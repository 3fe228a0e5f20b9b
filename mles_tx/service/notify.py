"""What the service manager is told: ready, reloading, stopping, still alive (sd_notify(3), systemd's Type=notify).

The libraries for this leave the environment to children, block, or know no reload. It must not know what a server is.
"""

import os
import socket
import time
from collections.abc import MutableMapping
from typing import Any

from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

__all__ = ["Notify"]


class Notify:
    """Tells the service manager how it goes; without one, nobody.

    Its variables are taken out of the environment, so that no child speaks for us.

    Args:
        reactor: whose turns are what the watchdog watches.
        environ: the environment.
    """

    _log = Logger()

    def __init__(self, reactor: Any, environ: MutableMapping[str, str]) -> None:
        self._reactor = reactor
        self._address = environ.pop("NOTIFY_SOCKET", "")
        microseconds, process = environ.pop("WATCHDOG_USEC", ""), environ.pop("WATCHDOG_PID", "")
        is_watched = self._address and microseconds.isdecimal() and process in ("", str(os.getpid()))
        #: Seconds between two signs of life: half of what is allowed, as sd_watchdog_enabled(3) recommends.
        self._period = int(microseconds) / 2e6 if is_watched else 0.0
        self._timer: IDelayedCall | None = None
        self._is_unheard = False

    @property
    def is_wanted(self) -> bool:
        """Whether there is a service manager that listens."""
        return bool(self._address)

    def ready(self, status: str) -> None:
        """It serves, for the first time or after a reload; from now on the watchdog is told that it is alive."""
        self._send("READY=1", _status(status))
        if self._period and self._timer is None:
            self.watchdog()

    def status(self, status: str) -> None:
        """A line for whoever asks how it goes."""
        self._send(_status(status))

    def reloading(self) -> None:
        """It reads its configuration again; `ready` follows, whatever comes of it."""
        # The time is how systemd 253 and later tell this reload from one before; earlier ones pass over it.
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def stopping(self, status: str, seconds: float) -> None:
        """It ends, and that takes so many seconds at most."""
        self._send("STOPPING=1", _status(status), f"EXTEND_TIMEOUT_USEC={int(seconds * 1e6)}")

    def watchdog(self) -> None:
        """Say that it is alive, and again and again for as long as the reactor turns."""
        self._timer = self._reactor.callLater(self._period, self.watchdog)
        self._send("WATCHDOG=1")

    def stop(self) -> None:
        """Keep no timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _send(self, *lines: str) -> None:
        if not self._address:
            return
        # A path, or with an @ a name in the abstract namespace.
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as teller:
                teller.setblocking(False)
                teller.sendto("\n".join(lines).encode("utf-8", "replace"), address)
        except OSError as error:
            if not self._is_unheard:
                why = error.strerror or str(error)
                self._log.warn("the service manager at NOTIFY_SOCKET cannot be told how it goes: {why}", why=why)
            self._is_unheard = True


def _status(text: str) -> str:
    return "STATUS=" + " ".join(text.split())
