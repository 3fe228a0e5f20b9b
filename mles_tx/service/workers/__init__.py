"""Several processes that are one server: one supervises, the others serve."""
