"""A Mles server of a few lines, with faults to choose from: whether the probes notice.

``python -m tests.torture.toy --port N [--fault NAME]``. Without a fault it does what is promised, as far as it can be
seen from outside in a few seconds; it speaks no TLS. Each fault breaks one promise.
"""

import argparse
import asyncio
import base64
import errno
import hashlib
import json
import os
import signal
import socket
import struct
import sys
import time
import traceback
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from mles_tx.protocol.closing import ProtocolViolation
from mles_tx.protocol.header import MAX_FRAGMENTS, MAX_HEADER_BYTES, MAX_MESSAGE_BYTES, Header, parse_header

__all__ = ["FAULTS"]

#: What can be wrong, and which promise that breaks.
FAULTS = {
    "hoards": "never cuts a member that does not read, and keeps everything for it",
    "copies": "makes a copy of the history for each who joins",
    "pins": "keeps 64 KiB of each connection for ever",
    "waits": "has no deadlines",
    "silent": "refuses joins without a word",
    "drops": "drops what is above 100 messages at once",
    "boundless": "takes messages and first frames of any size",
    "lenient": "goes on when a frame is wrong",
    "raises": "prints a traceback when a frame is wrong",
    "serves": "serves any path there is",
    "mirrors": "answers with what it was asked for",
    "spreads": "passes pings on to members, and remembers them",
    "keeps": "lets nobody in whose uid is taken, dead or not",
    "replaces": "gives a uid to whoever comes, dead or not",
    "deaf": "dies of SIGHUP",
    "abrupt": "ends without a word to its members",
    "shuffles": "turns two messages around, now and then",
    "loses": "loses a message, now and then",
    "spins": "works while it has nothing to do",
    "forgets": "begins with an empty history again",
    "stumbles": "takes a second for each join",
    "weighs": "takes 200 KiB for each connection, until it ends",
    "blocks": "does nothing else while it greets somebody, for 20 ms",
    "spills": "drops what it cannot send at once",
}

_MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_TEXT, _BINARY, _CLOSE, _PING, _PONG = 1, 2, 8, 9, 10
_BACKLOG = 8 * 1024 * 1024
_LIMIT = 200

#: Seconds in which the holder of a uid has to give a sign of life, as with us.
_SIGN = 3.0

#: Seconds in which members have to take what they are told in the end.
_TOLD = 30.0

#: Nobody can be accepted for the moment.
_USED_UP = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


def _frame(opcode: int, payload: bytes) -> bytes:
    size = len(payload)
    if size < 126:
        return bytes((128 | opcode, size)) + payload
    if size < 65536:
        return bytes((128 | opcode, 126)) + size.to_bytes(2, "big") + payload
    return bytes((128 | opcode, 127)) + size.to_bytes(8, "big") + payload


class Toy:
    """The server: its channels and its fault."""

    def __init__(self, fault: str, deadline: float, root: Path | None, history: Path | None) -> None:
        self.fault, self.deadline, self.root, self.file = fault, deadline, root, history
        self.channels: dict[str, dict[str, Connection]] = {}
        self.histories: dict[str, deque[bytes]] = {}  # of frames, which all who get them share
        self.connections: set[Connection] = set()
        self.kept: list[bytes] = []
        self.number = 0
        self.held: tuple[int, bytes] | None = None
        if history is not None and history.exists() and fault != "forgets":
            for line in history.read_text().splitlines():
                name, opcode, payload = json.loads(line)
                self.history(name).append(_frame(opcode, base64.b64decode(payload)))

    def history(self, channel: str) -> deque[bytes]:
        return self.histories.setdefault(channel, deque(maxlen=_LIMIT if self.file is None else None))

    def publish(self, sender: "Connection", opcode: int, payload: bytes) -> None:
        """Pass a message on, and remember it."""
        self.number += 1
        if self.fault == "loses" and self.number % 20 == 0:
            return
        batch = [(opcode, payload)]
        if self.fault == "shuffles" and self.number % 20 == 0:
            self.held = batch.pop()
        elif self.held is not None:
            batch.append(self.held)
            self.held = None
        for message in batch:
            data = _frame(*message)
            self.history(sender.channel).append(data)
            if self.file is not None:
                with self.file.open("a") as file:
                    file.write(json.dumps((sender.channel, message[0], base64.b64encode(message[1]).decode())) + "\n")
                    file.flush()
                    os.fsync(file.fileno())
            for member in list(self.channels[sender.channel].values()):
                if member is not sender:
                    member.deliver(data)


class Connection(asyncio.Protocol):
    """A peer, a stranger or a member."""

    def __init__(self, toy: Toy) -> None:
        self.toy = toy
        self.data = b""
        self.uid = self.channel = ""
        self.is_upgraded = self.is_over = self.is_waiting = False
        self.history: deque[bytes] = deque()  # what of it was not sent yet, and what has been said since
        self.behind = 0  # bytes of that
        self.message: list[bytes] = []
        self.size = 0  # of it
        self.opcode = 0
        self.heard = 0.0
        self.loop = asyncio.get_running_loop()
        self.timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        transport.set_write_buffer_limits(high=1 << 30)
        self.toy.connections.add(self)
        if self.toy.fault == "pins":
            self.toy.kept.append(bytes(os.urandom(1)) * 65536)
        elif self.toy.fault == "weighs":
            self.weight = bytes(os.urandom(1)) * 204_800
        elif self.toy.fault == "blocks":
            time.sleep(0.02)
        elif self.toy.fault == "spills":
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        if self.toy.fault != "waits":
            self.timer = self.loop.call_later(self.toy.deadline, self.too_late)

    def connection_lost(self, reason: Exception | None) -> None:
        self.toy.connections.discard(self)
        self.is_over = True
        if self.timer is not None:
            self.timer.cancel()
        self.leave()

    def leave(self) -> None:
        members = self.toy.channels.get(self.channel, {})
        if members.get(self.uid) is self:
            del members[self.uid]

    def too_late(self) -> None:
        if not self.uid:
            if self.is_upgraded:
                self.close(4000, "no first frame")
            self.transport.close()

    def deliver(self, data: bytes) -> None:
        if self.history:
            self.history.append(data)
            self.behind += len(data)
        elif self.toy.fault == "spills" and self.transport.get_write_buffer_size():
            return
        else:
            self.transport.write(data)
        if self.behind + self.transport.get_write_buffer_size() > _BACKLOG and self.toy.fault != "hoards":
            self.leave()
            linger = struct.pack("ii", 1, 0)  # a reset: an end would wait behind what is not read
            self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.transport.abort()

    def close(self, code: int, reason: str) -> None:
        if not self.is_over:
            self.is_over = True
            self.history.clear()
            self.leave()
            if self.toy.fault != "silent" or self.uid:
                self.transport.write(_frame(_CLOSE, code.to_bytes(2, "big") + reason.encode()))
            self.loop.call_later(0.1, self.transport.close)

    def data_received(self, data: bytes) -> None:
        self.heard = time.monotonic()
        if self.is_over:
            return
        self.data += data
        if self.is_upgraded or self.head():
            self.parse()

    def parse(self) -> None:
        """Take what has come; a peer that is wrong is told so. What goes wrong in here is nobody's but the toy's."""
        try:
            self.frames()
        except ProtocolViolation as violation:
            self.close(violation.reason.code, violation.reason.text)
        except ValueError as error:
            if self.toy.fault == "raises":
                print(f"Traceback (most recent call last):\n{error!r}", flush=True)
            self.close(1002, "broken")

    # -- requests

    def head(self) -> bool:
        """Look for a whole head, and answer it."""
        head, end, rest = self.data.partition(b"\r\n\r\n")
        if not end:
            return False
        self.data = rest
        lines = head.decode("latin-1").split("\r\n")
        fields = [line.partition(":") for line in lines[1:]]
        headers = {name.strip().lower(): value.strip() for name, _, value in fields}
        if "sec-websocket-key" not in headers:
            self.page(lines[0], headers, [name.lower() for name, _, _ in fields])
            return False
        key = hashlib.sha1(headers["sec-websocket-key"].encode() + _MAGIC).digest()
        self.transport.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Protocol: mles-websocket\r\nSec-WebSocket-Accept: " + base64.b64encode(key) + b"\r\n\r\n"
        )
        self.is_upgraded = True
        return True

    def page(self, request: str, headers: dict[str, str], names: list[str]) -> None:
        path = request.split(" ")[1] if request.count(" ") == 2 else ""
        status, body = "404 Not Found", b""
        if self.toy.fault == "mirrors":
            body = (request + headers.get("host", "")).encode()
        elif self.toy.fault == "serves" and self.toy.root is not None:
            with suppress(ValueError, OSError):
                file = Path(f"{self.toy.root}/localhost/{unquote(path)}")
                if file.is_file():  # a pipe would be waited for
                    status, body = "200 OK", file.read_bytes()
        elif self.toy.root is not None and names.count("host") == 1 and ".." not in path:
            site = (self.toy.root / "localhost").resolve()
            with suppress(ValueError, OSError):
                file = Path(f"{site}/{path}").resolve(strict=True)
                is_inside = file.is_relative_to(site) and "/." not in f"/{file.relative_to(site)}"
                if is_inside and file.is_file():
                    status, body = "200 OK", file.read_bytes()
        head = f"HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
        self.transport.write(head.encode() + body)
        self.transport.close()

    # -- frames

    def frames(self) -> None:
        taken = 0
        while len(self.data) >= 6 and not self.is_over and not self.is_waiting:
            first, second = self.data[0], self.data[1]
            opcode, size, start = first & 15, second & 127, 2
            if size > 125:
                start = 4 if size == 126 else 10
                if len(self.data) < start:
                    return
                size = int.from_bytes(self.data[2:start], "big")
            is_wrong = first & 0x70 or not second & 128 or opcode not in (0, 1, 2, 8, 9, 10) or size >> 63
            is_wrong = is_wrong or (opcode >= 8 and (size > 125 or not first & 128))
            is_wrong = is_wrong or ((opcode == 0) != bool(self.opcode) and opcode < 8)
            if is_wrong and self.toy.fault == "lenient":
                self.data = b""
                return
            if is_wrong:
                raise ValueError("a wrong frame")
            limit = MAX_MESSAGE_BYTES if self.uid else MAX_HEADER_BYTES
            if self.toy.fault != "boundless" and (size + self.size > limit or len(self.message) > MAX_FRAGMENTS):
                self.close(1009, "too large")
                return
            if len(self.data) < start + 4 + size:
                return
            mask = self.data[start : start + 4]
            payload = self.data[start + 4 : start + 4 + size]
            self.data = self.data[start + 4 + size :]
            if any(mask):
                payload = bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))
            if opcode == _CLOSE:
                if len(payload) == 1 or payload[:2] in (b"\x03\xed", b"\x03\xee"):
                    raise ValueError("a wrong close frame")
                self.close(int.from_bytes(payload[:2] or b"\x03\xe8", "big"), "")
            elif opcode == _PING:
                self.transport.write(_frame(_PONG, payload))
                if self.toy.fault == "spreads" and self.uid:
                    self.toy.publish(self, _BINARY, payload)
            elif opcode != _PONG:
                self.opcode = opcode or self.opcode
                self.message.append(payload)
                self.size += size
                if first & 128:
                    opcode, whole = self.opcode, b"".join(self.message)
                    self.opcode, self.message, self.size = 0, [], 0
                    taken += 1
                    if self.toy.fault != "drops" or taken <= 100:
                        self.take(opcode, whole)

    def take(self, opcode: int, payload: bytes) -> None:
        if opcode == _TEXT:
            payload.decode()
        if self.uid:
            self.toy.publish(self, opcode, payload)
            return
        header = parse_header(payload, opcode == _BINARY)
        if self.toy.fault == "stumbles":
            time.sleep(1)
        self.ask(header)

    def ask(self, header: Header) -> None:
        """Join, unless somebody has the uid who gives a sign of life."""
        holder = self.toy.channels.get(header.channel, {}).get(header.uid)
        if holder is None:
            self.join(header)
        elif self.toy.fault == "keeps":
            self.close(4512, "taken")
        elif self.toy.fault == "replaces":
            holder.close(4513, "replaced")
            self.join(header)
        else:
            holder.transport.write(_frame(_PING, b""))
            self.loop.call_later(_SIGN, self.join_if_dead, header, holder, time.monotonic())
            # What stands behind the first frame waits as well: the answer to a ping says that it has joined.
            self.is_waiting = True
            self.transport.pause_reading()

    def join_if_dead(self, header: Header, holder: "Connection", asked: float) -> None:
        if self.is_over:
            return
        self.is_waiting = False
        self.transport.resume_reading()
        if holder.heard > asked and not holder.is_over:
            self.close(4512, "taken")
            return
        holder.close(4513, "replaced")
        self.ask(header)  # somebody else may have come in meanwhile
        self.parse()

    def join(self, header: Header) -> None:
        self.uid, self.channel = header.uid, header.channel
        history = self.toy.history(header.channel)
        if self.toy.fault == "copies":
            self.toy.kept.append(b"".join(history))
        limit = len(history) if header.history is None else header.history
        self.toy.channels.setdefault(header.channel, {})[header.uid] = self
        self.history += list(history)[len(history) - min(limit, len(history)) :]
        self.replay()
        if len(header.replay) < 200:
            self.toy.publish(self, _TEXT, header.replay)

    def replay(self) -> None:
        """Send the history a piece at a time, as it is taken."""
        while self.history and self.transport.get_write_buffer_size() < 65536:
            self.transport.write(self.history.popleft())
        if not self.history:
            self.behind = 0
        elif not self.transport.is_closing():
            self.loop.call_later(0.02, self.replay)


def tell(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Print what went wrong in the toy itself, so that it is not taken for a server without a fault."""
    error = context.get("exception")
    if not isinstance(error, OSError) or error.errno not in _USED_UP:
        traceback.print_exception(error, file=sys.stdout)
        print(context.get("message"), flush=True)


async def serve(options: argparse.Namespace) -> None:
    """Serve until SIGTERM."""
    root = Path(options.wwwroot) if options.wwwroot else None
    toy = Toy(options.fault, options.deadline, root, Path(options.history) if options.history else None)
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(tell)
    over = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, over.set)
    for number in (signal.SIGHUP, signal.SIGUSR1):
        if options.fault != "deaf":
            loop.add_signal_handler(number, lambda: None)
    server = await loop.create_server(lambda: Connection(toy), options.interface, options.port)
    while options.fault == "spins" and not over.is_set():
        await asyncio.sleep(0)
    await over.wait()
    server.close()
    if options.fault != "abrupt":
        for connection in list(toy.connections):
            connection.close(1001, "ending")
        until = loop.time() + _TOLD
        while toy.connections and loop.time() < until:
            await asyncio.sleep(0.02)


def main() -> None:
    """The program."""
    parser = argparse.ArgumentParser(prog="python -m tests.torture.toy", description="A server with faults.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--interface", default="127.0.0.1")
    parser.add_argument("--fault", choices=["", *FAULTS], default="", help=json.dumps(FAULTS, indent=1))
    parser.add_argument("--deadline", type=float, default=10.0)
    parser.add_argument("--wwwroot")
    parser.add_argument("--history")
    asyncio.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
