"""Chapter 13: a relay, as a node sees it: joining, and what goes to which route."""

import hmac
import os
import random

from . import advert as adverts
from .carrier import Tcp
from .fields import Malformed, b64, unb64
from .frames import Frame
from .link import Link, is_first
from .relay_words import Seal, Word, member_proof, number, relay_proof, said
from .route import WINDOW, Route

JOIN_SILENCE, JOIN_TIME = 5, 600
PING_AFTER, DEAD_AFTER = 10, 30
GOOD_AFTER, PAUSE, PAUSE_MAX, PAUSE_WRONG = 10, 0.2, 30, 60
STRAY_ANSWERS = 100
ROUTES_MAX = 4096
ASKING, ANSWERED, JOINED = "asking", "answered", "joined"
INNER = ("hel", "msg", "rsp", "err")


class Relay:
    """The link to one relay. It is dialled again when it has ended."""

    def __init__(self, peer, address):
        self.peer, self.address = peer, address
        host, _, port = address.rpartition(":")
        self._at = host, int(port)
        self.state, self.route, self.proved, self.had_key = None, None, False, False
        self.routes, self._tcp, self._failures, self._dial_at = {}, None, 0, 0.0
        self._stray, self._stray_second = 0, 0
        self.refused = None

    # Joining.

    def _dial(self, now):
        self._tcp = Tcp(self.peer.loop, self.peer.network, self, self._at)
        self.state, self._since, self._heard = ASKING, now, now
        self._seal = self._open = self._nonce = self._asked = self._told = None
        self.route, self.proved, self.refused, self._wrong = None, False, None, False
        self._blocked = set()

    def connected(self):
        self._challenge = os.urandom(32)
        self._tcp.send("reg", f"join.2.{b64(self._challenge)}")

    def frame(self, frame):
        self._heard, self._asked = self.peer.loop.now, None
        try:
            if frame.kind == "err":
                self._refuse(frame.payload)
            elif frame.net != self.peer.network:
                raise Malformed("a frame of another network")
            elif frame.kind == "reg":
                self._word(self._open.open(frame.payload) if self._open else frame.payload)
            elif frame.kind == "png":
                self._png(frame.payload)
            elif frame.kind == "fwd":
                self._forward(frame)
            else:
                raise Malformed("a frame out of place")
        except Malformed as why:
            self._wrong = True
            self.peer.tell(f"relay {self.address}: {why}")
            self._tcp.end()

    def _refuse(self, word):
        self.refused, self._wrong = word, word != "stopping"
        self.peer.tell(f"relay {self.address} refused: {word}")
        self._tcp.end()

    def _word(self, payload):
        word = Word.parse(payload)
        known = {
            "prove": self._prove, "joined": self._joined, "gone": self._gone,
            "credit": self._credit, "busy": self._busy, "settled": self._settled,
            "window": self._window,
        }
        if word.verb in known:
            try:
                known[word.verb](word, *word.args)
            except TypeError:
                raise Malformed("the arguments of a word") from None
        elif word.verb.startswith("!"):
            raise Malformed("an unknown critical verb")

    def _prove(self, word, theirs, proof=None):
        if self.state != ASKING:
            raise Malformed("a second prove")
        known = said(self.peer.network, self._challenge, unb64(theirs, 32), "", word.fields_text)
        self.state = ANSWERED
        if proof is None:
            if self.had_key:
                raise Malformed("wrong relay key: it had one, and proves none")
            self.peer.tell(f"relay {self.address} has no relay key")
            return
        proof = unb64(proof, 32)
        for key in self.peer.relay_keys:
            if hmac.compare_digest(relay_proof(key, known), proof):
                self._tcp.send("reg", f"proof.{b64(member_proof(key, known))}")
                self._seal, self._open = Seal(key, b"member", known), Seal(key, b"relay", known)
                self.proved = True
                return
        raise Malformed("wrong relay key")

    def _joined(self, word, route):
        if self.state != ANSWERED:
            raise Malformed("joined out of place")
        self.state, self.route = JOINED, _route(route)
        self.had_key = self.had_key or self.proved
        self.peer.tell(f"relay {self.address} joined")

    def block(self, name):
        """Afterwards the route is as if gone, but what was counted is kept."""
        self._blocked.add(name)
        self.say(f"block.{name}")
        self.peer.table.route_gone(self, name)

    def say(self, word):
        self._tcp.send("reg", self._seal.seal(word) if self._seal else word)

    # Routes.

    def _gone(self, word, name):
        if self.state == ASKING:
            raise Malformed("gone out of place")
        route = self.routes.pop(_route(name), None)
        self.peer.table.route_gone(self, name)
        if route and route.link:
            route.link.closed()

    def _counted(self, name, total):
        if self.state != JOINED:
            raise Malformed("a word out of place")
        route, total = self.routes.get(_route(name)), number(total)
        if route:
            route.total(total)
        return route

    def _credit(self, word, name, total):
        self._counted(name, total)

    def _busy(self, word, name, total):
        route = self._counted(name, total)
        if route and route.link:
            route.link.drop("the relay has dropped a frame")

    def _settled(self, word, name, total):
        route = self._counted(name, total)
        if route:
            route.last = 0

    def _window(self, word, name, window):
        if self.state != JOINED or number(window) < WINDOW:
            raise Malformed("a window")
        self.route_to(_route(name)).widen(number(window))

    def route_to(self, name):
        if name not in self.routes:
            self.routes[name] = Route(self, name)
        return self.routes[name]

    def _forward(self, frame):
        name, kind, payload = frame.payload.split(".") if frame.payload.count(".") == 2 else _bad()
        if _route(name) in self._blocked:
            return None
        if kind == "adv":
            if self.state == ASKING:
                raise Malformed("an advert out of place")
            return self._heard_advert(name, payload)
        if self.state != JOINED or kind not in INNER:
            raise Malformed("a frame out of place")
        route = self.routes.get(name)
        if route and route.link:
            return route.link.frame(Frame(frame.net, kind, payload))
        if kind == "hel" and is_first(payload) and len(self.routes) < ROUTES_MAX:
            return self.answer(self.route_to(name), payload)
        if kind != "err":
            self._answer_stray(name)

    def answer(self, route, payload):
        """Message 1 makes a link."""
        link = Link(self.peer, False)
        link.carrier, route.link = route, link
        self.peer.accepted(link)
        link.frame(Frame(self.peer.network, "hel", payload))

    def dial(self, name, link):
        route = self.route_to(name)
        if route.link:
            return False
        link.carrier, route.link = route, link
        link.connected()
        return True

    def _answer_stray(self, name):
        second = int(self.peer.loop.now)
        if second != self._stray_second:
            self._stray, self._stray_second = 0, second
        self._stray += 1
        if self._stray <= STRAY_ANSWERS:
            self.route_to(name).send("err", "closed")

    def _heard_advert(self, name, payload):
        try:
            heard = adverts.open_payload(payload, self.peer.advert_sealers)
        except Malformed:
            self.peer.counts["adverts ignored"] += 1
            return
        self.peer.heard(heard, relay=self, route=name)

    def write(self, frame):
        self._tcp.write(frame)

    # Signs of life, and the end.

    def _png(self, nonce):
        """What this node has sent comes back; what the relay has sent goes back."""
        if nonce == self._nonce:
            self._nonce = None
        else:
            self._tcp.send("png", nonce)

    def garbage(self):
        self._wrong = True
        self._tcp.end()

    def closed(self):
        now = self.peer.loop.now
        good = self.state == JOINED and now - self._since > GOOD_AFTER
        self._failures = 0 if good else self._failures + 1
        pause = PAUSE_WRONG if self._wrong else min(PAUSE * 2**self._failures, PAUSE_MAX)
        self._dial_at = now + pause * random.uniform(0.9, 1.1)
        self.state, self._tcp = None, None
        routes, self.routes = self.routes, {}
        for route in routes.values():
            if route.link:
                route.link.closed()
        self.peer.table.relay_ended(self)

    @property
    def settled(self):
        """Whether it is joined, or was found not to be reachable."""
        return self.state == JOINED or self._failures > 0

    def tick(self, now):
        if self._tcp is None:
            if now >= self._dial_at:
                self._dial(now)
            return
        silent = now - self._heard
        if self.state != JOINED:
            if silent > JOIN_SILENCE or now - self._since > JOIN_TIME:
                self._tcp.end()
        elif silent > DEAD_AFTER:
            self._tcp.end()
        else:
            self._tell_advert()
            if silent > PING_AFTER and self._asked is None:
                self._nonce = self._asked = b64(os.urandom(12))
                self._tcp.send("png", self._nonce)

    def _tell_advert(self):
        """The latest advert, whenever something in it has changed."""
        now = self.peer.phase, self.peer.relays_named()
        if self._told != now:
            self._told = now
            self._tcp.send("adv", self.peer.advert(self.peer.phase))

    def leave(self):
        if self.state == JOINED:
            self._tcp.send("adv", self.peer.advert(adverts.LEAVING))

    @property
    def open(self):
        return self._tcp is not None

    def end(self):
        if self._tcp:
            self._tcp.end()


def _route(name):
    unb64(name, 12)
    return name


def _bad():
    raise Malformed("what is carried")
