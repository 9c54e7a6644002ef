//! What comes on links: frames, and what is in them, up to where another part must act on it.

use super::keepalive::Heard;
use super::{Ctx, KEPT_CAPACITY, LinkId, Links, RelayFault, State};
use crate::fernet::KeyIndex;
use crate::frame::{Frame, FrameType};
use crate::limits::FRAME_MAX;
use crate::wire::Instance;
use crate::wire::advert::Advert;
use crate::wire::hello::Hello;
use crate::wire::record::Body;
use crate::wire::relay::Route;

/// Room for input that a busy link keeps: the largest unfinished frame, and as much again.
const READ_CAPACITY: usize = 2 * FRAME_MAX;

/// Why a link is refused; each has its counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refuse {
    Frame,
    Token,
    Hello,
    Record,
}

/// What came on a link, for other parts to act on.
#[derive(Debug)]
pub(crate) enum Came<'a> {
    /// A frame that the links have dealt with themselves.
    Nothing,
    /// A record of a session.
    Record {
        peer: Instance,
        /// Whether it is the first one of the side that asked: with it the session is open.
        opens: bool,
        body: Body<'a>,
    },
    /// A hello, and the key that opened it.
    Hello(Box<Hello>, KeyIndex),
    /// The echo of a keepalive; from this peer, if it had been challenged to show that it lives.
    Echo(Option<Instance>),
    /// The other side has ended a link through a relay.
    Ended {
        /// Whether because of what came there: the relay has altered what it carried.
        altered: bool,
    },
    /// The other side broke a rule.
    Refused(Refuse),
    /// A relay handed us the sealed advert of a member at this route; it is `None` if it does not
    /// open.
    Advert(Route, Option<Advert>),
    /// A relay has taken us in.
    Joined,
    /// A relay says that a route leads nowhere.
    Gone(Route),
    /// A relay has dropped something of a session, which has to end.
    Busy,
    /// A relay takes more of a session.
    Credit,
    /// A relay breaks a rule, or refuses us.
    GiveUp(RelayFault),
}

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
            FrameType::HELLO => read_hello(ctx, payload, opened),
            FrameType::PING => self.ping(ctx, id, payload),
            // Advisory: the other side closes the link itself.
            FrameType::ERROR => Came::Nothing,
            _ => Came::Refused(Refuse::Frame),
        }
    }

    fn record<'o>(
        &mut self,
        ctx: &Ctx<'_>,
        id: LinkId,
        kind: FrameType,
        token: &[u8],
        opened: &'o mut Vec<u8>,
    ) -> Came<'o> {
        let Some(link) = self.table.get_mut(&id) else {
            return Came::Nothing;
        };
        let (session, opens) = match &mut link.state {
            State::Open { session, .. } => (session, false),
            State::Answered(session) => (session, true),
            _ => return Came::Refused(Refuse::Frame),
        };
        let peer = session.peer;
        match session.open(kind, token, opened) {
            Ok(record) => {
                if opens {
                    self.prove(ctx, id);
                }
                let body = record.body;
                Came::Record { peer, opens, body }
            }
            Err(why) => Came::Refused(why),
        }
    }

    pub(super) fn ping<'o>(&mut self, ctx: &mut Ctx<'_>, id: LinkId, payload: &[u8]) -> Came<'o> {
        let full = !self.takes_more(ctx.config, id);
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

fn read_hello<'o>(ctx: &Ctx<'_>, token: &[u8], opened: &mut Vec<u8>) -> Came<'o> {
    let (hello, key) = match ctx.config.keys.open(token, opened) {
        Ok((plain, key)) => (Hello::decode(plain), key),
        Err(_) => return Came::Refused(Refuse::Token),
    };
    let Ok(hello) = hello else {
        return Came::Refused(Refuse::Hello);
    };
    let for_another = hello.meant.as_ref().is_some_and(|m| *m != ctx.config.name);
    if for_another || hello.instance == ctx.instance {
        return Came::Refused(Refuse::Hello);
    }
    Came::Hello(Box::new(hello), key)
}
