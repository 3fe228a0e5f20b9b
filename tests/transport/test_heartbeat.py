"""Pings for all connections, from one timer."""

from collections.abc import Callable
from functools import partial

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mles_tx.transport.heartbeat import Heartbeat

INTERVAL = 16.0  # a slot a second

FAULT = RuntimeError("cannot be pinged")


class Connection:
    """Notes when it is pinged, and then does what it is told.

    Args:
        clock: where the time comes from.
        then: called with each ping.
    """

    def __init__(self, clock: Clock, then: Callable[[], object] = lambda: None) -> None:
        self.beats: list[float] = []
        self._clock = clock
        self._then = then

    def beat(self) -> None:
        self.beats.append(self._clock.seconds())
        self._then()


class HeartbeatTests(SynchronousTestCase):
    """A wheel with connections on it."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.heartbeat = Heartbeat(self.clock, INTERVAL)

    def add(self, then: Callable[[], object] = lambda: None) -> Connection:
        """A connection that is to be pinged from now on."""
        connection = Connection(self.clock, then)
        self.heartbeat.add(connection)
        return connection

    def pass_time(self, seconds: float) -> None:
        """Time that passes, an eighth of a second at a time."""
        self.clock.pump([0.125] * int(seconds * 8))

    def test_once_an_interval(self) -> None:
        """A connection is pinged once in each interval, for the first time when one has passed."""
        connection = self.add()
        self.pass_time(INTERVAL - 0.125)
        self.assertEqual(connection.beats, [])
        self.pass_time(3 * INTERVAL)
        self.assertEqual(connection.beats, [16.0, 32.0, 48.0])

    def test_other_interval(self) -> None:
        """When the interval changes, it counts from then on, for those who are there and for those who come."""
        connection = self.add()
        self.pass_time(4)
        self.heartbeat.change(1.6)
        self.pass_time(4)
        self.assertTrue(2 <= len(connection.beats) <= 3, connection.beats)
        later = self.add()
        self.pass_time(4)
        self.assertTrue(2 <= len(later.beats) <= 3, later.beats)
        connection.beats.clear()
        self.heartbeat.change(160.0)
        self.pass_time(160)
        self.assertEqual(len(connection.beats), 1)
        self.heartbeat.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_other_interval_without_connections(self) -> None:
        """Without connections there is no timer, before the change and after it."""
        self.heartbeat.change(1.6)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_any_moment(self) -> None:
        """Whenever it came, it waits no longer than an interval, hardly less, and then exactly one each time."""
        self.add()
        came: list[tuple[float, Connection]] = []
        for _ in range(40):
            self.pass_time(0.625)
            came.append((self.clock.seconds(), self.add()))
        self.pass_time(3 * INTERVAL)
        for moment, connection in came:
            first, *others = connection.beats
            self.assertTrue(INTERVAL - 1 <= first - moment <= INTERVAL, (moment, connection.beats))
            self.assertEqual(others[:2], [first + INTERVAL, first + 2 * INTERVAL])

    def test_late(self) -> None:
        """When the reactor comes late to each tick, the delays do not add up."""
        connection = self.add()
        self.clock.pump([1.375] * 128)
        self.assertEqual(self.clock.seconds(), 11 * INTERVAL)
        self.assertTrue(10 <= len(connection.beats) <= 11, connection.beats)

    def test_spread(self) -> None:
        """Connections that came one after the other are not all pinged in the same instant."""
        connections = []
        for _ in range(16):
            connections.append(self.add())
            self.pass_time(1)
        self.pass_time(2 * INTERVAL)
        self.assertEqual(len({connection.beats[0] for connection in connections}), 16)

    def test_order(self) -> None:
        """Those that came in the same instant are pinged in the order in which they came."""
        pinged: list[int] = []
        for number in range(5):
            self.add(partial(pinged.append, number))
        self.pass_time(INTERVAL)
        self.assertEqual(pinged, [0, 1, 2, 3, 4])

    def test_one_timer(self) -> None:
        """A thousand connections need one timer; without any there is none."""
        self.assertEqual(self.clock.getDelayedCalls(), [])
        connections = [self.add() for _ in range(1000)]
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        for connection in connections:
            self.heartbeat.remove(connection)
        self.pass_time(INTERVAL)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual([connection.beats for connection in connections], [[]] * 1000)

    def test_remove(self) -> None:
        """Who has gone is pinged no more; the others go on."""
        goes, stays = self.add(), self.add()
        self.pass_time(INTERVAL)
        self.heartbeat.remove(goes)
        self.heartbeat.remove(goes)
        self.heartbeat.remove(Connection(self.clock))
        self.pass_time(INTERVAL)
        self.assertEqual((goes.beats, stays.beats), ([16.0], [16.0, 32.0]))

    def test_again_after_idleness(self) -> None:
        """After a time without connections the next one is pinged after one interval."""
        self.heartbeat.remove(self.add())
        self.pass_time(5 * INTERVAL)
        connection = self.add()
        self.pass_time(2 * INTERVAL)
        self.assertEqual(connection.beats, [6 * INTERVAL, 7 * INTERVAL])

    def test_stop(self) -> None:
        """After the end nobody is pinged and no timer is left; it may come more than once."""
        connection = self.add()
        self.pass_time(INTERVAL / 2)
        for _ in range(2):
            self.heartbeat.stop()
            self.assertEqual(self.clock.getDelayedCalls(), [])
        self.pass_time(2 * INTERVAL)
        self.heartbeat.remove(connection)
        self.assertEqual(connection.beats, [])

    def test_start_again(self) -> None:
        """A connection that comes after the end is pinged like any other, those from before are not."""
        before = self.add()
        self.heartbeat.stop()
        after = self.add()
        self.pass_time(2 * INTERVAL)
        self.assertEqual((before.beats, after.beats), ([], [16.0, 32.0]))

    def test_fault(self) -> None:
        """One connection that cannot be pinged is logged each time, and keeps nobody else from being pinged."""

        def fail() -> None:
            raise FAULT

        first, faulty, last = self.add(), self.add(fail), self.add()
        self.pass_time(2 * INTERVAL)
        for connection in (first, faulty, last):
            self.assertEqual(connection.beats, [16.0, 32.0])
        self.assertEqual([failure.value for failure in self.flushLoggedErrors(RuntimeError)], [FAULT, FAULT])

    def test_goes_when_pinged(self) -> None:
        """A connection that ends because it is pinged is pinged no more; with the last one the timer ends."""
        connection = self.add(lambda: self.heartbeat.remove(connection))
        self.pass_time(3 * INTERVAL)
        self.assertEqual(connection.beats, [16.0])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_takes_another_along(self) -> None:
        """A connection that ends because another one is pinged in the same instant is not pinged any more."""
        self.add(lambda: self.heartbeat.remove(other))
        other = self.add()
        self.pass_time(3 * INTERVAL)
        self.assertEqual(other.beats, [])

    def test_makes_room_for_another(self) -> None:
        """Somebody who comes in because a ping shows another one dead leaves one timer, and is pinged in time."""
        newcomers: list[Connection] = []

        def give_way() -> None:
            self.heartbeat.remove(dead)
            newcomers.append(self.add())

        dead = self.add(give_way)
        bystander = self.add()
        self.pass_time(INTERVAL)
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        self.pass_time(2 * INTERVAL)
        self.assertEqual(dead.beats, [16.0])
        self.assertEqual(bystander.beats, [16.0, 32.0, 48.0])
        self.assertEqual([newcomer.beats for newcomer in newcomers], [[32.0, 48.0]])
        self.heartbeat.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_ends_when_pinged(self) -> None:
        """The end may come while somebody is pinged: nobody is pinged after it, and no timer is left."""
        self.add(self.heartbeat.stop)
        other = self.add()
        self.pass_time(3 * INTERVAL)
        self.assertEqual(other.beats, [])
        self.assertEqual(self.clock.getDelayedCalls(), [])
