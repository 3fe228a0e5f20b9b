"""A TCP relay between a client and a server that cuts its links."""

import socket
import ssl
import threading
from contextlib import suppress
from random import Random

from .clients import Reachable

__all__ = ["Relay"]


class Relay:
    """Passes bytes on, and cuts each link after a random number of them; later ones live longer, so that it ends.

    Args:
        server: where it goes to.
        seed: of the random numbers.
        most: bytes after which the first link is cut at the latest, both directions together.
    """

    def __init__(self, server: Reachable, seed: int, most: int) -> None:
        self.target = server.port
        self.cuts = 0
        self._random = Random(seed)
        self._most = most
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self.url = f"ws://127.0.0.1:{self.port}/"
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def dial(self, receive_buffer: int | None = None) -> socket.socket:
        """A TCP connection by way of it."""
        return socket.create_connection(("127.0.0.1", self.port))

    def trust(self) -> ssl.SSLContext | None:
        """It speaks no TLS."""
        return None

    def stop(self) -> None:
        """Take no further links."""
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._thread.join()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listening.accept()
                try:
                    far = socket.create_connection(("127.0.0.1", self.target))
                except OSError:
                    near.close()
                    continue
                left = [self._random.randrange(500, self._most)]
                self._most += self._most // 2
                for source, sink in ((near, far), (far, near)):
                    threading.Thread(target=self._pass_on, args=(source, sink, left), daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket, left: list[int]) -> None:
        with suppress(OSError):
            while data := source.recv(4096):
                data = data[: max(0, left[0])]  # what is behind is lost
                left[0] -= len(data)
                sink.sendall(data)
                if left[0] <= 0:
                    self.cuts += 1
                    break
        for side in (source, sink):
            with suppress(OSError):
                side.shutdown(socket.SHUT_RDWR)
            side.close()
