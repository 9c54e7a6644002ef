"""One thread waits for all sockets, and looks every few milliseconds at what is due."""

import selectors
import time

READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE
TICK = 0.005


class Loop:
    def __init__(self):
        self._selector = selectors.DefaultSelector()
        self._soon = []
        self.tick = lambda now: None

    @property
    def now(self):
        return time.monotonic()

    def add(self, sock, handler):
        self._selector.register(sock, READ | WRITE, handler)

    def write(self, sock, handler, wanted):
        self._selector.modify(sock, READ | (WRITE if wanted else 0), handler)

    def listen(self, sock, ready):
        """Calls `ready` when something can be read."""
        self._selector.register(sock, READ, _Listener(ready))

    def remove(self, sock):
        self._selector.unregister(sock)

    def soon(self, call):
        """Calls it in the next turn."""
        self._soon.append(call)

    def turn(self):
        for key, events in self._selector.select(0 if self._soon else TICK):
            # One handler may have removed another.
            if events & WRITE and self._has(key):
                key.data.writable()
            if events & READ and self._has(key):
                key.data.readable()
        for key in list(self._selector.get_map().values()):
            key.data.tick(self.now)
        calls, self._soon = self._soon, []
        for call in calls:
            call()
        self.tick(self.now)

    def _has(self, key):
        now = self._selector.get_map().get(key.fd)
        return now is not None and now.data is key.data


class _Listener:
    def __init__(self, ready):
        self.readable = ready

    def tick(self, now):
        pass
