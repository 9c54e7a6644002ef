"""Chapter 6.2: the format of adverts, and the payload that carries one."""

import ipaddress
from dataclasses import dataclass, field

from .fields import Malformed, Reader, text, u8, u16, u32, u64
from .frames import DATAGRAM_MAX
from .names import check_node, check_relay

PRESENT, LEAVING, PROBING = 0, 1, 2
MARK = "2"
RELAYS_MAX = 8
PAYLOAD_MIN = 141


@dataclass
class Advert:
    phase: int
    instance: bytes
    sequence: int
    interval: int
    port: int
    name: str
    address: str = ""
    relays: list = field(default_factory=list)
    vouched: int = 0
    extensions: bytes = b""

    def encode(self):
        address = ipaddress.ip_address(self.address).packed if self.address else b""
        return (
            u8(self.phase) + self.instance + u64(self.sequence) + u32(self.interval)
            + u16(self.port) + text(self.name) + u8(len(address)) + address
            + u8(len(self.relays)) + u8(self.vouched) + b"".join(map(text, self.relays))
            + self.extensions
        )

    @staticmethod
    def decode(plain):
        r = Reader(plain)
        phase, instance, sequence, interval, port = r.u8(), r.take(16), r.u64(), r.u32(), r.u16()
        name, size = check_node(r.text()), r.u8()
        if phase > PROBING or not interval or size not in (0, 4, 16):
            raise Malformed("an advert")
        address = str(ipaddress.ip_address(r.take(size))) if size else ""
        count, vouched = r.u8(), r.u8()
        if count > RELAYS_MAX or vouched > count:
            raise Malformed("the relays of an advert")
        relays = [check_relay(r.text()) for _ in range(count)]
        return Advert(
            phase, instance, sequence, interval, port, name, address, relays, vouched,
            r.extensions(),
        )


def seal(advert, sealer, overhead):
    """The payload of an `adv` frame that has so many bytes beside it."""
    payload = MARK + sealer.seal(advert.encode())
    while advert.relays and len(payload) + overhead > DATAGRAM_MAX:
        advert.relays.pop()
        advert.vouched = min(advert.vouched, len(advert.relays))
        payload = MARK + sealer.seal(advert.encode())
    return payload


def open_payload(payload, sealers):
    """The advert, under whichever of the keys opens it."""
    if len(payload) < PAYLOAD_MIN or not payload.startswith(MARK):
        raise Malformed("the payload of an advert")
    for sealer in sealers:
        try:
            plain = sealer.open(payload[1:])
        except Malformed:
            continue
        return Advert.decode(plain)
    raise Malformed("an advert does not open")
