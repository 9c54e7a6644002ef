"""Chapters 7.2 to 7.4: the handshake."""

import os
from collections import Counter, deque
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from noise.connection import Keypair, NoiseConnection

from .fields import Malformed, Reader, b64, text, u8, u16, u64, unb64
from .identity import instance_of, static_message, verify
from .names import check_node

NOISE = b"Noise_XXpsk0_25519_ChaChaPoly_SHA256"
VERSION = 2
PROBING, KEPT = 1, 2
# What a message has beside its payload.
OVERHEAD = {1: 32 + 16, 2: 32 + 48 + 16, 3: 48 + 16}


@dataclass
class Card:
    flags: int
    port: int
    name: str
    start: bytes
    public: bytes
    signature: bytes
    certificate: bytes = b""
    list: int = 0
    extensions: bytes = b""

    def encode(self):
        return (
            u8(self.flags) + u16(self.port) + text(self.name) + self.start + self.public
            + self.signature + u16(len(self.certificate)) + self.certificate + u64(self.list)
            + self.extensions
        )

    @staticmethod
    def read(r):
        card = Card(
            r.u8(), r.u16(), check_node(r.text()), r.take(16), r.take(32), r.take(64),
            r.take(r.u16()), r.u64(), r.extensions(),
        )
        if card.flags & ~(PROBING | KEPT):
            raise Malformed("an unknown flag")
        return card

    @property
    def instance(self):
        return instance_of(self.public, self.start)

    @property
    def probing(self):
        return bool(self.flags & PROBING)

    def check(self, static, own_instance):
        if not verify(self.public, static_message(self.flags, static), self.signature):
            raise Malformed("a signature")
        if self.instance == own_instance:
            raise Malformed("it is this node itself")


class Handshake:
    """What both sides have. `own` gives identity, instance, and the card of now."""

    def __init__(self, network, own, id, psk, initiator, ephemeral=None):
        self.id, self._own = id, own
        self._noise = noise = NoiseConnection.from_name(NOISE)
        noise.set_as_initiator() if initiator else noise.set_as_responder()
        noise.set_prologue(u8(VERSION) + id + text(network))
        noise.set_psks(psk)
        private = own.identity.x25519_private
        noise.set_keypair_from_private_bytes(Keypair.STATIC, private)
        if ephemeral:
            noise.set_keypair_from_private_bytes(Keypair.EPHEMERAL, ephemeral)
        noise.start_handshake()
        # The package lets go of it with the last message, and of the other static key with that.
        self._state = noise.noise_protocol.handshake_state

    def _write(self, step, payload):
        return b64(u8(VERSION) + u8(step) + self.id + bytes(self._noise.write_message(payload)))

    def _read(self, step, message):
        if len(message) < OVERHEAD[step]:
            raise Malformed("a message that is too short")
        try:
            return Reader(self._noise.read_message(message))
        except (InvalidTag, ValueError):  # the latter for a result of all zeros
            raise Malformed("a message that does not open") from None

    def _take(self, step, payload):
        """Reads the message that is due."""
        got, id, message = split(payload)
        if (got, id) != (step, self.id):
            raise Malformed("another step or handshake")
        return self._read(step, message)

    def _check(self, card):
        card.check(self._state.rs.public_bytes, self._own.instance)
        return card

    @property
    def chains(self):
        """The chain keys of what this side sends, and of what comes."""
        noise = self._noise.noise_protocol
        return noise.cipher_state_encrypt.k, noise.cipher_state_decrypt.k


def split(payload):
    """Step, id and message of the payload of a `hel` frame."""
    r = Reader(unb64(payload))
    if r.u8() != VERSION:
        raise Malformed("another version")
    step, id = r.u8(), r.take(8)
    if step not in OVERHEAD:
        raise Malformed("the step of a handshake")
    return step, id, r.rest()


def id_of(payload):
    try:
        return split(payload)[1]
    except Malformed:
        return None


class Initiator(Handshake):
    def __init__(self, network, own, psk, id=None, ephemeral=None):
        super().__init__(network, own, id or os.urandom(8), psk, True, ephemeral)

    def first(self):
        return self._write(1, u8(VERSION) + u8(VERSION) + self._own.instance)

    def second(self, payload, name=None):
        """The responder's card. `name` is what was dialled."""
        r = self._take(2, payload)
        if r.u8() != VERSION:
            raise Malformed("a version that was not offered")
        self._theirs = card = self._check(Card.read(r))
        if name is not None and card.name != name:
            raise Malformed("another name than the one that was dialled")
        return card

    def third(self):
        return self._write(3, text(self._theirs.name) + self._own.card().encode())


class Responder(Handshake):
    """Begins with message 1, which it opens with one of the keys."""

    def __init__(self, network, own, psks, payload, ephemeral=None):
        step, id, message = split(payload)
        if step != 1:
            raise Malformed("not the first message")
        for psk in psks:
            super().__init__(network, own, id, psk, False, ephemeral)
            try:
                r = self._read(1, message)
                break
            except Malformed:
                continue
        else:
            raise Malformed("no key opens it")
        self.ephemeral = message[:32]
        least, most, self.instance = r.u8(), r.u8(), r.take(16)
        r.extensions()
        if not least <= VERSION <= most or self.instance == own.instance:
            raise Malformed("the first message")

    def second(self):
        return self._write(2, u8(VERSION) + self._own.card().encode())

    def third(self, payload):
        r = self._take(3, payload)
        if r.text() != self._own.name:
            raise Malformed("somebody else is meant")
        card = self._check(Card.read(r))
        if card.instance != self.instance:
            raise Malformed("another instance than in the first message")
        return card


class Door:
    """Which first messages are answered: none twice, and so many in a second."""

    SEEN, ALL, SOURCE_FREE, SHARED = 4096, 100, 10, 50

    def __init__(self):
        self._seen, self._known = deque(), set()
        self._second, self._sources = None, Counter()

    def admit(self, ephemeral, source, now):
        if ephemeral in self._known:
            raise Malformed("a first message that was seen before")
        self._seen.append(ephemeral)
        self._known.add(ephemeral)
        if len(self._seen) > self.SEEN:
            self._known.discard(self._seen.popleft())
        if self._second != int(now):
            self._second, self._sources = int(now), Counter()
        bound = self.SHARED if self._sources[source] >= self.SOURCE_FREE else self.ALL
        if self._sources.total() >= bound:
            raise Malformed("too many first messages")
        self._sources[source] += 1
