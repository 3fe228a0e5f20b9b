"""The tests of mles_tx: the same folders as the package, and real processes in `integration`."""
