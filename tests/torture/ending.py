"""SIGTERM while many members talk."""

import signal
import subprocess
import threading
import time

from .peers import PATIENCE, Crowd, Peer, fresh_name
from .program import Option, Probe, Run, main


def end_under_load(run: Run) -> None:
    """Let members join channels and talk; end the server; see what each was told, and how the process ends."""
    server = run.start("--rate-limit", "0")
    channel = fresh_name("ending")
    members = [Peer(run.target, f"member{n}", f"{channel}-{n % run.channels}", history=0) for n in range(run.members)]
    crowd = Crowd(members)
    for member in members:
        member.on_frame = lambda opcode, payload: None
    talking = [Peer(run.target, f"talker{n}", f"{channel}-{n}", history=0, receive=False) for n in range(run.channels)]
    is_over = threading.Event()

    def talk() -> None:
        while not is_over.is_set():
            for talker in talking:
                try:
                    talker.say(b"x" * 128)
                except OSError:
                    return
            time.sleep(0.02)

    thread = threading.Thread(target=talk)
    thread.start()
    crowd.run(lambda: False, 1)
    began = time.monotonic()
    server.signal(signal.SIGTERM)
    crowd.run(lambda: all(member.is_over for member in members), PATIENCE)
    is_over.set()
    thread.join()
    for talker in talking:
        talker.ended(5)
    for peer in (*members, *talking):
        peer.socket.close()  # it waits for that, five seconds at most
    told = sum(member.close is not None and member.close[0] in (1001, 1012) for member in members)
    run.equal("members who got a close frame with 1001 or 1012", told, run.members)
    try:
        code: int | str = server.wait()
    except subprocess.TimeoutExpired:
        code = "none: it does not end"
    run.below("it has ended after", time.monotonic() - began, 10, "s", timed=True)
    run.equal("its exit code is 0 or that of the signal", code in (0, 143, -15), True)
    run.no_faults()


PROBE = Probe(
    promise="SIGTERM with 1,000 members under load: each gets a close frame with 1001 or 1012, a clean end within 10 s",
    does=end_under_load,
    options=(Option("members", 1000, "how many"), Option("channels", 20, "on how many channels, one talker each")),
    has_pair=False,
    starts=True,
)

if __name__ == "__main__":
    main(PROBE)
