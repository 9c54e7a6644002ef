//! One link of a relay: what waits for it, what it has under way, and how fast it may go.
//!
//! What is to be sent next waits in the output, in order. When that is more than a little, what other members
//! send waits behind it in [`Lanes`], and their adverts wait until there is room for the latest.

use super::budget::Memory;
use super::lanes::Lanes;
use crate::buffer::Buffer;
use crate::name::NetworkName;
use crate::protocol::{LinkId, Time};
use crate::rate::Throttle;
use crate::table::Table;
use crate::wire::membership::Challenge;
use crate::wire::relay::Route;
use std::collections::VecDeque;
use std::net::IpAddr;

/// How far a link has come.
#[derive(Debug)]
pub(super) enum Stage {
    /// It has said nothing.
    New,
    /// It was asked for a proof.
    Challenged {
        network: NetworkName,
        member: Challenge,
        relay: Challenge,
    },
    /// It takes part.
    Joined { network: NetworkName, route: Route },
    /// It is no member, but asks by HTTP.
    #[cfg(feature = "compat")]
    Http(super::web::Progress),
}

/// Bytes from one member to another.
#[derive(Debug, Default)]
pub(super) struct Flow {
    /// Taken in and not given back as credit.
    pub(super) window_used: u32,
    /// Those of them that have left the relay.
    pub(super) drained: u32,
}

impl Flow {
    /// Bytes that wait for the other member.
    pub(super) fn waits(&self) -> u32 {
        self.window_used - self.drained
    }
}

#[derive(Debug)]
pub(super) struct Member {
    pub(super) stage: Stage,
    pub(super) address: IpAddr,
    pub(super) site: IpAddr,
    pub(super) opened: Time,
    pub(super) heard: Time,
    /// An unfinished frame, and since when.
    pub(super) input: Vec<u8>,
    pub(super) unfinished: Option<Time>,
    pub(super) output: Buffer,
    /// Whose bytes wait in the output, in order; its own for what the relay itself says.
    pub(super) segments: VecDeque<(LinkId, u32)>,
    /// What other members have sent that waits behind the output. If there is something, there is something
    /// in the output.
    pub(super) lanes: Lanes,
    /// When the output began to wait, or had last moved on by as much as it must.
    pub(super) progress: Time,
    /// Bytes that it must take until the next time that it has.
    owed: usize,
    /// As `owed` is at most.
    least: usize,
    pub(super) flows: Table<LinkId, Flow>,
    /// From whom it wants nothing, in the order in which it said so.
    pub(super) blocked: Table<LinkId, u64>,
    /// The frame of its latest advert.
    pub(super) advert: Box<[u8]>,
    /// Which of its network's adverts that is; 0 if it was not handed on yet.
    pub(super) version: u64,
    /// When an advert was last handed on.
    pub(super) advertised: Option<Time>,
    /// The first of its network's adverts that it lacks, if it was too slow for one, or is new.
    pub(super) behind: Option<u64>,
    /// Whether it was told that it has joined.
    pub(super) welcomed: bool,
    /// How fast it may send.
    pub(super) speed: Throttle,
    /// Its memory, as it was counted last.
    pub(super) counted: Memory,
}

impl Member {
    /// Of what waits it must take `least` bytes, or all, each time that it may be stalled for.
    pub(super) fn new(
        (address, site): (IpAddr, IpAddr),
        burst: u32,
        least: usize,
        now: Time,
    ) -> Member {
        Member {
            stage: Stage::New,
            address,
            site,
            opened: now,
            heard: now,
            input: Vec::new(),
            unfinished: None,
            output: Buffer::default(),
            segments: VecDeque::new(),
            lanes: Lanes::default(),
            progress: now,
            owed: 0,
            least,
            flows: Table::default(),
            blocked: Table::default(),
            advert: Box::default(),
            version: 0,
            advertised: None,
            behind: None,
            welcomed: false,
            speed: Throttle::new(burst, now),
            counted: Memory::default(),
        }
    }

    pub(super) fn network(&self) -> Option<&NetworkName> {
        match &self.stage {
            Stage::Joined { network, .. } => Some(network),
            _ => None,
        }
    }

    pub(super) fn route(&self) -> Option<Route> {
        match self.stage {
            Stage::Joined { route, .. } => Some(route),
            _ => None,
        }
    }

    pub(super) fn pending(&self) -> &[u8] {
        self.output.as_slice()
    }

    /// Bytes that wait for it, in the output and behind.
    pub(super) fn waiting(&self) -> usize {
        self.output.len() + self.lanes.len()
    }

    /// Whether more would wait too long in the output, where nothing can overtake it.
    pub(super) fn is_busy(&self) -> bool {
        !self.lanes.is_empty() || self.output.len() >= AHEAD
    }

    /// What it takes now.
    pub(super) fn memory(&self) -> Memory {
        Memory {
            lanes: self.lanes.memory(),
            own: self.input.capacity()
                + self.output.capacity()
                + self.segments.capacity() * size_of::<(LinkId, u32)>()
                + self.flows.memory()
                + self.blocked.memory(),
        }
    }

    /// Notes that the last `len` bytes of the output are `of`'s.
    pub(super) fn note_segment(&mut self, of: LinkId, len: usize, now: Time) {
        if len == self.output.len() {
            self.move_on(now);
        }
        let len = len as u32;
        match self.segments.back_mut() {
            Some((last, n)) if *last == of => *n += len,
            _ => self.segments.push_back((of, len)),
        }
    }

    /// From now on it must take what waits, or the least that it must.
    fn move_on(&mut self, now: Time) {
        self.progress = now;
        self.owed = self.waiting().min(self.least);
    }

    /// The link took `n` bytes; `drained` is told whose, as far as they have gone.
    pub(super) fn sent(&mut self, mut n: usize, now: Time, mut drained: impl FnMut(LinkId, u32)) {
        n = n.min(self.output.len());
        // One that has become empty is kept as it is for the next that has something to send.
        let empties = n == self.output.len();
        let keep = if empties { SPARE_CAPACITY } else { OUTPUT_KEPT };
        self.output.consume(n, keep);
        self.owed = self.owed.saturating_sub(n);
        if self.owed == 0 {
            self.move_on(now);
        }
        while n > 0
            && let Some((of, len)) = self.segments.front_mut()
        {
            let part = (*len as usize).min(n) as u32;
            drained(*of, part);
            *len -= part;
            n -= part as usize;
            if *len == 0 {
                self.segments.pop_front();
            }
        }
        if self.segments.capacity() > SEGMENTS_KEPT.max(4 * self.segments.len()) {
            self.segments.shrink_to(2 * self.segments.len());
        }
    }

    /// Moves from the next lane in turn to the output what may go now; whether there was one.
    pub(super) fn take_turn(&mut self, now: Time) -> bool {
        let Some((of, n)) = self.lanes.turn(&mut self.output) else {
            return false;
        };
        if n > 0 {
            self.note_segment(of, n, now);
        }
        true
    }
}

/// Bytes of output beyond which more waits behind it: what a frame of somebody new finds before it. Enough that
/// a fast link is never kept waiting: the system holds as much again.
pub(super) const AHEAD: usize = 128 * 1024;
/// The largest output that is kept when it is empty, for another member.
pub(super) const SPARE_CAPACITY: usize = 256 * 1024;
/// Room for output that a busy member keeps, so that it need not be made anew for each frame.
const OUTPUT_KEPT: usize = 16 * 1024;
/// Room that an idle member keeps.
const SEGMENTS_KEPT: usize = 64;
