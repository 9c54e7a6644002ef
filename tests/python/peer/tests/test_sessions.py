"""Chapters 7 to 11: two peers in memory."""

import os
import unittest

from .. import calls, records
from ..broadcast import Broadcast
from ..broadcasts import Report
from ..fields import b64, text, u8, u16, u32, u64, unb64
from ..frames import Frame
from ..handshake import Initiator
from ..records import Record
from .memory import Pair, opened, peer

PING = bytes(16)


class Handshakes(unittest.TestCase):
    def refused(self, pair, by):
        """That one side has said so, and nothing else."""
        self.assertEqual([f.kind for f in pair.links[by].carrier.sent], ["err"])
        self.assertEqual(pair.links[by].carrier.sent[0].payload, "refused")
        self.assertEqual(pair.links[by].state, "ended")

    def test_two_shake_hands_and_know_each_other(self):
        pair = opened()
        self.assertEqual(pair.a.table.reached(), {"b": "direct"})
        self.assertEqual(pair.b.table.reached(), {"a": "direct"})

    def test_a_message_with_any_byte_altered_is_refused(self):
        for step in range(3):
            pair = Pair(peer("a"), peer("b"))
            for i in range(step):
                pair.step(i % 2)
            size = len(unb64(pair.links[step % 2].carrier.sent[0].payload))
            for at in range(size):
                pair = Pair(peer("a"), peer("b"))
                for i in range(step):
                    pair.step(i % 2)
                frame = pair.links[step % 2].carrier.take()[0]
                message = bytearray(unb64(frame.payload))
                message[at] ^= 1
                pair.links[1 - step % 2].frame(Frame("plant", "hel", b64(message)))
                if step == 0 and 2 <= at < 10:  # another id is another handshake's prologue
                    self.assertEqual(pair.links[1].state, "ended")
                self.refused(pair, 1 - step % 2)

    def test_another_key_another_network_and_another_name_are_refused(self):
        pair = Pair(peer("a", key=bytes(32)), peer("b"))
        pair.step(0)
        self.refused(pair, 1)
        pair = Pair(peer("a"), peer("b"))
        pair.links[1].frame(Frame("other", "hel", "x"))
        self.assertEqual(pair.links[1].state, "listening")
        pair = Pair(peer("a"), peer("b"), name="c")
        pair.step(0)
        pair.step(1)
        self.refused(pair, 0)

    def test_a_first_message_is_answered_once(self):
        a, b = peer("a"), peer("b")
        pair = Pair(a, b)
        (first,) = pair.step(0)
        again = Pair(a, b)
        again.links[1].frame(first)
        self.refused(again, 1)

    def test_ranges_of_versions(self):
        for least, most, good in ((1, 3, True), (2, 255, True), (3, 4, False), (3, 2, False)):
            pair = Pair(peer("a"), peer("b"))
            pair.links[0].carrier.take()
            a = pair.a
            shake = Initiator("plant", a, a.psks[0])
            first = shake._write(1, u8(least) + u8(most) + a.instance)
            pair.links[1].frame(Frame("plant", "hel", first))
            self.assertEqual(pair.links[1].state, "answered" if good else "ended")

    def third(self, alter=lambda card: None, name="b"):
        """What comes of a third message with another card or name."""
        pair = Pair(peer("a"), peer("b"))
        pair.step(0)
        shake, a = pair.links[0].shake, pair.a
        shake.second(pair.links[1].carrier.take()[0].payload)
        card = a.card()
        alter(card)
        third = shake._write(3, text(name) + card.encode())
        pair.links[1].frame(Frame("plant", "hel", third))
        return pair

    def test_cards(self):
        self.assertEqual(self.third().links[1].state, "open")
        self.refused(self.third(name="c"), 1)

        def put(name, value):
            return self.third(lambda card: setattr(card, name, value))

        self.refused(put("flags", 4), 1)
        self.refused(put("flags", 2), 1)  # the signature is over it
        self.refused(put("start", bytes(16)), 1)  # another instance
        self.refused(put("public", peer("c").identity.public), 1)
        self.refused(put("signature", bytes(64)), 1)
        self.refused(put("name", "*"), 1)
        self.refused(put("extensions", u16(0x8001) + u16(0)), 1)
        self.assertEqual(put("extensions", u16(1) + u16(0)).links[1].state, "open")
        self.assertEqual(put("certificate", b"anything").links[1].state, "open")

    def test_questions_that_cross_on_a_route(self):
        a, b = sorted((peer("a"), peer("b")), key=lambda one: one.instance)
        pair = Pair(a, b, relayed=True)
        pair.links[1].initiator, pair.links[1].state = True, "connecting"
        pair.links[1].connected()
        ours, theirs = (link.carrier.take() for link in pair.links)
        pair.links[0].frame(theirs[0])
        self.assertEqual(pair.links[0].state, "asked", "that of the lower instance stands")
        pair.links[1].frame(ours[0])
        self.assertEqual(pair.links[1].state, "answered")
        pair.pump()
        self.assertEqual(pair.states, ["open", "open"])

    def test_a_node_of_the_same_name_is_told_so(self):
        pair = Pair(peer("a"), peer("a"))
        pair.pump()
        self.assertEqual(pair.states, ["ended", "ended"])
        self.assertIn("another node is called a", pair.a.told_of + pair.b.told_of)


class Sessions(unittest.TestCase):
    def say(self, pair, kind, body=b"", channel=0, **more):
        """A record of `a`, as it may not be said."""
        session = pair.links[0].session
        plain = Record(more.get("sequence", session.out.sequence), kind, channel, body)
        session.out.count()
        token = session.out.sealer.seal(more.get("plain", plain.encode()))
        pair.links[1].frame(Frame("plant", more.get("frame", "msg"), token))
        return pair.links[1]

    def test_pings_are_answered(self):
        pair = opened()
        session = pair.links[0].session
        session.send_ping()
        pair.pump()
        self.assertEqual(session.pongs, 1)
        self.assertIsNotNone(session.round_trip)

    def test_keys_are_renewed_and_calls_go_on(self):
        pair = opened(records_max=4)
        for i in range(20):
            self.assertEqual(pair.call(0, calls.command("__echo__", [i]))[0], records.VALUE)
        self.assertGreaterEqual(pair.links[1].session.come.renewals, 5)
        self.assertEqual(pair.links[0].session.come.renewals, 0)

    def test_records_that_refuse_the_link(self):
        for kind, body, channel, more in (
            (records.PING, PING, 0, {"sequence": 1}),
            (records.PING, PING, 0, {"frame": "rsp"}),
            (records.PING, PING[:15], 0, {}),
            (records.PING, PING, 1, {}),
            (14, b"", 0, {}),
            (records.LIST, u32(0) + b"cut", 0, {}),
            (records.CLOSE, u8(8), 0, {}),
            (records.RENEW, b"x", 0, {}),
            (records.NOTICE, u8(2) + u64(1), 0, {}),
            (records.NOTICE, u8(0) + b"x", 0, {}),
            (records.REPLY, u64(1) + u8(12), 0, {}),
            (records.CALL, u64(1) + u32(1) + u8(17) + u8(0), 0, {}),
            (records.CALL, u64(1) + u32(1) + u8(33) + u8(0), 0, {}),
            (records.CALL, u64(1) + u32(1) + u8(64) + u8(0), 0, {}),
            (records.CALL, u64(1) + u32(1) + u8(8) + u8(0) + u64(9) + b"x", 0, {}),
            (records.CALL, u64(1) + u32(1) + u8(0) + u8(0) + u8(5) + b"ab", 0, {}),
            (records.END, u64(1) + u64(0) + u8(2), 3, {}),
            (records.END, u64(1) + u64(0) + u8(0) + b"why", 3, {}),
            (records.PING, b"", 0, {"plain": b"short"}),
        ):
            link = self.say(opened(), kind, body, channel, **more)
            self.assertEqual(link.carrier.take()[-1].payload, "refused", (kind, body))
            self.assertTrue(link.carrier.ended)

    def test_a_record_comes_once(self):
        pair = opened()
        pair.links[0].session.send(records.PING, PING)
        (frame,) = pair.step(0)
        pair.links[1].frame(frame)
        self.assertEqual(pair.links[1].carrier.sent[-1].payload, "refused")

    def test_frames_that_refuse_the_link(self):
        for kind in ("adv", "reg", "fwd", "png", "zzz", "hel"):
            pair = opened()
            pair.links[1].frame(Frame("plant", kind, "abc"))
            self.assertEqual(pair.links[1].carrier.sent[-1].payload, "refused", kind)
        pair = opened()
        pair.links[1].garbage()
        self.assertEqual(pair.links[1].carrier.sent[-1].payload, "refused")
        pair = opened()
        pair.links[1].frame(Frame("other", "png", "abc"))
        pair.links[1].frame(Frame("plant", "err", "refused"))
        self.assertEqual(pair.links[1].state, "open")

    def test_violations_close_the_session_with_a_reason(self):
        bad_peers = u8(65)
        for kind, body, channel in (
            (records.DATA, u64(5) + u64(0) + b"x", 1),
            (records.CREDIT, u64(5) + u64(0) + u64(9), 4),
            (records.PEERS, bad_peers, 0),
            (records.PEERS, u8(0) + b"x", 0),
        ):
            pair = opened()
            self.say(pair, kind, body, channel)
            pair.step(1)
            self.assertEqual(pair.links[0].session.closed_by_peer, records.VIOLATION, kind)

    def test_a_reply_about_a_large_value_says_how_large(self):
        pair = opened()
        pair.b.calls.commands["x"] = None
        pair.b.calls._answer = lambda *of: None
        self.assertIsNone(pair.call(0, calls.command("x")))
        session = pair.links[1].session
        session.send(records.REPLY, u64(1) + u8(records.LARGE_VALUE) + b"abc")
        pair.step(1)
        pair.step(0)
        self.assertEqual(session.closed_by_peer, records.VIOLATION)

    def test_goodbyes(self):
        pair = opened()
        pair.a.stop()
        pair.step(0)
        self.assertEqual(pair.links[1].session.closed_by_peer, records.LEAVING)
        self.assertEqual(pair.b.table.reached(), {})

    def test_of_two_sessions_both_keep_the_one_that_the_same_side_dialled_last(self):
        pair = opened()
        again = Pair(pair.a, pair.b)
        again.pump()
        pair.pump()
        self.assertEqual((pair.states, again.states), (["ended"] * 2, ["open"] * 2))

    def test_of_two_sessions_both_keep_the_direct_one(self):
        pair = opened()
        again = Pair(pair.b, pair.a, relayed=True)
        again.pump()
        pair.pump()
        self.assertEqual((pair.states, again.states), (["open"] * 2, ["ended"] * 2))


class Calls(unittest.TestCase):
    def test_statuses(self):
        pair = opened()
        pair.b.calls.commands["fails"] = lambda caller, args, kwargs: 1 / 0
        for ask, status in (
            (calls.command("__echo__", [1], {"a": None}), records.VALUE),
            (calls.command("nope"), records.NOT_FOUND),
            (calls.command("a..b"), records.NOT_FOUND),
            (calls.command("fails"), records.FAILED),
            (u8(8) + b"__echo__" + u32(3) + b"[1]" + b"[]", records.REFUSED),
            (u8(8) + b"__echo__" + u32(2) + b"[1" + b"{}", records.REFUSED),
            (u8(4) + b"nope" + u32(2) + b"[1" + b"{}", records.NOT_FOUND),
        ):
            self.assertEqual(pair.call(0, ask)[0], status, ask)
        value = pair.call(0, calls.command("__echo__", [1], {"a": None}))[1]
        self.assertEqual(value, b'{"args":[1],"kwargs":{"a":null}}')

    def test_bytes(self):
        pair = opened()
        pair.b.calls.with_bytes["same"] = lambda caller, data: data
        pair.b.calls.commands["bytes"] = lambda caller, args, kwargs: b"\xff"
        for data in (b"", b"\0{", os.urandom(1_000_000)):
            ask = calls.command_with_bytes("same", data)
            self.assertTrue(pair.call(records.BYTES, ask) == (records.BYTES_VALUE, data))
        answer = pair.call(0, calls.command("bytes"))
        self.assertEqual(answer, (records.BYTES_VALUE, b"\xff"))
        for path, status in (("bytes", records.REFUSED), ("nope", records.NOT_FOUND)):
            ask = calls.command_with_bytes(path, b"")
            self.assertEqual(pair.call(records.BYTES, ask)[0], status)

    def test_streams(self):
        pair = opened()
        shout = lambda caller, args, kwargs, said: (len(said), said.upper())
        pair.b.calls.streaming["shout"] = shout
        for size in (0, 10, 1_000_000):
            said, answer = b"a" * size, []
            done = lambda *got: answer.append(got)
            pair.a.calls.ask("b", records.STREAMS, calls.command("shout"), 5, done, said)
            pair.pump()
            self.assertTrue(answer == [(records.VALUE, b"%d" % size, said.upper())], size)

    def test_broadcasts(self):
        pair, reports = opened(), []
        for said in (b"one", b"two"):
            pair.a.calls.broadcasts.say(said, 5, reports.append)
            pair.pump()
        self.assertEqual([(r.delivered, r.failed, r.names) for r in reports], [(1, 0, [])] * 2)
        heard = pair.b.calls.broadcasts.delivered
        self.assertEqual(heard, [["a", b"one"], ["a", b"two"]])
        # Said again, it is not delivered again.
        again = Broadcast(0, 31, "a", pair.a.identity.public, pair.a.start, b"one")
        again.sign("plant", pair.a.identity)
        answer = pair.call(records.BROADCAST, again.encode())
        self.assertEqual(answer, (records.VALUE, Report().encode()))
        self.assertEqual(len(heard), 2)
        again.number = 7
        self.assertIsNone(pair.call(records.BROADCAST, again.encode()), "not what was signed")
        self.assertEqual(pair.states[1], "ended")

    def test_messages(self):
        pair = opened()
        self.assertEqual(pair.call(records.MESSAGE, b"hi"), (records.NOT_FOUND, b""))
        pair.b.calls.message = lambda caller, data: caller.name.encode() + b" said " + data
        self.assertEqual(pair.call(records.MESSAGE, b"hi"), (records.VALUE, b"a said hi"))

    def test_large_ones_both_ways(self):
        pair = opened()
        pair.b.calls.message = lambda caller, data: data[::-1]
        data = os.urandom(1_000_000)
        self.assertTrue(pair.call(records.MESSAGE, data) == (records.VALUE, data[::-1]))

    def test_a_call_goes_on_over_another_session_and_runs_once(self):
        for size, turns in [(10, 2)] + [(1_000_000, turns) for turns in range(1, 12)]:
            pair = opened()
            pair.b.calls.message = lambda caller, data: data
            answer, data = [], os.urandom(size)
            pair.a.calls.ask("b", records.MESSAGE, data, 5, lambda *got: answer.append(got))
            for _ in range(turns):
                pair.a._tick(pair.a.loop.now)
                pair.b._tick(pair.b.loop.now)
                pair.step(0)
                if size > 10:
                    pair.step(1)
            self.assertFalse(answer, f"after {turns} turns")
            for link in pair.links:
                link.closed()
            Pair(pair.a, pair.b).pump()
            self.assertTrue(answer == [(records.VALUE, data)], f"cut after {turns} turns")
            self.assertEqual(pair.b.calls.ran, 1)

    def test_a_call_that_was_forgotten_may_have_run(self):
        pair = opened()
        call = records.Call(1, 0, 0, [], calls.command("__echo__")).encode()
        pair.links[0].session.send(records.CALL, call)
        pair.pump()
        self.assertEqual(pair.b.calls.theirs, {})
        call = records.Call(1, 9, records.AGAIN, [], calls.command("__echo__")).encode()
        pair.links[0].session.send(records.CALL, call)
        pair.step(0)
        self.assertEqual(pair.b.calls.ran, 1)

    def test_answers_are_forgotten_when_they_are_confirmed(self):
        pair = opened()
        for i in range(70):
            pair.call(records.MESSAGE, b"x")
        self.assertLessEqual(len(pair.b.calls.theirs), 2)

    def test_what_is_large_is_bounded(self):
        pair = opened()
        pair.links[0].session.send(
            records.CALL, records.Call(1, 999, records.LARGE, [], u64(1 << 40)).encode()
        )
        pair.step(0)
        self.assertEqual(pair.b.calls.theirs[pair.a.instance, 1].reply[0], records.TOO_LARGE)
        call = records.Call(2, 999, records.LARGE, [], u64(0)).encode()
        pair.links[0].session.send(records.CALL, call)
        pair.step(0)
        self.assertEqual(pair.b.calls.theirs[pair.a.instance, 2].reply[0], records.REFUSED)
