"""The `mles-tx` command, one module a subcommand."""
