//! What goes out on links, straight or through a relay, and how much may wait there.

use super::session::Session;
use super::{Config, Ctx, Link, LinkId, Links, Output, State, Time, Via};
use crate::frame::{self, FrameType};
use crate::protocol::{LinkWriter, Now};
use crate::wire::record::encode_renew;
use crate::wire::relay::encode_forward;

/// Where something for a peer can go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outlet {
    /// This link takes more.
    Ready(LinkId),
    /// There is one, but it must drain first.
    Full,
    /// There is none.
    None,
}

/// Which links take more, after one has drained.
#[derive(Debug)]
pub(crate) enum Room {
    /// None that did not before.
    None,
    /// This one, to a peer.
    Session,
    /// The links that go over this one, to a relay, take more of streams.
    Relay {
        /// Those of them that take more calls and answers as well, which waited for this one to
        /// drain.
        waited: Vec<LinkId>,
    },
}

impl Links {
    /// Bytes that wait to be written to a link.
    #[inline]
    pub(crate) fn pending(&self, link: LinkId) -> &[u8] {
        self.table.get(&link).map_or(&[], |l| l.output.as_slice())
    }

    /// Whether nothing waits to be written to any link.
    pub(crate) fn are_drained(&self) -> bool {
        self.table.values().all(|l| l.output.is_empty())
    }

    /// Appends a frame whose payload `write` produces to what waits for a link: to its own output,
    /// or wrapped to that of the link to its relay. Not generic: of what is this long, one copy is
    /// enough.
    pub(super) fn emit(
        &mut self,
        ctx: &mut Ctx<'_>,
        id: LinkId,
        kind: FrameType,
        write: &mut dyn FnMut(&mut State, &mut Vec<u8>),
    ) {
        let Some(link) = self.table.get_mut(&id) else {
            return;
        };
        let net = ctx.config.network.as_str();
        let Via::Relay(carrier, route) = link.via else {
            let Link { state, output, .. } = &mut **link;
            let was_empty = output.is_empty();
            output.append(|out| frame::encode_with(net, kind, out, |out| write(state, out)));
            return self.queued(ctx, id, was_empty);
        };
        let Some((link, over)) = self.table.pair_mut(&id, &carrier) else {
            return;
        };
        let was_empty = over.output.is_empty();
        let state = &mut link.state;
        let bytes = over.output.append(|out| {
            encode_forward(net, &route, kind, out, |out| write(state, out));
        });
        self.routes.spend(carrier, route, bytes);
        self.queued(ctx, carrier, was_empty);
    }

    /// After a frame was appended to a link's output.
    pub(super) fn queued(&mut self, ctx: &mut Ctx<'_>, id: LinkId, was_empty: bool) {
        ctx.stats.frames_out += 1;
        if was_empty {
            if let Some(link) = self.table.get_mut(&id) {
                link.progress = ctx.now.at;
            }
            self.wake_at(ctx.now.at + ctx.config.limits.dead);
            ctx.outputs.push_back(Output::Writable(id));
        }
    }

    /// Sends one record on an open session; `encode` is given its sequence number, and `plain`,
    /// where it is put together.
    #[inline]
    pub(crate) fn send_record(
        &mut self,
        ctx: &mut Ctx<'_>,
        plain: &mut Vec<u8>,
        id: LinkId,
        encode: impl FnOnce(u64, &mut Vec<u8>),
    ) {
        if let Some(session) = self.session(id) {
            let (sequence, kind) = (session.next_sequence(), session.kind());
            plain.clear();
            encode(sequence, plain);
            self.send_plain_record(ctx, id, kind, plain);
        }
    }

    /// Seals and sends the record that was put together in `plain`.
    pub(crate) fn send_plain_record(
        &mut self,
        ctx: &mut Ctx<'_>,
        id: LinkId,
        kind: FrameType,
        plain: &[u8],
    ) {
        let mut iv = [0; 16];
        ctx.entropy.fill(&mut iv);
        let Now { at, unix } = ctx.now;
        let mut is_old = false;
        self.emit(ctx, id, kind, &mut |state, out| {
            if let State::Open { session, .. } = state {
                session.seal(plain, unix, &iv, out);
                is_old = session.is_key_old(at);
            }
        });
        if is_old {
            self.renew_key(ctx, id, kind);
        }
    }

    /// Says that the next record is sealed under the next key, and makes that the key.
    fn renew_key(&mut self, ctx: &mut Ctx<'_>, id: LinkId, kind: FrameType) {
        let mut iv = [0; 16];
        ctx.entropy.fill(&mut iv);
        let Now { at, unix } = ctx.now;
        self.emit(ctx, id, kind, &mut |state, out| {
            if let State::Open { session, .. } = state {
                let mut plain = Vec::new();
                encode_renew(session.next_sequence(), &mut plain);
                session.seal(&plain, unix, &iv, out);
                session.renew_key(at);
            }
        });
    }

    /// Has the bytes that wait for a link written, if there are any; which links take more now.
    pub(crate) fn transmit(
        &mut self,
        ctx: &mut Ctx<'_>,
        id: LinkId,
        write: &mut LinkWriter<'_>,
    ) -> Room {
        let queue = ctx.config.limits.link_queue;
        let Some(link) = self.table.get_mut(&id).filter(|l| !l.output.is_empty()) else {
            return Room::None;
        };
        let before = link.output.len();
        let n = write(link.output.as_slice());
        if n == 0 {
            return Room::None;
        }
        link.progress = ctx.now.at;
        // A busy link keeps its room; one that has become idle gives it back at its keepalive.
        link.output.consume(n, queue / 2);
        if link.output.len() > queue / 2 {
            return Room::None;
        }
        let room = match link.state {
            State::Open { .. } => Room::Session,
            State::Relay { .. } => Room::Relay {
                // What waits for the link to drain waits until it is half empty.
                waited: match before > queue / 2 {
                    true => self.routes.links_over(id),
                    false => Vec::new(),
                },
            },
            _ => Room::None,
        };
        self.echo_owed(ctx, id);
        room
    }

    /// The session of a link that may go on, if it is open. Before anything else it gives the echo
    /// that it owes.
    pub(crate) fn resume(&mut self, ctx: &mut Ctx<'_>, id: LinkId) -> Option<&mut Session> {
        self.session(id)?;
        if self.takes_echo(ctx.config, id) {
            self.echo_owed(ctx, id);
        }
        self.session(id)
    }

    /// Bytes that wait to be written, for a link or for the one it goes over.
    #[inline]
    pub(crate) fn waits_on(&self, id: LinkId) -> usize {
        let Some(link) = self.table.get(&id) else {
            return 0;
        };
        match link.via {
            Via::Relay(carrier, _) => self.pending(carrier).len(),
            _ => link.output.len(),
        }
    }

    /// Whether a link takes whatever comes next. What is not asked before it is sent is small, and
    /// comes seldom: a relay ends the link of a node that overruns a window.
    pub(crate) fn takes_more(&self, config: &Config, id: LinkId) -> bool {
        !self.is_held(id) && self.takes_echo(config, id)
    }

    /// The same for signs of life, which go out also while the link is held.
    pub(super) fn takes_echo(&self, config: &Config, id: LinkId) -> bool {
        let free = match self.way(id) {
            Some((carrier, route)) => self.routes.is_free(carrier, route),
            None => true,
        };
        free && self.waits_on(id) < config.limits.link_queue
    }

    /// Whether so many bytes may still be sent through the relay that a link goes through, if it
    /// does.
    pub(crate) fn has_window(&self, id: LinkId, bytes: usize) -> bool {
        !self.is_held(id) && self.is_wide(id, bytes)
    }

    fn is_wide(&self, id: LinkId, bytes: usize) -> bool {
        let way = self.way(id);
        way.is_none_or(|(carrier, route)| self.routes.has_room(carrier, route, bytes))
    }

    /// Whether so many bytes may go out now, also if the link is held.
    pub(crate) fn has_room(&self, config: &Config, id: LinkId, bytes: usize) -> bool {
        self.is_wide(id, bytes) && self.waits_on(id) < config.limits.link_queue
    }

    /// Has calls, answers and streams wait, until then at most: after that the session is overdue.
    /// They go on once it is [released](Links::release).
    pub(crate) fn hold(&mut self, id: LinkId, until: Time) {
        if let Some(session) = self.session(id) {
            session.held_until = match session.held_until {
                // Its time runs already.
                Some(before) if before != Time::NEVER && until != Time::NEVER => Some(before),
                _ => Some(until),
            };
        }
        self.wake_at(until);
    }

    /// Has what was held go on.
    pub(crate) fn release(&mut self, id: LinkId) {
        if let Some(session) = self.session(id) {
            session.held_until = None;
        }
    }

    #[inline]
    pub(crate) fn is_held(&self, id: LinkId) -> bool {
        let link = self.table.get(&id);
        link.is_some_and(|link| link.held_until().is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::fixture::Fixture;
    use std::time::Duration;

    /// A link on which as many frames wait as there are letters, each with its letter in it.
    fn link_with(letters: &str) -> (Fixture, Links, LinkId) {
        let (mut fixture, mut links) = (Fixture::default(), Links::default());
        let id = links.accept(&mut fixture.ctx(), "10.0.0.1:1".parse().unwrap());
        for letter in letters.bytes() {
            links.emit(&mut fixture.ctx(), id, FrameType::PING, &mut |_, out| {
                out.push(letter);
            });
        }
        (fixture, links, id)
    }

    #[test]
    fn frames_of_a_link_are_written_together_and_what_it_does_not_take_waits() {
        let (mut fixture, mut links, id) = link_with("abc");
        let all = links.pending(id).to_vec();
        let (mut written, mut writes) = (Vec::new(), 0);
        for most in [7, 0, usize::MAX, 1] {
            links.transmit(&mut fixture.ctx(), id, &mut |bytes| {
                let n = bytes.len().min(most);
                written.extend_from_slice(&bytes[..n]);
                writes += 1;
                n
            });
        }
        assert_eq!(written, all, "in order, and each byte once");
        assert_eq!(writes, 3, "nothing waits after the third");
        assert!(links.are_drained());
    }

    #[test]
    fn a_link_that_takes_nothing_makes_no_progress() {
        let (mut fixture, mut links, id) = link_with("a");
        let began = links.table.get(&id).unwrap().progress;
        for (taken, moves) in [(0, false), (1, true)] {
            let ctx = &mut fixture.ctx();
            ctx.now.at = began + Duration::from_secs(1);
            links.transmit(ctx, id, &mut |_| taken);
            let progress = links.table.get(&id).unwrap().progress;
            assert_eq!(progress > began, moves, "{taken} taken");
        }
    }

    #[test]
    fn a_link_whose_reader_is_steady_but_slow_holds_what_waits_and_not_what_has_passed() {
        let (mut fixture, mut links) = (Fixture::default(), Links::default());
        let from = "10.0.0.1:1".parse().unwrap();
        let id = links.accept(&mut fixture.ctx(), from);
        let say = |links: &mut Links, fixture: &mut Fixture| {
            links.emit(&mut fixture.ctx(), id, FrameType::PING, &mut |_, out| {
                out.extend_from_slice(&[b'x'; 1_000]);
            });
        };
        let queue = fixture.core.config.limits.link_queue;
        while links.waits_on(id) < queue {
            say(&mut links, &mut fixture);
        }
        let mut most = 0;
        for _ in 0..20_000 {
            say(&mut links, &mut fixture);
            most = most.max(links.table.get(&id).unwrap().output.capacity());
            let n = links.waits_on(id) - queue;
            links.transmit(&mut fixture.ctx(), id, &mut |_| n);
        }
        assert!(links.waits_on(id) >= queue, "it is never empty");
        assert!(most <= 4 * queue, "{most} bytes for {queue} that wait");
        // What it needed while it was busy it gives back once it is idle.
        links.transmit(&mut fixture.ctx(), id, &mut |bytes| bytes.len());
        links.table.get_mut(&id).unwrap().rest();
        let capacity = links.table.get(&id).unwrap().output.capacity();
        assert!(capacity <= 4 * 1024, "{capacity}");
    }
}
