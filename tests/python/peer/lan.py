"""Chapters 6.1, 6.3 and 6.5: adverts on the LAN, which here is 127.0.0.0/8 alone."""

import random
import socket
from collections import deque

from . import advert as adverts
from .advert import LEAVING, PRESENT
from .fields import Malformed
from .frames import DATAGRAM_MAX, Frame, parse_datagram

BROADCAST = "127.255.255.255"
BURST, BURST_PAUSE = 3, 0.04
ANSWER_PAUSE, ANSWERS = 0.01, 5
PROBERS, OWN_ANSWERS = 16, 5


class Lan:
    def __init__(self, peer, port, interval=1.0):
        self.peer, self.port, self.interval = peer, port, interval
        self._sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        self._sock.setblocking(False)
        self._sock.bind(("0.0.0.0", port))
        peer.loop.listen(self._sock, self._readable)
        self._last = -1.0
        self._due = []  # times of adverts beside the regular ones
        self._regular = None
        self._sent = deque()  # times, within the last interval
        self._own_answers = deque()
        self._answered, self._probers = deque(maxlen=PROBERS), deque(maxlen=PROBERS)

    def burst(self):
        now = self.peer.loop.now
        self._due += [now + i * BURST_PAUSE for i in range(BURST)]

    def answer(self):
        """Another node does not know this one yet."""
        now = self.peer.loop.now
        while self._sent and now - self._sent[0] > self.interval:
            self._sent.popleft()
        if len(self._sent) < ANSWERS:
            self._due.append(max(now, self._last + ANSWER_PAUSE))

    def answer_prober(self, instance):
        """A node probes another name."""
        if instance not in self._probers:
            self._probers.append(instance)
            self.answer()

    def answer_claim(self, instance):
        """A node probes this node's name."""
        now = self.peer.loop.now
        while self._own_answers and now - self._own_answers[0] > 1:
            self._own_answers.popleft()
        if instance not in self._answered and len(self._own_answers) < OWN_ANSWERS:
            self._answered.append(instance)
            self._own_answers.append(now)
            self._due.append(now)

    def tick(self, now):
        phase = self.peer.phase
        if self._regular is None or now >= self._regular:
            self._regular = now + self.interval * random.uniform(0.9, 1.1)
            if phase == PRESENT and not self._due:
                self._due.append(now)
        if any(at <= now for at in self._due):
            self._due = [at for at in self._due if at > now]
            self.send(phase)

    def send(self, phase):
        now = self.peer.loop.now
        self._last = now
        self._sent.append(now)
        frame = Frame(self.peer.network, "adv", self.peer.advert(phase))
        try:
            self._sock.sendto(frame.encode(), (BROADCAST, self.port))
        except OSError:
            pass  # as if it had been lost

    def leave(self):
        self.send(LEAVING)

    def end(self):
        self.peer.loop.remove(self._sock)
        self._sock.close()

    def _readable(self):
        while True:
            try:
                data, (host, _) = self._sock.recvfrom(DATAGRAM_MAX + 1)
            except BlockingIOError:
                return
            try:
                frame = parse_datagram(data)
                if (frame.net, frame.kind) != (self.peer.network, "adv"):
                    continue
                heard = adverts.open_payload(frame.payload, self.peer.advert_sealers)
            except Malformed:
                self.peer.counts["adverts ignored"] += 1
                continue
            self.peer.heard(heard, host=host)
