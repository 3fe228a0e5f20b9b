"""What a supervisor holds for its workers."""

import os
import socket
import sys
from pathlib import Path
from typing import Any

from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from mles_tx.service.config import ServerConfig
from mles_tx.service.options import Options
from mles_tx.service.workers.child import Child
from mles_tx.service.workers.held import Held
from mles_tx.service.workers.wire import MEMORY, SOCKETS, Given
from mles_tx.stores.redis.address import RedisAddress
from mles_tx.transport.certificates.pairs import CertificateError
from mles_tx.transport.port import BindError
from tests.transport.certificates.making import make

from .fakes import FakeProcess


class Reactor(MemoryReactorClock):
    """A reactor that notes which processes it is to start."""

    def __init__(self) -> None:
        super().__init__()
        self.spawned: list[tuple[Any, ...]] = []

    def spawnProcess(self, child: Child, *arguments: Any, **more: Any) -> None:  # noqa: N802
        FakeProcess(child, 1)
        self.spawned.append((*arguments, more))


class HeldTests(SynchronousTestCase):
    """Sockets, files and memory."""

    def setUp(self) -> None:
        self.reactor = Reactor()
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()

    def held(self, **fields: Any) -> Held:
        """For a server with two workers, on a free port."""
        base = {"history": RedisAddress("h"), "workers": 2, "port": 0, "cache": self.directory / "cache"}
        held = Held(self.reactor, ServerConfig(**{**base, **fields}), {"A": "b"})
        self.addCleanup(held.let_go)
        self.addCleanup(held.stopService)
        return held

    def test_process(self) -> None:
        """A worker finds pipes, the memory and the sockets on its descriptors, and nothing from where it is started."""
        held = self.held(domains=("localhost",), interfaces=("127.0.0.1",), redirect_port=0)
        held.startService()
        self.assertEqual(held.counts, {"listening": 1, "redirecting": 1})
        held.launch(Child(self.reactor, self, 1, 2))  # type: ignore[arg-type]
        ((program, command, more),) = self.reactor.spawned
        self.assertEqual(command, [program, "-P", "-m", "mles_tx.service.workers.worker", "2"])
        self.assertEqual((program, more["env"]), (sys.executable, {"A": "b"}))
        descriptors = more["childFDs"]
        self.assertEqual([descriptors[number] for number in range(3)], ["w", "r", "r"])
        sockets = (held.listening[0].fileno(), held.redirecting[0].fileno())
        self.assertEqual((descriptors[SOCKETS], descriptors[SOCKETS + 1]), sockets)
        self.assertEqual(len(descriptors), SOCKETS + 2)
        self.assertIn(MEMORY, descriptors)

    def test_no_process(self) -> None:
        """When there can be no process, as when the user may not reach it, the worker has ended, and says why."""
        held = self.held()
        held.startService()
        told: list[str] = []

        class Watch:
            def child_ended(self, child: Child) -> None:
                told.append(child.why)

        def spawn(*arguments: Any, **more: Any) -> None:
            raise PermissionError(13, "Permission denied")

        self.patch(self.reactor, "spawnProcess", spawn)
        watch: Any = Watch()
        child = Child(self.reactor, watch, 0, 0)
        held.launch(child)
        child.start(Given([], self.directory, {}), None)
        self.assertEqual(told, [])
        self.reactor.advance(0)
        self.assertEqual(
            told,
            [
                f"--workers: user {os.geteuid()} cannot start {sys.executable}: Permission denied; install the server"
                " where that user can reach it"
            ],
        )
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_self_signed(self) -> None:
        """The certificate that all workers show at first is made once, before they are there."""
        self.held(domains=("localhost",), interfaces=("127.0.0.1",)).startService()
        self.assertTrue((self.directory / "cache" / "self-signed" / "localhost.pem").exists())

    def test_end(self) -> None:
        """At the end nobody listens any more."""
        held = self.held()
        held.startService()
        address = held.listening[0].getsockname()
        held.stopService()
        held.let_go()
        held.freed(1)
        with socket.socket(held_family(address)) as probe:
            self.assertNotEqual(probe.connect_ex(address), 0)

    def test_port_in_use(self) -> None:
        """A port that is taken is told."""
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen()
            port = other.getsockname()[1]
            held = self.held(domains=("localhost",), interfaces=("127.0.0.1",), port=port)
            self.assertRaises(BindError, held.privilegedStartService)

    def test_files(self) -> None:
        """Files are read once, for all workers; what cannot be read again leaves them as they were."""
        made = make("localhost")
        certificate, key = self.directory / "cert.pem", self.directory / "key.pem"
        certificate.write_bytes(made.certificate_pem)
        key.write_bytes(made.key_pem)
        (self.directory / "mles.key").write_bytes(b"s3cret\n")
        held = self.held(domains=("localhost",), interfaces=("127.0.0.1",), certificates=((certificate, key),))
        held.privilegedStartService()
        options = Options({})
        options.parse(["--key-file", str(self.directory / "mles.key")])
        contents = held.given(options).contents
        self.assertEqual(contents[self.directory / "mles.key"], b"s3cret\n")
        self.assertEqual(contents[key], made.key_pem)
        certificate.write_bytes(b"none")
        self.assertRaises(CertificateError, held.read_again, held._config)
        self.assertEqual(held.given(options).contents, contents)
        self.assertEqual(held.left_over(), [])


def held_family(address: tuple[Any, ...]) -> socket.AddressFamily:
    """The kind of an address."""
    return socket.AF_INET6 if ":" in address[0] else socket.AF_INET
