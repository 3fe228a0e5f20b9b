"""Tests of several processes that are one server."""
