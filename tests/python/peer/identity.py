"""Chapters 5.2 and 5.3: identities and instances."""

import hashlib
import os
from base64 import b32encode

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from .fields import b64
from .keys import hkdf

KEPT = 2
P = 2**255 - 19
# The y of the points of low order: of order 1, 2, 4 and twice 8. Their x may have either sign.
ORDER_8 = int.from_bytes(
    bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"), "little"
)
LOW_ORDER = {1, P - 1, 0, ORDER_8, P - ORDER_8}


class Identity:
    def __init__(self, seed=None):
        self.seed = seed or os.urandom(32)
        self._signing = Ed25519PrivateKey.from_private_bytes(self.seed)
        self.public = self._signing.public_key().public_bytes_raw()
        self.x25519_private = hkdf(self.seed, b"peerbase x25519")
        private = X25519PrivateKey.from_private_bytes(self.x25519_private)
        self.x25519_public = private.public_key().public_bytes_raw()

    def sign(self, message):
        return self._signing.sign(message)

    def sign_static(self, flags):
        return self.sign(static_message(flags, self.x25519_public))

    @property
    def text(self):
        return "identity-" + b64(self.seed)


def static_message(flags, static):
    return b"peerbase static 2" + bytes([flags & KEPT]) + static


def public_text(public):
    return "peer-" + b64(public)


def fingerprint(public):
    digest = hashlib.sha256(b"peerbase fingerprint" + public).digest()
    letters = b32encode(digest).decode().lower()[:20]
    return "-".join(letters[i : i + 4] for i in range(0, 20, 4))


def instance_of(public, start):
    return hashlib.sha256(b"peerbase instance 2" + public + start).digest()[:16]


def _point(data):
    """Whether it is the canonical form of a y that is not of low order."""
    y = int.from_bytes(data, "little") & (2**255 - 1)
    return y < P and y not in LOW_ORDER


def verify(public, message, signature):
    """Checks strictly. That S is below the group order is checked by the library."""
    if not (_point(public) and _point(signature[:32])):
        return False
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
        return True
    except (InvalidSignature, ValueError):
        return False
