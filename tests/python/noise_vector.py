"""Prints the XXpsk0 vector of tests/vectors/noise.json, as the package noiseprotocol makes it.

    python tests/python/noise_vector.py
"""

import json

from noise.connection import Keypair, NoiseConnection

NAME = "Noise_XXpsk0_25519_ChaChaPoly_SHA256"
PROLOGUE = bytes.fromhex("020102030405060708") + b"\x05plant"
PSK = bytes(range(0x60, 0x80))
STATIC = {"init": bytes(range(0x00, 0x20)), "resp": bytes(range(0x20, 0x40))}
EPHEMERAL = {"init": bytes(range(0x80, 0xA0)), "resp": bytes(range(0xA0, 0xC0))}
# Payloads of several lengths: none, one block of the cipher, and more than one.
PAYLOADS = [b"", bytes(range(64)), b"three" * 20, b"four", b"", b"six", b"seven" * 20]


def side(name):
    noise = NoiseConnection.from_name(NAME.encode())
    if name == "init":
        noise.set_as_initiator()
    else:
        noise.set_as_responder()
    noise.set_prologue(PROLOGUE)
    noise.set_psks(PSK)
    noise.set_keypair_from_private_bytes(Keypair.STATIC, STATIC[name])
    noise.set_keypair_from_private_bytes(Keypair.EPHEMERAL, EPHEMERAL[name])
    noise.start_handshake()
    return noise


def send(sender, receiver, payload):
    """Hands a message over, and says what it was."""
    if sender.handshake_finished:
        message = sender.encrypt(payload)
        got = receiver.decrypt(message)
    else:
        message = sender.write_message(payload)
        got = receiver.read_message(message)
    assert got == payload
    return {"payload": payload.hex(), "ciphertext": message.hex()}


sides = [side("init"), side("resp")]
messages = [send(sides[i % 2], sides[(i + 1) % 2], p) for i, p in enumerate(PAYLOADS)]
vector = {"protocol_name": NAME, "source": "tests/python/noise_vector.py"}
for name in ("init", "resp"):
    vector[f"{name}_prologue"] = PROLOGUE.hex()
    vector[f"{name}_psks"] = [PSK.hex()]
    vector[f"{name}_static"] = STATIC[name].hex()
    vector[f"{name}_ephemeral"] = EPHEMERAL[name].hex()
hashes = {one.get_handshake_hash().hex() for one in sides}
(vector["handshake_hash"],) = hashes
print(json.dumps({**vector, "messages": messages}, indent=1))
