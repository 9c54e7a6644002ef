"""Two peers without sockets, and a wire between them that the test can touch."""


from ..advert import PRESENT
from ..frames import Frame
from ..link import Link
from ..peer import Peer

KEY = bytes(range(32))


class Pipe:
    """A carrier whose frames wait for the test."""

    source = "memory"
    waiting, open = 0, False

    def __init__(self, relayed=False):
        self.relayed, self.relay = relayed, "memory"
        self.sent, self.ended, self.anew, self.refused = [], False, [], 0

    def send(self, kind, payload):
        self.sent.append(Frame("plant", kind, payload))

    def end(self):
        self.ended = True

    def begin_anew(self, payload):
        self.anew.append(payload)

    def count_refused(self):
        self.refused += 1

    def take(self):
        taken, self.sent = self.sent, []
        return taken


def peer(name, key=KEY, **more):
    one = Peer(name, "plant", [key], lan=False, **more)
    one.phase = PRESENT
    return one


class Pair:
    """`a` has dialled `b`; nothing has been said yet."""

    def __init__(self, a, b, relayed=False, name=None):
        self.a, self.b = a, b
        self.links = [Link(a, True, name), Link(b, False)]
        for link in self.links:
            link.carrier = Pipe(relayed)
            link.peer.links.append(link)
        self.links[0].connected()

    def step(self, way):
        """Hands over what one side has said: 0 what `a` has. The frames."""
        frames = self.links[way].carrier.take()
        for frame in frames:
            self.links[1 - way].frame(frame)
        return frames

    def pump(self):
        """All that has been said, and what follows from that."""
        said = True
        while said:
            for one in (self.a, self.b):
                one._tick(one.loop.now)
            said = self.step(0) + self.step(1)

    def call(self, form, ask, name="b"):
        answer = []
        self.a.calls.ask(name, form, ask, 5, lambda *got: answer.append(got))
        self.pump()
        return answer[0] if answer else None

    @property
    def states(self):
        return [link.state for link in self.links]


def opened(**more):
    pair = Pair(peer("a", **more), peer("b"), relayed=False)
    pair.pump()
    assert pair.states == ["open", "open"], [link.failed for link in pair.links]
    return pair


