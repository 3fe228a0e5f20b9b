"""The history a configuration asks for."""

from typing import Any

from mles_tx.channels.history import IHistory, MemoryHistory
from mles_tx.stores.redis.address import RedisAddress

from .config import ServerConfig

__all__ = ["make_history"]


def make_history(reactor: Any, config: ServerConfig) -> IHistory:
    """Build the store; it is not open yet.

    Args:
        reactor: whose store it is.
        config: which one, and how much is remembered.
    """
    if config.history is None:
        return MemoryHistory(reactor, config.limit, total_bytes=config.history_bytes)
    # Here, not above: who needs no file and no Redis need not load what they take.
    if isinstance(config.history, RedisAddress):
        from mles_tx.stores.redis.connect import connect

        return connect(reactor, config.history, config.limit, config.history_bytes)
    from mles_tx.stores.sqlite import SqliteHistory

    return SqliteHistory(
        reactor,
        config.history,
        config.limit,
        strict=config.durability == "strict",
        total_bytes=config.history_bytes,
        file_bytes=config.history_max * 1024 * 1024,
    )
