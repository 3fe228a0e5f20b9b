"""Tests of mles_tx.cli."""
