"""Tests of what comes of bytes from elsewhere: a value or the named error."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests import examples

from . import CORPUS, TARGETS, inputs, target

#: Examples of each subject, where they are not 150: one of these takes milliseconds.
_SLOW = {"sqlite_file": 60, "redis_streams": 40, "certificates": 60, "relay": 80, "request_head": 100}

_KNOWN = {name: inputs(name) for name in TARGETS}


@st.composite
def changed(draw: st.DrawFn, name: str) -> bytes:
    """A known input with some of it taken out, put in, changed, or doubled; or any bytes."""
    data = draw(st.sampled_from(_KNOWN[name]))
    for _ in range(draw(st.integers(0, 4))):
        begin = draw(st.integers(0, len(data)))
        end = draw(st.integers(begin, min(len(data), begin + 16)))
        other = draw(st.one_of(st.binary(max_size=8), st.just(data[begin:end] * 2), st.sampled_from(_SPECIAL)))
        data = data[:begin] + other + data[end:]
    return data


_SPECIAL = (b"\0", b"\xff", b"\r\n", b"\n", b'"', b"1e999", b"-1", b"9" * 30, b"\xed\xa0\x80", b"[" * 200, b"\x7f" * 8)


class TargetTests(SynchronousTestCase):
    """Every subject, with what is known to be of interest, and what Hypothesis makes of it."""

    def test_corpus(self) -> None:
        """What is in the corpus belongs to a subject, is small, and does no harm."""
        self.assertEqual({path.name for path in CORPUS.iterdir()} - set(TARGETS), set())
        for name in TARGETS:
            for data in _KNOWN[name]:
                self.assertLessEqual(len(data), 4096, name)
                target(name).run(data)


def _tried(name: str) -> object:
    @settings(
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        max_examples=examples(_SLOW.get(name, 150)),
    )
    @given(data=st.one_of(changed(name), changed(name), st.binary(max_size=100)))
    def test(self: TargetTests, data: bytes) -> None:
        target(name).run(data)

    test.__doc__ = target(name).run.__doc__
    return test


for _name in TARGETS:
    setattr(TargetTests, f"test_{_name}", _tried(_name))
