"""Tests of batches as bytes."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mles_tx.channels.history import Message
from mles_tx.protocol.frames import encode_message
from mles_tx.stores.redis.entries import author, decode, encode, is_before
from tests.channels.fakes import said
from tests.stores.contract import join_of

_UIDS = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=5)


class EntryTests(SynchronousTestCase):
    """What a node has said comes out as it went in."""

    @given(st.lists(st.tuples(_UIDS, st.binary(max_size=300), st.booleans()), min_size=1, max_size=20))
    def test_there_and_back(self, said_by: list[tuple[str, bytes, bool]]) -> None:
        """Frames and uids stay as they are, whatever is in them; no member of this node is the origin."""
        batch = [Message(encode_message(payload, binary), uid, 7, False) for uid, payload, binary in said_by]
        body = encode("node", 12, batch)
        self.assertEqual(author(body), ("node", 12))
        self.assertEqual(decode(body), ("node", 12, [message._replace(origin=0) for message in batch]))

    def test_join(self) -> None:
        """A join frame is one afterwards."""
        (found,) = decode(encode("node", 1, [join_of("bob")])).messages
        self.assertEqual(found, join_of("bob")._replace(origin=0))

    def test_broken(self) -> None:
        """What was not written by this version is not taken for something else."""
        good = encode("node", 1, [said("hello"), said("you", "bob")])
        broken = (b"", b"\n\n", b"2" + good[1:], good[:-1], good + b"x", good.replace(b"bob\t1", b"bob\t2"))
        for body in (*broken, good.replace(b"\tbob\t1", b""), good.replace(b" 1 -", b" x -"), b"1 node 1 -\na\t0\n"):
            self.assertRaises(ValueError, decode, body)

    def test_no_messages(self) -> None:
        """Frames no member can send are passed to nobody: closing ones, masked ones, pieces."""
        good = encode("node", 1, [said("hello")])
        frame = said("hello").frame
        for other in (b"\x88" + frame[1:], b"\x01" + frame[1:], frame[:1] + b"\x85" + bytes(0x85), b"\x89\0"):
            self.assertRaises(ValueError, decode, good.replace(frame, other))

    def test_places(self) -> None:
        """Ids are compared as the numbers they are."""
        order = [b"0-0", b"1-0", b"1-2", b"1-10", b"9-9", b"10-0"]
        for index, one in enumerate(order):
            self.assertEqual([is_before(one, other) for other in order], [index < at for at in range(len(order))])
