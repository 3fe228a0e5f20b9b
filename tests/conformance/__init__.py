"""The Autobahn|Testsuite against the WebSocket half of the server, and against the whole of it."""
