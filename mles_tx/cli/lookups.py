"""The DNS as a server tells it: addresses, and CAA records with their raw bytes.

Asked is a DNS server, as an authority asks one, and not the files of this machine.
"""

import socket
from io import BytesIO
from typing import Any

from twisted.internet.defer import Deferred, DeferredList, TimeoutError, maybeDeferred
from twisted.internet.error import ConnectError, ConnectionClosed
from twisted.names import dns
from twisted.names.client import Resolver
from twisted.names.error import DNSNameError, DNSServerError, DomainError

__all__ = ["Dns", "DnsError", "DnsSilence"]

#: RFC 8659 section 4.1.
_CAA = 257

#: Seconds to wait for an answer, at the first and at the second try.
_TIMEOUTS = (1, 3)

_RESOLV_CONF = "/etc/resolv.conf"


class DnsError(Exception):
    """The DNS gives no usable answer, and would give an authority none either; the text says what it says."""


class DnsSilence(Exception):
    """The DNS server that was asked gives no answer, which says nothing of others; the text says what it says."""


class Dns:
    """The DNS as one or a few servers see it.

    Args:
        reactor: the reactor.
        server: numeric address and port; None: those the system uses.
    """

    def __init__(self, reactor: Any, server: tuple[str, int] | None = None) -> None:
        self._resolver = Resolver(
            resolv=_RESOLV_CONF if server is None else None,
            servers=None if server is None else [server],
            timeout=_TIMEOUTS,
            reactor=reactor,
        )

    async def addresses(self, name: str) -> list[str]:
        """The IPv4 and IPv6 addresses of a name, aliases followed; none when there is no such name.

        Raises:
            DnsError: an answer is an error.
            DnsSilence: there is no answer.
        """
        asked = [Deferred.fromCoroutine(self._ask(name, kind)) for kind in (dns.A, dns.AAAA)]
        found: list[str] = []
        for is_answer, result in await DeferredList(asked, consumeErrors=True):
            found.extend(_address(record) for record in _records(is_answer, result))
        return found

    async def caa(self, name: str) -> tuple[str, list[bytes]]:
        """The CAA records that count for a name: its own, or those of the nearest name above it that has any.

        All names up to the top are asked about at once, where RFC 8659 section 3 climbs.

        Returns:
            Whose records they are, and their data as it is on the wire.

        Raises:
            DnsError: the answer for a name that counts is an error.
            DnsSilence: there is no answer for it.
        """
        labels = name.split(".")
        names = [".".join(labels[index:]) for index in range(len(labels))]
        asked = [Deferred.fromCoroutine(self._ask(above, _CAA)) for above in names]
        answers = await DeferredList(asked, consumeErrors=True)
        for above, (is_answer, result) in zip(names, answers, strict=True):
            records = _records(is_answer, result)
            if records:
                return above, [_wire(record) for record in records]
        return name, []

    async def _ask(self, name: str, kind: int) -> list[Any]:
        """The records of one kind; those of others, as aliases are, left out."""
        try:
            message = await self._resolver.queryUDP([dns.Query(name.encode("ascii"), kind, dns.IN)])
            # Asks again over TCP when the answer did not fit.
            answers, _, _ = await maybeDeferred(self._resolver.filterAnswers, message)
        except DNSNameError:
            return []
        except DNSServerError:
            raise DnsError(f"the DNS server answers SERVFAIL for {name}") from None
        except DomainError as error:
            raise DnsSilence(f"the DNS server answers {type(error).__name__} for {name}") from None
        except (TimeoutError, ConnectError, ConnectionClosed, OSError):
            raise DnsSilence(f"the DNS server does not answer for {name}") from None
        return [header.payload for header in answers if header.type == kind]


def _records(is_answer: bool, result: Any) -> list[Any]:
    if not is_answer:
        raise result.value
    records: list[Any] = result
    return records


def _address(record: Any) -> str:
    if record.TYPE == dns.A:
        return str(record.dottedQuad())
    return socket.inet_ntop(socket.AF_INET6, record.address)


def _wire(record: Any) -> bytes:
    # Twisted does not know this kind of record; should it one day, it still knows how to write one.
    buffer = BytesIO()
    record.encode(buffer)
    return buffer.getvalue()
