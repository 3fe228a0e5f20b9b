"""Bytes both ways between two connections."""

from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Protocol
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from mles_tx.web.splice import Flow, Splice
from tests.transport.fakes import FakeTransport


class FlowTests(SynchronousTestCase):
    """What is read from one connection, as the producer of another."""

    def setUp(self) -> None:
        self.source = FakeTransport(Protocol())
        self.flow = Flow(self.source)

    def test_interface(self) -> None:
        """It can stand wherever Twisted wants a producer."""
        self.assertTrue(verifyObject(IPushProducer, self.flow))

    def test_pace(self) -> None:
        """The source is not read while it is paused, however often it is told so."""
        for _ in range(2):
            self.flow.pauseProducing()
            self.assertEqual((self.source.producerState, self.flow.is_paused), ("paused", True))
        for _ in range(2):
            self.flow.resumeProducing()
            self.assertEqual((self.source.producerState, self.flow.is_paused), ("producing", False))

    def test_not_paused(self) -> None:
        """A source that somebody else has stopped is not started when it was not stopped here."""
        self.source.pauseProducing()
        self.flow.resumeProducing()
        self.assertEqual(self.source.producerState, "paused")

    def test_held(self) -> None:
        """It is read when neither the destination nor whoever holds it is against it, in whatever order."""
        for first, second in ((0, 1), (1, 0)):
            stop = (self.flow.pauseProducing, self.flow.hold)
            go_on = (self.flow.resumeProducing, self.flow.release)
            for act in (stop[first], stop[second], go_on[first]):
                act()
                self.assertEqual(self.source.producerState, "paused")
            go_on[second]()
            self.assertEqual(self.source.producerState, "producing")

    def test_let_go(self) -> None:
        """A source that has nothing more is left alone, and whoever asks is told when the destination wants more."""
        told: list[str] = []
        self.flow.pauseProducing()
        self.flow.let_go()
        self.source.resumeProducing()
        self.flow.when_drained(lambda: told.append("drained"))
        self.flow.pauseProducing()
        self.assertEqual(told, [])
        self.flow.resumeProducing()
        self.assertEqual((told, self.flow.is_paused), (["drained"], False))
        self.flow.pauseProducing()
        self.assertEqual((self.source.producerState, self.flow.is_paused), ("producing", True))

    def test_stopped(self) -> None:
        """The end of the destination is not the end of the source."""
        self.flow.stopProducing()
        self.assertEqual((self.source.producerState, self.source.finished), ("producing", False))


class SpliceTests(SynchronousTestCase):
    """Two connections that are one."""

    def setUp(self) -> None:
        self.client, self.upstream = FakeTransport(Protocol()), FakeTransport(Protocol())
        self.splice = Splice(self.client, self.upstream)

    def test_bytes(self) -> None:
        """What comes on one side goes out on the other, as it is."""
        self.splice.from_client(b"\x81\x00")
        self.splice.from_upstream(b"hello")
        self.assertEqual((self.upstream.taken(), self.client.taken()), (b"\x81\x00", b"hello"))
        self.assertEqual(self.splice.moved, 7)

    def test_pace(self) -> None:
        """Each side is read as fast as the other one takes it, and the directions do not disturb each other."""
        self.upstream.full = True
        self.splice.from_client(b"x")
        self.assertEqual((self.client.producerState, self.upstream.producerState), ("paused", "producing"))
        self.client.full = True
        self.splice.from_upstream(b"y")
        self.assertEqual((self.client.producerState, self.upstream.producerState), ("paused", "paused"))
        self.upstream.drained()
        self.assertEqual((self.client.producerState, self.upstream.producerState), ("producing", "paused"))
        self.client.drained()
        self.assertEqual((self.client.producerState, self.upstream.producerState), ("producing", "producing"))

    def test_half_close(self) -> None:
        """The end of one direction is passed on; the other direction goes on until its own end."""
        self.splice.client_ended()
        self.assertEqual((self.upstream.finished, self.client.finished, self.splice.ended), (True, False, 1))
        self.splice.from_upstream(b"the rest")
        self.assertEqual(self.client.taken(), b"the rest")
        self.splice.upstream_ended()
        self.assertEqual((self.client.finished, self.splice.ended), (True, 2))
        self.assertEqual((self.client.producer, self.upstream.producer), (None, None))

    def test_told_twice(self) -> None:
        """An end that is told twice is one end."""
        self.splice.upstream_ended()
        self.splice.upstream_ended()
        self.assertEqual((self.splice.ended, self.upstream.finished), (1, False))
