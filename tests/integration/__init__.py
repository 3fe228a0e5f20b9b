"""Tests with real processes, real sockets and unmodified clients."""
