"""Signals that may come while a program is still starting: they wait until it can do what they ask for.

Until somebody takes them, SIGHUP, SIGUSR1 and SIGUSR2 end a process.
"""

import signal

__all__ = ["hold_signals", "release_signals"]

#: What a program of its own reacts to once it runs.
_SIGNALS = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


def hold_signals() -> None:
    """Let them wait with the kernel: called as soon as anything of ours is."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)


def release_signals() -> None:
    """Take them from now on; those that wait come at once."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
