"""A server whose members are served by other processes."""

from mles_tx.service.config import ConfigError

from .fakes import report
from .supervised import SupervisedTestCase


class StateTests(SupervisedTestCase):
    """How it stands with all of them."""

    def test_ready(self) -> None:
        """It is ready when all serve for the first time, and as long as one does; those that are missing are told."""
        supervisor = self.supervisor()
        self.assertEqual(supervisor.not_ready(), ["starting"])
        one, other = self.reactor.started
        one.serve()
        self.assertEqual(supervisor.not_ready(), ["starting"])
        other.serve()
        self.assertEqual((supervisor.not_ready(), supervisor.warnings()), ([], []))
        one.end(1)
        self.assertEqual((supervisor.not_ready(), supervisor.warnings()), ([], ["worker 1 is being started"]))
        other.end(1)
        self.assertEqual(supervisor.not_ready(), ["no worker serves at the moment"])
        supervisor.stopService()
        self.assertEqual(supervisor.not_ready(), ["stopping"])
        self.end(supervisor)

    def test_reasons(self) -> None:
        """What all workers say is said once; what one says, with its number."""
        supervisor = self.serving()
        one, other = self.reactor.started
        one.say("report", report=report(not_ready=["no Redis", "full"], warnings=["soon"]))
        other.say("report", report=report(not_ready=["no Redis"], warnings=["soon"]))
        self.assertEqual(supervisor.not_ready(), ["no Redis", "worker 1: full"])
        self.assertEqual(supervisor.warnings(), ["soon"])

    def test_stuck(self) -> None:
        """One that does not answer is told."""
        supervisor = self.serving()
        one, other = self.reactor.started
        for _ in range(3):
            self.reactor.advance(5.0)
            other.say("pong")
        self.assertEqual(supervisor.not_ready(), ["worker 1 does not answer"])
        one.say("pong")
        self.assertEqual(supervisor.not_ready(), [])

    def test_metrics(self) -> None:
        """The metrics of all are logged every ten seconds, if they are to be."""
        for text, number in (("", 1), ("no-metrics-logging = true", 0)):
            self.events.clear()
            supervisor = self.serving(text)
            self.reactor.advance(10.0)
            for process in self.reactor.started[-2:]:
                process.say("report", report=report(3))
            told = [line for line in self.lines if line.startswith("metrics: ")]
            self.assertEqual(len(told), number)
            if number:
                self.assertIn("active_connections 2, total_messages_sent 6,", told[0])
            self.end(supervisor)


class ChangeTests(SupervisedTestCase):
    """Other settings."""

    def test_reload(self) -> None:
        """All workers get them, with the files; it is told once what has changed, and what needs a restart."""
        supervisor = self.serving("limit = 5")
        self.write("limit = 6\ncors = true")
        reloaded = supervisor.reload(supervisor._options.reread())
        expected = ["--cors: off -> on (needs a restart)", "--limit: 5 -> 6"]
        self.assertEqual(self.lines[-2:], [f"not changed: {expected[0]}", f"changed: {expected[1]}"])
        one, other = self.reactor.started
        self.assertEqual((one.kinds[-1], one.told[-1]), ("change", other.told[-1]))
        self.assertIn(str(self.config), one.told[-1]["given"]["contents"])
        one.say("changed", why="the directory is gone")
        self.assertNoResult(reloaded)
        other.say("changed", why="")
        self.assertEqual([str(change) for change in self.successResultOf(reloaded)], expected)
        self.assertEqual(self.lines[-1], "the settings stay as they were in worker 1: the directory is gone")

    def test_wrong(self) -> None:
        """Those that are wrong change nothing anywhere."""
        supervisor = self.serving("limit = 5")
        self.write("limit = 0")
        self.assertRaises(ConfigError, lambda: supervisor.reload(supervisor._options.reread()))
        self.assertEqual(supervisor.config.limit, 5)
        self.assertNotIn("change", self.reactor.started[0].kinds)

    def test_replace(self) -> None:
        """Workers that follow take over what needs a restart; what belongs to the server as a whole is refused."""
        supervisor = self.serving()
        self.write("cors = true\nlimit = 7")
        replaced = supervisor.replace(supervisor._options.reread())
        self.assertEqual((supervisor.config.cors, supervisor.config.limit), (True, 7))
        self.assertEqual(len(self.reactor.started), 3)
        self.assertNoResult(replaced)
        self.write('log-format = "json"')
        error = self.assertRaises(ConfigError, lambda: supervisor.replace(supervisor._options.reread()))
        self.assertEqual(
            str(error),
            "--log-format: readable -> json takes a whole restart; end the server and start it again",
        )
