"""Prints tests/vectors/handshake.json: whole handshakes with fixed keys, as the second implementation
makes them with the packages noiseprotocol and cryptography.

    python tests/python/handshake_vectors.py
"""

import json
import warnings
from base64 import urlsafe_b64encode

from cryptography.fernet import Fernet
from peer import keys
from peer.fields import b64, text, u8, u16, u32, u64
from peer.handshake import KEPT, PROBING, Card, Initiator, Responder
from peer.identity import Identity, instance_of, public_text
from peer.records import CALL, PING, REPLY, Call, Record

ABOUT = """Whole handshakes (chapter 7) with fixed keys, and the first records (chapter 8) of their
sessions. 'hel' are the payloads of the three frames, and 'payloads' what they carry, decrypted.
Keys and other bytes are in hex. 'chain_keys', 'record_keys' and 'renewed_record_keys' are those of
what the initiator sends, and then of what the responder sends. A record is a token of this time and
IV, under the first record key of its direction or the one after it was renewed."""

TIME, IV = 1_700_000_000, bytes(range(16))


class Side:
    """One of the nodes."""

    def __init__(self, n, name, flags=0, port=0, certificate=b"", list=0):
        self.identity, self.start = Identity(bytes([n] * 32)), bytes([n + 1] * 16)
        self.ephemeral = bytes([n + 2] * 32)
        self.instance = instance_of(self.identity.public, self.start)
        self.name, self.flags, self.port = name, flags, port
        self.certificate, self.list = certificate, list

    def card(self):
        return Card(
            self.flags, self.port, self.name, self.start, self.identity.public,
            self.identity.sign_static(self.flags & KEPT), self.certificate, self.list,
        )

    def inputs(self):
        return {
            "seed": self.identity.seed.hex(), "start": self.start.hex(),
            "ephemeral": self.ephemeral.hex(), "name": self.name,
            "kept": bool(self.flags & KEPT), "probing": bool(self.flags & PROBING),
            "port": self.port, "certificate": self.certificate.decode(), "list": self.list,
        }


def token(key, plain):
    fernet = Fernet(urlsafe_b64encode(key))
    return fernet._encrypt_from_parts(plain, TIME, IV).decode()


def certificate(authority, network, side, roles, version):
    lines = (
        f"peerbase certificate 2\nnetwork: {network}\nname: {side.name}\n"
        f"key: {public_text(side.identity.public)}\nroles:{roles}\nlist: {version}\n"
    )
    return (lines + f"signature: {b64(authority.sign(lines.encode()))}\n").encode()


def handshake(about, network, id, initiator, responder):
    network_key = bytes(range(32))
    psk = keys.derive(network_key, network, keys.HANDSHAKE)
    one = Initiator(network, initiator, psk, id, initiator.ephemeral)
    first = one.first()
    other = Responder(network, responder, [psk], first, responder.ephemeral)
    second = other.second()
    one.second(second, responder.name)
    third = one.third()
    other.third(third)
    chains = one.chains
    assert chains == other.chains[::-1]
    both = [keys.hkdf(chain, b"peerbase records 2", 64) for chain in chains]
    renewed = [keys.hkdf(pair[:32], b"peerbase records 2", 64)[32:] for pair in both]
    call = Call(1, 5_000, 0, [], u8(4) + b"read" + u32(2) + b"[]{}").encode()
    plains = [
        (0, False, Record(0, CALL, 0, call)),
        (1, False, Record(0, REPLY, 0, u64(1) + u8(0) + b"21.5")),
        (0, True, Record(1 << 20, PING, 0, bytes(range(16)))),
        (1, True, Record(1 << 20, PING, 0, bytes(range(16, 32)))),
    ]
    records = []
    for way, after, record in plains:
        key = renewed[way] if after else both[way][32:]
        records.append({
            "from": ("initiator", "responder")[way], "renewed": after,
            "plain": record.encode().hex(), "token": token(key, record.encode()),
        })
    payloads = [
        u8(2) + u8(2) + initiator.instance,
        u8(2) + responder.card().encode(),
        text(responder.name) + initiator.card().encode(),
    ]
    return {
        "about": about, "network": network, "network_key": network_key.hex(), "id": id.hex(),
        "initiator": initiator.inputs(), "responder": responder.inputs(),
        "payloads": [payload.hex() for payload in payloads], "hel": [first, second, third],
        "chain_keys": [chain.hex() for chain in chains],
        "record_keys": [pair[32:].hex() for pair in both],
        "renewed_record_keys": [key.hex() for key in renewed],
        "time": TIME, "iv": IV.hex(), "records": records,
    }


def main():
    warnings.simplefilter("ignore")  # the package warns of fixed ephemeral keys
    authority = Identity(bytes([200] * 32))
    made = [handshake(
        "an open network", "plant", bytes(range(8)),
        Side(1, "sensor", KEPT, 7000), Side(11, "gateway", 0, 3_333),
    )]
    roof, cellar = Side(21, "Gerät 7", KEPT | PROBING), Side(31, "cellar", KEPT, 65_535)
    roof.certificate = certificate(authority, "Werk 2", roof, " reader,writer", 3)
    cellar.certificate, roof.list = certificate(authority, "Werk 2", cellar, "", 0), 3
    cellar.list = (1 << 64) - 1
    made.append(handshake("a certified network", "Werk 2", bytes([255] * 8), roof, cellar))
    print(json.dumps({"about": " ".join(ABOUT.split()), "handshakes": made}, indent=2,
                     ensure_ascii=False))


main()
