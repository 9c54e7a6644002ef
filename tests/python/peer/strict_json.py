"""Chapter 9.2: JSON that is read strictly."""

import json

from .fields import Malformed, utf8

DEPTH_MAX = 127


def _once(pairs):
    names = dict(pairs)
    if len(names) != len(pairs):
        raise Malformed("a name twice in one object")
    return names


def _refuse(word):
    raise Malformed(word)


def _in_range(digits):
    if abs(float(digits)) == float("inf"):
        raise Malformed("a number out of range")
    return int(digits)


def _depth(value):
    if isinstance(value, (list, dict)):
        inner = value.values() if isinstance(value, dict) else value
        return 1 + max(map(_depth, inner), default=0)
    return 0


def read(data, kind):
    """The value, which must be of that kind; `object` for any."""
    text = utf8(data)
    try:
        value = json.loads(text, object_pairs_hook=_once, parse_int=_in_range,
                           parse_constant=_refuse)
        deep = _depth(value) > DEPTH_MAX
        value_text = json.dumps(value, ensure_ascii=False, allow_nan=False)
        value_text.encode()  # halves of surrogate pairs are no text
    except (ValueError, RecursionError):
        raise Malformed("JSON") from None
    if deep or not isinstance(value, kind):
        raise Malformed("JSON")
    return value


def write(value):
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
