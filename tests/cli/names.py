"""A DNS server of the tests' own, in a thread, on a free port of loopback: UDP and TCP."""

import socket
import struct
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from twisted.names import dns

__all__ = ["CAA", "DnsServer", "a", "aaaa", "alias", "caa"]

CAA = 257

#: More records than a datagram takes.
_MAX_DATAGRAM = 512


def a(address: str) -> Any:
    """An address record."""
    return dns.Record_A(address)


def aaaa(address: str) -> Any:
    """An IPv6 address record."""
    return dns.Record_AAAA(address)


def alias(name: str) -> Any:
    """An alias."""
    return dns.Record_CNAME(name.encode("ascii"))


def caa(tag: str, value: str, flags: int = 0) -> Any:
    """A CAA record."""
    record: Any = dns.UnknownRecord(bytes((flags, len(tag))) + tag.encode("ascii") + value.encode("ascii"))
    record.TYPE = CAA
    return record


class DnsServer:
    """Answers from a table.

    Args:
        zone: records by name, or an error code; a missing name does not exist. Errors may also be given for one kind
            of record of a name, as (name, kind).
    """

    def __init__(self, zone: Mapping[Any, Sequence[Any] | int]) -> None:
        self.zone = zone
        self.silent = False
        self.asked: list[tuple[str, int]] = []
        self.heard = threading.Event()
        self._udp, self._tcp = self._bind()
        self.port: int = self._udp.getsockname()[1]
        self._tcp.listen()
        self._threads = [threading.Thread(target=serve, daemon=True) for serve in (self._serve_udp, self._serve_tcp)]
        for thread in self._threads:
            thread.start()

    def _bind(self) -> tuple[socket.socket, socket.socket]:
        while True:
            udp, tcp = socket.socket(type=socket.SOCK_DGRAM), socket.socket()
            udp.bind(("127.0.0.1", 0))
            try:
                tcp.bind(udp.getsockname())
            except OSError:
                udp.close()
                tcp.close()
            else:
                return udp, tcp

    def stop(self) -> None:
        """End it."""
        self._tcp.shutdown(socket.SHUT_RDWR)
        with socket.socket(type=socket.SOCK_DGRAM) as last:
            last.sendto(b"", ("127.0.0.1", self.port))
        for thread in self._threads:
            thread.join(10)
        self._udp.close()
        self._tcp.close()

    def _serve_udp(self) -> None:
        while True:
            data, client = self._udp.recvfrom(4096)
            if not data:
                return
            self.heard.set()
            if not self.silent:
                answer = self._answer(data)
                if len(answer) > _MAX_DATAGRAM:
                    answer = self._answer(data, truncated=True)
                self._udp.sendto(answer, client)

    def _serve_tcp(self) -> None:
        while True:
            try:
                connection, _ = self._tcp.accept()
            except OSError:
                return
            with connection:
                data = connection.recv(4096)
                answer = self._answer(data[2:])
                connection.sendall(struct.pack("!H", len(answer)) + answer)

    def _answer(self, data: bytes, *, truncated: bool = False) -> bytes:
        message = dns.Message()
        message.fromStr(data)
        query = message.queries[0]
        name = query.name.name.decode("ascii").lower()
        self.asked.append((name, query.type))
        found = self.zone.get((name, query.type), self.zone.get(name, dns.ENAME))
        message.answer, message.recAv = 1, 1
        if isinstance(found, int):
            message.rCode = found
        elif truncated:
            message.trunc = 1
        else:
            for record in found:
                if record.TYPE in (query.type, dns.CNAME):
                    message.answers.append(dns.RRHeader(name.encode("ascii"), record.TYPE, payload=record, ttl=60))
        return message.toStr()
