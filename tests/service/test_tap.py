"""What twistd loads."""

import json
import signal
from pathlib import Path
from typing import Any, cast

from twisted.application.app import ServerOptions
from twisted.application.service import Application, IService, IServiceMaker
from twisted.application.twist._options import TwistOptions
from twisted.internet import reactor as global_reactor
from twisted.logger import ILogObserver, LogEvent, Logger, formatEvent, globalLogPublisher
from twisted.plugin import getPlugins
from twisted.python.reflect import namedAny
from twisted.trial.unittest import TestCase
from zope.interface.verify import verifyObject

from mles_tx.service import tap
from mles_tx.service.banner import banner
from mles_tx.service.options import Options
from mles_tx.service.running import Program

from .clients import get

reactor: Any = global_reactor


class TapTests(TestCase):
    """`twistd mles`."""

    def setUp(self) -> None:
        # It changes the reactor's clock, and this one is not its own.
        self.patch(reactor, "seconds", reactor.seconds)
        self.options = Options({b"STATE_DIRECTORY": str(Path(self.mktemp()).absolute()).encode()})

    def test_options(self) -> None:
        """twistd gets the options the server has everywhere."""
        self.assertIs(tap.Options, Options)

    def test_service(self) -> None:
        """The service is a program with what the command line says, on twistd's reactor; it is not started."""
        self.options.parseOptions(["--port", "0", "--limit", "7"])
        service = tap.makeService(self.options)
        self.assertTrue(verifyObject(IService, service))
        assert isinstance(service, Program)
        self.assertEqual(service.config, self.options.config())
        self.assertEqual((service.config.limit, service.running), (7, 0))

    def test_clock(self) -> None:
        """The reactor's timers do not follow the wall clock."""
        before = reactor.seconds
        self.options.parseOptions(["--port", "0"])
        tap.makeService(self.options)
        self.assertNotEqual(reactor.seconds, before)

    def test_log(self) -> None:
        """twistd's own options say where the log goes, and the server's what it looks like and what is in it."""
        path = Path(self.mktemp()).absolute()
        twistd = ServerOptions()
        twistd.update(nodaemon=1, logfile=str(path))
        self.addCleanup(signal.signal, signal.SIGUSR1, signal.getsignal(signal.SIGUSR1))
        self.options.parent = twistd
        self.options.parseOptions(["--port", "0", "--log-format", "json", "--log-level", "warn"])
        application: Any = Application("test")
        cast(Program, tap.makeService(self.options)).setServiceParent(application)
        logger = Logger("test", observer=application.getComponent(ILogObserver))
        logger.info("quiet")
        logger.error("loud")
        (line,) = path.read_text().splitlines()
        self.assertEqual(json.loads(line)["text"], "loud")

    def test_no_log(self) -> None:
        """Whoever runs it without twistd, as `twist` does, has a log and keeps it; ours cannot be asked for there."""
        self.options.parseOptions(["--port", "0"])
        for runner in (None, TwistOptions()):
            self.options.parent = runner
            application: Any = Application("test")
            cast(Program, tap.makeService(self.options)).setServiceParent(application)
            self.assertIsNone(application.getComponent(ILogObserver, None))
        for option, value in (("--log-format", "json"), ("--log-level", "warn")):
            options = Options({})
            options.parseOptions(["--port", "0", option, value])
            error = self.assertRaises(SystemExit, tap.makeService, options)
            self.assertEqual(
                error.code, f"mles: {option} {value}: only twistd and mles-tx serve have it; leave it away"
            )

    async def test_announced_in_the_log(self) -> None:
        """The banner goes to twistd's log when the server has started; the server serves until it is stopped."""
        logged: list[str] = []

        def observe(event: LogEvent) -> None:
            if event["log_namespace"] == "mles_tx":
                logged.append(formatEvent(event))

        observer: Any = observe
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        self.options.parseOptions(["--port", "0"])
        service = cast(Program, tap.makeService(self.options))
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP):
            self.addCleanup(signal.signal, number, signal.getsignal(number))
        self.addCleanup(service.stopService)
        service.privilegedStartService()
        service.startService()
        _, port = service.listener.addresses[0]
        self.assertEqual(logged, banner(service.config, port, service.listener.admission.max_connections))
        self.assertEqual((await get(port))[0], "HTTP/1.1 200 OK")


class PluginTests(TestCase):
    """What `twistd --help` lists."""

    def test_plugin(self) -> None:
        """twistd finds `mles`, and through it the options and the service."""
        found: list[Any] = [plugin for plugin in getPlugins(IServiceMaker) if plugin.tapname == "mles"]
        self.assertEqual([plugin.module for plugin in found], ["mles_tx.service.tap"])
        module = namedAny(found[0].module)
        self.assertIs(module, tap)
        self.assertIs(found[0].options, Options)
        self.assertIs(found[0].makeService, tap.makeService)
        self.assertTrue(found[0].description)
