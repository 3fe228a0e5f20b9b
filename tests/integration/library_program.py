"""A program with two clients: one says numbers, the other one prints what it hears. Run by test_library.py.

Arguments: the URL of who speaks, that of who listens, how many numbers, how many are said in a second.
"""

import sys
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater, react

from mles_tx.client import ClientConfig, MlesClient


async def speak(reactor: Any, client: MlesClient, number: int, rate: int) -> None:
    """Say the numbers, and leave when the server has taken them."""
    for value in range(number):
        await client.publish(f"number {value}")
        if value % rate == 0:
            await deferLater(reactor, 0.2)
    await client.finish()


async def main(reactor: Any) -> None:
    """Until all numbers have come, and those that were doubled or out of order as well."""
    speaker_url, listener_url, number, rate = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    speaker = MlesClient(ClientConfig(speaker_url, "speaker", "numbers"), reactor)
    listener = MlesClient(ClientConfig(listener_url, "listener", "numbers"), reactor)
    messages = listener.messages()
    listener.startService()
    speaker.startService()
    speaking = Deferred.fromCoroutine(speak(reactor, speaker, number, rate))
    heard = []
    async for message in messages:
        text = message.text or ""
        if text.startswith("number "):
            heard.append(int(text.removeprefix("number ")))
            if len(heard) % 100 == 0:
                print(f"heard {len(heard)}", flush=True)
            if heard[-1] == number - 1:
                break
    await speaking
    await listener.stopService()
    print("in order" if heard == list(range(number)) else f"wrong: {len(heard)} heard, {len(set(heard))} different")


if __name__ == "__main__":
    react(lambda reactor: Deferred.fromCoroutine(main(reactor)))
