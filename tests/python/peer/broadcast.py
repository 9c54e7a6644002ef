"""Chapter 11.2: messages to all nodes, as their origin signs them."""

import hashlib
from dataclasses import dataclass

from .fields import Reader, check_extensions, text, u8, u16, u64
from .identity import instance_of, verify

LABEL = b"peerbase broadcast 2"


@dataclass
class Broadcast:
    number: int
    hops: int
    sender: str
    public: bytes
    start: bytes
    data: bytes
    signature: bytes = bytes(64)
    certificate: bytes = b""
    extensions: bytes = b""

    def encode(self):
        head = u64(self.number) + u8(self.hops) + text(self.sender) + self.public + self.start
        more = u16(len(self.certificate)) + self.certificate
        more += u16(len(self.extensions)) + self.extensions
        return head + self.signature + more + self.data

    @staticmethod
    def decode(ask):
        r = Reader(ask)
        number, hops, sender = r.u64(), r.u8(), r.text()
        public, start, signature = r.take(32), r.take(16), r.take(64)
        certificate, extensions = r.take(r.u16()), r.take(r.u16())
        check_extensions(extensions)
        return Broadcast(
            number, hops, sender, public, start, r.rest(), signature, certificate, extensions
        )

    @property
    def instance(self):
        return instance_of(self.public, self.start)

    def signed(self, network):
        """What the origin signs."""
        said = LABEL + text(network) + self.public + self.instance
        said += u64(self.number) + text(self.sender)
        said += u16(len(self.extensions)) + self.extensions
        return said + hashlib.sha256(self.data).digest()

    def sign(self, network, identity):
        self.signature = identity.sign(self.signed(network))

    def is_signed(self, network):
        return verify(self.public, self.signed(network), self.signature)
