"""Tests of mles_tx.protocol."""
