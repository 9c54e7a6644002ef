"""Chapters 9 and 11.1: calls and messages, of this node and of others."""

from dataclasses import dataclass, field
from functools import partial

from . import records, strict_json
from .broadcast import Broadcast
from .broadcasts import Broadcasts
from .fields import Malformed, Reader, u8, u32, u64
from .names import is_path
from .records import AGAIN, BROADCAST, BYTES, BYTES_VALUE, LARGE, LARGE_BYTES, LARGE_OF
from .records import LARGE_VALUE, MESSAGE, STREAMS, VALUE

MESSAGE_MAX = 4 << 20
DAY = 24 * 3600
MAY_HAVE_RUN = b"it may have run already"
CALLS_OF_ONE = 1024


class Refuse(Exception):
    """A command raises it to answer with status 4."""


def command(path, args=(), kwargs=None):
    """What is asked of a command (9.2)."""
    name, args = path.encode(), strict_json.write(list(args))
    return u8(len(name)) + name + u32(len(args)) + args + strict_json.write(kwargs or {})


def command_with_bytes(path, data):
    """What is asked of a command that is called with bytes (9.2)."""
    name = path.encode()
    return u8(len(name)) + name + data


def read_command(ask):
    r = Reader(ask)
    path = r.text()
    return path, r.take(r.u32()), r.rest()


@dataclass
class Outgoing:
    number: int
    name: str
    form: int
    ask: bytes
    until: float
    done: object
    instance: bytes = b""
    session: object = None
    said: bytes = b""  # what is streamed to the command
    heard: bytes = None  # what the command has streamed, once that is whole
    value: tuple = ()  # the status and body of a value that waits for that


@dataclass
class Incoming:
    """A call of another node: being collected, or answered."""

    until: float
    form: int
    length: int
    session: object
    reply: tuple = ()
    value: bytes = field(default=b"", repr=False)
    streamed: bytes = field(default=b"", repr=False)
    collect: object = None  # what is called with all that its caller streams


class Calls:
    def __init__(self, peer):
        self.peer, self.number = peer, 0
        self.own = {}
        self.theirs = {}  # by caller's instance and number
        self.forgotten = {}  # the highest number that was forgotten unconfirmed, by instance
        self.commands = {
            "__echo__": lambda caller, args, kwargs: {"args": args, "kwargs": kwargs},
            "__list_commands__": lambda caller, args, kwargs: sorted(self.commands),
            "__peers__": lambda caller, args, kwargs: peer.table.reached(),
        }
        self.with_bytes = {}  # commands that are called with bytes
        # Commands that are given all that is streamed to them, and give a value and a stream.
        self.streaming = {}
        self.broadcasts = Broadcasts(self)
        self.message = None
        self.ran = 0

    # Calls of this node.

    def ask(self, name, form, ask, timeout, done, said=b""):
        """Calls `done` with a status and a body, or with None and why there is no answer. Of a call
        with streams, what the command has streamed follows."""
        self.number += 1
        if len(ask) > records.BODY_MAX:
            form |= LARGE
        until = self.peer.loop.now + timeout
        self.own[self.number] = Outgoing(self.number, name, form, ask, until, done, said=said)

    def tick(self, now):
        for call in list(self.own.values()):
            if now >= call.until:
                self._end(call, None, "timed out" if call.instance else "unreachable")
            elif call.session is None:
                self._send(call, now)
        for key, call in list(self.theirs.items()):
            if now >= call.until:
                self._forget(key)
                self.forgotten[key[0]] = max(self.forgotten.get(key[0], -1), key[1])

    def _send(self, call, now):
        peer = self.peer
        table = peer.table
        known = table.known.get(call.instance) if call.instance else table.choose(call.name)
        if call.instance and (known is None or known.gone):
            restarted = table.choose(call.name) is not None
            return self._end(call, None, "the peer has restarted" if restarted else "unreachable")
        if known is None or known.session is None:
            return table.want(known)
        again = AGAIN if call.instance else 0
        call.instance, call.session = known.instance, known.session
        session, left = call.session, int((call.until - now) * 1000) + 1
        if call.form & LARGE:
            ask = u64(len(call.ask))
            self.peer.streams.send(session, False, call.number, 3, call.ask)
        else:
            ask = call.ask
        settled = session.take_settled(32)
        body = records.Call(call.number, left, call.form | again, settled, ask).encode()
        session.send(records.CALL, body)
        if again:
            self.peer.streams.move(session, False, call.number, 4)
        if call.form & STREAMS:
            self.peer.streams.send(session, False, call.number, 1, call.said)
            self._hear(session, call)

    def _hear(self, session, call):
        """What the command streams, which must end before the call does."""
        def whole(heard):
            call.heard = heard
            self._complete(call)

        if call.heard is None:
            self.peer.streams.receive(session, False, call.number, 2, None, whole)

    def _complete(self, call):
        if call.value and call.heard is not None:
            call.session.confirm(call.number)
            self._end(call, *call.value)

    def answered(self, session, number, status, body):
        call = self.own.get(number)
        if call is None:
            return session.confirm(number)
        is_large = status in (LARGE_VALUE, LARGE_BYTES)
        if is_large and len(body) != 8:
            raise records.Violation("the length of a value")
        waits_for_path = call.session is None and (is_large or call.form & STREAMS)
        if call.instance != session.instance or waits_for_path:
            return None
        if call.form & STREAMS and status in (VALUE, BYTES_VALUE):
            call.value = status, body
            return self._complete(call)
        if not is_large:
            session.confirm(number)
            return self._end(call, status, body)
        length = int.from_bytes(body, "big")
        if length > MESSAGE_MAX:
            session.confirm(number)
            return self._end(call, records.LOST, b"")

        def whole(value):
            call.value = VALUE if status == LARGE_VALUE else BYTES_VALUE, value
            if not call.form & STREAMS:
                call.heard = b""
            self._complete(call)

        self.peer.streams.receive(session, False, number, 4, length, whole)

    def _end(self, call, status, body):
        del self.own[call.number]
        self.peer.streams.over(False, call.instance, call.number)
        call.done(*((status, body, call.heard) if call.form & STREAMS else (status, body)))

    # Calls of others.

    def asked(self, session, call):
        key = (session.instance, call.number)
        session.highest = max(session.highest, call.number)
        self.forget(session, call.settled)
        known, now = self.theirs.get(key), self.peer.loop.now
        until = now + min(call.timeout / 1000, DAY)
        may_have_run = call.number <= self.forgotten.get(session.instance, -1)
        if known is None and call.form & AGAIN and may_have_run:
            return self._reply(session, call.number, records.REFUSED, MAY_HAVE_RUN)
        if known is None and sum(key[0] == session.instance for key in self.theirs) >= CALLS_OF_ONE:
            return self._reply(session, call.number, records.OVERLOADED, b"")
        if known is None:
            length = int.from_bytes(call.ask, "big") if call.form & LARGE else 0
            known = self.theirs[key] = Incoming(until, call.form, length, session)
            if not call.form & LARGE:
                return self._run(key, known, call.ask)
            if not length:
                return self._answer(key, known, records.REFUSED, b"a large call of length 0")
            if length > MESSAGE_MAX + 512:
                return self._answer(key, known, records.TOO_LARGE, u64(MESSAGE_MAX))
        known.session = session
        if known.reply:
            return self._say(key, known)
        if known.collect:
            return self._collect_stream(key, known)
        if not known.form & LARGE:
            return None  # it runs

        def whole(ask):
            self._collected(key, known, ask)

        self.peer.streams.receive(session, True, call.number, 3, known.length, whole)

    def _collected(self, key, call, ask):
        """All of a large call has come, of which no record can be refused any more."""
        try:
            self._run(key, call, ask)
        except Malformed as why:
            self._answer(key, call, records.REFUSED, f"malformed: {why}".encode())

    def _run(self, key, call, ask):
        if call.form & BROADCAST:
            answer = partial(self._answer, key, call)
            return self.broadcasts.hear(call.session, Broadcast.decode(ask), call.until, answer)
        if call.form & STREAMS and not call.form & (MESSAGE | BYTES):
            path, args, kwargs = read_command(ask)
            if path in self.streaming:
                call.collect = partial(self._run_with_stream, key, call, path, args, kwargs)
                return self._collect_stream(key, call)
        self._answer(key, call, *self.result(call.session, call.form, ask))

    def _collect_stream(self, key, call):
        def broken():
            self._answer(key, call, records.FAILED, b"what was streamed has broken off")

        self.peer.streams.send(call.session, True, key[1], 2)
        self.peer.streams.receive(call.session, True, key[1], 1, None, call.collect, broken)

    def _run_with_stream(self, key, call, path, args, kwargs, said):
        try:
            args, kwargs = strict_json.read(args, list), strict_json.read(kwargs, dict)
        except Malformed as why:
            return self._answer(key, call, records.REFUSED, f"malformed: {why}".encode())
        self.ran += 1
        value, call.streamed = self.streaming[path](call.session, args, kwargs, said)
        self._answer(key, call, VALUE, strict_json.write(value))

    def result(self, session, form, ask):
        """Runs it: a status and a body."""
        if form & MESSAGE:
            if self.message is None:
                return records.NOT_FOUND, b""
            self.ran += 1
            return VALUE, self.message(session, ask)
        if form & BYTES:
            return self._run_with_bytes(session, Reader(ask))
        path, args, kwargs = read_command(ask)
        if not is_path(path) or path not in self.commands:
            return records.NOT_FOUND, b""
        try:
            args, kwargs = strict_json.read(args, list), strict_json.read(kwargs, dict)
        except Malformed as why:
            return records.REFUSED, f"malformed: {why}".encode()
        self.ran += 1
        try:
            value = self.commands[path](session, args, kwargs)
            if isinstance(value, bytes):
                return BYTES_VALUE, value
            return VALUE, strict_json.write(value)
        except Refuse as why:
            return records.REFUSED, str(why).encode()
        except Exception as why:
            return records.FAILED, str(why).encode()[: records.BODY_MAX]

    def _run_with_bytes(self, session, r):
        path, data = r.text(), r.rest()
        if path in self.with_bytes:
            self.ran += 1
            return BYTES_VALUE, self.with_bytes[path](session, data)
        if path in self.commands:
            return records.REFUSED, b"this command is called with JSON"
        return records.NOT_FOUND, b""

    def _answer(self, key, call, status, body):
        if status in LARGE_OF and len(body) > records.BODY_MAX:
            call.value, status, body = body, LARGE_OF[status], u64(len(body))
        call.reply = status, body
        self._say(key, call)

    def _say(self, key, call):
        """Answers, over the session that the call came by last."""
        session, number = call.session, key[1]
        self._reply(session, number, *call.reply)
        if call.reply[0] in (LARGE_VALUE, LARGE_BYTES):
            self.peer.streams.send(session, True, number, 4, call.value)
        if call.form & STREAMS and call.reply[0] in (VALUE, *LARGE_OF.values(), BYTES_VALUE):
            self.peer.streams.send(session, True, number, 2, call.streamed)

    def _reply(self, session, number, status, body):
        session.send(records.REPLY, u64(number) + u8(status) + body)

    def forget(self, session, numbers):
        """They are confirmed."""
        for number in numbers:
            key = (session.instance, number)
            if key in self.theirs and self.theirs[key].reply:
                self._forget(key)

    def cancelled(self, session, number):
        if (session.instance, number) in self.theirs:
            self._forget((session.instance, number))

    def _forget(self, key):
        del self.theirs[key]
        self.peer.streams.over(True, *key)

    def session_ended(self, session):
        for call in self.own.values():
            if call.session is session:
                call.session = None
