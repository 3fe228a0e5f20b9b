"""Tests of mles_tx.transport."""
