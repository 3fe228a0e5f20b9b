"""A member behind a link that loses a tenth of its packets, and another one behind a narrow link."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence

from twisted.trial.unittest import SkipTest

from tests.integration.parts import debian_program, shared_libraries

from .peers import Peer, fresh_name
from .program import Option, Probe, Run, main

#: The two ends of the link.
_HERE, _THERE = "10.213.77.1", "10.213.77.2"

#: Says that nothing more comes.
_END = b"the end"


def lose(run: Run) -> None:
    """Publish to members behind the links, who count; the pair is on this side."""
    if os.geteuid() != 0:
        run.unknown("a lossy link", "only root can make one")
        return
    try:
        nft = debian_program(
            "nftables", "nft", "libnftables1", "libnftnl11", "libedit2", "libbsd0", "libmd0", "libjansson4"
        )
    except SkipTest as skip:
        run.unknown("a lossy link", str(skip))
        return
    name = fresh_name("mles")[:12]
    run.stack.callback(subprocess.run, ["ip", "netns", "delete", name], stderr=subprocess.DEVNULL)
    inside = ["ip", "netns", "exec", name]
    here, there = name[-8:] + "a", name[-8:] + "b"
    for command in (
        ["ip", "netns", "add", name],
        ["ip", "link", "add", here, "type", "veth", "peer", "name", there],
        ["ip", "link", "set", there, "netns", name],
        ["ip", "address", "add", f"{_HERE}/30", "dev", here],
        ["ip", "link", "set", here, "up"],
        [*inside, "ip", "address", "add", f"{_THERE}/30", "dev", there],
        [*inside, "ip", "link", "set", there, "up"],
        [*inside, "ip", "link", "set", "lo", "up"],
    ):
        try:
            subprocess.run(command, check=True, capture_output=True, text=True)
        except (FileNotFoundError, subprocess.CalledProcessError) as error:
            run.unknown("a lossy link", f"this machine makes none: {getattr(error, 'stderr', '') or error}".strip())
            return
    rate = f"limit rate over {run.kilobits * 1000 // 8} bytes/second burst {run.burst} bytes"
    rules = f"""table inet link {{
        chain input {{ type filter hook input priority 0; iifname "{there}" jump worse; }}
        chain output {{ type filter hook output priority 0; oifname "{there}" jump worse; }}
        chain worse {{ numgen random mod 100 < {run.percent} drop; {rate} drop; }}
    }}"""
    subprocess.run(
        [*inside, str(nft), "-f", "-"], input=rules, text=True, check=True, env=os.environ | shared_libraries(nft)
    )
    run.start("--rate-limit", "0", interface="0.0.0.0")
    channel = fresh_name("lossy")
    with run.pair():
        publisher = Peer(run.target, "publisher", channel, history=0, receive=False)
        command = [*inside, sys.executable, "-m", "tests.torture.lossy_link", "count"]
        command += [run.target.url, run.target.ca or "", channel, str(run.messages)]
        counting = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert counting.stdout is not None
        if counting.stdout.readline() != "in\n":
            run.equal("a member behind the link", "cannot join", "joins")
            counting.communicate()
            return
        began = time.monotonic()
        for number in range(run.messages):
            publisher.say((b"%08d" % number).ljust(run.bytes, b"."))
            time.sleep(run.pause)
        publisher.say(_END)
        try:
            output, _ = counting.communicate(timeout=run.seconds)
        except subprocess.TimeoutExpired:
            counting.kill()
            output, _ = counting.communicate()
        got = json.loads(output or "{}")
        run.equal("messages that came, in order", got.get("in_order", "not all"), run.messages)
        run.below("they took", time.monotonic() - began, run.seconds, "s", timed=True)
    run.no_faults()


def count(arguments: Sequence[str]) -> None:
    """Behind the link: join and count."""
    from .target import Target

    url, ca, channel, messages = arguments
    peer = Peer(Target(url, ca or None, (), _HERE), "behind", channel, history=0)
    print("in", flush=True)
    in_order = 0
    while in_order < int(messages) and (payload := peer.receive(60)) not in (None, _END):
        if payload is not None and payload[:8] == b"%08d" % in_order:
            in_order += 1
    print(json.dumps({"in_order": in_order}), flush=True)
    peer.drop()


PROBE = Probe(
    promise="10 % packet loss, 2 Mbit/s: 10,000 of 10,000 messages, in order",
    does=lose,
    options=(
        Option("percent", 10, "packets lost, in each direction"),
        Option("kilobits", 2000, "a second, in each direction"),
        Option("burst", 32_000, "bytes that may come at once"),
        Option("messages", 10_000, "how many"),
        Option("bytes", 100, "of each"),
        Option("pause", 0.001, "seconds between two"),
        Option("seconds", 300.0, "how long they are waited for"),
    ),
    has_pair=False,
    starts=True,
)

if __name__ == "__main__":
    if sys.argv[1:2] == ["count"]:
        count(sys.argv[2:])
    else:
        main(PROBE)
