"""A port that speaks TLS, driven by hand."""

from typing import Any

from OpenSSL import SSL
from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from mles_tx.transport.contexts import ICertificates, make_context

from .certificates.making import make
from .sockets import ListeningPortTestCase

__all__ = ["Certificates", "TLSTestCase"]


@implementer(ICertificates)
class Certificates:
    """One certificate, whatever is asked for."""

    def __init__(self) -> None:
        made = make("localhost")
        key: Any = made.key
        self._context = make_context([made.certificate], key)

    def context_for(self, server_name: str | None) -> SSL.Context:
        return self._context


class TLSTestCase(ListeningPortTestCase):
    """A port that speaks TLS, driven by hand."""

    def certificates(self) -> ICertificates:
        return Certificates()

    def read(self, transport: Any) -> None:
        """What a reactor does when there is something to be read."""
        reason = transport.doRead()
        if reason is not None:
            self.reactor.removeReader(transport)
            if isinstance(reason, ConnectionDone):
                transport.readConnectionLost(Failure(reason))
            else:
                self.reactor.removeWriter(transport)
                transport.connectionLost(Failure(reason))

    def write(self, transport: Any) -> None:
        """What a reactor does when something can be written."""
        self.assertTrue(self.is_writing(transport))
        reason = transport.doWrite()
        if reason is not None:
            self.reactor.removeReader(transport)
            self.reactor.removeWriter(transport)
            transport.connectionLost(Failure(reason))

    def is_reading(self, transport: Any) -> bool:
        """Whether the reactor is asked to tell when something comes."""
        return transport in self.reactor.getReaders()
