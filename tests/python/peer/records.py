"""Chapter 8.1: records, and the bodies of those that are the same in every state."""

from dataclasses import dataclass

from .fields import Malformed, Reader, check_extensions, u8, u16, u32, u64
from .names import check_node

CALL, REPLY, DATA, END, CREDIT, CANCEL, NOTICE, PEERS, CLOSE, PING, PONG, RENEW, LIST = range(1, 14)
STOP = CANCEL
BODY_MAX = 48_640
PEERS_MAX = 64

CHANNELS = {kind: range(1) for kind in range(CALL, LIST + 1)}
CHANNELS |= {DATA: range(1, 5), END: range(1, 5), CREDIT: range(1, 5), CANCEL: range(5)}

# Forms of a call (9.2).
MESSAGE, AGAIN, STREAMS, LARGE, BROADCAST, BYTES = 1, 2, 4, 8, 16, 32
KINDS = MESSAGE | BROADCAST | BYTES

# Statuses of a reply (9.3).
VALUE, NOT_FOUND, FAILED, OVERLOADED, REFUSED, TOO_LARGE, LARGE_VALUE, LOST, TOO_MANY = range(9)
NOT_ALLOWED, BYTES_VALUE, LARGE_BYTES = 9, 10, 11
# The status of a value that comes on channel 4, by that of the same value in a record.
LARGE_OF = {VALUE: LARGE_VALUE, BYTES_VALUE: LARGE_BYTES}

# Reasons of a close (8.5).
LEAVING, DOUBLE, IDLE, SAME_NAME, VIOLATION, IDENTITY, REVOKED, CERTIFICATE = range(8)


class Violation(Exception):
    """A well-formed record that breaks a rule: the session is closed with reason 4."""


@dataclass
class Record:
    sequence: int
    kind: int
    channel: int
    body: bytes
    extensions: bytes = b""

    def encode(self):
        more = u16(len(self.extensions)) + self.extensions if self.extensions else b""
        kind = self.kind | (0x80 if more else 0)
        return u64(self.sequence) + u8(kind) + u32(self.channel) + more + self.body

    @staticmethod
    def decode(plain):
        r = Reader(plain)
        sequence, kind, channel, extensions = r.u64(), r.u8(), r.u32(), b""
        if kind & 0x80:
            extensions = r.take(r.u16())
            check_extensions(extensions)
            if not extensions:
                raise Malformed("no extensions where they are announced")
        kind &= 0x7F
        if channel not in CHANNELS.get(kind, ()):
            raise Malformed("a kind or channel")
        return Record(sequence, kind, channel, r.rest(), extensions)


def settled(numbers):
    return u8(len(numbers)) + b"".join(map(u64, numbers))


def read_settled(r):
    return [r.u64() for _ in range(r.u8())]


@dataclass
class Call:
    number: int
    timeout: int
    form: int
    settled: list
    ask: bytes

    def encode(self):
        head = u64(self.number) + u32(self.timeout) + u8(self.form)
        return head + settled(self.settled) + self.ask

    @staticmethod
    def decode(body):
        r = Reader(body)
        number, timeout, form, forget = r.u64(), r.u32(), r.u8(), read_settled(r)
        if form > 63 or form & KINDS not in (0, MESSAGE, BROADCAST, BYTES):
            raise Malformed("the form of a call")
        if form & LARGE:
            ask = r.take(8)
            r.end()
        else:
            ask = r.rest()
        return Call(number, timeout, form, forget, ask)


def read_reply(body):
    r = Reader(body)
    number, status = r.u64(), r.u8()
    if status > LARGE_BYTES:
        raise Malformed("the status of a reply")
    return number, status, r.rest()


def check_list(body):
    """A piece of a revocation list (14.5). A node of an open network ignores it."""
    r = Reader(body)
    r.take(8)


def check_peers(body):
    """What peers tell of peers (12.1) is read, and not acted on."""
    try:
        r = Reader(body)
        count = r.u8()
        for _ in range(count):
            r.take(16)
            check_node(r.text())
            size = {4: 4, 6: 16}.get(r.u8())
            if size is None:
                raise Malformed("the address of a peer")
            r.take(size + 2)
        r.end()
    except Malformed as why:
        raise Violation(f"a record of peers: {why}") from None
    if count > PEERS_MAX:
        raise Violation("too many peers")
