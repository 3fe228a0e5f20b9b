"""What a server says when it has started: what to open, what to type, what comes next."""

from collections.abc import Sequence

from .certificates import CertificateState
from .config import ServerConfig

__all__ = ["banner"]

_JOIN = '{"uid":"alice","channel":"example"}'


def banner(
    config: ServerConfig,
    port: int,
    connections: int,
    certificates: Sequence[CertificateState] = (),
    redirect_port: int | None = None,
) -> list[str]:
    """A few lines for whoever has started it.

    Args:
        config: what it serves.
        port: where it listens.
        connections: how many it has descriptors for.
        certificates: how it stands with them.
        redirect_port: where it sends browsers from http to https; None: nowhere.
    """
    if config.is_local:
        needs_key = [f"Clients need {_keys(config)} to join."] if config.keys else []
        return [*_local(port), *needs_key, _connections(connections)]
    scheme, plain = ("wss", 443) if config.speaks_tls else ("ws", 80)
    suffix = "" if port == plain else f":{port}"
    lines = [f"serving {scheme}://{_in_url(domain)}{suffix}/" for domain in config.domains]
    if not config.speaks_tls:
        lines.append("without TLS: let a proxy in front of it speak that")
    lines += [_certificate(config, state) for state in certificates]
    if redirect_port is not None:
        lines.append(f"sending browsers from http on port {redirect_port} to https")
    lines.append(f"to join, clients need {_keys(config)}" if config.keys else "everybody may join")
    lines.append(_connections(connections))
    return lines


def _certificate(config: ServerConfig, state: CertificateState) -> str:
    name = f"certificate for {state.domain}"
    if state.is_trusted:
        line = f"{name}: valid until {state.not_valid_after:%Y-%m-%d}"
    elif config.certificates:
        line = f"{name}: not valid now, or for another name: replace it"
    elif state.domain in config.acme_names:
        line = f"{name}: ordered from {config.authority.directory}, a self-signed one serves until it is there"
    else:
        line = f"{name}: self-signed, clients have to be told to trust it ({config.cache / 'self-signed'})"
    if state.error:
        line += f"; the last order failed: {state.error} (next try in {state.next_try:.0f} s)"
    return line


def _keys(config: ServerConfig) -> str:
    number = len(config.keys)
    return "the key" if number == 1 else f"one of {number} keys"


def _connections(number: int) -> str:
    return f"up to {number} connections at one time (ulimit -Hn sets how many)"


def _local(port: int) -> list[str]:
    return [
        "mles_tx serves this machine:",
        f"  open  http://localhost:{port}/ in two windows of a browser, and chat",
        f"  type  websocat --protocol mles-websocket ws://localhost:{port}/",
        f"        and then, as the first line, {_JOIN}",
        "  stop  with Ctrl-C",
        "On a server with a domain:",
        "  twistd -n mles --domains example.org --email me@example.org --redirect",
    ]


def _in_url(domain: str) -> str:
    return f"[{domain}]" if ":" in domain else domain
