"""The redirect port as a service.

How it starts and stops is in `ports`; what is being answered when it stops is answered.
"""

import socket
from collections.abc import Callable, Sequence
from typing import Any

from mles_tx.transport.admission import Admission
from mles_tx.transport.doors import DoorFactory
from mles_tx.transport.inherited import InheritedSockets
from mles_tx.transport.port import ListeningPort
from mles_tx.transport.tcp import Preface
from mles_tx.web.redirect import make_redirect_site

from .config import ServerConfig
from .ports import PortService

__all__ = ["RedirectListener"]


class RedirectListener(PortService):
    """Sends browsers from http to https, and answers HTTP-01.

    Args:
        reactor: whose sockets these are.
        config: which hosts there are, and on which addresses.
        port: where to listen; 0: one that is free.
        admission: who is let in: that of the TLS port. The descriptors it shares out belong to the whole process, and
            a source address has as many connections on both ports together as it may have.
        https_port: asked at each request for the TLS port.
        challenge: asked for the answer to a challenge's token; None: there is none.
        inherited: sockets that listen already, if the configuration asks for some.
        proxy_header: reads what every connection begins with; None: with nothing.
        listening: sockets that listen already and belong to it.
    """

    def __init__(
        self,
        reactor: Any,
        config: ServerConfig,
        port: int,
        admission: Admission,
        https_port: Callable[[], int],
        challenge: Callable[[str], bytes | None] = lambda token: None,
        inherited: InheritedSockets | None = None,
        proxy_header: Preface | None = None,
        listening: Sequence[socket.socket] = (),
    ) -> None:
        super().__init__(
            reactor, config, port, "--redirect-port", config.redirect_on, "--redirect-listen", inherited, listening
        )
        self._admission = admission
        self._proxy_header = proxy_header
        site = make_redirect_site(config.hosts, https_port, challenge)
        self.door = DoorFactory(reactor, None, site, lambda: admission.is_full)

    def make_port(self, bound: socket.socket) -> ListeningPort:
        return ListeningPort(bound, self.door, self._reactor, self._admission, proxy_header=self._proxy_header)
