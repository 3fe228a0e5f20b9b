"""Our own server with one thing broken: whether the probes notice what no toy has.

``python -m tests.torture.broken NAME serve OPTION ...`` is ``mles-tx serve`` but for that one thing. It is broken
before the server is imported, by an assignment. With a probe::

    python -m tests.torture.tls_policy --start "python -m tests.torture.broken old_tls serve {flags}"
"""

import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

__all__ = ["BREAKS"]


def _module(name: str) -> Any:
    return import_module(f"mles_tx.{name}")


def follows_the_clock() -> None:
    """has timers that follow the wall clock"""
    _module("service.turns").follow_monotonic_time = lambda reactor: None


def gives_up() -> None:
    """does not ask again for a certificate it did not get"""
    _module("transport.certificates.backoff").Backoff._delay = lambda *_: 1e6


def hammers() -> None:
    """asks for certificates again and again, ten times a second"""
    _module("transport.certificates.issuing")._CHECK_SECONDS = 0.1
    _module("transport.certificates.backoff").Backoff._delay = lambda *_: 0.0


def does_not_sync() -> None:
    """takes for stored what was not synced"""
    schema = _module("stores.schema")
    connect = schema.connect
    schema.connect = lambda path, full_sync=False, **more: connect(path, **more)


def swallows() -> None:
    """takes for stored what could not be"""
    writer, fault = _module("stores.writer"), _module("stores.faults").StoreFault
    write = writer.Writer.write

    def write_or_not(self: object, *args: object) -> object:
        try:
            return write(self, *args)
        except fault:
            return writer.Report(0, None)

    writer.Writer.write = write_or_not


def forgets_meanwhile() -> None:
    """forgets what was said while Redis was away"""
    backlog = _module("stores.redis.backlog").Backlog
    pause = backlog.pause

    def pause_and_forget(self: Any) -> None:
        pause(self)
        while len(self):
            self._drop(0)

    backlog.pause = pause_and_forget


def remembers() -> None:
    """remembers each address for ever, and any number of channels"""
    _module("protocol.admission").AddressWindow.forget_expired = lambda *_: None
    _module("channels.registry").ChannelRegistry._has_room_for = lambda *_: True


def tells() -> None:
    """logs first frames"""
    header = _module("protocol.header")
    parse = header.parse_header

    def tell_and_parse(payload: bytes, *args: object) -> object:
        print(f"a first frame: {payload!r}", flush=True)
        return parse(payload, *args)

    header.parse_header = tell_and_parse


def shows_keys() -> None:
    """writes files with keys for everybody to read, in the place of old ones"""
    files = _module("transport.certificates.files")

    def replace(path: Path, content: bytes) -> None:
        path.write_bytes(content)
        path.chmod(0o644)

    files.replace_private = replace


def stays_root() -> None:
    """says that it has given up root"""
    _module("service.privileges").become = lambda account: None


def old_tls() -> None:
    """speaks TLS 1.1, and suites without forward secrecy"""
    ssl: Any = import_module("OpenSSL.SSL")
    contexts = _module("transport.contexts")
    contexts._CIPHERS = b"ALL:@SECLEVEL=0"
    make = contexts.make_context

    def make_old(*args: object) -> object:
        context = make(*args)
        context.set_min_proto_version(ssl.TLS1_1_VERSION)
        return context

    contexts.make_context = make_old


#: What can be broken.
BREAKS: dict[str, Callable[[], None]] = {
    found.__name__: found
    for found in (
        *(follows_the_clock, gives_up, hammers, does_not_sync, swallows, forgets_meanwhile, remembers, tells),
        *(shows_keys, stays_root, old_tls),
    )
}


def main(arguments: Sequence[str]) -> None:
    """The program."""
    BREAKS[arguments[0]]()
    import_module("mles_tx.cli.main").main(arguments[1:])


if __name__ == "__main__":
    if sys.argv[1:2] and sys.argv[1] in BREAKS:
        main(sys.argv[1:])
    else:
        sys.exit("\n".join(f"{name}: a server that {found.__doc__}" for name, found in BREAKS.items()))
