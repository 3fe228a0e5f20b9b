"""A member of a channel that stays one: it comes back after breaks, and loses nothing that it says or is told."""

import json
from collections.abc import Callable
from random import random as any_number
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.logger import Logger
from zope.interface import implementer

from mles_tx.protocol.extensions import Extensions

from .config import ClientConfig
from .endpoint import endpoint_for
from .interfaces import ClientClosed, IClientListener, IHeldHistory, Message, State, Status
from .link import Link
from .links import ILinksUser, Links
from .receiver import Receiver
from .sender import Sender
from .stream import MessageStream

__all__ = ["MlesClient"]


class MlesClient(Service):
    """A member of a channel, as a Twisted service.

    What it is told to say is taken in any case, and sent as soon as there is a link. Mles acknowledges nothing; so what
    was sent lately is looked for in the history after a break, and sent again when it is not there. Nothing is lost by
    that, as long as the process lives; what comes twice has the same payload, and is dropped by clients with
    `Repeats.DROP`. Who wants each message exactly once gives it a payload that no other has.

    Args:
        config: where to, and as whom.
        reactor: the reactor, or a `Clock` in tests that give an endpoint.
        listener: an `IClientListener`, who is told what happens; None: nobody.
        held: an `IHeldHistory`, which is asked for frames to offer to a server that says it was restarted, and that it
            takes them: others would take these frames for new ones. None: nothing is offered.
        endpoint: how the server is reached; None: as the configuration says.
        random: any number from 0 to 1.

    Raises:
        ClientConfigError: a file the configuration names cannot be used.
    """

    _log = Logger()

    def __init__(
        self,
        config: ClientConfig,
        reactor: Any,
        listener: IClientListener | None = None,
        *,
        held: IHeldHistory | None = None,
        endpoint: IStreamClientEndpoint | None = None,
        random: Callable[[], float] = any_number,
    ) -> None:
        self.config = config
        self._listeners: list[IClientListener] = [] if listener is None else [listener]
        self._held = held
        self._sender = Sender(reactor, config.max_queued_messages, config.max_queued_bytes, self._all_said, self._heard)
        self._receiver = Receiver(config.channel, config.uid, config.repeats, self._sender.outbox, self._deliver)
        way = endpoint_for(config, reactor) if endpoint is None else endpoint
        self._links = Links(config, reactor, way, random, _Conversation(self))
        self._run: str | None = None  # of the server on the last link, where it says so
        self._may_send = False
        self._is_finishing = False
        self._was_live = False
        self._ended: list[Deferred[Status]] = []

    @property
    def status(self) -> Status:
        """How it stands."""
        return self._links.status

    @property
    def waiting_messages(self) -> int:
        """Messages that wait to be sent."""
        return len(self._sender)

    @property
    def unsure_messages(self) -> int:
        """Messages that were sent, and may be lost should the link break now."""
        return self._sender.outbox.unsure

    def listen(self, listener: IClientListener) -> None:
        """Tell one more about what happens."""
        self._listeners.append(listener)

    def publish(self, payload: str | bytes, *, fail_when_full: bool = False) -> Deferred[None]:
        """Say something: str goes as text, bytes as a binary frame.

        Who has much to say waits for each Deferred, so that it says no more than is taken.

        Args:
            payload: at most 1 MiB.
            fail_when_full: fail at once, and do not take it, when as much waits as `ClientConfig` allows. Else it
                waits for its turn like all others.

        Returns:
            Fires when the message was handed to the connection, which takes no more than the system does and another
                64 KiB. Cancelling it does not take the message back.

        Errors:
            QueueFull: as much waits as is allowed.
            ClientClosed: it will not be sent any more.

        Raises:
            ValueError: it is too large.
        """
        if self._is_finishing:
            return fail(ClientClosed(self.status))
        return self._sender.say(payload, fail_when_full)

    def messages(self) -> MessageStream:
        """What comes from now on, for ``async for``; the link is read no faster than that is taken.

        It ends when the client has left, and raises `ClientClosed` when it had to give up.
        """
        return MessageStream(self)

    def pause_receiving(self) -> None:
        """Take nothing more for now. A server cuts off who takes nothing for a minute; then the client comes back.

        After `finish` everything is taken: the server's answer to the goodbye stands behind it.
        """
        if not self._is_finishing:
            self._receiver.is_paused = True
            self._links.read(False)

    def resume_receiving(self) -> None:
        """Take messages again."""
        self._receiver.resume()
        self._links.read(not self._receiver.is_paused)

    def finish(self) -> Deferred[Status]:
        """Leave when all that was said has been taken by the server, which its answer to the close frame shows.

        Should the link break before that, the client comes back and goes on.

        Returns:
            Fires with the last status.

        Errors:
            ClientClosed: it had to give up.
        """
        self._is_finishing = True
        ended = self.when_closed()
        self.resume_receiving()
        if self._may_send and not len(self._sender):
            self._links.say_goodbye()
        return ended.addCallback(_without_error)

    def when_closed(self) -> Deferred[Status]:
        """Fires with the last status, once the client is closed."""
        if self.status.state is State.CLOSED:
            return succeed(self.status)
        ended: Deferred[Status] = Deferred()
        self._ended.append(ended)
        return ended

    def startService(self) -> None:
        super().startService()
        if self.status.state is State.IDLE:
            self._links.start()

    def stopService(self) -> Deferred[Status]:
        """Leave now, with a close frame when there is a link; what waits to be sent is given up.

        Returns:
            Fires when the connection is gone, after a few seconds at most.
        """
        super().stopService()
        ended = self.when_closed()
        self._links.leave()
        return ended

    # -- the conversation

    def _first_frame(self, offered: int) -> dict[str, object]:
        config = self.config
        fields: dict[str, object] = {"uid": config.uid, "channel": config.channel}
        auth = config.auth_value
        if auth is not None:
            fields["auth"] = auth
        if offered:
            fields["resync"] = offered
        # The replay has to have what this client has said of late.
        since = self._sender.outbox.behind if self.unsure_messages else self._heard()
        if not config.receive and not self.unsure_messages:
            fields["receive"] = False
        if config.resume and since:
            fields["since"] = [f"{one:016x}" for one in since]
        elif config.history is not None and not self._goes_on and not self.unsure_messages:
            fields["history"] = config.history
        return fields

    def _open(self, link: Link) -> None:
        outbox = self._sender.outbox
        outbox.opened()
        self._sender.age()
        offered = self._offer(link.extensions)
        fields = self._first_frame(len(offered))
        first = json.dumps(fields, separators=(",", ":"))
        goes_on = "since" in fields and (not self.unsure_messages or outbox.behind == self._heard())
        joins = outbox.joins if outbox.unsure and not outbox.behind else None
        self._receiver.begin(goes_on, self._goes_on and self.config.history is not None, joins)
        link.sendMessage(first.encode("ascii"))
        for frame in offered:
            link.sendMessage(frame.payload, frame.is_binary)
        if link.extensions is not None:
            link.ask_when_caught_up()
        if not self.unsure_messages:
            self._begin(link)

    @property
    def _goes_on(self) -> bool:
        """Whether it was on the channel before, and has nothing yet to go on from."""
        return self._was_live and self.config.resume and not self._receiver.since

    def _settled(self, link: Link) -> None:
        self._was_live = True
        self._sender.outbox.let_in()
        self._receiver.settle()
        self._begin(link)

    def _offer(self, extensions: Extensions | None) -> list[Message]:
        """What of the held history is to be offered: to a server that was restarted since this client was there."""
        before, self._run = self._run, None if extensions is None else extensions.run
        if self._held is None or extensions is None or before is None or before == extensions.run:
            return []
        if "resync" not in extensions.keys or not extensions.limit:
            return []
        # What is sent anyway, now or again, is not offered: it would be there twice.
        pending = self._sender.outbox.pending
        held = [frame for frame in self._held.held_frames() if frame.digest not in pending]
        return held[-extensions.limit :]

    def _begin(self, link: Link) -> None:
        if not self._may_send:
            self._may_send = True
            self._sender.begin(link)

    def _all_said(self) -> None:
        if self._is_finishing:
            self._links.say_goodbye()

    def _received(self, payload: bytes, is_binary: bool) -> None:
        self._sender.outbox.let_in()
        self._receiver.received(payload, is_binary)

    def _heard(self) -> tuple[int, ...]:
        return tuple(self._receiver.since)

    def _broken(self, answered: bool) -> None:
        self._receiver.broken()
        if not self._may_send and self._receiver.has_looked:
            self._sender.outbox.looked(self._heard())
        self._may_send = False
        self._sender.broken()
        if answered:
            self._sender.outbox.all_taken()

    def _deliver(self, message: Message) -> None:
        if not self.config.receive:
            return
        for listener in self._listeners:
            try:
                listener.message_received(message)
            except Exception:
                self._log.failure("a listener of a client has failed")

    def _tell(self, status: Status) -> None:
        for listener in self._listeners:
            try:
                listener.status_changed(status)
            except Exception:
                self._log.failure("a listener of a client has failed")
        if status.state is State.CLOSED:
            self._sender.end(status)
            ended, self._ended = self._ended, []
            for one in ended:
                one.callback(status)


@implementer(ILinksUser)
class _Conversation:
    """What the links tell a client, kept off its public names."""

    def __init__(self, client: MlesClient) -> None:
        self._client = client

    def link_open(self, link: Link) -> None:
        self._client._open(link)

    def link_settled(self, link: Link) -> None:
        self._client._settled(link)

    def link_received(self, payload: bytes, is_binary: bool) -> None:
        self._client._received(payload, is_binary)

    def link_writable(self) -> None:
        self._client._sender.writable()

    def link_ended(self, answered: bool) -> None:
        self._client._broken(answered)

    def status_changed(self, status: Status) -> None:
        self._client._tell(status)


def _without_error(status: Status) -> Status:
    if status.is_error:
        raise ClientClosed(status)
    return status
