"""Chapter 6.5: whether this node's name is taken."""

from . import records
from .advert import PRESENT, PROBING

PROBE, PROBE_MAX, PROBE_MAX_RELAYS = 0.25, 1, 2
CLAIMS, CLAIM_REST = 8, 30


class Probe:
    def __init__(self, peer):
        self.peer, self._begun = peer, peer.loop.now
        self._claims = {}  # when each claimant was dialled, on the LAN and through relays
        self.taken = False

    def over(self, now):
        peer = self.peer
        most = PROBE_MAX_RELAYS if peer.relays else PROBE_MAX
        waits = self._looked_into() or not all(relay.settled for relay in peer.relays)
        return now - self._begun >= (most if waits else PROBE)

    def _looked_into(self):
        return [link for link in self.peer.links if link.claimant and link.session is None]

    def claim(self, advert, path, relay):
        """An advert with this node's name. Only a handshake decides."""
        peer = self.peer
        if advert.phase == PROBING and peer.phase == PRESENT:
            if not relay and peer.lan:
                peer.lan.answer_claim(advert.instance)
            return
        lower = advert.phase == PROBING and advert.instance < peer.instance
        if path is None or not (advert.phase == PRESENT or lower):
            return
        key, now = (advert.instance, relay is None), peer.loop.now
        recent = now - self._claims.get(key, -CLAIM_REST) < CLAIM_REST
        if not recent and len(self._looked_into()) < CLAIMS:
            link = peer.dial(path, peer.name)
            if link:
                self._claims[key], link.claimant = now, key

    def dial_failed(self, link):
        self._claims.pop(link.claimant, None)

    def conflict(self, session):
        """A handshake with a node of this name is done."""
        peer, theirs = self.peer, session.card
        if peer.phase == PROBING and (not theirs.probing or session.instance < peer.instance):
            self.taken = True
            return
        session.close(records.SAME_NAME, "it has the same name")
        if peer.phase == PRESENT and not theirs.probing:
            peer.tell(f"another node is called {peer.name}")
