"""Chapter 7.1: TCP connections, as what carries frames."""

import errno
import socket

from .fields import Malformed
from .frames import Frame, parse

UNFINISHED = 60
GRACE = 2


class Tcp:
    """One connection, which is dialled if there is no socket yet. Its owner has `connected`,
    `frame`, `garbage` and `closed`."""

    relayed = False

    def __init__(self, loop, network, owner, address, sock=None):
        self._loop, self._network, self._owner = loop, network, owner
        self._sock = sock or socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._sock.setblocking(False)
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._in, self._out = bytearray(), bytearray()
        self._begun = self._ending = None
        self._connecting = sock is None
        self.open = True
        self.source = address[0]
        if self._connecting:
            # Its result shows when it can be written to.
            code = self._sock.connect_ex(address)
            if code not in (0, errno.EINPROGRESS):
                loop.soon(self._close)
        loop.add(self._sock, self)

    @property
    def waiting(self):
        """Bytes that wait to be written."""
        return len(self._out)

    def send(self, kind, payload):
        self.write(Frame(self._network, kind, payload).encode())

    def write(self, frame):
        if self.open and self._ending is None:
            self._out += frame
            self._loop.write(self._sock, self, True)

    def end(self):
        """Closes it after what waits to be written."""
        self._ending = self._loop.now
        if not self._out or self._connecting:
            self._close()

    def _close(self):
        if self.open:
            self.open = False
            self._loop.remove(self._sock)
            self._sock.close()
            self._owner.closed()

    def writable(self):
        if self._connecting:
            if self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                return self._close()
            self._connecting = False
            self._owner.connected()
        try:
            while self._out:
                del self._out[: self._sock.send(self._out)]
        except BlockingIOError:
            return None
        except OSError:
            return self._close()
        self._loop.write(self._sock, self, False)
        if self._ending is not None:
            self._close()

    def readable(self):
        try:
            data = self._sock.recv(1 << 16)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            return self._close()
        if self._ending is not None:
            return
        self._in += data
        try:
            while self.open and self._ending is None and self._in:
                parsed = parse(bytes(self._in))
                if parsed is None:
                    break
                del self._in[: parsed[1]]
                self._begun = None
                self._owner.frame(parsed[0])
        except Malformed:
            return self._owner.garbage()
        if self._in:
            self._begun = self._begun or self._loop.now

    def tick(self, now):
        if self._begun and now - self._begun > UNFINISHED:
            self.end()
        if self._ending is not None and now - self._ending > GRACE:
            self._close()
