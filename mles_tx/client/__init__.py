"""A client of Mles v2, for any server of it: `MlesClient` and what it is told and tells.

The client itself is imported when it is first used: it needs Autobahn, which takes a third of a second.
"""

from typing import TYPE_CHECKING, Any

from .config import ENVIRONMENT, ClientConfig, ClientConfigError, Repeats, Trust
from .interfaces import (
    Callbacks,
    ClientClosed,
    IClientListener,
    IHeldHistory,
    Message,
    QueueFull,
    State,
    Status,
)
from .stream import MessageStream

if TYPE_CHECKING:
    from .client import MlesClient

__all__ = [
    "ENVIRONMENT",
    "Callbacks",
    "ClientClosed",
    "ClientConfig",
    "ClientConfigError",
    "IClientListener",
    "IHeldHistory",
    "Message",
    "MessageStream",
    "MlesClient",
    "QueueFull",
    "Repeats",
    "State",
    "Status",
    "Trust",
]


def __getattr__(name: str) -> Any:
    if name != "MlesClient":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from .client import MlesClient

    return MlesClient
