"""Chapter 13.6: a route as what carries frames, no more under way than its window."""

from .frames import Frame

WINDOW = 262_144
MODULUS = 1 << 64
REFUSED_MAX = 16


class Route:
    relayed = True

    def __init__(self, relay, name):
        self._relay, self.name, self.relay = relay, name, relay.address
        self.source = relay.address
        self.link = None
        self.window, self.used, self.last = WINDOW, 0, 0
        self._waiting, self._refused = [], 0

    @property
    def waiting(self):
        return sum(map(len, self._waiting))

    def send(self, kind, payload):
        frame = Frame(self._relay.peer.network, "fwd", f"{self.name}.{kind}.{payload}")
        self._waiting.append(frame.encode())
        self._flush()

    def _flush(self):
        while self._waiting and self.used + len(self._waiting[0]) <= self.window:
            frame = self._waiting.pop(0)
            self.used += len(frame)
            self._relay.write(frame)

    def total(self, total):
        moved = (total - self.last) % MODULUS
        if moved < MODULUS // 2:
            self.used, self.last = max(0, self.used - moved), total
        self._flush()

    def widen(self, window):
        self.window = window
        self._flush()

    @property
    def open(self):
        return bool(self._waiting)

    def count_refused(self):
        self._refused += 1
        if self._refused == REFUSED_MAX:
            self._relay.block(self.name)

    def end(self):
        self.link = None

    def begin_anew(self, payload):
        self._relay.answer(self, payload)
