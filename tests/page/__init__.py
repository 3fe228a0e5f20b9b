"""Tests of how the bundled page is made, and of what it is made of."""
