"""Chapters 3.2 and 3.3: the keys of a network and of a session."""

import hmac

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from .fields import text
from .tokens import Sealer

ADVERT = b"peerbase advert 2"
HANDSHAKE = b"peerbase handshake 2"
RELAY = b"peerbase relay 2"
TAGS = b"peerbase tags 2"
RECORDS_MAX = 1 << 20
HOUR = 3600


def hkdf(ikm, info, size=32):
    return HKDF(SHA256(), size, None, info).derive(ikm)


def mac(key, data):
    return hmac.digest(key, data, "sha256")


def derive(network_key, network, label):
    return hkdf(network_key, label + text(network))


class Chain:
    """The keys of one direction of a session, and the sequence of its records."""

    def __init__(self, chain_key, now, records_max=RECORDS_MAX):
        self._records_max = records_max
        self.sequence = self.renewals = 0
        self._renew(chain_key, now)

    def _renew(self, chain_key, now):
        both = hkdf(chain_key, b"peerbase records 2", 64)
        self._next = both[:32]
        self.sealer = Sealer(both[32:])
        self._since = now
        self._used = 0

    def renew(self, now):
        self._renew(self._next, now)
        self.renewals += 1

    def count(self):
        """Counts one record."""
        self.sequence += 1
        self._used += 1

    def must_renew(self, now):
        """Whether the next record has to be the last one under this key."""
        return self._used >= self._records_max - 1 or now - self._since >= HOUR
