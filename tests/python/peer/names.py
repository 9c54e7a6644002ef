"""Chapter 5.1: names, paths, and addresses of relays."""

import ipaddress
import re

from .fields import Malformed

NAME_MAX = 64
PATH_MAX = 255

# What is invisible or changes the order in which the text beside it is shown.
HIDDEN = """
00A0 00AD 034F 061C 115F..1160 1680 17B4..17B5 180B..180F 2000..200F 2028..202F 205F..206F 2800
3000 3164 FE00..FE0F FEFF FFA0 FFF0..FFFB 13430..1343F 1BCA0..1BCA3 1D173..1D17A E0000..E0FFF
"""


def _ranges():
    for word in HIDDEN.split():
        first, _, last = word.partition("..")
        yield range(int(first, 16), int(last or first, 16) + 1)


RANGES = list(_ranges())


def is_control(char):
    return ord(char) < 0x20 or 0x7F <= ord(char) < 0xA0


def name_char(char):
    return not (is_control(char) or char in "|.:@" or any(ord(char) in r for r in RANGES))


def check_network(name):
    if not 1 <= len(name.encode()) <= NAME_MAX or not all(map(name_char, name)):
        raise Malformed("a name")
    return name


def check_node(name):
    if name == "*":
        raise Malformed("a node's name")
    return check_network(name)


def is_path(path):
    parts = path.split(".")
    return len(path.encode()) <= PATH_MAX and all(parts) and not any(map(is_control, path))


def check_relay(address):
    """`HOST:PORT`, `IPV4:PORT` or `[IPV6]:PORT`."""
    host, colon, port = address.rpartition(":")
    if not colon or not re.fullmatch(r"[1-9][0-9]{0,4}", port) or int(port) > 65535:
        raise Malformed("the port of a relay")
    if host.startswith("[") and host.endswith("]"):
        try:
            ipaddress.IPv6Address(host[1:-1])
            good = re.fullmatch(r"[0-9a-f:.]+", host[1:-1])
        except ValueError:
            good = False
    else:
        good = re.fullmatch(r"[a-z0-9._-]{1,253}", host)
    if not good:
        raise Malformed("the host of a relay")
    return address
