"""Members and messages. Nothing here knows a socket, a file or a database."""
