"""What cannot be changed by replacing workers."""

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mles_tx.service.config import ServerConfig
from mles_tx.service.workers.bound import bound_changes
from mles_tx.stores.redis.address import RedisAddress


class BoundTests(SynchronousTestCase):
    """Settings of a whole server."""

    def bound(self, **fields: Any) -> list[str]:
        """What of a change is bound."""
        base: dict[str, Any] = {"history": RedisAddress("h"), "workers": 2, "port": 1}
        return [str(change) for change in bound_changes(ServerConfig(**base), ServerConfig(**{**base, **fields}))]

    def test_own(self) -> None:
        """Ports, the number of workers and the history belong to the server as a whole."""
        self.assertEqual(self.bound(port=2), ["--port: 1 -> 2"])
        self.assertEqual(self.bound(workers=3), ["--workers: 2 -> 3"])
        self.assertEqual(len(self.bound(history=RedisAddress("other"))), 1)

    def test_others(self) -> None:
        """What a worker makes use of alone does not."""
        self.assertEqual(self.bound(limit=7, cors=True, max_channels=3), [])

    def test_default_port(self) -> None:
        """Where it listens may follow from something else."""
        self.assertEqual(
            self.bound(domains=("localhost",)), ["where it listens: port 1 of 127.0.0.1, ::1 -> port 1 of 0.0.0.0, ::"]
        )
