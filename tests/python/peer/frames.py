"""Chapter 2: frames."""

import re
from dataclasses import dataclass

from .fields import Malformed
from .names import NAME_MAX, name_char

LINK_MAX = 65_536
DATAGRAM_MAX = 1_200
END = b"|END\n"
FIELD = rb"[A-Za-z0-9_=!-]+"
PAYLOAD = re.compile(FIELD + rb"(?:\." + FIELD + rb")*")
# Each prefix of a payload.
BEGUN = re.compile(rb"(?:" + FIELD + rb"\.)*(?:" + FIELD + rb")?")


@dataclass
class Frame:
    net: str
    kind: str
    payload: str

    def encode(self):
        return f"{self.net}|{self.kind}|{self.payload}".encode() + END


def parse(data, limit=LINK_MAX):
    """The first frame and its size; None if more must come. What can be no frame is Malformed."""
    net, bar, rest = data.partition(b"|")
    _check_net(net, bool(bar))
    if not bar:
        return None
    kind, rest = rest[:3], rest[3:]
    if not re.fullmatch(rb"[a-z]*", kind) or rest[:1] not in (b"", b"|"):
        raise Malformed("the type of a frame")
    if not rest:
        return None
    payload, bar, rest = rest[1:].partition(b"|")
    end = (bar + rest)[: len(END)]
    if not (PAYLOAD if bar else BEGUN).fullmatch(payload) or not END.startswith(end):
        raise Malformed("the payload of a frame")
    size = len(net) + 5 + len(payload) + len(END)
    if not payload or payload.endswith(b"."):
        size += 1  # at least one character more has to come
    if size > limit:
        raise Malformed("a frame that is too long")
    return (Frame(net.decode(), kind.decode(), payload.decode()), size) if end == END else None


def _check_net(net, whole):
    """Whether it is a name, or can become one."""
    try:
        name = net.decode()
    except UnicodeDecodeError as error:
        # The last character may still be coming.
        if whole or error.reason != "unexpected end of data":
            raise Malformed("the name of the network") from None
        name = net[: error.start].decode()
    if len(net) > NAME_MAX or (whole and not net) or not all(map(name_char, name)):
        raise Malformed("the name of the network")


def parse_datagram(data):
    parsed = parse(data, DATAGRAM_MAX)
    if parsed is None or parsed[1] != len(data):
        raise Malformed("not one frame")
    return parsed[0]
