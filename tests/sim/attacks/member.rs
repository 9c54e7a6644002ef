//! A member gone bad.

use crate::forged::{Actor, credentials, frame, frames_from, payload, said, sealed_by};
use crate::world::{Rng, World, ms};
use peerbase::Certificate;
use peerbase::frame::FrameType;
use peerbase::handshake::{Initiator, Party, SessionKeys};
use peerbase::wire::ask::AskRef;
use peerbase::wire::handshake::Envelope;
use peerbase::wire::record;
use peerbase::wire::record::{Body, Form, Record, Status};

/// A call that was not sent before, without streams.
pub(crate) const FIRST: Form = Form {
    again: false,
    streams: false,
};

/// A member gone bad: it holds the network key, speaks the protocol, and says what it likes.
pub(crate) struct Member {
    pub(crate) wire: usize,
    actor: Actor,
    /// The handshake that it has not ended yet, and with whom.
    asking: Option<(Initiator, Party)>,
    keys: Option<SessionKeys>,
    sequence: u64,
    read: usize,
}

impl Member {
    /// Connects to a node and makes a session with it.
    pub(crate) fn join(w: &mut World, node: usize, own: &str) -> Member {
        let n = w.rng.next();
        Member::join_as(w, node, own, n)
    }

    /// The same as the `n`th member gone bad.
    pub(crate) fn join_as(w: &mut World, node: usize, own: &str, n: u64) -> Member {
        let mut member = Member::ask(w, node, own, n);
        member.prove(w);
        member
    }

    /// Connects to a node and has its answer, but has not proved itself yet.
    pub(crate) fn ask(w: &mut World, node: usize, own: &str, n: u64) -> Member {
        let mut actor = Actor::new(n, own);
        actor.rng = Rng(w.rng.next());
        let (mut initiator, question) = actor.ask();
        let wire = w.raw_connect(node);
        w.raw_send(wire, &frame(FrameType::HELLO, &question));
        w.run(ms(20));
        let mut member = Member {
            wire,
            actor,
            asking: None,
            keys: None,
            sequence: 0,
            read: 0,
        };
        let (kind, answer) = member.next(w).remove(0);
        assert_eq!(kind, FrameType::HELLO);
        let answer = Envelope::decode(&answer).unwrap();
        let party = initiator.read(&answer.message).unwrap();
        member.asking = Some((initiator, party));
        member
    }

    /// It takes the node that it speaks to for another one.
    pub(crate) fn means(&mut self, name: &str) {
        if let Some((_, party)) = &mut self.asking {
            party.name = crate::world::name(name);
        }
    }

    /// It goes on as the `n`th member gone bad, in the handshake that another one has begun.
    pub(crate) fn becomes(&mut self, n: u64) {
        self.actor.credentials = credentials(n);
    }

    /// It shows this certificate, and says that it has the revocation list of this version.
    pub(crate) fn shows(&mut self, certificate: &Certificate, list: u64) {
        self.actor.credentials.set_certificate(certificate);
        self.actor.list = list;
    }

    /// Proves who it is, with which the session is open.
    pub(crate) fn prove(&mut self, w: &mut World) {
        let (initiator, party) = self.asking.take().unwrap();
        let (proof, keys) = self
            .actor
            .with(|own, rng| initiator.finish(own, &party.name, rng))
            .unwrap();
        self.keys = Some(keys);
        w.raw_send(self.wire, &frame(FrameType::HELLO, &payload(&proof)));
        w.run(ms(20));
    }

    pub(crate) fn frame(&mut self, encode: impl FnOnce(u64, &mut Vec<u8>)) -> Vec<u8> {
        let mut plain = Vec::new();
        encode(self.sequence, &mut plain);
        self.sequence += 1;
        let keys = self.keys.as_ref().unwrap();
        let token = sealed_by(keys.outbound.sealer(), &plain);
        frame(FrameType::MESSAGE, &token)
    }

    pub(crate) fn send(&mut self, w: &mut World, encode: impl FnOnce(u64, &mut Vec<u8>)) {
        let frame = self.frame(encode);
        w.raw_send(self.wire, &frame);
    }

    /// Hands on what the `n`th member gone bad says to all, under this number.
    pub(crate) fn hand_on(
        &mut self,
        w: &mut World,
        call: u64,
        (origin, sender): (u64, &str),
        (number, hops, timeout_ms): (u64, u8, u32),
        data: &[u8],
    ) {
        said((origin, sender), (number, hops), data, |broadcast| {
            let ask = AskRef::Broadcast(broadcast);
            self.send(w, |s, out| {
                record::encode_call(s, (call, FIRST), timeout_ms, &[], &ask, out)
            });
        });
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
            let keys = self.keys.as_ref().unwrap();
            if let Ok(plain) = keys.inbound.sealer().open(&token, &mut buf) {
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
