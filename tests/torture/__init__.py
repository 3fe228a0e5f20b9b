"""Does to a running server what the table of promises names, and tells what came of it: a small program a promise."""
