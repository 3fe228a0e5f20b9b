"""The server as a whole: options, configuration, the service tree, and how it runs under twistd."""
