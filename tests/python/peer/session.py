"""Chapters 8.1 to 8.5: records under their keys, signs of life, renewal, and the end."""

import os

from . import records
from .fields import Malformed, Reader, u8
from .keys import Chain
from .records import Record

PING_AFTER = {False: 5, True: 10}
DEAD_AFTER = {False: 15, True: 30}
MEASURE_AFTER = 30
CHALLENGE = 1
PONG_PAUSE = 0.1


class Session:
    def __init__(self, link, card, own_chain, their_chain):
        self.link, self.card, self.peer = link, card, link.peer
        now = self.peer.loop.now
        self.name, self.instance = card.name, card.instance
        self.out = Chain(own_chain, now, self.peer.records_max)
        self.come = Chain(their_chain, now)
        self.opened = self.heard = self.measured = now
        self.ping = self.ping_sent = self.challenged = self.pong = None
        self.pong_sent = self.round_trip = self.closed_by_peer = None
        self.highest = -1  # number of a call that came here
        self.settled = []
        self.pongs = 0

    @property
    def relayed(self):
        return self.link.carrier.relayed

    @property
    def where(self):
        return f"relay {self.link.carrier.relay}" if self.relayed else "direct"

    @property
    def alive(self):
        return self.link.session is self and self.link.state == "open"

    def send(self, kind, body=b"", channel=0):
        if not self.alive:
            return
        now = self.peer.loop.now
        if self.out.must_renew(now):
            self._seal(records.RENEW, b"", 0)
            self.out.renew(now)
        self._seal(kind, body, channel)

    def _seal(self, kind, body, channel):
        plain = Record(self.out.sequence, kind, channel, body).encode()
        self.out.count()
        frame = "msg" if self.link.initiator else "rsp"
        self.link.carrier.send(frame, self.out.sealer.seal(plain))

    def token(self, token):
        record = Record.decode(self.come.sealer.open(token))
        if record.sequence != self.come.sequence:
            raise Malformed("a record that is not the next one")
        self.come.count()
        self.heard = self.peer.loop.now
        self._act(record)

    def _act(self, record):
        kind, body, calls = record.kind, record.body, self.peer.calls
        if kind == records.CALL:
            calls.asked(self, records.Call.decode(body))
        elif kind == records.REPLY:
            calls.answered(self, *records.read_reply(body))
        elif record.channel:
            self.peer.streams.act(self, record)
        elif kind == records.CANCEL:
            calls.cancelled(self, _whole(body, 8))
        elif kind == records.NOTICE:
            r = Reader(body)
            numbers = records.read_settled(r)
            r.end()
            calls.forget(self, numbers)
        elif kind == records.PEERS:
            records.check_peers(body)
        elif kind == records.LIST:
            records.check_list(body)
        elif kind == records.CLOSE:
            self._closed(_whole(body, 1))
        elif kind == records.PING:
            self.pong = bytes(_bytes(body, 16))
        elif kind == records.PONG:
            self._pong(_bytes(body, 16))
        else:
            _bytes(body, 0)
            self.come.renew(self.peer.loop.now)

    def _pong(self, nonce):
        if nonce == self.ping:
            self.round_trip = self.peer.loop.now - self.ping_sent
            self.measured = self.peer.loop.now
            self.ping = self.challenged = None
            self.pongs += 1
            self.peer.table.proved(self)

    def _closed(self, reason):
        if reason > records.CERTIFICATE:
            raise Malformed("the reason of a close")
        self.closed_by_peer = reason
        self.link.drop(f"they closed it with reason {reason}")

    def send_ping(self):
        self.ping, self.ping_sent = os.urandom(16), self.peer.loop.now
        self.send(records.PING, self.ping)

    def challenge(self):
        self.challenged = self.peer.loop.now
        self.send_ping()

    def tick(self, now):
        if self.pong and (self.pong_sent is None or now - self.pong_sent >= PONG_PAUSE):
            nonce, self.pong, self.pong_sent = self.pong, None, now
            self.send(records.PONG, nonce)
        # On TCP more would count as heard than records; a node of this kind is patient enough.
        silent = now - self.heard
        if silent > DEAD_AFTER[self.relayed]:
            self.link.drop("nothing was heard")
        elif self.challenged and now - self.challenged > CHALLENGE:
            self.link.drop("a challenge was not answered")
        elif now - max(self.measured, self.ping_sent or 0) > MEASURE_AFTER or (
            self.ping is None and silent > PING_AFTER[self.relayed]
        ):
            self.send_ping()

    def confirm(self, number):
        """Says with the next call, or soon, that its answer came."""
        self.settled.append(number)
        if len(self.settled) >= 64:
            self.notice()

    def take_settled(self, most):
        taken, self.settled = self.settled[:most], self.settled[most:]
        return taken

    def notice(self):
        if self.settled:
            self.send(records.NOTICE, records.settled(self.take_settled(255)))

    def close(self, reason, why):
        self.notice()
        self.send(records.CLOSE, u8(reason))
        self.link.drop(why)


def _bytes(body, size):
    if len(body) != size:
        raise Malformed("the size of a body")
    return body


def _whole(body, size):
    return int.from_bytes(_bytes(body, size), "big")
