"""Tests of mles_tx.web."""
