"""The benchmark's pure parts; the measurements themselves are no tests."""
