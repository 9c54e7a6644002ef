"""Chapter 14: certificates and revocation lists."""

import hashlib
import re
from dataclasses import dataclass

from .fields import Malformed, b64, unb64
from .identity import Identity, public_text, verify
from .names import check_network, check_node

ROLES_MAX = 16
REVOKED_MAX = 4096
ROLE = re.compile(r"[a-z0-9_-]{1,32}")
NUMBER = re.compile(r"0|[1-9][0-9]{0,19}")


def authority_text(public):
    return "authority-" + b64(public)


def prefixed(text, prefix):
    if not text.startswith(prefix):
        raise Malformed(f"not {prefix}")
    return unb64(text[len(prefix) :], 32)


class Lines:
    """Takes `name: value` lines off a text, each ended by a line feed."""

    def __init__(self, text, first):
        if not text.endswith("\n"):
            raise Malformed("no line feed at the end")
        self.text, self._lines = text, text[:-1].split("\n")
        if self._lines.pop(0) != first:
            raise Malformed(f"not a {first}")

    def next(self, name):
        line = self._lines.pop(0) if self._lines else ""
        if line == f"{name}:":
            return ""
        if not line.startswith(f"{name}: "):
            raise Malformed(f"no {name}")
        return line[len(name) + 2 :]

    def has(self, name):
        return bool(self._lines) and self._lines[0].startswith(f"{name}:")

    def signature(self):
        signature = unb64(self.next("signature"), 64)
        if self._lines:
            raise Malformed("lines after the signature")
        return signature


def number(text):
    if not NUMBER.fullmatch(text) or int(text) >= 1 << 64:
        raise Malformed("a number")
    return int(text)



@dataclass
class Certificate:
    network: str
    name: str
    key: bytes
    roles: list
    list: int
    signature: bytes

    @staticmethod
    def parse(text):
        lines = Lines(text, "peerbase certificate 2")
        network, name = check_network(lines.next("network")), check_node(lines.next("name"))
        key, roles = prefixed(lines.next("key"), "peer-"), lines.next("roles")
        roles = roles.split(",") if roles else []
        if roles != sorted(set(roles)) or len(roles) > ROLES_MAX:
            raise Malformed("roles")
        if not all(map(ROLE.fullmatch, roles)):
            raise Malformed("a role")
        version = number(lines.next("list"))
        certificate = Certificate(network, name, key, roles, version, lines.signature())
        if certificate.text() != text:
            raise Malformed("another form of a certificate")
        return certificate

    def _unsigned(self):
        roles = " " + ",".join(self.roles) if self.roles else ""
        return (
            f"peerbase certificate 2\nnetwork: {self.network}\nname: {self.name}\n"
            f"key: {public_text(self.key)}\nroles:{roles}\nlist: {self.list}\n"
        )

    def text(self):
        return self._unsigned() + f"signature: {b64(self.signature)}\n"

    def signed_by(self, authority):
        return verify(authority, self._unsigned().encode(), self.signature)

    def hash(self):
        return b64(hashlib.sha256(self.text().encode()).digest())

    @staticmethod
    def sign(seed, network, name, key, roles, version):
        certificate = Certificate(network, name, key, sorted(set(roles)), version, b"")
        certificate.signature = Identity(seed).sign(certificate._unsigned().encode())
        return certificate


@dataclass
class RevocationList:
    network: str
    version: int
    revoked: list
    signature: bytes

    @staticmethod
    def parse(text):
        lines = Lines(text, "peerbase revocations 2")
        network, version = check_network(lines.next("network")), number(lines.next("version"))
        revoked = []
        while lines.has("revoked"):
            revoked.append(lines.next("revoked"))
            unb64(revoked[-1], 32)
        if not version or len(revoked) > REVOKED_MAX or revoked != sorted(set(revoked)):
            raise Malformed("a revocation list")
        parsed = RevocationList(network, version, revoked, lines.signature())
        if parsed.text() != text:
            raise Malformed("another form of a revocation list")
        return parsed

    def _unsigned(self):
        revoked = "".join(f"revoked: {one}\n" for one in self.revoked)
        head = f"peerbase revocations 2\nnetwork: {self.network}\nversion: {self.version}\n"
        return head + revoked

    def text(self):
        return self._unsigned() + f"signature: {b64(self.signature)}\n"

    def signed_by(self, authority):
        return verify(authority, self._unsigned().encode(), self.signature)
