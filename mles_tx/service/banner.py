"""What a server says when it has started: what to open, what to type, what comes next."""

from .config import ServerConfig

__all__ = ["banner"]

_JOIN = '{"uid":"alice","channel":"example"}'


def banner(config: ServerConfig, port: int, connections: int) -> list[str]:
    """A few lines for whoever has started it.

    Args:
        config: what it serves.
        port: where it listens.
        connections: how many it has descriptors for.
    """
    if config.is_local:
        needs_key = ["Clients need the key to join."] if config.key else []
        return [*_local(port), *needs_key, _connections(connections)]
    scheme, plain = ("wss", 443) if config.speaks_tls else ("ws", 80)
    suffix = "" if port == plain else f":{port}"
    lines = [f"serving {scheme}://{_in_url(domain)}{suffix}/" for domain in config.domains]
    if not config.speaks_tls:
        lines.append("without TLS: let a proxy in front of it speak that")
    elif not config.certificates:
        lines.append(
            f"the certificate is self-signed: clients have to be told to trust it ({config.cache / 'self-signed'})"
        )
    lines.append("to join, clients need the key" if config.key else "everybody may join")
    lines.append(_connections(connections))
    return lines


def _connections(number: int) -> str:
    return f"up to {number} connections at one time (ulimit -Hn sets how many)"


def _local(port: int) -> list[str]:
    return [
        "mles_tx serves this machine:",
        f"  open  http://localhost:{port}/ in two windows of a browser, and chat",
        f"  type  websocat --protocol mles-websocket ws://localhost:{port}/",
        f"        and then, as the first line, {_JOIN}",
        "  stop  with Ctrl-C",
        "On a server with a domain and a certificate:",
        "  twistd -n mles --domains example.org --certificate fullchain.pem --private-key privkey.pem",
    ]


def _in_url(domain: str) -> str:
    return f"[{domain}]" if ":" in domain else domain
