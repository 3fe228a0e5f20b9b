"""Tests of the history on Redis."""
