"""Where a Redis is, as an endpoint to connect to."""

from typing import Any

from OpenSSL.crypto import Error
from twisted.internet.endpoints import HostnameEndpoint, UNIXClientEndpoint, wrapClientTLS
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.ssl import Certificate, optionsForClientTLS, trustRootFromCertificates

from .address import RedisAddress

__all__ = ["CONNECT_SECONDS", "endpoint_for"]

#: Seconds for a connection to come up, and from then on to be usable.
CONNECT_SECONDS = 3.0


def endpoint_for(reactor: Any, address: RedisAddress) -> IStreamClientEndpoint:
    """Where to connect to.

    Raises:
        OSError, ValueError: the file with authorities to trust cannot be used.
    """
    if address.path is not None:
        return UNIXClientEndpoint(reactor, address.path, timeout=CONNECT_SECONDS)
    endpoint = HostnameEndpoint(reactor, address.host, address.port, timeout=CONNECT_SECONDS)
    if not address.tls:
        return endpoint
    trust = None
    if address.ca is not None:
        pem = address.ca.read_bytes()
        mark = b"-----END CERTIFICATE-----"
        trust = trustRootFromCertificates(
            [_certificate(part + mark) for part in pem.split(mark)[:-1]] or [_certificate(pem)]
        )
    return wrapClientTLS(optionsForClientTLS(address.host, trustRoot=trust), endpoint)


def _certificate(pem: bytes) -> Certificate:
    try:
        return Certificate.loadPEM(pem)
    except Error:
        raise ValueError("no certificate") from None
