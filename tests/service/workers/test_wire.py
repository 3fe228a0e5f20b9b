"""What supervisor and workers tell each other."""

import json
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mles_tx.service.workers.wire import Given, Lines, decode, encode
from tests import examples


class MessageTests(SynchronousTestCase):
    """One message."""

    def test_round(self) -> None:
        """It comes as it went, on one line."""
        line = encode("say", text="two\nlines", number=3)
        self.assertEqual(line.count(b"\n"), 1)
        self.assertEqual(decode(line), {"kind": "say", "text": "two\nlines", "number": 3})

    def test_none(self) -> None:
        """What is no message is refused."""
        for line in (b"", b"{", b"[]", b"{}", b'{"kind":1}', b"\xff"):
            self.assertRaises(ValueError, decode, line)


class GivenTests(SynchronousTestCase):
    """The settings as they were given."""

    def test_round(self) -> None:
        """They come as they went, whatever is in the files."""
        settings_given = Given(["--port", "0"], Path("/here"), {Path("a/key"): bytes(range(256))})
        packed = json.loads(json.dumps(settings_given.pack()))
        self.assertEqual(Given.unpack(packed), settings_given)

    def test_secret(self) -> None:
        """What is in the files is not shown."""
        self.assertNotIn("s3cret", repr(Given([], Path("/"), {Path("key"): b"s3cret"})))


class LinesTests(SynchronousTestCase):
    """Lines of a stream."""

    @settings(max_examples=examples(100), deadline=None)
    @given(st.lists(st.binary(max_size=9).filter(lambda line: b"\n" not in line)), st.lists(st.integers(0, 50)))
    def test_any_cut(self, lines: list[bytes], cuts: list[int]) -> None:
        """However a stream is cut, the lines are the same."""
        stream = b"".join(line + b"\n" for line in lines)
        found: list[bytes] = []
        taken = Lines(found.append)
        at = 0
        for cut in [*sorted(cuts), len(stream)]:
            taken.feed(stream[at : max(at, cut)])
            at = max(at, cut)
        taken.end()
        self.assertEqual(found, lines)

    def test_end(self) -> None:
        """What has no end is a line when nothing more comes."""
        found: list[bytes] = []
        lines = Lines(found.append)
        lines.feed(b"one\ntw")
        lines.feed(b"o")
        self.assertEqual(found, [b"one"])
        lines.end()
        lines.end()
        self.assertEqual(found, [b"one", b"two"])
