"""Tests of mles_tx.transport.certificates."""
