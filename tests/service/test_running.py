"""A server that has its process to itself: its start, and its log."""

import socket
from typing import Any

from twisted.application.service import Application, IServiceCollection, MultiService
from twisted.logger import ILogObserver, Logger

from mles_tx.service import binding
from mles_tx.service.banner import banner
from mles_tx.service.config import ServerConfig
from mles_tx.service.logs import log_to
from mles_tx.service.running import Program

from .programs import ProgramTestCase


class LogTests(ProgramTestCase):
    """Its log."""

    def setUp(self) -> None:
        super().setUp()
        self.lines: list[bytes] = []
        self.log = log_to(self.lines.append, "readable", "info")

    def test_under_twistd(self) -> None:
        """twistd asks its application for an observer, and finds this one; where there is none it takes its own."""
        for log in (self.log, None):
            application: Any = Application("test")
            program = Program(ServerConfig(port=0), self.reactor, self.announced.append, log)
            program.setServiceParent(application)
            self.assertIs(application.getComponent(ILogObserver, None), log)
            self.assertEqual(list(IServiceCollection(application)), [program])

    def test_as_a_child(self) -> None:
        """Among other services it is a service like them."""
        parent = MultiService()
        program = Program(ServerConfig(port=0), self.reactor, self.announced.append, self.log)
        program.setServiceParent(parent)
        self.assertEqual(list(parent), [program])

    def test_level(self) -> None:
        """The level can be changed while it runs; a log that is not its own is left alone."""
        program = Program(ServerConfig(port=0), self.reactor, self.announced.append, self.log)
        logger = Logger("test", observer=self.log)
        for level in ("warn", "info", "error"):
            program.set_log_level(level)
            logger.info("at {now}", now=level)
        self.assertEqual([line.split()[-1] for line in self.lines], [b"info"])
        self.program().set_log_level("warn")


class StartTests(ProgramTestCase):
    """What whoever has started it gets to read."""

    def test_banner(self) -> None:
        """Once it listens it says so, line by line, with the port it has got."""
        secure = {"domains": ("localhost",), "interfaces": ("127.0.0.1",)}
        for fields in ({}, secure, {**secure, "redirect_port": 0}):
            self.announced.clear()
            program = self.program(**fields)
            program.privilegedStartService()
            self.assertEqual(self.announced, [])
            program.startService()
            _, port = program.listener.addresses[0]
            connections = program.listener.admission.max_connections
            redirect_port = None if program.redirect is None else program.redirect.addresses[0][1]
            states = program.certificates.states()
            self.assertEqual(self.announced, banner(program.config, port, connections, states, redirect_port))
            self.assertEqual([state.domain for state in states], list(program.config.domains))
            self.assertEqual(redirect_port is not None, "redirect_port" in fields)
            self.assertIn(f":{port}/", "\n".join(self.announced))
            self.assertIsNone(self.successResultOf(self.stop(program)))

    def test_port_in_use(self) -> None:
        """A port that is taken ends the program with one line, and not with a traceback."""
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen()
            port = other.getsockname()[1]
            for step in ("privilegedStartService", "startService"):
                program = self.program(port=port)
                error = self.assertRaises(SystemExit, getattr(program, step))
                self.assertEqual(
                    error.code,
                    f"mles: cannot listen on 127.0.0.1:{port}: another program listens there:"
                    " stop it, or choose another --port",
                )
                self.assertTrue(error.__suppress_context__)
        self.assertEqual(self.announced, [])

    def test_bad_certificate(self) -> None:
        """A certificate that cannot be used ends it with one line."""
        missing = self.directory / "missing.pem"
        program = self.program(domains=("example.org",), certificates=((missing, missing),))
        error = self.assertRaises(SystemExit, program.privilegedStartService)
        self.assertEqual(
            error.code, f"mles: --certificate {missing}: No such file or directory; give a file that can be read"
        )

    def test_bad_cache(self) -> None:
        """A directory that cannot be made ends it with one line."""
        file = self.directory / "file"
        file.write_bytes(b"")
        program = self.program(domains=("localhost",), interfaces=("127.0.0.1",), cache=file / "cache")
        program.privilegedStartService()
        error = self.assertRaises(SystemExit, program.startService)
        self.assertEqual(
            error.code, f"mles: --cache {file / 'cache'}: Not a directory; give a directory that can be written to"
        )
        self.assertEqual(self.announced, [])

    def test_own_fault(self) -> None:
        """A fault of the program's own is not made to look like the operator's."""

        def fail(*args: object) -> None:
            raise ZeroDivisionError

        self.patch(binding, "bind", fail)
        self.assertRaises(ZeroDivisionError, self.program().privilegedStartService)
