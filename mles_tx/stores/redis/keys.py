"""What is called how in Redis.

Everything of a channel has its name in braces, so that a cluster keeps it in one place:

    mles:{CHANNEL}:log     stream: the batches, in the order of the channel
    mles:{CHANNEL}:meta    hash: what the stream is, where it ends, how much is in it
    mles:{CHANNEL}:joins   hash: uid → the entry with its newest join frame
    mles:{CHANNEL}:nodes   hash: node → the number of its last batch
    mles:{CHANNEL}:uids    hash: uid → who has it
    mles:node:NODE         string: there as long as the node lives

Announcements do not know databases, so that their names have the database's number:

    mles:DB:{CHANNEL}      what was said on a channel
    mles:DB:node:NODE      what one node has to ask another
"""

__all__ = ["channel_announcements", "channel_keys", "node_announcements", "node_key"]


def _tag(channel: str) -> str:
    # A brace in the name would end the part that a cluster looks at.
    escaped = channel.replace("%", "%25").replace("{", "%7B").replace("}", "%7D")
    return f"{{{escaped}}}"


def channel_keys(channel: str, *parts: str) -> list[str]:
    """The keys of some parts of a channel."""
    base = f"mles:{_tag(channel)}:"
    return [base + part for part in parts]


def channel_announcements(channel: str, database: int) -> bytes:
    """Where it is announced what was said on a channel."""
    return f"mles:{database}:{_tag(channel)}".encode()


def node_key(node: str) -> str:
    """What is there as long as a node lives."""
    return f"mles:node:{node}"


def node_announcements(node: str, database: int) -> bytes:
    """Where a node can be asked."""
    return f"mles:{database}:node:{node}".encode()
