"""Where frames end."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mles_tx.protocol.boundaries import FrameStream
from tests.wire import client_frame


def server_frame(opcode: int, payload: bytes = b"") -> bytes:
    """A server's frame: not masked."""
    return client_frame(opcode, payload, masked=False)


_SIZES = st.one_of(st.integers(0, 130), st.sampled_from((65_535, 65_536, 70_000)))


class FrameStreamTests(SynchronousTestCase):
    """A stream of frames, in any pieces."""

    @given(st.lists(st.tuples(_SIZES, st.booleans()), max_size=5), st.data())
    def test_any_pieces(self, frames: list[tuple[int, bool]], data: st.DataObject) -> None:
        """Between two frames, and nowhere else, there is room for one."""
        whole, ends = b"", {0}
        for size, masked in frames:
            whole += client_frame(2, bytes(size)) if masked else server_frame(2, bytes(size))
            ends.add(len(whole))
        near = [end + more for end in ends for more in range(-12, 13) if 0 <= end + more <= len(whole)]
        cuts = sorted(data.draw(st.sets(st.sampled_from(near), max_size=20)))
        stream, at = FrameStream(), 0
        for cut in [*cuts, len(whole)]:
            stream.feed(whole[at:cut])
            at = cut
            self.assertEqual((at, stream.takes_frame), (at, at in ends))

    def test_after_the_end(self) -> None:
        """Behind a close frame there is no room for another one."""
        stream = FrameStream()
        stream.feed(server_frame(1, b"hello") + server_frame(8, b"\x03\xe8"))
        self.assertFalse(stream.takes_frame)
        stream.feed(server_frame(1, b"hello"))
        self.assertFalse(stream.takes_frame)

    def test_flood(self) -> None:
        """A flood of tiny frames is not followed, and nothing is put into it any more."""
        stream = FrameStream()
        stream.feed(server_frame(1) * 255)
        self.assertTrue(stream.takes_frame)
        stream.feed(server_frame(1) * 3000)
        self.assertFalse(stream.takes_frame)
