"""Messages for `async for`."""

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mles_tx.client.interfaces import ClientClosed, Message, State, Status
from mles_tx.client.stream import MAX_WAITING, MessageStream


class FakeClient:
    """A client that notes whether it is to be read."""

    def __init__(self) -> None:
        self.status = Status(State.LIVE)
        self.calls: list[str] = []

    def listen(self, listener: object) -> None:
        pass

    def pause_receiving(self) -> None:
        self.calls.append("pause")

    def resume_receiving(self) -> None:
        self.calls.append("resume")


def messages_of(client: Any) -> MessageStream:
    """The messages of a client of that kind."""
    return MessageStream(client)


def message(number: int) -> Message:
    return Message(str(number).encode(), False, number)


class StreamTests(SynchronousTestCase):
    """One step after the other."""

    def setUp(self) -> None:
        self.client = FakeClient()
        self.stream = messages_of(self.client)

    def test_steps(self) -> None:
        """A step waits for a message, or takes one that waits."""
        wanted = self.stream.__anext__()
        self.assertNoResult(wanted)
        self.assertRaises(RuntimeError, self.stream.__anext__)
        for number in (1, 2):
            self.stream.message_received(message(number))
        self.assertEqual(self.successResultOf(wanted), message(1))
        self.assertEqual(self.successResultOf(self.stream.__anext__()), message(2))

    def test_back_pressure(self) -> None:
        """When many wait the client is not read, until half of them are taken."""
        for number in range(MAX_WAITING):
            self.stream.message_received(message(number))
        self.assertEqual(self.client.calls, ["pause"])
        for _ in range(MAX_WAITING):
            self.successResultOf(self.stream.__anext__())
        self.assertEqual(self.client.calls, ["pause", "resume"])

    def test_cancelled(self) -> None:
        """A step that is given up takes no message away."""
        wanted = self.stream.__anext__()
        wanted.addErrback(lambda _: None)
        wanted.cancel()
        self.stream.message_received(message(1))
        self.assertEqual(self.successResultOf(self.stream.__anext__()), message(1))

    def test_end(self) -> None:
        """What waits is taken before the end; the end of a client that had to give up is an error."""
        for is_error, expected in ((False, StopAsyncIteration), (True, ClientClosed)):
            stream = messages_of(self.client)
            stream.message_received(message(1))
            stream.status_changed(Status(State.CLOSED, "why", is_error=is_error))
            self.assertEqual(self.successResultOf(stream.__anext__()), message(1))
            self.failureResultOf(stream.__anext__(), expected)
            waiting = messages_of(self.client)
            wanted = waiting.__anext__()
            waiting.status_changed(Status(State.CLOSED, "why", is_error=is_error))
            self.failureResultOf(wanted, expected)

    def test_late(self) -> None:
        """Made for a client that is closed already, it is at its end."""
        self.client.status = Status(State.CLOSED, "why", is_error=True)
        self.failureResultOf(messages_of(self.client).__anext__(), ClientClosed)
