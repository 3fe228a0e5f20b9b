"""A WebSocket server to pass upgrades on to, with the `websockets` library: it prints its port and echoes.

Told "close", it closes with 4001; told "drop", it breaks off. Paths with "refused" get 403.
"""

import asyncio
from http import HTTPStatus

from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response


async def echo(connection: ServerConnection) -> None:
    request = connection.request
    assert request is not None
    await connection.send(f"{request.path} {request.headers['Host']} {request.headers.get('X-Forwarded-For')}")
    async for message in connection:
        if message == "close":
            await connection.close(4001, "as you like")
        elif message == "drop":
            connection.transport.abort()
        else:
            await connection.send(message)


def check(connection: ServerConnection, request: Request) -> Response | None:
    refused = "refused" in request.path
    return connection.respond(HTTPStatus.FORBIDDEN, "not here\n") if refused else None


async def main() -> None:
    async with serve(echo, "127.0.0.1", 0, process_request=check, max_size=None, ping_interval=None) as server:
        print(f"port {next(iter(server.sockets)).getsockname()[1]}", flush=True)
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
