"""A benchmark of the server, beside the obvious one in Twisted and the least that the machine allows: `make bench`."""
