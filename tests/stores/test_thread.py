"""Tests of the thread of a store, on a real reactor."""

import threading
from typing import Any

from twisted.internet import reactor as global_reactor
from twisted.trial.unittest import TestCase

from mles_tx.stores.thread import StoreThread

reactor: Any = global_reactor


class ThreadTests(TestCase):
    """Calls."""

    async def test_in_order(self) -> None:
        """Calls are made one after the other, in a thread that is not the reactor's, and their results come back."""
        thread = StoreThread(reactor)
        thread.start()
        seen: list[tuple[int, int]] = []

        def call(number: int, more: int = 0) -> int:
            seen.append((number, threading.get_ident()))
            return number + more

        results = [thread.call(call, number, more=100) for number in range(20)]
        self.assertEqual([await result for result in results], list(range(100, 120)))
        self.assertEqual([number for number, _ in seen], list(range(20)))
        self.assertEqual(len({ident for _, ident in seen}), 1)
        self.assertNotIn(threading.get_ident(), {ident for _, ident in seen})
        thread.stop()
        thread.stop()

    async def test_failure(self) -> None:
        """What a call raises comes back, and the next call is made."""
        thread = StoreThread(reactor)
        thread.start()
        self.addCleanup(thread.stop)
        failed, good = thread.call(int, "x"), thread.call(int, "7")
        with self.assertRaises(ValueError):
            await failed
        self.assertEqual(await good, 7)

    async def test_nothing_left(self) -> None:
        """A thread that was stopped is gone, and can be started again."""
        before = threading.active_count()
        thread = StoreThread(reactor)
        for _ in range(2):
            thread.start()
            self.assertEqual(await thread.call(int, "7"), 7)
            self.assertEqual(threading.active_count(), before + 1)
            thread.stop()
            self.assertEqual(threading.active_count(), before)

    async def test_abandoned(self) -> None:
        """A call that does not come back keeps nobody waiting, and would not keep the process."""
        thread = StoreThread(reactor)
        thread.start()
        begun, over = threading.Event(), threading.Event()
        self.addCleanup(over.set)
        daemons: list[bool] = []

        def hang() -> None:
            daemons.append(threading.current_thread().daemon)
            begun.set()
            over.wait()

        hanging = thread.call(hang)
        begun.wait(10)
        thread.abandon()
        thread.stop()
        self.assertEqual(daemons, [True])
        over.set()
        await hanging
