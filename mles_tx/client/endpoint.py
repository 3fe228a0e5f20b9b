"""How a client reaches its server: by name over IPv4 and IPv6, through a proxy, with TLS that is verified."""

from collections.abc import Mapping
from hmac import compare_digest
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.request import getproxies_environment, proxy_bypass_environment  # type: ignore[attr-defined]

import pem
from OpenSSL import SSL, crypto
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator, IStreamClientEndpoint
from twisted.internet.ssl import Certificate, optionsForClientTLS, trustRootFromCertificates
from twisted.protocols.tls import TLSMemoryBIOProtocol
from zope.interface import implementer

from .config import ENVIRONMENT, ClientConfig, ClientConfigError, ProxyAddress, ServerAddress, Trust
from .tunnel import TunnelEndpoint

__all__ = ["endpoint_for", "proxy_for", "tls_for"]

#: Bytes of a file with authorities: that of a system has a quarter of a megabyte.
_MAX_CA_FILE_BYTES = 8 * 1024 * 1024


@implementer(IOpenSSLClientConnectionCreator)
class _PinnedCertificate:
    """TLS with whoever has the one certificate, by its SHA-256."""

    def __init__(self, host: str, fingerprint: str) -> None:
        self._name = None if _is_address(host) else host.encode("idna")
        self._fingerprint = fingerprint
        self._context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        self._context.set_min_proto_version(SSL.TLS1_2_VERSION)
        self._context.set_verify(SSL.VERIFY_PEER, self._verify)

    def _verify(self, _: SSL.Connection, certificate: Any, error: int, depth: int, ok: int) -> bool:
        # The chain does not matter, nor whether it is valid: only whose key this is.
        found = certificate.digest("sha256").decode("ascii").replace(":", "").lower()
        return depth > 0 or compare_digest(found, self._fingerprint)

    def clientConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:  # noqa: N802, N803
        connection = SSL.Connection(self._context, None)
        if self._name is not None:
            connection.set_tlsext_host_name(self._name)
        return connection


def _is_address(host: str) -> bool:
    try:
        ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


def _is_here(host: str) -> bool:
    return host == "localhost" or (_is_address(host) and ip_address(host.partition("%")[0]).is_loopback)


def tls_for(host: str, trust: Trust) -> Any:
    """The side of TLS that asks whose certificate it is shown.

    Raises:
        ClientConfigError: the file of authorities cannot be used, or no certificate can be for such a name.
    """
    try:
        if trust.fingerprint is not None:
            return _PinnedCertificate(host, trust.fingerprint)
        if trust.ca_file is not None:
            return optionsForClientTLS(host, trustRoot=trustRootFromCertificates(_authorities(trust.ca_file)))
        return optionsForClientTLS(host)
    except UnicodeError:
        raise ClientConfigError(
            f"server {host}: no certificate can be for this name; give one of letters, digits and hyphens between dots"
        ) from None


def _authorities(path: Path) -> list[Certificate]:
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_CA_FILE_BYTES)
        found = [Certificate.loadPEM(one.as_bytes()) for one in pem.parse(content) if isinstance(one, pem.Certificate)]
    except OSError as error:
        raise ClientConfigError(f"CA file {path}: {error.strerror}; give a PEM file that can be read") from None
    except (ValueError, crypto.Error):
        found = []
    if not found:
        raise ClientConfigError(f"CA file {path}: no certificates in it; give a PEM file with those to trust")
    return found


def proxy_for(config: ClientConfig, environ: Mapping[str, str] | None = None) -> ProxyAddress | None:
    """The proxy to go through; None: there is none.

    Args:
        config: what the client is told.
        environ: the proxies the environment names, by scheme, as `urllib` reads them; None: those of this process.

    Raises:
        ClientConfigError: the environment names something else.
    """
    if config.proxy != ENVIRONMENT:
        return ProxyAddress.parse(config.proxy) if config.proxy else None
    server = config.server
    if _is_here(server.host):
        return None
    proxies = dict(getproxies_environment() if environ is None else environ)
    url = proxies.get("https" if server.is_secure else "http")
    if not url or proxy_bypass_environment(f"{server.host}:{server.port}", proxies):
        return None
    return ProxyAddress.parse(url)


def endpoint_for(config: ClientConfig, reactor: Any) -> IStreamClientEndpoint:
    """The way to the server of a configuration.

    Raises:
        ClientConfigError: a file cannot be used, or the environment names a proxy that is none.
    """
    server = config.server
    proxy = proxy_for(config)
    way = _by_name(server, proxy, reactor, config.connect_seconds)
    if not server.is_secure:
        return way
    wrapped: IStreamClientEndpoint = wrapClientTLS(tls_for(server.host, config.trust), way)
    return wrapped


def _by_name(server: ServerAddress, proxy: ProxyAddress | None, reactor: Any, seconds: float) -> IStreamClientEndpoint:
    if proxy is None:
        return HostnameEndpoint(reactor, server.host, server.port, timeout=seconds)
    return TunnelEndpoint(
        HostnameEndpoint(reactor, proxy.host, proxy.port, timeout=seconds), server.authority, proxy.login
    )
