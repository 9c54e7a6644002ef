//! A member gone bad.

use crate::forged::{frame, frames_from, hello, hello_frame, sealed_by};
use crate::world::{World, key, ms};
use peerbase::fernet::Sealer;
use peerbase::frame::FrameType;
use peerbase::wire::ask::AskRef;
use peerbase::wire::hello::Hello;
use peerbase::wire::record::{Body, Form, Record, Status};
use peerbase::wire::session_keys::session_keys;
use peerbase::wire::{Instance, record};

/// A call that was not sent before, without streams.
pub(crate) const FIRST: Form = Form {
    again: false,
    streams: false,
};

/// A member gone bad: it holds the network key, speaks the protocol, and says what it likes.
pub(crate) struct Member {
    pub(crate) wire: usize,
    hello: Hello,
    /// For what it sends and for what it is sent.
    keys: Option<(Sealer, Sealer)>,
    sequence: u64,
    read: usize,
}

impl Member {
    /// Connects to a node and makes a session with it.
    pub(crate) fn join(w: &mut World, node: usize, own: &str) -> Member {
        let byte = w.rng.below(200) as u8 + 1;
        Member::join_as(w, node, own, Instance([byte; 16]))
    }

    /// The same as an instance of its choice.
    pub(crate) fn join_as(w: &mut World, node: usize, own: &str, instance: Instance) -> Member {
        let mut member = Member::ask(w, node, own, instance);
        member.prove(w);
        member
    }

    /// Connects to a node and has its answer, but has not proved itself yet.
    pub(crate) fn ask(w: &mut World, node: usize, own: &str, instance: Instance) -> Member {
        let meant = w.nodes[node].engine.name().to_string();
        let wire = w.raw_connect(node);
        let hello = hello(instance, own, &meant);
        w.raw_send(wire, &hello_frame(&hello));
        w.run(ms(20));
        let mut member = Member {
            wire,
            hello,
            keys: None,
            sequence: 0,
            read: 0,
        };
        let (kind, token) = member.next(w).remove(0);
        assert_eq!(kind, FrameType::HELLO);
        let answer =
            Hello::decode(Sealer::new(&key()).open(&token, &mut Vec::new()).unwrap()).unwrap();
        let (asker, answerer) = session_keys(&key(), &member.hello, &answer);
        member.keys = Some((Sealer::new(&asker), Sealer::new(&answerer)));
        member
    }

    /// Its first record proves that it has the keys.
    pub(crate) fn prove(&mut self, w: &mut World) {
        self.send(w, |s, out| record::encode_notice(s, &[], out));
        w.run(ms(20));
    }

    pub(crate) fn frame(&mut self, encode: impl FnOnce(u64, &mut Vec<u8>)) -> Vec<u8> {
        let mut plain = Vec::new();
        encode(self.sequence, &mut plain);
        self.sequence += 1;
        let (ours, _) = self.keys.as_ref().unwrap();
        frame(FrameType::MESSAGE, &sealed_by(ours, &plain))
    }

    pub(crate) fn send(&mut self, w: &mut World, encode: impl FnOnce(u64, &mut Vec<u8>)) {
        let frame = self.frame(encode);
        w.raw_send(self.wire, &frame);
    }

    pub(crate) fn call(&mut self, w: &mut World, number: u64) {
        self.call_for(w, number, 60_000);
    }

    /// A call that it waits so many milliseconds for.
    pub(crate) fn call_for(&mut self, w: &mut World, number: u64, timeout_ms: u32) {
        self.call_with(w, number, timeout_ms, b"[]");
    }

    /// The same with these args.
    pub(crate) fn call_with(&mut self, w: &mut World, number: u64, timeout_ms: u32, args: &[u8]) {
        let ask = AskRef::Command {
            path: "echo",
            args,
            kwargs: b"{}",
        };
        self.send(w, |s, out| {
            record::encode_call(s, (number, FIRST), timeout_ms, &[], &ask, out)
        });
    }

    /// Ends its session, and stays a peer.
    pub(crate) fn part(mut self, w: &mut World) {
        self.send(w, |s, out| {
            record::encode_close(s, record::CloseReason::Idle, out)
        });
        w.run(ms(5));
    }

    /// What waits to be written to it.
    pub(crate) fn unread(&self, w: &World) -> usize {
        w.pending_on(self.wire)
    }

    /// It reads no more.
    pub(crate) fn stall(&self, w: &mut World) {
        w.stall(self.wire);
    }

    /// The numbers of the calls that came since the last time, and whether they were sent before.
    pub(crate) fn calls(&mut self, w: &World) -> Vec<(u64, bool)> {
        let mut list = Vec::new();
        self.hear(w, |body| {
            if let Body::Call { number, again, .. } = body {
                list.push((*number, *again));
            }
        });
        list
    }

    pub(crate) fn next(&mut self, w: &World) -> Vec<(FrameType, Vec<u8>)> {
        frames_from(&w.raw[&self.wire], &mut self.read)
    }

    /// What the records say that came since the last time; `f` is given each.
    pub(crate) fn hear(&mut self, w: &World, mut f: impl FnMut(&Body<'_>)) {
        for (_, token) in self.next(w) {
            let mut buf = Vec::new();
            let (_, theirs) = self.keys.as_ref().unwrap();
            if let Ok(plain) = theirs.open(&token, &mut buf) {
                f(&Record::decode(plain).unwrap().body);
            }
        }
    }

    /// How the calls whose answers came since the last time have ended.
    pub(crate) fn statuses(&mut self, w: &World) -> Vec<Status> {
        let mut list = Vec::new();
        self.hear(w, |body| {
            if let Body::Reply { status, .. } = body {
                list.push(*status);
            }
        });
        list
    }

    pub(crate) fn is_closed(&self, w: &World) -> bool {
        w.closed_raw.contains(&self.wire)
    }
}
