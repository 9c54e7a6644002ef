"""Chapters 6.4, 6.6, 7.7 and 7.8: the peers that are known, their sessions, and dialling them."""

from . import records
from .known import EXPIRES, INTERVAL_MAX, PAUSE, WAIT_FOR_LOWER, Known, rank

KNOWN_MAX = 4096
STALE = 2


class Table:
    def __init__(self, peer):
        self.peer, self.known = peer, {}

    # Adverts.

    def present(self, advert, path, relay):
        """Whether it was not known."""
        known, now = self.known.get(advert.instance), self.peer.loop.now
        new = known is None
        if new:
            if len(self.known) >= KNOWN_MAX:
                return False
            known = self.known[advert.instance] = Known(advert.instance, advert.name, 0)
            known.dial_at = now + self._wait_for_lower(known)
        if known.name != advert.name or known.left:
            return False
        if relay:
            known.add_route(*path)
        if advert.sequence < known.sequence:
            return False
        if path and not relay:
            known.add_address(path)
        if advert.sequence > known.sequence or new:
            known.sequence = advert.sequence
            known.until = now + EXPIRES * min(advert.interval / 1000, INTERVAL_MAX)
        return new

    def goodbye(self, advert):
        known = self.known.get(advert.instance)
        if known and advert.sequence > known.sequence and advert.name == known.name:
            known.leaving()

    def route_gone(self, relay, route):
        for known in self.known.values():
            if known.remove_route(relay, route):
                known.until = max(known.until, self.peer.loop.now + EXPIRES)

    def relay_ended(self, relay):
        for known in self.known.values():
            if known.routes.pop(relay, None):
                known.until = max(known.until, self.peer.loop.now + EXPIRES)

    # Sessions.

    def opened(self, session):
        known = self.known.setdefault(
            session.instance, Known(session.instance, session.name, 0)
        )
        if known.name != session.name:
            return session.link.refuse("an instance known under another name")
        known.left, known.failures, known.next_path, known.dialling = False, 0, 0, None
        for other in list(self.known.values()):
            if other.name == known.name and other is not known:
                self._doubt(other)
        older = known.session
        known.sessions.append(session)
        if older:
            worse = self._worse(older, session)
            worse.close(records.DOUBLE, "there is another session")

    def _worse(self, older, newer):
        """Which of two sessions with one instance is closed."""
        if self.peer.loop.now - older.heard > STALE:
            return older
        if older.relayed != newer.relayed:
            return older if older.relayed else newer
        if older.link.initiator == newer.link.initiator:
            return older
        own_is_kept = self.peer.instance < newer.instance
        return older if newer.link.initiator == own_is_kept else newer

    def _doubt(self, other):
        """Another instance has proved its name."""
        if other.session:
            other.doubted = True
            other.challenge()
        else:
            del self.known[other.instance]

    def proved(self, session):
        """It has answered a ping."""
        known = self.known.get(session.instance)
        if known:
            known.left = known.doubted = False

    def session_ended(self, session):
        known = self.known.get(session.instance)
        if known is None or session not in known.sessions:
            return
        known.sessions.remove(session)
        now, reason = self.peer.loop.now, session.closed_by_peer
        if reason == records.LEAVING:
            known.leaving()
        if not known.sessions:
            known.until = now + EXPIRES
            known.wait_for_call = reason is not None
            known.dial_at = now + PAUSE + self._wait_for_lower(known)
            if known.doubted:
                del self.known[known.instance]

    def dial_failed(self, link):
        known = link.known
        if known and known.dialling is link:
            known.dialling = None
            known.failed(self.peer.loop.now, self._wait_for_lower(known))

    # Which peer is meant, and dialling.

    def _wait_for_lower(self, known):
        return WAIT_FOR_LOWER if self.peer.instance > known.instance else 0

    def choose(self, name):
        named = [k for k in self.known.values() if k.name == name and not k.left]
        return min(named, key=rank, default=None)

    def reached(self):
        """How each peer is reached (9.9)."""
        names = sorted({known.name for known in self.known.values()})
        meant = {name: self.choose(name) for name in names}
        return {n: k.session.where if k.session else "known" for n, k in meant.items() if k}

    def want(self, known):
        """A call waits for it. A pause after failures is kept."""
        if known and not known.failures:
            known.wait_for_call, known.dial_at = False, 0

    def tick(self, now):
        for known in list(self.known.values()):
            if known.over(now):
                del self.known[known.instance]
            elif not (known.session or known.dialling or known.left or known.wait_for_call):
                paths = known.paths()
                if paths and now >= known.dial_at:
                    path = paths[known.next_path % len(paths)]
                    known.dialling = self.peer.dial(path, known.name, known)
