"""Chapters 2 to 6 and 13.3: what is read, and what is refused."""

import os
import unittest

from .. import advert, keys, relay_words, strict_json
from ..advert import Advert
from ..fields import Malformed, Reader, b64, check_extensions, text, u8, u16, u64, unb64
from ..frames import LINK_MAX, Frame, parse, parse_datagram
from ..identity import Identity, verify
from ..names import check_node, check_relay, is_path
from ..records import Record, read_reply
from ..tokens import Sealer, token_size


class Codecs(unittest.TestCase):
    def refuses(self, call, *args):
        with self.assertRaises(Malformed, msg=repr(args)[:99]):
            call(*args)

    def test_a_frame_cut_at_every_byte_is_the_same_frame(self):
        frame = Frame("Gerät 7", "reg", "join.2.ab-_=!")
        data = frame.encode()
        for cut in range(len(data)):
            self.assertIsNone(parse(data[:cut]))
        self.assertEqual(parse(data + b"x"), (frame, len(data)))

    def test_what_can_be_no_frame(self):
        for data in (
            b"|", b"x" * 65, b"a.b", b"a\n", b"\xff", b"a\xc2\xa0", b"a|Msg", b"a|ms|", b"a|msgs",
            b"a|msg||", b"a|msg|.", b"a|msg|a..", b"a|msg|a.|", b"a|msg| ", b"a|msg|%",
            b"a|msg|a|X", b"a|msg|a|END\r", b"a|msg|" + b"x" * LINK_MAX,
        ):
            self.refuses(parse, data)
        whole = b"a|msg|" + b"x" * (LINK_MAX - 11) + b"|END\n"
        self.assertEqual(parse(whole)[1], LINK_MAX)
        self.refuses(parse, whole[:6] + b"x" + whole[6:])

    def test_a_datagram_is_one_frame(self):
        data = Frame("plant", "adv", "2abc").encode()
        parse_datagram(data)
        for other in (data[:-1], data + b"x", data + data, b"a|adv|" + b"x" * 1200 + b"|END\n"):
            self.refuses(parse_datagram, other)

    def test_base64url_is_canonical(self):
        self.assertEqual(unb64("-_8="), b"\xfb\xff")
        for other in ("-_8", "-_9=", "+/8=", "-_8=\n", "-_8==", "A", "=="):
            self.refuses(unb64, other)
        self.refuses(unb64, "AAAA", 4)

    def test_tokens(self):
        sealer, other = Sealer(bytes(range(32))), Sealer(bytes(32))
        for size in (0, 1, 15, 16, 17, 1000, 48_640):
            plain = os.urandom(size)
            token = sealer.seal(plain)
            self.assertEqual(len(token), token_size(size))
            self.assertEqual(sealer.open(token), plain)
            self.refuses(other.open, token)
        token = sealer.seal(b"abc")
        for i in range(len(token)):
            flipped = token[:i] + ("A" if token[i] != "A" else "B") + token[i + 1 :]
            self.refuses(sealer.open, flipped)
            self.refuses(sealer.open, token[:i])

    def test_extensions(self):
        def field(kind, size=0):
            return u16(kind) + u16(size) + bytes(size)

        for good in (b"", field(0), field(1) + field(7, 3), field(1, 1020)):
            check_extensions(good)
        for bad in (
            field(1)[:3], field(1, 2)[:-1], field(2) + field(1), field(1) + field(1),
            field(0x8001), field(1) + field(0x8002), field(1, 1021),
        ):
            self.refuses(check_extensions, bad)

    def test_names(self):
        for good in ("a", "Gerät 7", " a ", "x" * 64, "a\u0300", "-_"):
            check_node(good)
        for bad in ("", "*", "x" * 65, "a.b", "a:b", "a@b", "a|b", "a\n", "a\x7f", "a\x85",
                    "a\u00a0", "\u200b", "\ufeff", "\U000e0001"):
            self.refuses(check_node, bad)
        self.assertTrue(all(map(is_path, ("a", "a.b", "x" * 255, "ä b"))))
        self.assertFalse(any(map(is_path, ("", ".", "a.", ".a", "a..b", "x" * 256, "a\n"))))
        for good in ("r:1", "10.0.0.1:65535", "[::1]:5", "a.b-c_d:7700"):
            check_relay(good)
        for bad in ("r", "r:", "r:0", "r:01", "r:65536", "R:1", ":1", "[::1:5", "[g]:1",
                    "[FE80::1]:1", "[fe80::1%1]:1"):
            self.refuses(check_relay, bad)

    def test_signatures_are_checked_strictly(self):
        identity = Identity(bytes([1] * 32))
        signature = identity.sign(b"m")
        self.assertTrue(verify(identity.public, b"m", signature))
        self.assertFalse(verify(identity.public, b"n", signature))
        order = 2**252 + 27742317777372353535851937790883648493
        s = (int.from_bytes(signature[32:], "little") + order).to_bytes(32, "little")
        self.assertFalse(verify(identity.public, b"m", signature[:32] + s))
        # Of a key of low order, any message is signed by R = S * B.
        low = bytes([1]) + bytes(31)
        self.assertFalse(verify(low, b"m", low + bytes(32)))
        self.assertFalse(verify(identity.public, b"m", low + bytes(32)))

    def advert(self, **more):
        good = {"phase": 0, "instance": bytes(16), "sequence": 1, "interval": 1000, "port": 5,
                "name": "a"}
        return Advert(**{**good, **more})

    def test_adverts(self):
        sealer = Sealer(keys.derive(bytes(32), "plant", keys.ADVERT))
        whole = self.advert(
            address="::1", relays=["r:1", "s:2"], vouched=1, extensions=u16(3) + u16(0)
        )
        for one in (self.advert(), self.advert(address="127.0.0.1"), whole):
            self.assertEqual(advert.open_payload(advert.seal(one, sealer, 20), [sealer]), one)
        plain = whole.encode()
        for cut in range(len(plain)):
            if cut != len(plain) - 4:  # where the extensions begin
                self.refuses(Advert.decode, plain[:cut])
        for bad in (
            {"phase": 3}, {"interval": 0}, {"name": "*"}, {"vouched": 1}, {"relays": ["R:1"]},
            {"relays": ["r:1"] * 9}, {"extensions": u16(0x8001) + u16(0)}, {"extensions": b"x"},
        ):
            self.refuses(Advert.decode, self.advert(**bad).encode())
        payload = advert.seal(self.advert(), sealer, 20)
        self.assertEqual(len(payload), advert.PAYLOAD_MIN)
        self.refuses(advert.open_payload, "3" + payload[1:], [sealer])
        self.refuses(advert.open_payload, payload, [Sealer(bytes(32))])
        crowded = self.advert(relays=[f"{i}{'x' * 200}:1" for i in range(8)], vouched=8)
        self.assertLessEqual(len(advert.seal(crowded, sealer, 20)) + 20, 1200)
        self.assertEqual(crowded.vouched, len(crowded.relays))

    def test_records(self):
        for one in (
            Record(0, 10, 0, bytes(16)),
            Record(5, 3, 4, b"x", u16(1) + u16(0)),
            Record(1 << 63, 6, 0, b""),
        ):
            self.assertEqual(Record.decode(one.encode()), one)
        for kind, channel in ((0, 0), (14, 0), (1, 1), (3, 0), (3, 5), (6, 5), (12, 1)):
            self.refuses(Record.decode, Record(0, kind, channel, b"").encode())
        head = Record(0, 0x8A, 0, b"").encode()
        self.refuses(Record.decode, head + u16(0) + bytes(16))
        self.refuses(Record.decode, head[:-1])

    def test_statuses_of_replies(self):
        def reply(status):
            return u64(7) + u8(status) + b"x"

        for status in range(12):
            self.assertEqual(read_reply(reply(status)), (7, status, b"x"))
        self.refuses(read_reply, reply(12))

    def test_json_is_read_strictly(self):
        for good in (b"[]", b" [1,\t2]\n", b"[" * 127 + b"]" * 127, b'["a\x7f\\u00e4"]', b"[-0]"):
            strict_json.read(good, list)
        for bad in (
            b"", b"{}", b"[1,]", b"[]x", b"[]\x0c", b"[NaN]", b"[1e999]", b"[" + b"9" * 400 + b"]",
            b'["\x01"]', b'["\\ud800"]', b"\xef\xbb\xbf[]", b'["\xff"]', b'[{"a":1,"\\u0061":2}]',
            b"[" * 128 + b"]" * 128, b"[" * 9999,
        ):
            self.refuses(strict_json.read, bad, list)

    def test_words_of_relays(self):
        word = relay_words.Word.parse("joined.abcdefgh-_012345.next=1.salt=AA==")
        self.assertEqual((word.verb, word.args), ("joined", ["abcdefgh-_012345"]))
        self.assertEqual(word.fields, {"next": "1", "salt": "AA=="})
        self.assertEqual(word.fields_text, ".next=1.salt=AA==")
        challenge = b64(bytes(32))
        self.assertEqual(relay_words.Word.parse(f"prove.{challenge}").args, [challenge])
        for bad in ("", "Join", "a" * 17, "join..2", "join.a=1.2", "join.b=1.a=2", "join.a=1.a=2",
                    "join.!2", "foo.!a=1", "prove.!salt=1", "x." + "y" * 1024):
            self.refuses(relay_words.Word.parse, bad)
        for bad in ("01", "-1", "", "1x", str(1 << 64)):
            self.refuses(relay_words.number, bad)
        self.assertEqual(relay_words.number(str((1 << 64) - 1)), (1 << 64) - 1)

    def test_seals_of_words(self):
        def seal():
            return relay_words.Seal(bytes(32), b"relay", b"said")

        first = seal().seal("gone.abcdefgh-_012345")
        self.assertEqual(seal().open(first), "gone.abcdefgh-_012345")
        sender = seal()
        self.assertEqual(sender.seal("gone.abcdefgh-_012345"), first)
        second = sender.seal("gone.abcdefgh-_012345")
        for bad in (second, first[:-4] + "AA==", "gone.abcdefgh-_012345", "x", first + ".x"):
            self.refuses(seal().open, bad)
        again = seal()
        again.open(first)
        self.refuses(again.open, first)
        again = seal()
        again.open(first)
        self.assertEqual(again.open(second), "gone.abcdefgh-_012345")

    def test_texts(self):
        self.assertEqual(Reader(text("ä")).text(), "ä")
        self.refuses(Reader(u8(1) + b"\xff").text)
        self.refuses(Reader(u8(2) + b"a").text)
