"""What stands in Redis: the entries of a stream, and what is announced."""

from contextlib import suppress

from mles_tx.protocol.frames import payload_of
from mles_tx.stores.redis.entries import author, decode, encode
from mles_tx.stores.redis.news import announced
from tests.channels.fakes import said
from tests.stores.contract import join_of

__all__ = ["run", "seeds"]


def run(data: bytes) -> None:
    """Whole messages as the server would send them, or a `ValueError`."""
    with suppress(ValueError):
        author(data)
    try:
        batch = decode(data)
    except ValueError:
        pass
    else:
        assert batch.messages
        for message in batch.messages:
            assert message.frame[0] in (0x81, 0x82) and message.frame[1] < 128, message.frame[:2]
            payload_of(message.frame)
            message.uid.encode("ascii")
    try:
        news = announced(data)
    except ValueError:
        pass
    else:
        for entry_id in (news.before, news.entry.id):
            first, second = entry_id.split(b"-")
            assert int(first) >= 0 and int(second) >= 0


def seeds() -> list[bytes]:
    """Batches, a join frame, an announcement."""
    batch = encode("node", 7, [said("1"), said("2" * 200, "bob"), said("3" * 70_000, "bob")])
    return [batch[:700], encode("node", 8, [join_of("ann")]), b"e 1-0 2-0\n" + encode("n", 1, [said("x")])]
