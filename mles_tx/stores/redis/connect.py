"""The way from an address to a history on that Redis. Importing this module imports the reactor, as `link` does."""

from secrets import token_hex
from typing import Any

from .address import RedisAddress
from .history import RedisHistory
from .link import Link
from .scripts import APPEND, CLAIM, LOAD, READ, RELEASE

__all__ = ["connect"]


def connect(reactor: Any, address: RedisAddress, limit: int, total_bytes: int, node: str | None = None) -> RedisHistory:
    """The history on a Redis; it is not open yet.

    Args:
        reactor: who connects.
        address: where to.
        limit: messages a channel remembers at most.
        total_bytes: bytes of memory all channels with members here may take, about.
        node: who we are; None: a name nobody else has.
    """
    node = node or token_hex(6)
    link = Link(reactor, address, node, (APPEND, LOAD, READ, CLAIM, RELEASE))
    return RedisHistory(reactor, link, node, str(address), address.database, limit, total_bytes=total_bytes)
