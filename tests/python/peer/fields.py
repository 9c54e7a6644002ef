"""Chapter 4: integers, texts, extension fields; and base64url as all chapters use it."""

import re
import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode

EXTENSIONS_MAX = 1024
CRITICAL = 0x8000


class Malformed(Exception):
    """Bytes that this document gives no meaning."""


def b64(data):
    return urlsafe_b64encode(data).decode()


def unb64(text, size=None):
    """Reads the canonical form only: with padding, and unused bits zero."""
    if not re.fullmatch(r"[A-Za-z0-9_-]*={0,2}", text) or len(text) % 4:
        raise Malformed("base64url")
    data = urlsafe_b64decode(text)
    if b64(data) != text or (size is not None and len(data) != size):
        raise Malformed("base64url")
    return data


def u8(n):
    return struct.pack(">B", n)


def u16(n):
    return struct.pack(">H", n)


def u32(n):
    return struct.pack(">I", n)


def u64(n):
    return struct.pack(">Q", n)


def text(value):
    data = value.encode()
    return u8(len(data)) + data


class Reader:
    """Takes one field after another from a structure."""

    def __init__(self, data):
        self.data = bytes(data)
        self.at = 0

    def take(self, size):
        end = self.at + size
        if end > len(self.data):
            raise Malformed("cut short")
        piece, self.at = self.data[self.at : end], end
        return piece

    def number(self, size):
        return int.from_bytes(self.take(size), "big")

    def u8(self):
        return self.number(1)

    def u16(self):
        return self.number(2)

    def u32(self):
        return self.number(4)

    def u64(self):
        return self.number(8)

    def text(self):
        return utf8(self.take(self.u8()))

    def rest(self):
        return self.take(len(self.data) - self.at)

    def end(self):
        if self.at != len(self.data):
            raise Malformed("bytes left over")

    def extensions(self):
        """Checks what is left as extension fields, and gives its bytes."""
        data = self.rest()
        check_extensions(data)
        return data


def utf8(data):
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise Malformed("not UTF-8") from None


def check_extensions(data):
    if len(data) > EXTENSIONS_MAX:
        raise Malformed("too many bytes of extensions")
    reader, last = Reader(data), -1
    while reader.at < len(data):
        kind = reader.u16()
        reader.take(reader.u16())
        number = kind & ~CRITICAL
        if number <= last:
            raise Malformed("extensions do not ascend")
        if kind & CRITICAL:
            raise Malformed("an unknown critical extension")
        last = number
