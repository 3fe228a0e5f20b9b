"""One link after the other."""

from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.internet.error import ConnectError
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyClass

from mles_tx.client.client import _Conversation
from mles_tx.client.config import ClientConfig
from mles_tx.client.interfaces import State, Status
from mles_tx.client.links import ILinksUser, Links
from mles_tx.client.tunnel import ProxyRefused


@implementer(IStreamClientEndpoint)
class Failing:
    """An endpoint that leads nowhere."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.attempts = 0

    def connect(self, protocolFactory: Any) -> Deferred[Any]:  # noqa: N803
        self.attempts += 1
        return fail(self.errors.pop(0)) if self.errors else Deferred()


class User:
    """Notes how it stands."""

    def __init__(self) -> None:
        self.statuses: list[Status] = []

    def status_changed(self, status: Status) -> None:
        self.statuses.append(status)


class LinksTests(SynchronousTestCase):
    """Attempts that fail. What happens on links that open is tested with a server, in test_client.py."""

    def links(self, *errors: Exception, **settings: Any) -> Links:
        self.clock = Clock()
        self.user = User()
        self.endpoint = Failing(*errors)
        config = ClientConfig("ws://mles.test/", "alice", "news", **settings)
        return Links(config, self.clock, self.endpoint, lambda: 1.0, self.user)

    def test_interface(self) -> None:
        """A client's conversation is a user of links."""
        verifyClass(ILinksUser, _Conversation)

    def test_waits(self) -> None:
        """Behind an attempt that failed it waits, says for how long and why, and tries again."""
        self.links(ConnectError("no route"), ConnectError("no route")).start()
        self.assertEqual(self.user.statuses[1], Status(State.WAITING, "mles.test:80 cannot be reached: no route", 1.0))
        self.clock.advance(1.0)
        self.assertEqual(self.user.statuses[3].seconds, 2.0)
        self.clock.advance(1.9)
        self.assertEqual(self.endpoint.attempts, 2)
        self.clock.advance(0.1)
        self.assertEqual(self.endpoint.attempts, 3)

    def test_final(self) -> None:
        """What will not become better is not tried again."""
        self.links(ProxyRefused("no", 403)).start()
        self.assertEqual(self.user.statuses[-1], Status(State.CLOSED, "no", is_error=True))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_leave(self) -> None:
        """It leaves in the middle of an attempt and while it waits, and keeps no timer."""
        for errors in ((), (ConnectError(),)):
            links = self.links(*errors)
            links.start()
            links.leave()
            self.assertEqual(self.user.statuses[-1], Status(State.CLOSED, "left"))
            self.assertEqual(self.clock.getDelayedCalls(), [])
            links.leave()
            self.assertEqual([one.state for one in self.user.statuses].count(State.CLOSED), 1)
