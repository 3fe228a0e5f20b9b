"""The first frame of a connection."""

from mles_tx.protocol.closing import ProtocolViolation
from mles_tx.protocol.header import parse_header

__all__ = ["run", "seeds"]


def run(data: bytes) -> None:
    """A header with a printable name, or a `ProtocolViolation`; what is replayed can be parsed again."""
    try:
        header = parse_header(data, is_binary=False)
    except ProtocolViolation:
        return
    assert header.uid.isprintable() and header.uid.isascii() and header.channel.isprintable()
    again = parse_header(header.replay, is_binary=False)
    assert (again.uid, again.channel) == (header.uid, header.channel)
    assert (again.auth, again.history, again.since, again.receive) == (None, None, (), True)


def seeds() -> list[bytes]:
    """First frames of real clients, with our keys and without."""
    return [
        b'{"uid":"alice","channel":"example"}',
        b'{"auth": "9b3b95527f7c2d80", "channel": "example", "uid": "alice"}',
        b'{"uid":"a","channel":"b","history":3,"since":["0123456789abcdef"],"receive":false,"x":{"y":[1e9,null]}}',
        b'{"uid":"\\u0061","channel":"b","uid":1}',
    ]
