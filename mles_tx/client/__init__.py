"""A client of Mles v2, for any server of it: `MlesClient` and what it is told and tells."""

from .client import MlesClient
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
