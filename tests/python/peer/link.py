"""Chapters 7.5 and 7.6: the states of a link, and its end."""

from .fields import Malformed
from .handshake import Initiator, Responder, id_of, split
from .records import VIOLATION, Violation
from .session import Session

HANDSHAKE_TIME = 5
CONNECTING, ASKED, LISTENING, ANSWERED, OPEN, ENDED = (
    "connecting", "asked", "listening", "answered", "open", "ended",
)


class Link:
    """Over a carrier, which sends frames and ends. `name` is who was dialled, None for anyone."""

    def __init__(self, peer, initiator, name=None):
        self.peer, self.initiator, self.name = peer, initiator, name
        self.state = CONNECTING if initiator else LISTENING
        self.begun = peer.loop.now
        self.carrier = self.session = self.failed = None
        self.claimant = self.known = None  # whom this dial is about

    # What carriers tell.

    def connected(self):
        if self.state == CONNECTING:
            self.shake = Initiator(self.peer.network, self.peer, self.peer.psks[0])
            self.carrier.send("hel", self.shake.first())
            self.state = ASKED

    def frame(self, frame):
        if frame.net != self.peer.network or self.state == ENDED:
            return
        if frame.kind == "err":
            if self.carrier.relayed:
                self.drop(f"they said {frame.payload}")
            else:
                self.failed = f"they said {frame.payload}"
            return
        try:
            if frame.kind == "hel":
                self._hello(frame.payload)
            elif self.state == OPEN and frame.kind == self.theirs:
                self.session.token(frame.payload)
            else:
                raise Malformed(f"a frame {frame.kind} while {self.state}")
        except Malformed as why:
            self.refuse(str(why))
        except Violation as why:
            self.session.close(VIOLATION, f"violation: {why}")

    def garbage(self):
        self.refuse("bytes that are no frame")

    def closed(self):
        self._over("the connection was closed")

    # The handshake.

    @property
    def theirs(self):
        """The type of the frames that bring the other side's records."""
        return "rsp" if self.initiator else "msg"

    def _hello(self, payload):
        relayed = self.carrier.relayed
        if self.state == LISTENING:
            self._answer(payload)
        elif self.state == ANSWERED and not (relayed and is_first(payload)):
            self._open(self.shake.third(payload))
        elif self.state == ASKED and relayed and is_first(payload):
            self._crossed(payload)
        elif self.state == ASKED and relayed and id_of(payload) not in (None, self.shake.id):
            pass
        elif self.state == ASKED:
            card = self.shake.second(payload, self.name)
            self.carrier.send("hel", self.shake.third())
            self._open(card)
        elif relayed and is_first(payload):
            self.drop("they begin anew")
            self.carrier.begin_anew(payload)
        else:
            raise Malformed(f"a handshake while {self.state}")

    def _answer(self, payload, shake=None):
        peer = self.peer
        self.shake = shake or Responder(peer.network, peer, peer.psks, payload)
        peer.door.admit(self.shake.ephemeral, self.carrier.source, peer.loop.now)
        self.carrier.send("hel", self.shake.second())
        self.state = ANSWERED

    def _crossed(self, payload):
        """The question of the lower instance stands."""
        peer = self.peer
        shake = Responder(peer.network, peer, peer.psks, payload)
        if shake.instance < peer.instance:
            self.initiator, self.name = False, None
            self._answer(payload, shake)

    def _open(self, card):
        self.state = OPEN
        self.session = Session(self, card, *self.shake.chains)
        self.peer.opened(self.session)

    # The end.

    def refuse(self, why):
        self.carrier.send("err", "refused")
        if self.carrier.relayed and not self.session:
            self.carrier.count_refused()
        self._finish(f"refused: {why}")

    def drop(self, why):
        """Ends it; on a route, where that does not show, with a word."""
        if self.carrier.relayed:
            self.carrier.send("err", "closed")
        self._finish(why)

    def _finish(self, why):
        self._over(why)
        self.carrier.end()

    def _over(self, why):
        if self.state != ENDED:
            self.state, self.failed = ENDED, self.failed or why
            self.peer.link_ended(self)

    def tick(self, now):
        if self.state == OPEN:
            self.session.tick(now)
        elif self.state != ENDED and now - self.begun > HANDSHAKE_TIME:
            self.drop("the handshake took too long")


def is_first(payload):
    try:
        return split(payload)[0] == 1
    except Malformed:
        return False
