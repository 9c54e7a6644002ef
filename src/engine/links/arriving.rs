//! What comes on links: frames, and what is in them, up to where another part must act on it.

use super::came::{Came, Refuse};
use super::keepalive::Heard;
use super::{Ctx, KEPT_CAPACITY, LinkId, Links, State};
use crate::frame::{Frame, FrameType};
use crate::limits::FRAME_MAX;
use crate::wire::Instance;
use crate::wire::record::Body;

/// Room for input that a busy link keeps: the largest unfinished frame, and as much again.
const READ_CAPACITY: usize = 2 * FRAME_MAX;

impl Links {
    /// Takes in the next frame of what was kept and `bytes`, which loses what is taken of it. What
    /// came, and on which link; it may lie in `opened`, where tokens are opened. `None` when more
    /// bytes are needed, or the link is no more.
    pub(crate) fn next<'o>(
        &mut self,
        ctx: &mut Ctx<'_>,
        id: LinkId,
        bytes: &mut &[u8],
        opened: &'o mut Vec<u8>,
    ) -> Option<(LinkId, Came<'o>)> {
        let link = self.table.get_mut(&id)?;
        link.heard = ctx.now.at;
        let begun = link.inbox.unfinished();
        // The frame may lie in it, and be about another link: it stands beside the table meanwhile.
        let mut inbox = std::mem::take(&mut link.inbox);
        let came = match inbox.next(ctx.now.at, bytes) {
            Ok(Some(whole)) => {
                ctx.stats.frames_in += 1;
                Some(self.frame(ctx, id, whole.frame, opened))
            }
            Ok(None) => None,
            Err(_) => Some((id, Came::Refused(Refuse::Frame))),
        };
        let unfinished = inbox.unfinished();
        if came.is_none() {
            let is_idle = unfinished.is_none();
            inbox.shrink_to(if is_idle {
                KEPT_CAPACITY
            } else {
                READ_CAPACITY
            });
        }
        if let Some(link) = self.table.get_mut(&id) {
            link.inbox = inbox;
        }
        if let Some(since) = unfinished
            && unfinished != begun
        {
            self.wake_at(since + ctx.config.limits.frame);
        }
        came
    }

    fn frame<'o>(
        &mut self,
        ctx: &mut Ctx<'_>,
        id: LinkId,
        frame: Frame<'_>,
        opened: &'o mut Vec<u8>,
    ) -> (LinkId, Came<'o>) {
        if self.is_to_relay(id) {
            return self.relay_frame(ctx, id, frame, opened);
        }
        if frame.net != ctx.config.network.as_str() {
            ctx.stats.foreign += 1;
            return (id, Came::Nothing);
        }
        (
            id,
            self.peer_frame(ctx, id, frame.kind, frame.payload, opened),
        )
    }

    /// A frame of a peer, over whatever link.
    pub(super) fn peer_frame<'o>(
        &mut self,
        ctx: &mut Ctx<'_>,
        id: LinkId,
        kind: FrameType,
        payload: &[u8],
        opened: &'o mut Vec<u8>,
    ) -> Came<'o> {
        match kind {
            FrameType::MESSAGE | FrameType::RESPONSE => self.record(ctx, id, kind, payload, opened),
            FrameType::HELLO => self.hello(ctx, id, payload),
            // Advisory: the other side closes the link itself.
            FrameType::ERROR => Came::Nothing,
            _ => Came::Refused(Refuse::Frame),
        }
    }

    fn record<'o>(
        &mut self,
        ctx: &mut Ctx<'_>,
        id: LinkId,
        kind: FrameType,
        token: &[u8],
        opened: &'o mut Vec<u8>,
    ) -> Came<'o> {
        let Some(link) = self.table.get_mut(&id) else {
            return Came::Nothing;
        };
        let State::Open { session, pulse, .. } = &mut link.state else {
            return Came::Refused(Refuse::Frame);
        };
        let (peer, now) = (session.peer, ctx.now.at);
        let body = match session.open(kind, token, opened) {
            Ok(record) => record.body,
            Err(why) => return Came::Refused(why),
        };
        session.mark_heard(now);
        link.heard = now;
        match body {
            Body::Ping(nonce) => {
                pulse.owe(*nonce);
                if self.takes_echo(ctx.config, id) {
                    self.echo_owed(ctx, id);
                }
                Came::Nothing
            }
            Body::Pong(nonce) => match pulse.echoes(now, nonce) {
                true => Came::Echo(self.take_challenge(id)),
                false => Came::Nothing,
            },
            Body::Renew => Came::Nothing,
            body => Came::Record { peer, body },
        }
    }

    pub(super) fn ping<'o>(&mut self, ctx: &mut Ctx<'_>, id: LinkId, payload: &[u8]) -> Came<'o> {
        let full = !self.takes_echo(ctx.config, id);
        let Some(pulse) = self.table.get_mut(&id).map(|l| l.pulse_mut()) else {
            return Came::Nothing;
        };
        // A relay measures us, as we measure it.
        let Some(pulse) = pulse else {
            return Came::Refused(Refuse::Frame);
        };
        match pulse.hear(ctx.now.at, payload) {
            Heard::Echo => Came::Echo(self.take_challenge(id)),
            Heard::Stray => Came::Nothing,
            Heard::Ask => {
                if !full {
                    self.echo_owed(ctx, id);
                }
                Came::Nothing
            }
            Heard::Nonsense => Came::Refused(Refuse::Frame),
        }
    }

    /// The peer of a session, if it was challenged to show that it lives; it has done so.
    fn take_challenge(&mut self, id: LinkId) -> Option<Instance> {
        match &mut self.table.get_mut(&id)?.state {
            State::Open {
                session, challenge, ..
            } => challenge.take().map(|_| session.peer),
            _ => None,
        }
    }
}
