"""The process that serves, under a supervisor."""

import json
import os
import socket
from pathlib import Path
from typing import Any

from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.logger import Logger
from twisted.trial.unittest import SynchronousTestCase

from mles_tx.protocol.closing import ProtocolViolation
from mles_tx.service.logs import log_to
from mles_tx.service.workers.shared import SharedMemory
from mles_tx.service.workers.wire import SOCKETS, Given, encode
from mles_tx.service.workers.worker import Worker, pipe_log, settings


class _Reactor(MemoryReactorClock):
    """A reactor in memory that can be stopped."""

    is_stopped = False

    def stop(self) -> None:
        self.is_stopped = True


class WorkerTests(SynchronousTestCase):
    """A worker on a reactor in memory, with a real socket that nobody connects to."""

    def setUp(self) -> None:
        self.reactor = _Reactor()
        self.transport = StringTransport()
        self.memory = SharedMemory.make()
        self.addCleanup(self.memory.close)
        self.bound = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(self.bound.close)
        self.asked: list[int] = []
        self.worker = Worker(self.reactor, log_to(lambda line: None, "json", "info"), self.memory, self.socket)
        self.worker.makeConnection(self.transport)
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()

    def socket(self, fileno: int) -> socket.socket:
        """The socket on a descriptor."""
        self.asked.append(fileno)
        return self.bound.dup()

    def given(self, text: str = "") -> Given:
        """Settings in a file that is not there any more."""
        path = self.directory / "mles.toml"
        base = f'port = 0\nworkers = 2\nhistory = "redis+unix://{self.directory}/none"\n{text}'
        return Given(["--config", str(path)], self.directory, {path: base.encode()})

    def tell(self, kind: str, **fields: Any) -> None:
        """The supervisor says something."""
        self.worker.dataReceived(encode(kind, **fields))

    def start(self, given: Given, live: Given | None = None) -> None:
        """It is told to serve."""
        packed = None if live is None else live.pack()
        where = {"listening": 1, "redirecting": 0, "slot": 3, "is_first": True, "workers": 2}
        self.tell("start", given=given.pack(), live=packed, **where)
        for _ in range(120):  # there is no Redis that would be waited for
            self.reactor.advance(0.02)

    @property
    def said(self) -> list[dict[str, Any]]:
        """What it has said."""
        return [json.loads(line) for line in self.transport.value().splitlines()]

    def end(self) -> None:
        """It is told to end."""
        self.tell("stop", is_restart=False)
        for _ in range(100):
            self.reactor.advance(0.1)

    def test_life(self) -> None:
        """It serves on the sockets it has got, says so, how it is, and at the end what it has counted."""
        self.start(self.given())
        self.assertEqual(self.asked, [SOCKETS])
        (serving,) = self.said
        self.assertEqual((serving["kind"], serving["port"]), ("serving", self.bound.getsockname()[1]))
        self.assertIn("mles_tx serves this machine:", serving["banner"])
        self.assertEqual(serving["report"]["snapshot"]["active_connections"], 0)
        self.tell("ping")
        self.tell("report")
        self.tell("sing")  # a newer supervisor may say what is not known here
        self.assertEqual([message["kind"] for message in self.said[1:]], ["pong", "report"])
        self.end()
        self.assertEqual(self.said[-1]["kind"], "report")
        self.assertTrue(self.transport.disconnecting)
        self.worker.connectionLost()
        self.assertTrue(self.reactor.is_stopped)

    def test_supervisor_gone(self) -> None:
        """When the supervisor is gone it ends as well."""
        self.start(self.given())
        self.worker.connectionLost()
        for _ in range(100):
            self.reactor.advance(0.1)
        self.assertTrue(self.reactor.is_stopped)

    def test_change(self) -> None:
        """It has other settings, or says why it cannot."""
        self.start(self.given("limit = 5"))
        self.tell("change", given=self.given("limit = 6\ncors = true").pack())
        service = self.worker._service
        assert service is not None
        self.assertEqual((service.config.limit, service.config.cors), (6, False))
        self.tell("change", given=self.given("limit = 0").pack())
        self.assertEqual([message["why"] for message in self.said[1:2]], [""])
        self.assertIn("limit", self.said[2]["why"])
        self.end()

    def test_live(self) -> None:
        """It begins with what has changed since the server was started."""
        self.start(self.given("limit = 5"), self.given("limit = 6\ncors = true"))
        service = self.worker._service
        assert service is not None
        self.assertEqual((service.config.limit, service.config.cors), (6, False))
        self.end()

    def test_channels_together(self) -> None:
        """Channels are counted with those of the other workers."""
        self.start(self.given("max-channels = 3"))
        self.memory.set_channels(7, 3)
        service = self.worker._service
        assert service is not None
        self.assertRaises(ProtocolViolation, service.publish, "one more", "text")
        self.memory.set_channels(7, 2)
        service.publish("one more", "text")
        self.end()

    def test_cannot_start(self) -> None:
        """It says why it cannot start, and ends."""
        ca = self.directory / "none.pem"
        ca.write_text("")
        given = Given(["--workers", "2", "--history", f"rediss://localhost:1?ca={ca}"], self.directory, {})
        self.start(given)
        (failed,) = self.said
        self.assertEqual((failed["kind"], failed["why"][:30]), ("failed", "--history rediss://localhost:1"))
        self.assertTrue(self.transport.disconnecting)


class SettingsTests(SynchronousTestCase):
    """What a worker is to be."""

    def test_files(self) -> None:
        """What is in its files comes from the supervisor, the latest."""
        arguments = ["--workers", "2", "--history", "redis://h/0"]
        _, read = settings(Given(arguments, Path("/"), {Path("a"): b"1", Path("b"): b"2"}), None, True)
        self.assertEqual((read(Path("a")), read(Path("b"))), (b"1", b"2"))
        live = Given(arguments, Path("/"), {Path("a"): b"3"})
        _, read = settings(Given(arguments, Path("/"), {Path("a"): b"1", Path("b"): b"2"}), live, True)
        self.assertEqual((read(Path("a")), read(Path("b"))), (b"3", b"2"))


class PipeLogTests(SynchronousTestCase):
    """The log."""

    def test_whole(self) -> None:
        """An event is written whole, at once, from a level up; when nobody reads it that is nobody's fault."""
        reading, writing = os.pipe()
        log = pipe_log(writing)
        logger = Logger("test", observer=log)
        logger.info("said {what}", what="this")
        logger.debug("not this")
        self.assertEqual(json.loads(os.read(reading, 1000))["text"], "said this")
        os.close(reading)
        logger.info("into the void")
        os.close(writing)
