"""A node of PeerBase 0.7.1 with a console: a JSON question a line, a JSON answer a line.

What the package prints about a failure is in the answer, under "printed"."""

import contextlib
import io
import json
import random
import sys
import time

import peerbase
import requests


def fail(node, args, kwargs):
    raise ValueError("no such sensor")


def slow(node, args, kwargs):
    time.sleep(args[0])
    return "late"


commands = {
    "sensor": {"read": lambda node, args, kwargs: {"args": args, "kwargs": kwargs}, "fail": fail},
    "slow": slow,
}
settings = json.loads(sys.argv[1])
out, sys.stdout = sys.stdout, sys.stderr
node = peerbase.Node(
    settings["name"],
    settings["network"],
    settings["key"],
    ports=settings.get("ports", [1000, 1001]),
    servers=settings.get("servers"),
    use_local=settings.get("local", True),
    registered_commands=commands,
)
node.start_multithreaded()


def answer(question):
    what = question.pop("ask")
    if what == "peers":
        return sorted(node.peers), sorted(node.remote_peers)
    if what == "servers":
        return sorted(node.server_info)
    if what == "infinity":
        return node.command("__echo__", [float("inf")], {}, **question)
    if what == "bench":
        # How long so many calls take, and the median of them; with pauses, so that they fall anywhere.
        took, pause = [], question.pop("pause")
        for _ in range(question.pop("count")):
            time.sleep(random.uniform(0, pause))
            begin = time.perf_counter()
            node.command(**question)
            took.append(time.perf_counter() - begin)
        return sum(took), sorted(took)[len(took) // 2]
    if what == "requests":
        # As many as it takes in that time, one after another: a packet to itself, and fetching it.
        relay, name = question["relay"], settings["name"]
        ping = {"node_name": name, "node_network": settings["network"], "known_servers": []}
        packet = {"target": name, "originator": name, "r_type": "response", "remote_addr": relay}
        packet.update(data="x" * 500, packet_id="p")
        requests.post(f"http://{relay}/ping/", json=ping)
        count, begin = 0, time.perf_counter()
        while time.perf_counter() - begin < question["seconds"]:
            requests.post(f"http://{relay}/send/", json=packet).raise_for_status()
            assert "p" in requests.post(f"http://{relay}/ping/", json=ping).json()["buffer"]
            count += 2
        return count / (time.perf_counter() - begin)
    return getattr(node, what)(**question)


print("ready", file=out, flush=True)
for line in sys.stdin:
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed):
            said = {"value": answer(json.loads(line))}
    except Exception as e:
        said = {"error": type(e).__name__}
    print(json.dumps({**said, "printed": printed.getvalue()}), file=out, flush=True)
