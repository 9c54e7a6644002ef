"""A node as a program: settings as JSON in its argument, a JSON question a line, a JSON answer a
line.

    python -m peer '{"name": "py", "network": "plant", "key": "...", "port": 3334}'
"""

import json
import os
import sys

from .calls import Refuse
from .fields import unb64
from .identity import public_text
from .peer import NameTaken, Peer

PATIENCE = 60


def refuse(caller, args, kwargs):
    raise Refuse("not for you")


def fail(caller, args, kwargs):
    raise ValueError("no such sensor")


def add(caller, args, kwargs):
    return {"sum": sum(args), "kwargs": kwargs, "caller": caller.name}


def shown(status, body):
    """A status other than of a value with what came along."""
    if status is None:
        return {"ended": body}
    return {"status": status, "body": body.decode(errors="replace")}


class Program:
    def __init__(self, settings):
        known = ("port", "lan", "listen", "relays", "records_max")
        more = {name: settings[name] for name in known if name in settings}
        network_keys = [unb64(key, 32) for key in settings["key"].split(",")]
        self.peer = Peer(settings["name"], settings["network"], network_keys, **more)
        commands = {
            "add": add, "fail": fail, "refuse": refuse,
            "blob": lambda caller, args, kwargs: "x" * args[0],
            "length": lambda caller, args, kwargs: len(args[0]),
        }
        self.peer.calls.commands.update(commands)
        self.peer.calls.with_bytes["same"] = lambda caller, data: data
        self.peer.calls.streaming["shout"] = lambda caller, args, kwargs, said: (
            len(said), said.upper()
        )
        self.messages = []
        self.peer.calls.message = self.message

    def message(self, caller, data):
        self.messages.append([caller.name, data.decode(errors="replace")])
        return b"got " + data

    def answer(self, question):
        peer, what = self.peer, question.pop("ask")
        if what == "call":
            return shown(*peer.call(**question))
        if what == "size":
            status, body = peer.call(**question)
            return {"status": status, "size": len(body)}
        if what == "bytes":
            data = bytes(i % 251 for i in range(question["size"]))
            status, body = peer.call_with_bytes(question["name"], question["path"], data)
            return {"status": status, "same": body == data, "body": body[:100].hex()}
        if what == "stream":
            said = b"said is heard " * question["times"]
            status, body, heard = peer.stream(question["name"], question["path"], [], said)
            return {"status": status, "body": body.decode(), "same": heard == said.upper()}
        if what == "broadcast":
            report = peer.broadcast(question["data"].encode())
            return [report.delivered, report.failed, report.names]
        if what == "heard":
            heard, wanted = peer.calls.broadcasts.delivered, question["count"]
            peer.run_until(lambda: len(heard) >= wanted, PATIENCE)
            return [[sender, data.decode()] for sender, data in heard]
        if what == "message":
            return shown(*peer.message(question["name"], question["data"].encode()))
        if what == "peers":
            return peer.table.reached()
        if what == "messages":
            return self.messages
        if what == "met":
            return self.met(question["name"])
        if what == "told":
            wanted = question["of"]
            found = peer.run_until(lambda: any(wanted in t for t in peer.told_of), PATIENCE)
            return peer.told_of if found else None
        if what == "relay":
            return [[r.state, r.proved] for r in peer.relays]
        if what == "ping":
            return self.ping(question["name"])
        if what == "renewals":
            return peer.table.choose(question["name"]).session.out.renewals
        if what == "connect":
            return self.connect(question["port"])
        if what == "identity":
            return public_text(peer.identity.public)
        if what == "ignored":
            wanted = question["adverts"]
            return peer.run_until(lambda: peer.counts["adverts ignored"] >= wanted, PATIENCE)
        if what == "gone":
            return peer.run_until(lambda: question["name"] not in peer.table.reached(), PATIENCE)
        raise ValueError(what)

    def met(self, name):
        """How all are reached, once this one is."""
        reached = self.peer.table.reached
        met = self.peer.run_until(lambda: reached().get(name, "known") != "known", PATIENCE)
        return reached() if met else None

    def connect(self, port):
        """Dials an address, whoever is there; its name, or why there is none."""
        link = self.peer.dial(("127.0.0.1", port), None)
        self.peer.run_until(lambda: link.session or link.failed, PATIENCE)
        return link.session.name if link.session else link.failed

    def ping(self, name):
        session = self.peer.table.choose(name).session
        pongs = session.pongs
        session.send_ping()
        return self.peer.run_until(lambda: session.pongs > pongs or not session.alive, PATIENCE)

    def run(self):
        lines = bytearray()

        def read():
            data = os.read(0, 1 << 16)
            over.append(True) if not data else lines.extend(data)

        over = []
        self.peer.loop.listen(sys.stdin.fileno(), read)
        while not over:
            self.peer.run_until(lambda: over or b"\n" in lines, 1)
            if b"\n" in lines:
                line, _, lines = lines.partition(b"\n")
                print(json.dumps(self.answer(json.loads(line))), flush=True)
        self.peer.stop()


def main():
    program = Program(json.loads(sys.argv[1]))
    try:
        if not program.peer.run_until(lambda: program.peer.phase == 0, PATIENCE):
            sys.exit("it did not come to take part")
        print("ready", program.peer.port, flush=True)
        program.run()
    except NameTaken as name:
        print(f"taken: {name}", flush=True)
        sys.exit(3)


main()
