"""A node of PeerBase 0.7.1 with a console: a JSON question a line, a JSON answer a line.

What the package prints about a failure is in the answer, under "printed"."""

import contextlib
import io
import json
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
    if what == "bench":
        # How long so many calls take, and the median of them.
        took = []
        for _ in range(question.pop("count")):
            begin = time.perf_counter()
            node.command(**question)
            took.append(time.perf_counter() - begin)
        return sum(took), sorted(took)[len(took) // 2]
    if what == "pings":
        # As many as it takes in that time, one after another, as a node's own.
        count, begin = 0, time.perf_counter()
        body = {"node_name": settings["name"], "node_network": settings["network"], "known_servers": []}
        while time.perf_counter() - begin < question["seconds"]:
            requests.post(f"http://{question['relay']}/ping/", json=body).raise_for_status()
            count += 1
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
