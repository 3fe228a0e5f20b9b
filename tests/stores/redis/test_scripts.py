"""Tests of what happens inside Redis, with the scripts as they are."""

from typing import Any

import fakeredis
from twisted.trial.unittest import SynchronousTestCase

from mles_tx.channels.history import IDLE_SECONDS
from mles_tx.stores.redis.scripts import APPEND, CLAIM, LOAD, READ, RELEASE, RETAIN_BYTES, RETAIN_SECONDS, Script

KEYS = ("log", "meta", "joins", "nodes")


class _ScriptTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.redis: Any = fakeredis.FakeRedis(server=fakeredis.FakeServer())
        self.epochs = 0

    def run_script(self, script: Script, keys: tuple[str, ...], *arguments: Any) -> Any:
        return self.redis.eval(script.text, len(keys), *keys, *arguments)

    def append(
        self,
        node: str,
        number: int,
        body: bytes = b"x",
        uid: str = "",
        limits: tuple[int, int] = (200, 10**7),
        place: tuple[bytes, bytes] = (b"", b""),
        behind: int = 0,
        messages: int = 1,
    ) -> Any:
        """Append a batch; its bytes are those of its body."""
        self.epochs += 1
        return self.run_script(
            *(APPEND, KEYS, node, number, body, messages, len(body), uid, *limits, *place),
            *(f"e{self.epochs}", "news", behind),
        )

    def load(self, begin: bytes = b"", size: int = 10**6) -> Any:
        return self.run_script(LOAD, KEYS[:2], begin, size)

    def read(self, epoch: bytes, after: bytes, size: int = 10**6) -> Any:
        return self.run_script(READ, KEYS[:2], epoch, after, size)

    def bodies(self) -> list[bytes]:
        return [fields[b"b"] for _, fields in self.redis.xrange("log")]

    def age(self, seconds: float) -> None:
        """Let all entries be that old, and the last look for too much be long ago."""
        entries = self.redis.xrange("log")
        self.redis.delete("log")
        for entry_id, fields in entries:
            at, _, more = entry_id.partition(b"-")
            older = b"%d-%s" % (int(at) - int(seconds * 1000), more)
            self.redis.xadd("log", fields, id=older)
            if b"j" in fields:
                self.redis.hset("joins", fields[b"j"], older)
            if self.redis.hget("meta", "last") == entry_id:  # else the next one of this millisecond would be before it
                self.redis.hset("meta", "last", older)
        self.redis.hset("meta", "swept", 0)


class AppendTests(_ScriptTests):
    """A batch goes in, once."""

    def test_chain(self) -> None:
        """Each entry names the one before it, to the writer, in the stream and in the announcement."""
        listening = self.redis.pubsub()
        listening.subscribe("news")
        listening.get_message()
        before = b"0-0"
        for number in range(1, 4):
            is_new, epoch, told_before, entry_id = self.append("n", number, b"body %d" % number)
            self.assertEqual((is_new, epoch, told_before), (1, b"e1", before))
            self.assertEqual(listening.get_message()["data"], b"e1 %s %s\nbody %d" % (before, entry_id, number))
            self.assertEqual(self.redis.xrange("log", entry_id, entry_id)[0][1][b"p"], before)
            before = entry_id
        self.assertEqual(self.bodies(), [b"body 1", b"body 2", b"body 3"])

    def test_once(self) -> None:
        """What is sent again is known by its number, node by node, and is neither stored nor announced again."""
        self.append("n", 5)
        last = self.append("m", 5)[3]
        for node, number in (("n", 5), ("n", 4), ("m", 5)):
            self.assertEqual(self.append(node, number), [0, b"e1", last, last])
        self.assertEqual(self.append("n", 6)[0], 1)
        self.assertEqual(len(self.bodies()), 3)

    def test_behind(self) -> None:
        """A batch is not let in before the one its sender has sent before it."""
        self.assertEqual(self.append("n", 2, behind=1)[0], -1)
        self.assertEqual(self.append("n", 1)[0], 1)
        self.assertEqual(self.append("n", 2, behind=1)[0], 1)
        self.assertEqual(len(self.bodies()), 2)

    def test_joins(self) -> None:
        """Of a uid only the newest join frame stays."""
        for number, uid in enumerate(("ann", "bob", "ann", "", "ann"), 1):
            self.append("n", number, b"%d" % number, uid)
        self.assertEqual(self.bodies(), [b"2", b"4", b"5"])
        self.assertEqual((self.redis.hget("meta", "count"), self.redis.hget("meta", "bytes")), (b"3", b"3"))

    def test_count(self) -> None:
        """What is more than a channel remembers goes, once no node can be missing it."""
        for number in range(1, 41):
            self.append("n", number, b"%d" % number, limits=(10, 10**6))
        self.assertEqual(len(self.bodies()), 40)
        self.age(RETAIN_SECONDS)
        self.append("n", 41, b"41", limits=(10, 10**6))
        self.assertEqual(self.bodies(), [b"%d" % number for number in range(32, 42)])
        self.assertEqual(self.redis.hget("meta", "count"), b"10")

    def test_bytes(self) -> None:
        """Likewise with bytes."""
        for number in range(1, 11):
            self.append("n", number, b"%02d" % number, limits=(200, 8))
        self.age(RETAIN_SECONDS)
        self.append("n", 11, b"11", limits=(200, 8))
        self.assertEqual(self.bodies(), [b"08", b"09", b"10", b"11"])

    def test_batches(self) -> None:
        """A batch counts as many as there are in it, and stays as long as one of them is remembered."""
        for number in range(1, 5):
            self.append("n", number, b"%d" % number, messages=3)
        self.age(RETAIN_SECONDS)
        self.append("n", 5, b"5", limits=(7, 10**6), messages=3)
        self.assertEqual(self.bodies(), [b"3", b"4", b"5"])

    def test_much_at_once(self) -> None:
        """What nodes may be missing is kept only up to a bound."""
        size = RETAIN_BYTES // 8
        for number in range(1, 13):
            self.append("n", number, b"x" * size, limits=(2, 10**9))
        self.assertEqual(len(self.bodies()), 8)

    def test_join_that_went(self) -> None:
        """A uid whose join frame went with the old messages joins again as ever."""
        self.append("n", 1, b"1", "ann")
        self.append("n", 2, b"2")
        self.age(RETAIN_SECONDS)
        self.append("n", 3, b"3", limits=(2, 100))
        self.assertEqual((self.bodies(), self.redis.hgetall("joins")), ([b"2", b"3"], {}))
        self.append("n", 4, b"4", "ann")
        self.assertEqual((self.bodies(), self.redis.hget("meta", "count")), ([b"2", b"3", b"4"], b"3"))

    def test_expires(self) -> None:
        """Everything of a channel goes 30 days after its last message, an hour more or less."""
        self.append("n", 1, b"1", "ann")
        for key in KEYS:
            self.assertTrue(0 <= IDLE_SECONDS * 1000 - self.redis.pttl(key) < 10_000, key)
        for key in KEYS:
            self.redis.expire(key, 60)
        self.append("n", 2)
        self.assertTrue(all(self.redis.ttl(key) <= 60 for key in KEYS))
        self.redis.hset("meta", "due", 1)
        self.append("n", 3)
        self.assertTrue(all(self.redis.ttl(key) > IDLE_SECONDS - 10 for key in KEYS))

    def test_nodes_go(self) -> None:
        """A node that has not said anything for a week is forgotten, others are not."""
        self.append("old", 1)
        self.append("other", 1)
        self.redis.hset("nodes", "old", "1:1000")
        self.redis.hset("meta", "due", 1)
        self.append("n", 1)
        self.assertEqual(set(self.redis.hkeys("nodes")), {b"other", b"n"})


class LostTests(_ScriptTests):
    """A stream that is not what it was."""

    def test_lost(self) -> None:
        """A stream that was lost is begun anew under another name, and nothing of it is taken for the old one."""
        _, epoch, _, last = self.append("n", 1)
        self.redis.flushall()
        self.assertEqual(self.read(epoch, last), [b"", b"0-0", b"0-0", b"0-0", []])
        self.assertEqual(self.load(), [b"", b"0-0", []])
        _, new_epoch, before, entry_id = self.append("n", 2, place=(epoch, last))
        self.assertNotEqual(new_epoch, epoch)
        self.assertEqual(before, b"0-0")
        self.assertEqual(self.read(epoch, last), [new_epoch, entry_id, b"0-0", b"0-0", [[entry_id, b"x"]]])

    def test_older_state(self) -> None:
        """When Redis has gone back to an older state, a reader goes on where that ends."""
        epoch, first = self.append("n", 1, b"1")[1::2]
        saved = {key: self.redis.dump(key) for key in KEYS if self.redis.exists(key)}
        self.append("n", 2, b"2")
        last = self.append("n", 3, b"3")[3]
        for key, value in saved.items():
            self.redis.restore(key, 0, value, replace=True)
        self.assertEqual(self.read(epoch, last)[:3], [epoch, first, first])
        _, new_epoch, before, entry_id = self.append("m", 1, b"other", place=(epoch, last))
        self.assertEqual((new_epoch != epoch, before), (True, first))
        self.assertEqual(self.read(epoch, last)[2:], [first, b"0-0", [[entry_id, b"other"]]])
        self.assertEqual(self.read(epoch, b"0-1")[2:], [b"0-1", b"0-0", [[first, b"1"], [entry_id, b"other"]]])
        self.assertEqual(self.append("n", 2, b"2")[0], 1)

    def test_evicted(self) -> None:
        """When only the entries were lost, counting begins anew."""
        for number in range(1, 6):
            self.append("n", number, limits=(5, 100))
        self.redis.delete("log")
        self.age(0)
        self.append("n", 6, b"6", limits=(5, 100))
        self.assertEqual((self.bodies(), self.redis.hget("meta", "count")), ([b"6"], b"1"))

    def test_clock_back(self) -> None:
        """When the entries were lost and the clock of Redis was set back, the stream is begun anew."""
        self.append("n", 1)
        self.redis.delete("log")
        self.redis.hset("meta", "last", "99999999999999-0")
        is_new, epoch, before, _ = self.append("n", 2, b"2")
        self.assertEqual((is_new, epoch, before), (1, b"e2", b"0-0"))
        self.assertEqual(self.bodies(), [b"2"])


class ReadTests(_ScriptTests):
    """What is read, and how much of it."""

    def test_pages(self) -> None:
        """Pages have about the bytes that are asked for, and at least an entry, in both directions."""
        ids = [self.append("n", number, b"12345")[3] for number in range(1, 31)]
        for size, count in ((1, 1), (5, 1), (6, 2), (60, 12), (10**6, 30)):
            self.assertEqual([entry[0] for entry in self.read(b"e1", b"0-0", size)[4]], ids[:count])
            self.assertEqual([entry[0] for entry in self.load(b"", size)[2]], ids[::-1][:count])
        self.assertEqual([entry[0] for entry in self.load(b"(" + ids[20], 10**6)[2]], ids[19::-1])
        self.assertEqual([entry[0] for entry in self.read(b"e1", ids[20])[4]], ids[21:])
        self.assertEqual(self.read(b"e1", ids[-1])[1:], [ids[-1], ids[-1], b"0-0", []])

    def test_gone(self) -> None:
        """A reader learns what has been forgotten."""
        first = self.append("n", 1)[3]
        self.append("n", 2)
        self.age(RETAIN_SECONDS)
        self.append("n", 3, limits=(1, 10))
        trimmed = self.read(b"e1", first)[3]
        self.assertEqual(len(self.bodies()), 1)
        self.assertNotEqual(trimmed, b"0-0")


class ClaimTests(_ScriptTests):
    """Who has a uid."""

    def claim(self, *wanted: str) -> Any:
        return self.run_script(CLAIM, ("uids",), *wanted)

    def test_claim(self) -> None:
        """A uid is had by one; the same one may claim it again, and another in place of one it names."""
        self.assertEqual(self.claim("ann", "a 1", "", "bob", "a 2", ""), [])
        self.assertEqual(self.claim("ann", "a 1", ""), [])
        self.assertEqual(
            self.claim("ann", "b 1", "", "eve", "b 2", "", "bob", "b 3", "a 1"),
            [
                *(b"ann", b"a 1", b"bob", b"a 2"),
            ],
        )
        self.assertEqual(self.claim("ann", "b 1", "a 1"), [])
        self.assertEqual(self.redis.hgetall("uids"), {b"ann": b"b 1", b"bob": b"a 2", b"eve": b"b 2"})
        self.assertGreater(self.redis.ttl("uids"), IDLE_SECONDS - 10)

    def test_release(self) -> None:
        """Only who has it gives it back."""
        self.claim("ann", "a 1", "")
        self.assertEqual(self.run_script(RELEASE, ("uids",), "ann", "b 1"), 0)
        self.assertEqual(self.run_script(RELEASE, ("uids",), "ann", "a 1"), 1)
        self.assertEqual(self.run_script(RELEASE, ("uids",), "ann", "a 1"), 0)
        self.assertEqual(self.redis.hgetall("uids"), {})
