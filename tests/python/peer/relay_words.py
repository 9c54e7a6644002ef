"""Chapters 13.3 to 13.5: words between a node and a relay, proofs, and seals."""

import hmac
import re
from dataclasses import dataclass, field

from .fields import Malformed, b64, text, u16
from .keys import hkdf, mac

WORD_MAX = 1024
VERB = re.compile(r"!?[a-z]{1,16}")
FIELD = re.compile(r"(!?)([a-z0-9_-]{1,16})=([A-Za-z0-9_=-]+)")
ARGUMENT = re.compile(r"[A-Za-z0-9_=-]+")
NUMBER = re.compile(r"0|[1-9][0-9]{0,19}")


@dataclass
class Word:
    verb: str
    args: list
    fields: dict = field(default_factory=dict)  # by name: the value
    fields_text: str = ""

    @staticmethod
    def parse(word):
        """Whether its fields may be ignored is checked, too: none is known but `salt`."""
        if len(word) > WORD_MAX:
            raise Malformed("a word that is too long")
        verb, *parts = word.split(".")
        if not VERB.fullmatch(verb):
            raise Malformed("a verb")
        first = next((i for i, part in enumerate(parts) if FIELD.fullmatch(part)), len(parts))
        args, fields, last = parts[:first], {}, ""
        if not all(map(ARGUMENT.fullmatch, args)):
            raise Malformed("an argument")
        for part in parts[first:]:
            found = FIELD.fullmatch(part)
            if not found or found[2] <= last:
                raise Malformed("the fields of a word")
            last = found[2]
            if found[1] and not (verb == "joined" and last == "salt"):
                raise Malformed("an unknown critical field")
            fields[last] = found[3]
        return Word(verb, args, fields, "".join("." + part for part in parts[first:]))


def number(argument):
    if not NUMBER.fullmatch(argument) or int(argument) >= 1 << 64:
        raise Malformed("a number")
    return int(argument)


def said(network, node_challenge, relay_challenge, join_fields="", prove_fields=""):
    """What both sides know when they prove the key."""
    join_fields, prove_fields = join_fields.encode(), prove_fields.encode()
    return (
        text(network) + node_challenge + relay_challenge
        + u16(len(join_fields)) + join_fields + u16(len(prove_fields)) + prove_fields
    )


def relay_proof(key, known):
    return mac(key, b"peerbase relay proof 2" + known)


def member_proof(key, known):
    return mac(key, b"peerbase member proof 2" + known)


class Seal:
    """Numbers the words of one side, and makes or checks their MACs."""

    def __init__(self, relay_key, who, known):
        self.key = hkdf(relay_key, b"peerbase " + who + b" words 2" + known)
        self._count = 0

    def _sealed(self, word):
        self._count += 1
        numbered = f"{word}.{self._count}"
        return f"{numbered}.{b64(mac(self.key, numbered.encode())[:16])}"

    def seal(self, word):
        return self._sealed(word)

    def open(self, payload):
        word = payload.rsplit(".", 2)[0]
        if not hmac.compare_digest(self._sealed(word), payload):
            raise Malformed("the seal of a word")
        return word
