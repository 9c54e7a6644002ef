"""The vectors in tests/vectors, and the worked values of the document."""

import json
import re
import unittest
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from noise.connection import Keypair, NoiseConnection

from .. import frames, keys, records
from ..advert import Advert
from ..broadcast import Broadcast
from ..calls import read_command
from ..certificates import Certificate, RevocationList, authority_text, prefixed
from ..fields import Malformed, Reader, b64, u16, u64, unb64
from ..handshake import Card, Initiator, Responder
from ..identity import Identity, fingerprint, instance_of, public_text, verify
from ..records import Record, check_peers
from ..relay_words import Seal, Word, member_proof, number, relay_proof, said
from ..streams import Streams
from ..tokens import Sealer

ROOT = Path(__file__).parents[4]
NET, KEY = "plant", bytes(range(32))


def read_ask(call):
    """What is asked of a call, if it stands in the call's record."""
    if call.form & (records.LARGE | records.MESSAGE):
        return
    if call.form & records.BROADCAST:
        Broadcast.decode(call.ask)
    elif call.form & records.BYTES:
        Reader(call.ask).text()
    else:
        read_command(call.ask)


def read_body(record):
    """The body of a record that is no call."""
    r, kind = Reader(record.body), record.kind
    if record.channel:
        r.u64()
        return Streams._fields(None, kind, r)
    if kind == records.REPLY:
        return records.read_reply(record.body)
    if kind == records.PEERS:
        return check_peers(record.body)
    if kind == records.LIST:
        return records.check_list(record.body)
    if kind == records.NOTICE:
        records.read_settled(r)
    elif kind == records.CLOSE:
        if r.u8() > records.CERTIFICATE:
            raise Malformed("the reason of a close")
    else:
        r.take({records.CANCEL: 8, records.PING: 16, records.PONG: 16, records.RENEW: 0}[kind])
    return r.end()


def route(argument):
    if not re.fullmatch("[A-Za-z0-9_-]{16}", argument):
        raise Malformed("a route")


def bytes_32(argument):
    unb64(argument, 32)


def version(argument):
    if argument != "2":
        raise Malformed("a version")


OF_NODE = {"join": [version, bytes_32], "proof": [bytes_32], "block": [route]}
OF_RELAY = {
    "prove": [bytes_32, bytes_32], "joined": [route], "gone": [route], "credit": [route, number],
    "busy": [route, number], "settled": [route, number], "window": [route, number],
}


def known_word(text, of_node):
    word = Word.parse(text)
    wanted = (OF_NODE if of_node else OF_RELAY).get(word.verb)
    if wanted is None:
        if word.verb.startswith("!"):
            raise Malformed("an unknown critical verb")
        return text
    if len(word.args) != len(wanted) and (word.verb, len(word.args)) != ("prove", 1):
        raise Malformed("the arguments of a word")
    if word.verb == "proof" and word.fields:
        raise Malformed("a proof has no fields")
    for read, argument in zip(wanted, word.args):
        read(argument)
    return text


class Fixed:
    """A node of a vector of handshakes."""

    def __init__(self, vector):
        self.identity = Identity(bytes.fromhex(vector["seed"]))
        self.start = bytes.fromhex(vector["start"])
        self.instance = instance_of(self.identity.public, self.start)
        self.name, self.vector = vector["name"], vector
        self.ephemeral = bytes.fromhex(vector["ephemeral"])

    def card(self):
        v = self.vector
        flags = (2 if v["kept"] else 0) | (1 if v["probing"] else 0)
        return Card(
            flags, v["port"], v["name"], self.start, self.identity.public,
            self.identity.sign_static(flags), v["certificate"].encode(), v["list"],
        )


def vectors(name):
    return json.loads((ROOT / "tests/vectors" / name).read_text())


class Worked(unittest.TestCase):
    """Each value is computed here, and looked for in the appendix."""

    def setUp(self):
        text = (ROOT / "docs/PROTOCOL.md").read_text()
        self.appendix = "".join(text[text.index("## Appendix") :].split())

    def stands(self, label, value):
        self.assertIn("".join((label + value).split()), self.appendix)

    def test_keys_of_a_network(self):
        for label in (keys.ADVERT, keys.RELAY, keys.HANDSHAKE):
            value = keys.derive(KEY, NET, label).hex()
            self.stands(f"derive({label.decode()})", value)

    def test_the_joining(self):
        key = keys.derive(KEY, NET, keys.RELAY)
        known = said(NET, bytes([1] * 32), bytes([2] * 32))
        self.stands("proof of the relay", relay_proof(key, known).hex())
        self.stands("proof of the node", member_proof(key, known).hex())
        relay, member = Seal(key, b"relay", known), Seal(key, b"member", known)
        self.stands("key of the relay's words", relay.key.hex())
        self.stands("key of the node's words", member.key.hex())
        self.stands("first word of the relay", relay.seal("joined.abcdefgh-_012345"))
        self.stands("first word of the node", member.seal("block.abcdefgh-_012345"))

    def test_an_identity(self):
        identity, start = Identity(bytes([1] * 32)), bytes([2] * 16)
        text = public_text(identity.public)
        self.stands("public identity", identity.public.hex() + text)
        self.stands("fingerprint", fingerprint(identity.public))
        self.stands("X25519 private", identity.x25519_private.hex())
        self.stands("X25519 public", identity.x25519_public.hex())
        self.stands("instance", instance_of(identity.public, start).hex())
        signature = identity.sign_static(2).hex()
        self.stands("signature over `peerbase static 2` | 02 | X25519 public", signature)

    def test_message_1(self):
        class Own:
            identity = Identity(bytes([1] * 32))
            instance = instance_of(identity.public, bytes([2] * 16))

        psk = keys.derive(KEY, NET, keys.HANDSHAKE)
        with self.assertWarns(UserWarning):
            shake = Initiator(NET, Own, psk, bytes([9] * 8), bytes([5] * 32))
        self.stands("is the `hel` payload", shake.first())

    def test_a_chain_key(self):
        chain = keys.hkdf(bytes([3] * 32), b"peerbase records 2", 64)
        self.stands("next chain key", chain[:32].hex())
        self.stands("record key", chain[32:].hex())


class Vectors(unittest.TestCase):
    def test_noise(self):
        found = vectors("noise.json")["vectors"]
        for vector in found:
            with self.subTest(vector["protocol_name"]), self.assertWarns(UserWarning):
                self.noise(vector)
        self.assertTrue(found)

    def noise(self, vector):
        sides = [self.side(vector, who) for who in ("init", "resp")]
        for i, message in enumerate(vector["messages"]):
            sender, receiver = sides[i % 2], sides[(i + 1) % 2]
            payload, wire = (bytes.fromhex(message[k]) for k in ("payload", "ciphertext"))
            if sender.handshake_finished:
                self.assertEqual(sender.encrypt(payload), wire)
                self.assertEqual(receiver.decrypt(wire), payload)
            else:
                self.assertEqual(sender.write_message(payload), wire)
                self.assertEqual(receiver.read_message(wire), payload)
        self.assertTrue(sides[0].handshake_finished)
        if "handshake_hash" in vector:
            self.assertEqual(sides[0].get_handshake_hash().hex(), vector["handshake_hash"])

    def side(self, vector, who):
        noise = NoiseConnection.from_name(vector["protocol_name"].encode())
        noise.set_as_initiator() if who == "init" else noise.set_as_responder()
        noise.set_prologue(bytes.fromhex(vector[f"{who}_prologue"]))
        if psks := vector.get(f"{who}_psks"):
            noise.set_psks(psks=[bytes.fromhex(psk) for psk in psks])
        for kind, name in ((Keypair.STATIC, "static"), (Keypair.EPHEMERAL, "ephemeral")):
            if private := vector.get(f"{who}_{name}"):
                noise.set_keypair_from_private_bytes(kind, bytes.fromhex(private))
        noise.start_handshake()
        return noise

    def test_identities(self):
        found = vectors("identity.json")["identities"]
        for vector in found:
            identity = Identity(bytes.fromhex(vector["seed"]))
            message = bytes.fromhex(vector["message"])
            private = X25519PrivateKey.from_private_bytes(identity.x25519_private)
            made = {
                "seed": identity.seed.hex(),
                "identity": identity.text,
                "public_key": public_text(identity.public),
                "fingerprint": fingerprint(identity.public),
                "x25519_private_key": identity.x25519_private.hex(),
                "x25519_public_key": private.public_key().public_bytes_raw().hex(),
                "message": message.hex(),
                "signature": identity.sign(message).hex(),
                "start": vector["start"],
                "instance": instance_of(identity.public, bytes.fromhex(vector["start"])).hex(),
            }
            self.assertEqual(made, vector)
            self.assertTrue(verify(identity.public, message, bytes.fromhex(vector["signature"])))
        self.assertTrue(found)

    def test_handshakes(self):
        found = vectors("handshake.json")["handshakes"]
        for vector in found:
            with self.subTest(vector["about"]), self.assertWarns(UserWarning):
                self.handshake(vector)
        self.assertTrue(found)

    def handshake(self, vector):
        network, hel = vector["network"], vector["hel"]
        psk = keys.derive(bytes.fromhex(vector["network_key"]), network, keys.HANDSHAKE)
        near, far = Fixed(vector["initiator"]), Fixed(vector["responder"])
        id = bytes.fromhex(vector["id"])
        one = Initiator(network, near, psk, id, near.ephemeral)
        self.assertEqual(one.first(), hel[0])
        other = Responder(network, far, [psk], hel[0], far.ephemeral)
        self.assertEqual(other.second(), hel[1])
        self.assertEqual(one.second(hel[1], far.name), far.card())
        self.assertEqual(one.third(), hel[2])
        self.assertEqual(other.third(hel[2]), near.card())
        self.assertEqual([chain.hex() for chain in one.chains], vector["chain_keys"])
        self.assertEqual(one.chains, other.chains[::-1])
        for way, chain in enumerate(one.chains):
            first = keys.hkdf(chain, b"peerbase records 2", 64)
            renewed = keys.hkdf(first[:32], b"peerbase records 2", 64)[32:]
            self.assertEqual(first[32:].hex(), vector["record_keys"][way])
            self.assertEqual(renewed.hex(), vector["renewed_record_keys"][way])
            for record in vector["records"]:
                if record["from"] == ("initiator", "responder")[way]:
                    sealer = Sealer(renewed if record["renewed"] else first[32:])
                    self.assertEqual(sealer.open(record["token"]).hex(), record["plain"])

    def test_structures(self):
        def hexed(encode, decode):
            return lambda data: encode(decode(bytes.fromhex(data))).hex()

        def frame(data):
            parsed, size = frames.parse(data.encode()) or self.fail(data)
            self.assertEqual(size, len(data.encode()))
            return parsed.encode().decode()

        def record(plain):
            one = Record.decode(plain)
            if one.kind == records.CALL:
                call = records.Call.decode(one.body)
                self.assertEqual(call.encode(), one.body)
                read_ask(call)
            else:
                read_body(one)
            return one

        def peers(data):
            try:
                check_peers(data)
            except records.Violation as why:
                raise Malformed(str(why)) from None
            return data

        again = {
            "frame": frame,
            "advert": hexed(Advert.encode, Advert.decode),
            "record": hexed(Record.encode, record),
            "peers": hexed(bytes, peers),
            "word of a node": lambda word: known_word(word, True),
            "word of a relay": lambda word: known_word(word, False),
        }
        found = vectors("structures.json")["structures"]
        self.assertEqual([one["structure"] for one in found], list(again))
        for one in found:
            for about in one["good"]:
                data = one["good"][about] if isinstance(one["good"], dict) else about
                with self.subTest(structure=one["structure"], good=about):
                    self.assertEqual(again[one["structure"]](data), data)
            for about in one["bad"]:
                data = one["bad"][about] if isinstance(one["bad"], dict) else about
                with self.subTest(structure=one["structure"], bad=about):
                    with self.assertRaises(Malformed):
                        again[one["structure"]](data)

    def test_certificates_and_lists(self):
        found = vectors("authority.json")
        seed = bytes.fromhex(found["seed"])
        public = Identity(seed).public
        self.assertEqual(authority_text(public), found["key"])
        self.assertEqual("authority-secret-" + b64(seed), found["secret"])
        for vector in found["certificates"]:
            parsed = Certificate.parse(vector["text"])
            self.assertTrue(parsed.signed_by(public))
            self.assertEqual(parsed.hash(), vector["hash"])
            self.assertEqual(parsed.roles, sorted(vector["roles"]))
            key = prefixed(vector["key"], "peer-")
            made = Certificate.sign(
                seed, vector["network"], vector["name"], key, vector["roles"], vector["list"]
            )
            self.assertEqual(made.text(), vector["text"])
        for vector in found["lists"]:
            parsed = RevocationList.parse(vector["text"])
            self.assertTrue(parsed.signed_by(public))
            self.assertEqual(parsed.version, vector["version"])
            self.assertEqual(set(parsed.revoked), set(vector["revoked"]))
            hashes = sorted(unb64(hash, 32) for hash in vector["revoked"])
            handed_on = u64(vector["version"]) + u16(len(hashes)) + b"".join(hashes)
            signature = unb64(vector["text"].splitlines()[-1].removeprefix("signature: "), 64)
            self.assertEqual((handed_on + signature).hex(), vector["bytes"])

    def test_broadcasts(self):
        for vector in vectors("broadcast.json")["broadcasts"]:
            identity, ask = Identity(bytes.fromhex(vector["seed"])), bytes.fromhex(vector["ask"])
            read = Broadcast.decode(ask)
            self.assertEqual(read.public, identity.public)
            self.assertEqual(read.start.hex(), vector["start"])
            self.assertTrue(read.is_signed(vector["network"]))
            self.assertFalse(read.is_signed(vector["network"] + "x"))
            self.assertEqual((read.number, read.hops), (vector["number"], vector["hops"]))
            self.assertEqual((read.sender, read.data.hex()), (vector["sender"], vector["data"]))
            read.sign(vector["network"], identity)
            self.assertEqual(read.encode(), ask)
