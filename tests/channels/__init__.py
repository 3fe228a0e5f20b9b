"""Tests of mles_tx.channels."""
