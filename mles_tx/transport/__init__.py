"""Sockets and TLS: listening ports, the door, WebSocket connections, certificates."""
