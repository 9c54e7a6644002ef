"""Chapter 10: what programs stream, and what is too large for one record (9.6)."""

from .fields import Malformed, Reader, u8, u64
from .records import CREDIT, DATA, END, STOP, Violation

PIECE = 16 << 10
WINDOW = 256 << 10
LEAST = 97_280
PER_PIECE = 64
LIMIT_MAX = 1 << 30
WAITING = 48 << 10


class Sender:
    """Sends bytes once all of them are there. The first credit may come before that."""

    def __init__(self, session, number, channel):
        self.data, self.is_filled = b"", False
        self.number, self.channel = number, channel
        self.received = self.most = 0
        self.move(session)

    def fill(self, data):
        self.data, self.is_filled = data, True

    def move(self, session):
        self.session, self.limit, self.sent, self.ended = session, None, self.received, False

    def credit(self, received, limit):
        at_end = received % PIECE == 0 or received == len(self.data)
        if not self.received <= received <= self.most or not at_end:
            raise Violation("a credit for what was not sent, or not at the end of a piece")
        if limit < max(received, self.limit or 0) or limit - received > LIMIT_MAX:
            raise Violation("a credit that goes back, or too far")
        if self.limit is None:
            self.sent = received
        self.received, self.limit = received, limit

    def pump(self):
        while self.limit is not None and self.session.link.carrier.waiting < WAITING:
            piece = self.data[self.sent : self.sent + PIECE]
            if not piece or self.sent + len(piece) > self.limit:
                break
            self.session.send(DATA, u64(self.number) + u64(self.sent) + piece, self.channel)
            self.sent += len(piece)
            self.most = max(self.most, self.sent)
        is_over = self.is_filled and self.sent == len(self.data)
        if self.limit is not None and is_over and not self.ended:
            self.ended = True
            self.session.send(END, u64(self.number) + u64(self.sent) + u8(0), self.channel)


class Receiver:
    """Collects as many bytes as were announced, or as come where none were. `broken` is told if the
    stream breaks off."""

    def __init__(self, session, number, channel, length, whole, broken):
        self.data, self.length, self.whole, self.broken = bytearray(), length, whole, broken
        self.number, self.channel = number, channel
        self.move(session)

    def move(self, session):
        self.session, self.limit = session, 0
        self._credit()

    def _credit(self):
        self.acknowledged, self.cost = len(self.data), 0
        limit = len(self.data) + WINDOW
        self.limit = max(self.limit, limit if self.length is None else min(self.length, limit))
        body = u64(self.number) + u64(len(self.data)) + u64(self.limit)
        self.session.send(CREDIT, body, self.channel)

    def take(self, offset, piece):
        if not piece or offset != len(self.data) or offset + len(piece) > self.limit:
            raise Violation("data out of place")
        self.data += piece
        self.cost += len(piece) + PER_PIECE
        known = self.length is not None
        if self.cost >= LEAST or known and self.limit < self.length <= len(self.data) + WINDOW:
            self._credit()

    def end(self, length, whole):
        if length != len(self.data) or (whole and self.length not in (None, length)):
            raise Violation("an end that does not fit")


class Streams:
    """By whose call it is (True: the other side's), its caller's or callee's instance, number,
    channel."""

    def __init__(self, peer):
        self.peer, self.open = peer, {}

    def send(self, session, theirs, number, channel, data=None):
        """Without data the stream only waits for its first credit."""
        key = (theirs, session.instance, number, channel)
        stream = self.open.setdefault(key, Sender(session, number, channel))
        if stream.session is not session:
            stream.move(session)
        if data is not None:
            stream.fill(data)

    def receive(self, session, theirs, number, channel, length, whole, broken=lambda: None):
        key = (theirs, session.instance, number, channel)
        if key in self.open:
            self.open[key].move(session)
        else:
            self.open[key] = Receiver(session, number, channel, length, whole, broken)

    def move(self, session, theirs, number, channel):
        stream = self.open.get((theirs, session.instance, number, channel))
        if stream:
            stream.move(session)

    def over(self, theirs, instance, number):
        for channel in range(1, 5):
            self.open.pop((theirs, instance, number, channel), None)

    def tick(self):
        for stream in list(self.open.values()):
            if isinstance(stream, Sender) and stream.session.alive:
                stream.pump()

    def act(self, session, record):
        r = Reader(record.body)
        number, kind, channel = r.u64(), record.kind, record.channel
        theirs = (channel in (1, 3)) == (kind in (DATA, END))
        fields = self._fields(kind, r)
        key = (theirs, session.instance, number, channel)
        stream = self.open.get(key)
        if stream is None:
            return self._closed(session, theirs, number)
        if kind == CREDIT:
            stream.credit(*fields)
        elif kind == STOP:
            del self.open[key]
        elif stream.session is not session:
            pass
        elif kind == DATA:
            stream.take(*fields)
        else:
            stream.end(*fields)
            del self.open[key]
            if fields[1]:
                stream.whole(bytes(stream.data))
            else:
                stream.broken()

    def _fields(self, kind, r):
        if kind == DATA:
            fields = r.u64(), r.rest()
        elif kind == CREDIT:
            fields = r.u64(), r.u64()
        elif kind == STOP:
            fields = (r.rest(),)
        else:
            length, broken = r.u64(), r.u8()
            if broken > 1:
                raise Malformed("how a stream ends")
            fields = length, not broken
            if broken:
                r.rest()
        r.end()
        return fields

    def _closed(self, session, theirs, number):
        """Ignored if the call has been."""
        calls = self.peer.calls
        if theirs:
            been = number <= session.highest
            right = True
        else:
            been = 1 <= number <= calls.number
            call = calls.own.get(number)
            right = call is None or not call.instance or call.instance == session.instance
        if not been or not right:
            raise Violation("a stream of a call that never was, or of another instance")
