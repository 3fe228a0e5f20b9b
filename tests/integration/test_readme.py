"""The commands of the README, in a clean copy of this checkout."""

import signal
from http.client import HTTPConnection

from .processes import WAIT
from .support import INSTALL_SECONDS, IntegrationTestCase, build_directory, copy_checkout


class ReadmeTests(IntegrationTestCase):
    """`make run` and `make test`. They share one copy, whose environment is made by whichever comes first."""

    def setUp(self) -> None:
        super().setUp()
        self.directory = build_directory() / "readme"
        if not self.directory.exists():
            copy_checkout(self.directory)

    def test_make_run(self) -> None:
        """`make run` serves this machine, says where, and ends with Ctrl-C."""
        server = self.start(["make", "run", "ARGS=--port 0"], cwd=self.directory)
        port = int(server.expect(r"^ +open +http://localhost:(\d+)/", INSTALL_SECONDS)[1])
        browser = HTTPConnection("127.0.0.1", port, timeout=WAIT)
        self.addCleanup(browser.close)
        browser.request("GET", "/")
        answer = browser.getresponse()
        self.assertEqual(answer.status, 200)
        self.assertEqual(answer.read(), (self.directory / "static/localhost/index.html").read_bytes())
        browser.close()
        server.signal_group(signal.SIGINT)
        server.wait()
        self.assertNotIn("Traceback", server.output)
        with self.assertRaises(ConnectionRefusedError):
            browser.connect()

    def test_make_test(self) -> None:
        """`make test` runs the tests it is given, and closes with their counts."""
        output = self.run_to_end(["make", "test", "TESTS=tests.protocol.test_closing"], cwd=self.directory)
        self.assertRegex(output.splitlines()[-1], r"^[1-9]\d* passed, 0 failed, 0 skipped$")
