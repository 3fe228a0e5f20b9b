"""Which paths belong to which upstream: values, and the choice between them.

It must not know how an upstream is talked to.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

__all__ = ["Route", "Routes", "climbs"]


@dataclass(frozen=True, slots=True)
class Route:
    """A path prefix, and the upstream its requests are passed on to.

    Attributes:
        prefix: whole segments, like ``/api``, without a slash at the end; ``/`` alone is every path.
        host: the upstream's name or address, IPv6 addresses without brackets.
        port: its port.
        base: what stands there instead of the prefix, like ``/v1`` or ``/``; None: the path goes on unchanged.
    """

    prefix: str
    host: str
    port: int
    base: str | None = None

    @property
    def origin(self) -> str:
        """The upstream as the beginning of a URL."""
        return f"http://[{self.host}]:{self.port}" if ":" in self.host else f"http://{self.host}:{self.port}"

    def target(self, target: bytes) -> bytes:
        """What the upstream is asked for.

        Args:
            target: path and query of a request with this prefix.
        """
        if self.base is None:
            return target
        rest = target[len(self.prefix.rstrip("/")) :]
        path = self.base.rstrip("/").encode("ascii") + rest
        return path if path.startswith(b"/") else b"/" + path


class Routes:
    """The choice of a route: the longest prefix wins.

    Args:
        routes: no two with the same prefix.
    """

    def __init__(self, routes: Iterable[Route]) -> None:
        by_length = sorted(routes, key=lambda route: len(route.prefix.rstrip("/")), reverse=True)
        self._routes = [(route.prefix.rstrip("/").encode("ascii"), route) for route in by_length]

    def find(self, path: bytes) -> Route | None:
        """The route of a path, without its query; None: it has none. Prefixes match whole segments."""
        for prefix, route in self._routes:
            if path.startswith(prefix) and path[len(prefix) : len(prefix) + 1] in (b"", b"/"):
                return route
        return None


def climbs(path: bytes) -> bool:
    """Whether a path has a segment of one or two dots, however written: an upstream might leave the prefix by it.

    Servers for Java drop what stands in a segment behind a semicolon before they look at the dots.
    """
    if b"." not in path and b"%2" not in path:
        return False
    segments = [part.partition(b";")[0] for part in unquote_to_bytes(path).replace(b"\\", b"/").split(b"/")]
    return b"." in segments or b".." in segments
