"""What a process has of a server."""

from typing import Any

from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from mles_tx.service.config import ConfigError, ServerConfig
from mles_tx.service.part import WHOLE, share_of
from mles_tx.service.server import MlesService
from mles_tx.stores.redis.address import RedisAddress


class ShareTests(SynchronousTestCase):
    """The share of one of several processes."""

    def share(self, is_first: bool = True, **fields: Any) -> ServerConfig:
        """What one of four is."""
        return share_of(ServerConfig(history=RedisAddress("h"), workers=4, **fields), is_first)

    def test_shared_out(self) -> None:
        """Memory and files of all of them together are what was asked for, and nobody has nothing."""
        share = self.share(history_total=400, filelimit=80, compression_cache=8)
        self.assertEqual((share.history_total, share.filelimit, share.compression_cache), (100, 20, 2))
        share = self.share(history_total=1, filelimit=1, compression_cache=1)
        self.assertEqual((share.history_total, share.filelimit, share.compression_cache), (1, 1, 1))
        self.assertEqual(self.share(compression_cache=0).compression_cache, 0)
        whole = ServerConfig().history_bytes
        self.assertLessEqual(4 * self.share().history_bytes, whole)
        self.assertGreater(5 * self.share().history_bytes, whole)

    def test_same_for_all(self) -> None:
        """What holds for each connection, or is counted together, is the same everywhere."""
        share = self.share(rate_limit=7, max_channels=9, per_ip_limit=3)
        self.assertEqual((share.rate_limit, share.max_channels, share.per_ip_limit), (7, 9, 3))

    def test_of_the_supervisor(self) -> None:
        """The redirect port belongs to the first one; it has no workers of its own, and leaves metrics to others."""
        fields = {"domains": ("localhost",), "redirect_port": 80}
        self.assertEqual([self.share(first, **fields).redirect_port for first in (True, False)], [80, None])
        share = self.share()
        self.assertEqual((share.workers, share.metrics_logging), (None, False))


class WholeTests(SynchronousTestCase):
    """A server in one process."""

    def test_whole(self) -> None:
        """It has everything, and counts by itself."""
        self.assertEqual((WHOLE.orders, WHOLE.count_channels(3), len(WHOLE.make_window(1, 1.0))), (True, 3, 0))

    def test_embedded(self) -> None:
        """A server in somebody else's program starts no processes, and says so."""
        config = ServerConfig(history=RedisAddress("h"), workers=2)
        error = self.assertRaises(ConfigError, MlesService, config, MemoryReactorClock())
        self.assertEqual(str(error), "--workers: only twistd and mles-tx serve start processes; leave it away")
