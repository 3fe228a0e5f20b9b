"""Tests of mles_tx.service."""
