//! What goes out on links, straight or through a relay, and how much may wait there.

use super::links::{State, Via};
use super::session::Session;
use super::{Engine, LinkId, Now, Output};
use crate::fernet::KeyIndex;
use crate::frame::{self, FrameType};
use crate::wire::Instance;
use crate::wire::hello::Hello;
use crate::wire::relay::encode_forward;
use sha2::Sha256;

/// Where something for a peer can go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outlet {
    /// This link takes more.
    Ready(LinkId),
    /// There is one, but it must drain first.
    Full,
    /// There is none.
    None,
}

impl Engine {
    /// Bytes that wait to be written to a link.
    pub fn pending(&self, link: LinkId) -> &[u8] {
        self.links.get(&link).map_or(&[], |l| l.pending())
    }

    /// Appends a frame whose payload `write` produces to what waits for a link: to its own output, or
    /// wrapped to that of the link to its relay. Not generic: of what is this long, one copy is enough.
    pub(super) fn emit(
        &mut self,
        now: Now,
        id: LinkId,
        kind: FrameType,
        write: &mut dyn FnMut(&mut State, &mut Vec<u8>),
    ) {
        let Some(via) = self.links.get(&id).map(|l| l.via) else {
            return;
        };
        let carrier = match via {
            Via::Relay(carrier, _) => carrier,
            _ => id,
        };
        let Some(link) = self.links.get_mut(&carrier) else {
            return;
        };
        let was_empty = link.output.is_empty();
        let mut output = std::mem::take(&mut link.output);
        let mut bytes = 0;
        if let Some(link) = self.links.get_mut(&id) {
            let net = self.core.config.network.as_str();
            let write = |out: &mut Vec<u8>| write(&mut link.state, out);
            bytes = output.append(|out| match &via {
                Via::Relay(_, route) => encode_forward(net, route, kind, out, write),
                _ => frame::encode_with(net, kind, out, write),
            });
        }
        if let Via::Relay(carrier, route) = via {
            self.routes.spend(carrier, route, bytes);
        }
        if let Some(link) = self.links.get_mut(&carrier) {
            link.output = output;
        }
        self.queued(now, carrier, was_empty);
    }

    /// After a frame was appended to a link's output.
    pub(super) fn queued(&mut self, now: Now, id: LinkId, was_empty: bool) {
        self.core.stats.frames_out += 1;
        if was_empty {
            if let Some(link) = self.links.get_mut(&id) {
                link.progress = now.at;
            }
            self.links_due = self.links_due.min(now.at + self.core.config.limits.dead);
            self.core.outputs.push_back(Output::Writable(id));
        }
    }

    /// Sends one record on an open session; `encode` is given its sequence number.
    pub(super) fn send_record(
        &mut self,
        now: Now,
        id: LinkId,
        encode: impl FnOnce(u64, &mut Vec<u8>),
    ) {
        if let Some(session) = self.session(id) {
            let (sequence, kind) = (session.next_sequence(), session.kind());
            self.plain.clear();
            encode(sequence, &mut self.plain);
            self.send_plain_record(now, id, kind, None);
        }
    }

    /// Seals and sends the record that was put together; with a digest that what begins at an offset in it
    /// is to be added to.
    pub(super) fn send_plain_record(
        &mut self,
        now: Now,
        id: LinkId,
        kind: FrameType,
        mut digest: Option<(usize, &mut Sha256)>,
    ) {
        let mut iv = [0; 16];
        self.core.entropy.fill(&mut iv);
        let plain = std::mem::take(&mut self.plain);
        self.emit(now, id, kind, &mut |state, out| {
            if let State::Open(session) = state {
                let digest = digest.take().map(|(at, hash)| (&plain[at..], hash));
                session.seal(&plain, now.unix, &iv, out, digest);
            }
        });
        self.plain = plain;
    }

    pub(super) fn send_hello(&mut self, now: Now, id: LinkId, hello: &Hello, key: KeyIndex) {
        let mut plain = std::mem::take(&mut self.plain);
        plain.clear();
        hello.encode(&mut plain);
        let mut iv = [0; 16];
        self.core.entropy.fill(&mut iv);
        let sealer = self.core.config.keys.sealer(key).clone();
        self.emit(now, id, FrameType::HELLO, &mut |_, out| {
            sealer.seal(&plain, now.unix, &iv, out);
        });
        self.plain = plain;
    }

    /// A link took `n` of the pending bytes.
    pub(super) fn sent(&mut self, now: Now, id: LinkId, n: usize) {
        let queue = self.core.config.limits.link_queue;
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        let before = link.output.len();
        link.progress = now.at;
        // A busy link keeps its room; one that has become idle gives it back at its keepalive.
        link.output.consume(n, queue / 2);
        let after = link.output.len();
        if after > queue / 2 {
            return;
        }
        self.echo_owed(now, id);
        match self.links.get(&id).map(|l| &l.state) {
            Some(State::Open(_)) => {
                self.pump(now, id);
                self.streams_go_on(now);
            }
            // Whoever waits for the link to drain waits until it is half empty.
            Some(State::Relay(_)) if before > queue / 2 => {
                for id in self.routes.links_over(id) {
                    self.pump(now, id);
                }
                self.streams_go_on(now);
            }
            Some(State::Relay(_)) => self.streams_go_on(now),
            _ => {}
        }
    }

    /// A session's link takes more: sends what waits for it.
    pub(super) fn pump(&mut self, now: Now, id: LinkId) {
        let Some(session) = self.session(id) else {
            return;
        };
        let (peer, name) = (session.peer, session.name.clone());
        if self.takes_more(id) {
            self.echo_owed(now, id);
        }
        self.pump_replies(now, peer);
        if self.calls.waits_for(&name) {
            self.pump_calls(now, &name);
        }
    }

    /// Where something for `peer` goes: the direct path before relays, of relays the one with the
    /// shortest round trip.
    pub(super) fn path_to(&self, peer: Instance) -> Outlet {
        match self.best_session(peer) {
            Some(id) if self.takes_more(id) => Outlet::Ready(id),
            Some(_) => Outlet::Full,
            None => Outlet::None,
        }
    }

    /// Bytes that wait to be written, for a link or for the one it goes over.
    pub(super) fn waits_on(&self, id: LinkId) -> usize {
        match self.links.get(&id).map(|l| l.via) {
            Some(Via::Relay(carrier, _)) => self.pending(carrier).len(),
            _ => self.pending(id).len(),
        }
    }

    /// Whether a link takes whatever comes next. What is not asked before it is sent is small, and comes
    /// seldom: a relay ends the link of a node that overruns a window.
    pub(super) fn takes_more(&self, id: LinkId) -> bool {
        let free = match self.links.get(&id).map(|l| l.via) {
            Some(Via::Relay(carrier, route)) => self.routes.is_free(carrier, route),
            _ => true,
        };
        free && self.waits_on(id) < self.core.config.limits.link_queue
    }

    pub(super) fn best_session(&self, peer: Instance) -> Option<LinkId> {
        let sessions = &self.directory.get(&peer)?.sessions;
        let rank = |id: &&LinkId| {
            let link = self.links.get(id);
            let round_trip = link.and_then(|l| l.round_trip);
            (
                link.is_none_or(|l| l.is_relayed()),
                round_trip.unwrap_or(std::time::Duration::MAX),
            )
        };
        // Of several alike, the newest.
        sessions.iter().rev().min_by_key(rank).copied()
    }

    /// The session on a link, if it is open.
    pub(super) fn session(&mut self, id: LinkId) -> Option<&mut Session> {
        self.links.get_mut(&id)?.open_session()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Config;
    use crate::entropy::OsEntropy;
    use crate::fernet::{Key, Keyring};
    use crate::limits::Limits;
    use crate::name::{NetworkName, NodeName};
    use std::time::Duration;

    fn engine() -> Engine {
        let config = Config {
            network: NetworkName::new("n").unwrap(),
            name: NodeName::new("a").unwrap(),
            keys: Keyring::from(Key::from_bytes([1; 32])),
            port: 7,
            address: None,
            interval: Duration::from_secs(1),
            lan: false,
            relays: Vec::new(),
            max_remotes: 0,
            relay_keepalive: Duration::from_secs(10),
            limits: Limits::default(),
        };
        let entropy = Box::new(OsEntropy::new().unwrap());
        Engine::new(config, entropy, Now::default())
    }

    #[test]
    fn a_link_whose_reader_is_steady_but_slow_holds_what_waits_and_not_what_has_passed() {
        let mut engine = engine();
        let now = Now::default();
        let from = "10.0.0.1:1".parse().unwrap();
        let id = engine.accept(now, from).unwrap();
        let say = |engine: &mut Engine, now| {
            engine.emit(now, id, FrameType::PING, &mut |_, out| {
                out.extend_from_slice(&[b'x'; 1_000]);
            });
        };
        let queue = engine.core.config.limits.link_queue;
        while engine.waits_on(id) < queue {
            say(&mut engine, now);
        }
        let mut most = 0;
        for _ in 0..20_000 {
            say(&mut engine, now);
            most = most.max(engine.links.get(&id).unwrap().output.capacity());
            engine.sent(now, id, engine.waits_on(id) - queue);
        }
        assert!(engine.waits_on(id) >= queue, "it is never empty");
        assert!(most <= 4 * queue, "{most} bytes for {queue} that wait");
        // What it needed while it was busy it gives back once it is idle.
        engine.sent(now, id, usize::MAX);
        engine.links.get_mut(&id).unwrap().rest();
        let capacity = engine.links.get(&id).unwrap().output.capacity();
        assert!(capacity <= 4 * 1024, "{capacity}");
    }
}
