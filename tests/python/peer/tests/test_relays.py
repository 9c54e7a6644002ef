"""Chapter 13: a node at a relay that the test plays."""

import os
import unittest
import unittest.mock

from .. import advert, keys, records
from ..advert import Advert
from ..fields import b64, unb64
from ..frames import Frame, parse
from ..relay import Relay
from ..relay_words import Seal, member_proof, relay_proof, said
from ..route import Route
from .memory import KEY, Pair, peer

ROUTE, OTHER = "abcdefgh-_012345", "AAAAAAAAAAAAAAAA"
RELAY_KEY = keys.derive(KEY, "plant", keys.RELAY)


class Connection:
    """What the node sends is read by the test."""

    def __init__(self):
        self.said, self.ended = [], False

    def send(self, kind, payload):
        self.said.append(Frame("plant", kind, payload))

    def write(self, frame):
        self.said.append(parse(frame)[0])

    def end(self):
        self.ended = True

    def take(self):
        taken, self.said = [(f.kind, f.payload) for f in self.said], []
        return taken


class Joining(unittest.TestCase):
    def setUp(self):
        self.peer = peer("a")
        self.relay = Relay(self.peer, "127.0.0.1:7700")
        self.dial()

    def dial(self):
        relay, self.tcp = self.relay, Connection()
        with unittest.mock.patch("peer.relay.Tcp", lambda *of, **more: self.tcp):
            relay._dial(0.0)
        relay.connected()
        ((kind, join),) = self.tcp.take()
        self.assertEqual((kind, join[:7]), ("reg", "join.2."))
        self.theirs, self.own = unb64(join[7:], 32), os.urandom(32)

    def say(self, payload, kind="reg"):
        self.relay.frame(Frame("plant", kind, payload))

    def prove(self, key=RELAY_KEY, fields=""):
        known = said("plant", self.theirs, self.own, "", fields)
        self.say(f"prove.{b64(self.own)}.{b64(relay_proof(key, known))}{fields}")
        return known

    def joined(self):
        """With the key; how the relay seals its words."""
        known = self.prove()
        self.tcp.take()
        seal = Seal(RELAY_KEY, b"relay", known)
        self.say(seal.seal(f"joined.{ROUTE}"))
        self.assertEqual(self.relay.state, "joined")
        return lambda word: self.say(seal.seal(word)), Seal(RELAY_KEY, b"member", known)

    def test_both_sides_prove_the_key(self):
        known = self.prove()
        proof = f"proof.{b64(member_proof(RELAY_KEY, known))}"
        self.assertEqual(self.tcp.take(), [("reg", proof)])
        self.assertTrue(self.relay.proved)

    def test_fields_are_under_the_proof(self):
        self.prove(fields=".later=1")
        self.assertTrue(self.relay.proved)
        self.dial()
        known = said("plant", self.theirs, self.own, "", ".later=1")
        self.say(f"prove.{b64(self.own)}.{b64(relay_proof(RELAY_KEY, known))}")
        self.assertTrue(self.tcp.ended, "somebody took a field away")

    def test_a_wrong_proof_ends_it_without_a_word(self):
        self.prove(bytes(32))
        self.assertTrue(self.tcp.ended)
        self.assertEqual(self.tcp.take(), [])

    def test_a_relay_without_a_key_is_joined_unless_it_had_one(self):
        self.say(f"prove.{b64(self.own)}")
        self.say(f"joined.{ROUTE}")
        self.assertEqual((self.relay.state, self.relay.proved), ("joined", False))
        self.dial()
        self.joined()
        self.dial()
        self.say(f"prove.{b64(self.own)}")
        self.assertTrue(self.tcp.ended)

    def test_words_out_of_place_or_malformed_end_it(self):
        for word in (f"joined.{ROUTE}", f"gone.{ROUTE}", "prove.abc", "prove", "!prove.x", "Prove"):
            self.dial()
            self.say(word)
            self.assertTrue(self.tcp.ended, word)
        for word in (f"prove.{b64(self.own)}", f"credit.{ROUTE}.5", f"credit.{ROUTE}.05",
                     f"window.{ROUTE}.262144"):
            self.dial()
            self.say(f"prove.{b64(self.own)}")
            self.say(word)
            self.assertTrue(self.tcp.ended, word)
        for word in (f"joined.{ROUTE}", f"credit.{ROUTE}", f"credit.{ROUTE}.5.6", "credit.x.5",
                     f"window.{ROUTE}.262143", f"gone.{ROUTE}.!x=1", "!later"):
            self.dial()
            say, _ = self.joined()
            say(word)
            self.assertTrue(self.tcp.ended, word)

    def test_what_is_unknown_and_not_critical_is_ignored(self):
        say, _ = self.joined()
        tag = b64(bytes(16))
        for word in ("later", "later.x.y=1", f"gone.{ROUTE}.y=1", f"found.{tag}.1"):
            say(word)
        self.assertFalse(self.tcp.ended)

    def test_words_without_their_seal_end_it(self):
        self.joined()
        self.say(f"gone.{ROUTE}")
        self.assertTrue(self.tcp.ended)

    def test_the_relays_ping_is_echoed_and_the_echo_of_ours_is_not(self):
        self.joined()
        self.tcp.take()
        self.say("abcdefgh", "png")
        self.assertEqual(self.tcp.take(), [("png", "abcdefgh")])
        self.relay.tick(self.peer.loop.now + 11)
        nonce = self.tcp.take()[-1][1]
        self.say(nonce, "png")
        self.assertEqual(self.tcp.take(), [])

    def test_a_refusal_is_told(self):
        self.relay.frame(Frame("relay", "err", "network"))
        self.assertEqual(self.relay.refused, "network")
        self.assertTrue(self.tcp.ended)

    # Routes.

    def test_a_node_is_found_by_its_advert_and_sessions_go_over_routes(self):
        self.joined()
        other = peer("b")
        sealer = other.advert_sealers[0]
        plain = Advert(0, other.instance, 1, 1000, 0, "b")
        self.say(f"{OTHER}.adv.{advert.seal(plain, sealer, 40)}", "fwd")
        self.assertEqual(self.peer.table.known[other.instance].routes, {self.relay: [OTHER]})
        link = self.peer.dial((self.relay, OTHER), "b")
        far = Pair(other, peer("c"), relayed=True).links[0]
        far.initiator, far.state, far.carrier.sent = False, "listening", []
        for _ in range(9):
            for kind, payload in self.tcp.take():
                route, inner, payload = payload.split(".") if kind == "fwd" else ("", "", "")
                if route == OTHER:
                    far.frame(Frame("plant", inner, payload))
            for frame in far.carrier.take():
                self.say(f"{OTHER}.{frame.kind}.{frame.payload}", "fwd")
            self.relay.peer._tick(self.peer.loop.now)
        self.assertEqual((link.state, far.state), ("open", "open"))
        self.assertEqual(self.peer.table.reached(), {"b": "relay 127.0.0.1:7700"})

    def test_a_frame_for_no_link_is_answered_and_an_err_is_not(self):
        self.joined()
        self.tcp.take()
        self.say(f"{OTHER}.msg.abc", "fwd")
        self.assertEqual(self.tcp.take(), [("fwd", f"{OTHER}.err.closed")])
        self.say(f"{OTHER}.err.closed", "fwd")
        self.assertEqual(self.tcp.take(), [])
        for payload in ("x.msg.abc", f"{OTHER}.png.abc", f"{OTHER}.msg.a.b", f"{OTHER}.msg"):
            self.assertFalse(self.tcp.ended)
            self.say(payload, "fwd")
            self.assertTrue(self.tcp.ended, payload)
            self.tcp.ended = False

    def test_a_route_of_which_nothing_good_comes_is_blocked(self):
        say, member = self.joined()
        self.tcp.take()
        hello = Pair(peer("b"), peer("c")).links[0].carrier.sent[0].payload
        for i in range(16):
            self.say(f"{OTHER}.hel.{hello}", "fwd")  # a replay, but for the first
            self.say(f"{OTHER}.msg.abc", "fwd")
        words = [payload for kind, payload in self.tcp.take() if kind == "reg"]
        self.assertEqual(words, [member.seal(f"block.{OTHER}")])
        self.say(f"{OTHER}.msg.abc", "fwd")
        self.assertEqual(self.tcp.take(), [])

    def test_a_route_carries_no_more_than_its_window(self):
        say, _ = self.joined()
        route = self.relay.route_to(OTHER)
        self.tcp.take()
        sizes = []
        for _ in range(10):
            route.send("msg", "x" * 50_000)
        for kind, payload in self.tcp.take():
            sizes.append(len(Frame("plant", kind, payload).encode()))
        self.assertEqual(len(sizes), 5)
        self.assertEqual(route.used, sum(sizes))
        say(f"credit.{OTHER}.{sizes[0]}")
        self.assertEqual(len(self.tcp.take()), 1)
        say(f"credit.{OTHER}.{sizes[0]}")
        say(f"credit.{OTHER}.1")
        self.assertEqual(self.tcp.take(), [], "it was told before, or is older")
        say(f"window.{OTHER}.450000")
        say(f"settled.{OTHER}.{sizes[0] * 2}")
        self.assertEqual(len(self.tcp.take()), 4)
        self.assertEqual((route.last, route.used), (0, sizes[0] * 8))
        say(f"gone.{OTHER}")
        self.assertNotIn(OTHER, self.relay.routes)

    def test_totals_wrap(self):
        route = Route(self.relay, OTHER)
        route.used, route.last = 100, 2**64 - 10
        route.total(5)
        self.assertEqual((route.used, route.last), (85, 5))


class Records(unittest.TestCase):
    def test_a_frame_that_a_relay_carries_is_never_too_long(self):
        """8.2: the largest body of a record, with what `fwd` adds."""
        plain = records.Record(0, 2, 0, bytes(9 + records.BODY_MAX)).encode()
        token = keys.Chain(bytes(32), 0).sealer.seal(plain)
        frame = Frame("x" * 64, "fwd", f"{OTHER}.rsp.{token}").encode()
        self.assertLessEqual(len(frame), 65_536)
