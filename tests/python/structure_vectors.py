"""Prints tests/vectors/structures.json: one of each structure of the protocol and of each kind of
record, as the second implementation encodes them, and some that must be refused.

    python tests/python/structure_vectors.py
"""

import json

from peer.advert import Advert
from peer.broadcast import Broadcast
from peer.fields import text, u8, u16, u32, u64
from peer.frames import Frame
from peer.identity import Identity
from peer.records import (
    AGAIN, BROADCAST, BYTES, CALL, CANCEL, CLOSE, CREDIT, DATA, END, LARGE, LIST, MESSAGE, NOTICE,
    PEERS, PING, PONG, RENEW, REPLY, STREAMS, Call, Record,
)

ABOUT = """Structures of the protocol, in hex, and frames and words of relays as they are. What is
good decodes, and encodes back to the same bytes; what is bad is refused. 'chapter' is that of
docs/PROTOCOL.md."""

INSTANCE = bytes(range(16))
PATH = "sensor.read"
EXTENSIONS = u16(1) + u16(2) + b"ab" + u16(0x7FFF) + u16(0)
CRITICAL = u16(0x8001) + u16(0)


def call(form, ask, settled=()):
    return Record(7, CALL, 0, Call(9, 5_000, form, list(settled), ask).encode())


def command(path=PATH):
    return text(path) + u32(3) + b"[1]" + b'{"unit":"K"}'


def broadcast():
    origin = Identity(bytes([1] * 32))
    said = Broadcast(3, 31, "Gerät 7", origin.public, bytes([2] * 16), b"\0said")
    said.sign("plant", origin)
    return said.encode()


def records():
    stream = u64(9)
    good = {
        "a command": call(0, command()),
        "a command that was sent before, with streams": call(AGAIN | STREAMS, command(), [1, 8]),
        "a command with bytes": call(BYTES, text(PATH) + b"\0\xff"),
        "a large command": call(LARGE, u64(1_000_000)),
        "a message": call(MESSAGE, b"\0\xff"),
        "a large message": call(MESSAGE | LARGE, u64(1_000_000)),
        "a broadcast": call(BROADCAST, broadcast()),
        "data": Record(7, DATA, 1, stream + u64(3) + b"piece"),
        "the end of a whole stream": Record(7, END, 2, stream + u64(8) + u8(0)),
        "the end of a broken stream": Record(7, END, 3, stream + u64(8) + u8(1) + b"why"),
        "credit": Record(7, CREDIT, 4, stream + u64(8) + u64(262_152)),
        "cancel": Record(7, CANCEL, 0, stream),
        "stop": Record(7, CANCEL, 2, stream + b"enough"),
        "notice": Record(7, NOTICE, 0, u8(2) + u64(1) + u64(8)),
        "peers": Record(7, PEERS, 0, u8(0)),
        "ping": Record(7, PING, 0, INSTANCE),
        "pong": Record(7, PONG, 0, INSTANCE),
        "renew": Record(7, RENEW, 0, b""),
        "a piece of a list": Record(7, LIST, 0, u32(0) + u32(74) + bytes(74)),
        "a record with extension fields": Record(7, PING, 0, INSTANCE, EXTENSIONS),
    }
    for status in range(12):
        body = u64(8) if status in (5, 6, 8, 11) else b"body"
        good[f"a reply with status {status}"] = Record(7, REPLY, 0, stream + u8(status) + body)
    for reason in range(8):
        good[f"close with reason {reason}"] = Record(7, CLOSE, 0, u8(reason))
    bad = {
        "another kind": Record(7, 14, 0, b""),
        "a kind on a channel that it does not have": Record(7, PING, 1, INSTANCE),
        "a channel that is none": Record(7, DATA, 5, stream + u64(0) + b"x"),
        "a message and a broadcast": call(MESSAGE | BROADCAST, broadcast()),
        "a message and a command with bytes": call(MESSAGE | BYTES, text(PATH)),
        "a form that is none": call(64, command()),
        "a command that is cut short": call(0, text(PATH) + u32(9) + b"[1]"),
        "a path that is not UTF-8": call(BYTES, u8(1) + b"\xff"),
        "bytes after a length": call(LARGE, u64(9) + b"x"),
        "another status": Record(7, REPLY, 0, stream + u8(12)),
        "another reason": Record(7, CLOSE, 0, u8(8)),
        "an end that is neither": Record(7, END, 3, stream + u64(8) + u8(2)),
        "a nonce that is too short": Record(7, PING, 0, INSTANCE[1:]),
        "a nonce that is too long": Record(7, PONG, 0, INSTANCE + b"x"),
        "bytes after a renewal": Record(7, RENEW, 0, b"x"),
        "numbers that are missing": Record(7, NOTICE, 0, u8(2) + u64(1)),
        "a critical field that is not known": Record(7, PING, 0, INSTANCE, CRITICAL),
        "fields that do not ascend": Record(7, PING, 0, INSTANCE, EXTENSIONS[6:] + EXTENSIONS[:6]),
        "more fields than 1 024 bytes": Record(7, PING, 0, INSTANCE, u16(1) + u16(1_021) + bytes(1_021)),
    }
    bad = {about: record.encode() for about, record in bad.items()}
    bad["no fields where they are announced"] = Record(7, PING | 0x80, 0, u16(0) + INSTANCE).encode()
    bad["a header that is cut short"] = Record(7, RENEW, 0, b"").encode()[:-1]
    return {about: record.encode() for about, record in good.items()}, bad


def adverts():
    relays = ["relay.example:7700", "[2001:db8::1]:1"]
    good = Advert(0, INSTANCE, 1, 1_000, 3_333, "Gerät 7", relays=relays, vouched=1)
    others = {"phase": 3, "interval": 0, "name": "*", "vouched": 3, "relays": ["relay.example"],
              "extensions": CRITICAL}
    fields = dict(phase=0, instance=INSTANCE, sequence=1, interval=1_000, port=3_333, name="a",
                  relays=relays, vouched=1)
    bad = {name: Advert(**(fields | {name: value})).encode() for name, value in others.items()}
    leaving = Advert(1, INSTANCE, (1 << 64) - 1, 300_000, 0, "a")
    return {"present": good.encode(), "leaving": leaving.encode()}, bad


def peers():
    entry = INSTANCE + text("a") + u8(4) + bytes([10, 0, 0, 7]) + u16(3_333)
    entry6 = INSTANCE + text("b") + u8(6) + bytes(15) + b"\x01" + u16(1)
    good = {"none": u8(0), "two": u8(2) + entry + entry6}
    bad = {"one is missing": u8(2) + entry, "bytes left over": u8(0) + b"x",
           "an address of another kind": u8(1) + entry.replace(b"\x04\x0a", b"\x05\x0a")}
    return good, bad


def words(who):
    challenge, route = "A" * 43 + "=", "abcdefgh-_012345"
    if who == "node":
        good = [f"join.2.{challenge}", f"proof.{challenge}", f"block.{route}",
                f"join.2.{challenge}.later=1", "later.1.2"]
        bad = ["join", f"join.2.{challenge[:-1]}", f"block.{route}x", f"block.{route}.1",
               f"proof.{challenge}.later=1", "Join", "", f"join.2.{challenge}.b=1.a=1",
               f"join.2.{challenge}.!later=1"]
    else:
        good = [f"prove.{challenge}", f"prove.{challenge}.{challenge}", f"joined.{route}",
                f"gone.{route}", f"credit.{route}.18446744073709551615", f"busy.{route}.0",
                f"settled.{route}.7", f"window.{route}.262144", "unknown.later", "later"]
        bad = ["prove", f"credit.{route}.01", f"credit.{route}.18446744073709551616",
               f"credit.{route}", f"gone.{route[:-1]}", f"window.{route}.-1", "!later",
               f"gone.{route}.!later=1"]
    return good, bad


def frames():
    good = [Frame("plant", "adv", "2abc"), Frame("Gerät 7", "msg", "A-_="),
            Frame("plant", "reg", "!a.b=c")]
    bad = ["plant|adv||END\n", "plant|ADV|a|END\n", "plant|adv|a |END\n", "plant|adv|a|END\r\n",
           "|adv|a|END\n", "plant|adv|a|end\n", "a:b|adv|a|END\n", "plant|adv|a.|END\n"]
    return [frame.encode().decode() for frame in good], bad


def of_bytes(name, chapter, made):
    good, bad = ({about: data.hex() for about, data in some.items()} for some in made)
    return {"structure": name, "chapter": chapter, "good": good, "bad": bad}


def of_texts(name, chapter, made):
    return {"structure": name, "chapter": chapter, "good": made[0], "bad": made[1]}


def main():
    made = [
        of_texts("frame", "2", frames()),
        of_bytes("advert", "6.2", adverts()),
        of_bytes("record", "8.1", records()),
        of_bytes("peers", "12.1", peers()),
        of_texts("word of a node", "13.3", words("node")),
        of_texts("word of a relay", "13.3", words("relay")),
    ]
    print(json.dumps({"about": " ".join(ABOUT.split()), "structures": made}, indent=2,
                     ensure_ascii=False))


if __name__ == "__main__":
    main()
