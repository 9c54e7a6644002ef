"""Chapters 6.4, 6.6 and 7.8: what is known of one instance."""

import random
from dataclasses import dataclass, field

EXPIRES = 3.5
INTERVAL_MAX = 300
ADDRESSES_MAX = 4
ROUTES_MAX = 4
WAIT_FOR_LOWER = 1
PAUSE, PAUSE_MAX = 0.05, 10


@dataclass
class Known:
    instance: bytes
    name: str
    until: float
    sequence: int = 0
    left: bool = False
    doubted: bool = False
    addresses: list = field(default_factory=list)
    routes: dict = field(default_factory=dict)  # by relay: routes, the newest last
    sessions: list = field(default_factory=list)
    wait_for_call: bool = False  # it closed the last session with a reason
    dial_at: float = 0
    failures: int = 0
    next_path: int = 0
    dialling: object = None

    @property
    def session(self):
        return self.sessions[-1] if self.sessions else None

    def add_address(self, address):
        if address in self.addresses:
            self.addresses.remove(address)
        self.addresses = [address, *self.addresses][:ADDRESSES_MAX]

    def add_route(self, relay, route):
        routes = self.routes.setdefault(relay, [])
        if route in routes:
            routes.remove(route)
        self.routes[relay] = [*routes, route][-ROUTES_MAX:]

    def remove_route(self, relay, route):
        """Whether it was there."""
        routes = self.routes.get(relay, [])
        was_there = route in routes
        if was_there:
            routes.remove(route)
            if not routes:
                del self.routes[relay]
        return was_there

    def paths(self):
        """Direct ones first."""
        paths = list(self.addresses)
        for relay, routes in self.routes.items():
            paths += [(relay, route) for route in reversed(routes)]
        return paths

    def failed(self, now, wait):
        """Tries the next path; after the last one there is a pause."""
        self.next_path += 1
        if self.next_path >= len(self.paths()):
            pause = min(PAUSE * 2**self.failures, PAUSE_MAX) * random.uniform(0.9, 1.1)
            self.next_path, self.failures = 0, min(self.failures + 1, 10)
            self.dial_at = now + pause + wait

    def leaving(self):
        """It said so, or somebody else did: its sessions are asked."""
        self.left = True
        self.challenge()

    def challenge(self):
        for session in self.sessions:
            session.challenge()

    @property
    def gone(self):
        """It is only remembered, so that an old advert does not make it known again."""
        return self.left and not self.sessions

    def over(self, now):
        return not self.sessions and now >= self.until and (self.left or not self.routes)


def rank(known):
    """Of several instances of a name, the one with the least of these is meant."""
    return (not known.sessions, known.doubted, known.instance)
