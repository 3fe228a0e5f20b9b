"""Tests of the names in Redis."""

from twisted.trial.unittest import SynchronousTestCase

from mles_tx.stores.redis.keys import channel_announcements, channel_keys, node_announcements, node_key


def _slot_of(key: str) -> str:
    """The part of a key that a cluster looks at."""
    start = key.find("{")
    end = key.find("}", start + 1)
    return key[start + 1 : end] if start >= 0 and end > start + 1 else key


class KeysTests(SynchronousTestCase):
    """Names that tell an operator what they are, and a cluster where they belong."""

    def test_names(self) -> None:
        """They are what is documented."""
        self.assertEqual(channel_keys("a b", "log", "meta"), ["mles:{a b}:log", "mles:{a b}:meta"])
        self.assertEqual(channel_announcements("a b", 3), b"mles:3:{a b}")
        self.assertEqual((node_key("n"), node_announcements("n", 3)), ("mles:node:n", b"mles:3:node:n"))

    def test_one_place(self) -> None:
        """All keys of a channel are in one place of a cluster, and those of different channels are different."""
        names = ["a", "{", "}", "{}", "}{", "a}b", "%7D", "{a}", "node:n", "%", " "]
        seen: set[str] = set()
        for name in names:
            keys = channel_keys(name, "log", "meta", "joins", "nodes", "uids")
            self.assertEqual(len({_slot_of(key) for key in keys}), 1, name)
            seen.update(keys)
        self.assertEqual(len(seen), 5 * len(names))
