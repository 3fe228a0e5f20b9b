"""Our own server, with a leak in every place where a secret must not be: whether those who look for some find them.

``python -m tests.integration.leaking serve OPTION ...`` is ``mles-tx serve`` but for that. What is leaked is what the
server has been given, nothing that this program knows by itself.
"""

import ctypes
import os
import sys
import threading
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from typing import Any

__all__: list[str] = []

_NAME = "tests.integration.leaking"

#: What is shown as the first argument, by the program that takes the place of this one.
_KEY = "MLES_KEY"

_PR_SET_NAME = 15


def _module(name: str) -> Any:
    return import_module(f"mles_tx.{name}")


def _tell(*what: object) -> None:
    print("leaked:", *what, flush=True)


def _name_thread(name: bytes) -> None:
    ctypes.CDLL(None).prctl(_PR_SET_NAME, name, 0, 0, 0)


def _stay(name: bytes, named: threading.Event) -> None:
    """A thread that does nothing, under a name."""
    _name_thread(name)
    named.set()
    threading.Event().wait()


def _leak_settings() -> None:
    """Into the log: keys and the password of every configuration; into the process list: the keys."""
    config = _module("service.config")
    check = config.check

    def tell_and_check(given: Any) -> None:
        _tell(given.keys, getattr(given.history, "password", None))
        for key in given.keys[:1]:
            _name_thread(key)
        for key in given.keys[1:2]:
            named = threading.Event()
            threading.Thread(target=_stay, args=(key, named), daemon=True).start()
            named.wait()
        check(given)

    config.check = tell_and_check


def _leak_messages() -> None:
    """Into the log: first frames and messages."""
    session = _module("protocol.session")
    parse = session.parse_header

    def tell_and_parse(payload: bytes, *args: object) -> object:
        _tell(payload)
        return parse(payload, *args)

    registry = _module("channels.registry").ChannelRegistry
    publish = registry.publish

    def tell_and_publish(self: object, member: object, frames: Iterable[bytes]) -> None:
        frames = list(frames)
        _tell(frames)
        publish(self, member, frames)

    session.parse_header, registry.publish = tell_and_parse, tell_and_publish


def _leak_answers(key: bytes) -> None:
    """To operators who ask for anything, and to strangers who are refused."""
    admin, websocket, frames = _module("web.admin"), _module("transport.websocket"), _module("protocol.frames")
    admin._Admin.render = lambda self, request: admin._send(request, 200, admin._TEXT, key)
    websocket.close_frame = lambda reason: frames.encode_close(reason.code, key)


def main(arguments: list[str]) -> None:
    """The program."""
    key = os.environ.get(_KEY, "")
    if arguments[0] == "serve":
        files = str([Path(word).read_bytes() for word in arguments if Path(word).is_file()])
        _tell(arguments, {name: value for name, value in os.environ.items() if name.startswith("MLES_")}, files)
        again = [sys.executable, "-m", _NAME, key or "no key", *arguments]
        os.execve(sys.executable, again, os.environ | {"FILES": files})
    _leak_settings()
    _leak_messages()
    _leak_answers(key.encode())
    import_module("mles_tx.cli.main").main(arguments[1:])


if __name__ == "__main__":
    main(sys.argv[1:])
