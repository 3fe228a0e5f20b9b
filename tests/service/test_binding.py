"""The sockets a port listens on."""

import subprocess
import sys

from twisted.trial.unittest import SynchronousTestCase

from mles_tx.service.binding import DRAIN_SECONDS, bind_for
from mles_tx.service.config import ServerConfig
from mles_tx.transport.inherited import InheritedSockets, SystemdSocket
from mles_tx.transport.port import BindError

from .servers import occupied


class BindForTests(SynchronousTestCase):
    """Bound, or taken over."""

    def test_bound(self) -> None:
        """All addresses that the configuration names are bound."""
        config = ServerConfig(domains=("localhost",), interfaces=("127.0.0.1",))
        (bound,) = bind_for(config, 0, "--port", (), "--listen", InheritedSockets({}))
        self.addCleanup(bound.close)
        self.assertEqual(bound.getsockname()[0], "127.0.0.1")

    def test_told(self) -> None:
        """What cannot be listened on is told with the option to change."""
        other, port = occupied()
        self.addCleanup(other.close)
        config = ServerConfig(domains=("localhost",), interfaces=("127.0.0.1",))
        error = self.assertRaises(BindError, bind_for, config, port, "--some-port", (), "--x", InheritedSockets({}))
        self.assertIn("choose another --some-port", str(error))
        wanted = [SystemdSocket(0)]
        error = self.assertRaises(BindError, bind_for, config, 0, "--x", wanted, "--some-socket", InheritedSockets({}))
        self.assertTrue(str(error).startswith("--some-socket systemd:index=0: no socket was passed"))

    def test_light(self) -> None:
        """Who supervises others loads no Autobahn for it."""
        script = "import sys, mles_tx.service.workers.supervisor\nprint('autobahn' in sys.modules)"
        ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        self.assertEqual(ran.stdout, "False\n")
        self.assertGreater(DRAIN_SECONDS, 0)
