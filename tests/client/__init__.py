"""Tests of mles_tx.client."""
