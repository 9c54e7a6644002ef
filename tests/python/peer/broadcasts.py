"""Chapters 11.2 and 11.3: which messages to all nodes were heard, how they are handed on, and what
became of them."""

from dataclasses import dataclass, field

from .broadcast import Broadcast
from .fields import Malformed, Reader, text, u8, u32
from .records import BROADCAST, OVERLOADED, VALUE, Violation

HOPS = 31
WINDOW = 1024
ORIGINS = 1024
NAMES = 64
HAND_ON = 60
U32_MAX = (1 << 32) - 1


@dataclass
class Report:
    delivered: int = 0
    failed: int = 0
    cut: int = 0
    names: list = field(default_factory=list)

    def encode(self):
        head = u32(self.delivered) + u32(self.failed) + u8(self.cut) + u8(len(self.names))
        return head + b"".join(map(text, self.names))

    @staticmethod
    def decode(data):
        r = Reader(data)
        report = Report(r.u32(), r.u32(), r.u8())
        report.names = [r.text() for _ in range(r.u8())]
        r.end()
        too_many = len(report.names) > min(NAMES, report.failed)
        if report.cut > 1 or too_many or len(set(report.names)) < len(report.names):
            raise Malformed("a report")
        return report

    def add(self, other):
        self.delivered = min(self.delivered + other.delivered, U32_MAX)
        self.failed = min(self.failed + other.failed, U32_MAX)
        self.cut |= other.cut
        for name in other.names:
            self.add_name(name)

    def add_name(self, name):
        if name not in self.names and len(self.names) < NAMES:
            self.names.append(name)


class Broadcasts:
    def __init__(self, calls):
        self.calls, self.said = calls, 0
        self.heard = {}  # by origin: the highest number, and those up to it that were heard
        self.delivered = []  # sender and data

    def say(self, data, timeout, done):
        """Calls `done` with the report."""
        peer = self.calls.peer
        broadcast = Broadcast(self.said, HOPS, peer.name, peer.identity.public, peer.start, data)
        broadcast.sign(peer.network, peer.identity)
        self.said += 1
        self._hand_on(broadcast, None, Report(), timeout / 10 * 9, done)

    def hear(self, session, broadcast, until, answer):
        """A peer hands a message on, and waits until then for a status and a body."""
        peer, origin = self.calls.peer, broadcast.instance
        highest, numbers = self.heard.get(origin, (-1, set()))
        number = broadcast.number
        if origin == peer.instance or number in numbers:
            return answer(VALUE, Report().encode())
        if number <= highest - WINDOW:
            return answer(OVERLOADED, b"")
        if not broadcast.is_signed(peer.network):
            raise Violation("a broadcast that its origin has not signed")
        if len(self.heard) >= ORIGINS and origin not in self.heard:
            self.heard.pop(next(iter(self.heard)))
        highest = max(highest, number)
        self.heard[origin] = highest, {n for n in numbers | {number} if n > highest - WINDOW}
        self.delivered.append([broadcast.sender, broadcast.data])
        left = min((until - peer.loop.now) / 10 * 9, HAND_ON)
        done = lambda report: answer(VALUE, report.encode())
        self._hand_on(broadcast, session.instance, Report(delivered=1), left, done)

    def _hand_on(self, broadcast, from_, report, timeout, done):
        known = self.calls.peer.table.known.values()
        others = (from_, broadcast.instance)
        names = [k.name for k in known if k.session and k.instance not in others]
        if broadcast.hops == 0:
            report.cut, names = int(bool(names)), []
        waiting = set(names)

        def ended(name, status, body):
            waiting.discard(name)
            try:
                if status != VALUE:
                    raise Malformed("no report")
                report.add(Report.decode(body))
            except Malformed:
                report.failed += 1
                report.add_name(name)
            if not waiting:
                done(report)

        if not names:
            return done(report)
        ask = Broadcast(**(vars(broadcast) | {"hops": broadcast.hops - 1})).encode()
        for name in names:
            self.calls.ask(name, BROADCAST, ask, timeout, lambda *got, n=name: ended(n, *got))
