"""A Mles v2 server on Twisted and Autobahn: publish-subscribe channels over TLS WebSockets.

`run`, `MlesService` and `ServerConfig` are all that is needed to have a server in a program of your own. They
are imported when they are asked for: importing this package imports neither a reactor nor Autobahn.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mles_tx.service.config import ConfigError, ServerConfig
    from mles_tx.service.embedding import ServerHandle, run
    from mles_tx.service.server import MlesService

__all__ = ["ConfigError", "MlesService", "ServerConfig", "ServerHandle", "__version__", "run"]

__version__ = "0.1.0"

_HOMES = {
    "ConfigError": "mles_tx.service.config",
    "MlesService": "mles_tx.service.server",
    "ServerConfig": "mles_tx.service.config",
    "ServerHandle": "mles_tx.service.embedding",
    "run": "mles_tx.service.embedding",
}


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
