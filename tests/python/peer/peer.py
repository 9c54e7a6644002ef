"""A node: its sockets, its links, and what holds its other parts together."""

import ipaddress
import os
import socket
from collections import Counter

from . import advert as adverts
from . import calls, keys, records
from .advert import LEAVING, PRESENT, PROBING, Advert
from .carrier import Tcp
from .handshake import KEPT, Card, Door
from .handshake import PROBING as CARD_PROBING
from .identity import Identity, instance_of
from .lan import Lan
from .link import ANSWERED, LISTENING, Link
from .loop import Loop
from .names import check_network, check_node
from .probe import Probe
from .relay import Relay
from .streams import Streams
from .table import Table
from .tokens import Sealer

HALF_OPEN = 64
GOODBYE = 2
PATIENCE = 60


class NameTaken(Exception):
    pass


class Peer:
    def __init__(self, name, network, network_keys, port=3334, lan=True, listen=False, relays=(),
                 seed=None, records_max=keys.RECORDS_MAX):
        self.name, self.network = check_node(name), check_network(network)
        self.records_max = records_max
        self.identity, self._kept = Identity(seed), seed is not None
        self.start = os.urandom(16)
        self.instance = instance_of(self.identity.public, self.start)
        self.advert_sealers = [Sealer(k) for k in self._derive(network_keys, keys.ADVERT)]
        self.psks = self._derive(network_keys, keys.HANDSHAKE)
        self.relay_keys = self._derive(network_keys, keys.RELAY)

        self.loop, self.door, self.counts, self.told_of = Loop(), Door(), Counter(), []
        self.loop.tick = self._tick
        self.phase, self._sequence = PROBING, 0
        self.links, self.table, self.probe = [], Table(self), Probe(self)
        self.calls, self.streams = calls.Calls(self), Streams(self)
        self.over = False

        self.port = 0
        if lan or listen:
            self._listener = socket.create_server(("127.0.0.1", 0))
            self._listener.setblocking(False)
            self.port = self._listener.getsockname()[1]
            self.loop.listen(self._listener, self._accept)
        self.lan = Lan(self, port) if lan else None
        self.relays = [Relay(self, address) for address in relays]
        if lan:
            self.lan.burst()

    def _derive(self, network_keys, label):
        return [keys.derive(key, self.network, label) for key in network_keys]

    # What others see of it.

    def card(self):
        probing = CARD_PROBING if self.phase == PROBING else 0
        flags = probing | (KEPT if self._kept else 0)
        signature = self.identity.sign_static(flags)
        return Card(flags, self.port, self.name, self.start, self.identity.public, signature)

    def relays_named(self):
        return [relay.address for relay in self.relays][: adverts.RELAYS_MAX]

    def advert(self, phase):
        """The payload of an `adv` frame."""
        self._sequence += 1
        interval = int((self.lan.interval if self.lan else 1) * 1000)
        named = self.relays_named()
        advert = Advert(phase, self.instance, self._sequence, interval, self.port, self.name,
                        relays=named, vouched=len(named))
        overhead = len(self.network.encode()) + len("|adv||END\n")
        return adverts.seal(advert, self.advert_sealers[0], overhead)

    def tell(self, what):
        self.told_of.append(what)

    # Links.

    def _accept(self):
        try:
            sock, address = self._listener.accept()
        except OSError:  # it has gone again
            return
        link = Link(self, False)
        link.carrier = Tcp(self.loop, self.network, link, address, sock)
        self.accepted(link)

    def accepted(self, link):
        self.links.append(link)
        half = [one for one in self.links if one.state in (LISTENING, ANSWERED) and one.carrier]
        if len(half) > HALF_OPEN:
            sources = Counter(one.carrier.source for one in half)
            worst = sources.most_common(1)[0][0]
            of_worst = [one for one in half if one.carrier.source == worst]
            min(of_worst, key=lambda one: (one.state != LISTENING, one.begun)).drop("too many")

    def dial(self, path, name, known=None):
        """`path` is an address, or a relay and a route there. None if it cannot be now."""
        link = Link(self, True, name)
        link.known = known
        if isinstance(path[0], Relay):
            if not path[0].dial(path[1], link):
                return None
        else:
            link.carrier = Tcp(self.loop, self.network, link, path)
        self.links.append(link)
        return link

    def link_ended(self, link):
        if link in self.links:
            self.links.remove(link)
        if link.session:
            self.calls.session_ended(link.session)
            self.table.session_ended(link.session)
        else:
            self.table.dial_failed(link)
            self.probe.dial_failed(link)

    def opened(self, session):
        """A handshake is done."""
        if session.name == self.name:
            self.probe.conflict(session)
        else:
            self.table.opened(session)

    def heard(self, advert, host=None, relay=None, route=None):
        """An advert, from an address or through a relay (6.4)."""
        if advert.instance == self.instance:
            return
        path = (relay, route) if relay else (advert.address or host, advert.port)
        if not relay and not dialable(*path):
            path = None
        if advert.name == self.name:
            self.probe.claim(advert, path, relay)
        elif advert.phase == PROBING:
            if not relay and self.phase == PRESENT:
                self.lan.answer_prober(advert.instance)
        elif advert.phase == LEAVING:
            self.table.goodbye(advert)
        elif self.table.present(advert, path, relay) and not relay and self.phase == PRESENT:
            self.lan.answer()

    # The whole.

    def _tick(self, now):
        if self.over:
            return
        for part in (self.lan, *self.relays, *self.links):
            if part:
                part.tick(now)
        if self.phase == PROBING and self.probe.over(now):
            self.phase = PRESENT
            if self.lan:
                self.lan.burst()
        if self.phase == PRESENT:
            self.table.tick(now)
            self.calls.tick(now)
            self.streams.tick()

    def run_until(self, done, seconds):
        """Whether it came to be so in that time."""
        end = self.loop.now + seconds
        while not done():
            if self.probe.taken:
                self.stop()
                raise NameTaken(self.name)
            if self.loop.now >= end:
                return False
            self.loop.turn()
        return True

    def call(self, name, path, args=(), kwargs=None, timeout=PATIENCE):
        """Calls a command and waits: a status and a body."""
        return self._wait(name, 0, calls.command(path, args, kwargs), timeout)

    def call_with_bytes(self, name, path, data, timeout=PATIENCE):
        ask = calls.command_with_bytes(path, data)
        return self._wait(name, records.BYTES, ask, timeout)

    def message(self, name, data, timeout=PATIENCE):
        return self._wait(name, records.MESSAGE, data, timeout)

    def stream(self, name, path, args, said, timeout=PATIENCE):
        """Streams to a command: the status, the body, and what the command streams."""
        ask = calls.command(path, args)
        return self._wait(name, records.STREAMS, ask, timeout, said)

    def broadcast(self, data, timeout=PATIENCE):
        """Says a message to all, and waits for the report."""
        answer = []
        self.calls.broadcasts.say(data, timeout, answer.append)
        self.run_until(lambda: answer, timeout + 5)
        return answer[0] if answer else None

    def _wait(self, name, form, ask, timeout, said=b""):
        answer = []
        self.calls.ask(name, form, ask, timeout, lambda *got: answer.append(got), said)
        if not self.run_until(lambda: answer, timeout + 5):
            return None, "it was not even given up"
        return answer[0]

    def stop(self):
        """Says goodbye (8.5). A node that found its name taken sends no advert."""
        parts = [part for part in (self.lan, *self.relays) if part]
        for part in parts if not self.probe.taken else ():
            part.leave()
        self.over, carriers = True, [link.carrier for link in self.links]
        for link in list(self.links):
            if link.session:
                link.session.close(records.LEAVING, "this node leaves")
            else:
                link.drop("this node leaves")
        for part in parts:
            part.end()
        end = self.loop.now + GOODBYE
        while any(one.open for one in carriers + self.relays) and self.loop.now < end:
            self.loop.turn()


def dialable(host, port):
    """On 127.0.0.0/8, where this node stays."""
    address = ipaddress.ip_address(host)
    return port != 0 and address.version == 4 and address.is_loopback
