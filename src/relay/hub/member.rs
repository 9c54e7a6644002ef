//! One link of a relay: what waits for it, what it has under way, and how fast it may go.

use crate::buffer::Buffer;
use crate::name::NetworkName;
use crate::protocol::{LinkId, Time};
use crate::table::Table;
use crate::wire::membership::Challenge;
use crate::wire::relay::Route;
use std::collections::VecDeque;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

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

#[derive(Debug)]
pub(super) struct Member {
    pub(super) stage: Stage,
    pub(super) address: IpAddr,
    pub(super) opened: Time,
    pub(super) heard: Time,
    /// An unfinished frame, and since when.
    pub(super) input: Vec<u8>,
    pub(super) unfinished: Option<Time>,
    pub(super) output: Buffer,
    /// Whose bytes wait in the output, in order; its own for what the relay itself says.
    pub(super) segments: VecDeque<(LinkId, u32)>,
    /// When the output last moved, or began to wait.
    pub(super) progress: Time,
    pub(super) flows: Table<LinkId, Flow>,
    /// From whom it wants nothing.
    pub(super) blocked: Table<LinkId, ()>,
    /// The frame of its latest advert.
    pub(super) advert: Box<[u8]>,
    /// When an advert was last handed on.
    pub(super) advertised: Option<Time>,
    /// The next member whose advert it is to be handed; `None` when it has them all.
    pub(super) catching_up: Option<LinkId>,
    /// Bytes it may send before it must wait; less than none while it does.
    allowance: i64,
    refilled: Time,
}

impl Member {
    pub(super) fn new(address: IpAddr, burst: u32, now: Time) -> Member {
        Member {
            stage: Stage::New,
            address,
            opened: now,
            heard: now,
            input: Vec::new(),
            unfinished: None,
            output: Buffer::default(),
            segments: VecDeque::new(),
            progress: now,
            flows: Table::default(),
            blocked: Table::default(),
            advert: Box::default(),
            advertised: None,
            catching_up: None,
            allowance: burst.into(),
            refilled: now,
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

    /// Notes that the last `len` bytes of the output are `of`'s.
    pub(super) fn note_segment(&mut self, of: LinkId, len: usize, now: Time) {
        if len == self.output.len() {
            self.progress = now;
        }
        let len = len as u32;
        match self.segments.back_mut() {
            Some((last, n)) if *last == of => *n += len,
            _ => self.segments.push_back((of, len)),
        }
    }

    /// The link took `n` bytes; `drained` is told whose, as far as they have gone.
    pub(super) fn sent(&mut self, mut n: usize, now: Time, mut drained: impl FnMut(LinkId, u32)) {
        n = n.min(self.output.len());
        // One that has become empty is kept as it is for the next that has something to send.
        let empties = n == self.output.len();
        let keep = if empties { SPARE_CAPACITY } else { OUTPUT_KEPT };
        self.output.consume(n, keep);
        self.progress = now;
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
        if self.output.is_empty() && self.segments.capacity() > SEGMENTS_KEPT {
            self.segments = VecDeque::new();
        }
    }

    /// Charges `n` bytes that came; until when it must wait before it may send more, if it must.
    pub(super) fn charge(
        &mut self,
        n: usize,
        per_second: u32,
        burst: u32,
        now: Time,
    ) -> Option<Time> {
        let idle = now - self.refilled;
        let gained = idle.as_nanos() * u128::from(per_second) / 1_000_000_000;
        if gained > 0 {
            self.refilled = now;
        }
        let gained = i64::try_from(gained).unwrap_or(i64::MAX);
        self.allowance = self.allowance.saturating_add(gained).min(burst.into()) - n as i64;
        let owed = u64::try_from(-self.allowance).unwrap_or(0);
        (owed > 0).then(|| {
            now + Duration::from_nanos(owed * 1_000_000_000 / u64::from(per_second.max(1)))
        })
    }
}

/// The largest output that is kept when it is empty, for another member.
pub(super) const SPARE_CAPACITY: usize = 256 * 1024;
/// Room for output that a busy member keeps, so that it need not be made anew for each frame.
const OUTPUT_KEPT: usize = 16 * 1024;
/// Room that an idle member keeps.
const SEGMENTS_KEPT: usize = 64;

/// The address that a limit counts: an IPv6 host has a /64 to itself.
pub(super) fn counted(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(a) => {
            let [a, b, c, d, ..] = a.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        v4 => v4,
    }
}
