"""A service manager in small, for socket activation: holds sockets, and starts a program that takes them over.

    python activator.py NAME[,NAME] COMMAND ...

Each name is a socket on a free port of 127.0.0.1. It says where they are, starts the program, says when that has ended,
and with each line on its standard input starts it again. SIGTERM ends it, and the program is left to whoever sent that.
"""

import os
import socket
import sys

_FIRST = 3


def main() -> None:
    """Hold the sockets until there is no more input."""
    names, *command = sys.argv[1:]
    held = []
    for name in names.split(","):
        bound = socket.socket()
        bound.bind(("127.0.0.1", 0))
        bound.listen(1024)
        held.append(bound)
        print(f"{name} is on port {bound.getsockname()[1]}", flush=True)
    while True:
        child = os.fork()
        if child == 0:
            start(names.replace(",", ":"), held, command)
        print(f"started {child}", flush=True)
        _, status = os.waitpid(child, 0)
        print(f"ended with {os.waitstatus_to_exitcode(status)}", flush=True)
        if not sys.stdin.readline():
            return


def start(names: str, held: list[socket.socket], command: list[str]) -> None:
    """Become the program."""
    above = [os.dup(bound.fileno()) for bound in held]
    above = [os.dup2(descriptor, 100 + place, inheritable=False) for place, descriptor in enumerate(above)]
    for place, descriptor in enumerate(above):
        os.dup2(descriptor, _FIRST + place)
    os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(len(held)), "LISTEN_FDNAMES": names}
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()
