//! What waits for a member that is behind, a lane for each sender, so that each gets its share of
//! the line.
//!
//! Deficit round robin (Shreedhar and Varghese, 1995): in each turn a lane gains a quantum of
//! bytes, and whole frames go out as long as it has some left; a large frame is paid for with later
//! turns.

use crate::buffer::Buffer;
use crate::protocol::LinkId;
use crate::table::Table;
use crate::wire::relay::Route;
use std::net::IpAddr;

/// Bytes that a sender gains in its turn: a few short calls. With a hundred senders the next one
/// waits for less than half a megabyte.
pub(super) const QUANTUM: usize = 4 * 1024;

/// The sender of what waits in a lane, and where it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sender {
    pub(super) link: LinkId,
    pub(super) site: IpAddr,
}

#[derive(Debug)]
struct Lane {
    site: IpAddr,
    bytes: Buffer,
    /// Bytes that it may send; less than none after a frame that was larger than its share.
    allowance: i64,
    /// The route of its sender, if that is gone and the word that it is gone is to follow the last
    /// of the lane.
    gone: Option<Route>,
}

impl Lane {
    fn new(site: IpAddr) -> Lane {
        Lane {
            site,
            bytes: Buffer::default(),
            allowance: 0,
            gone: None,
        }
    }
}

/// What a sender had in its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Turn {
    pub(super) of: LinkId,
    /// Bytes that were moved.
    pub(super) bytes: usize,
    /// The route of the sender, if the word that it is gone is to follow now.
    pub(super) gone: Option<Route>,
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    /// None of them is empty.
    lanes: Table<LinkId, Lane>,
    /// The turn is that of the first lane from here on.
    next: LinkId,
    /// Routes of senders that are gone, whose lanes that word follows.
    gone: Table<Route, ()>,
    /// Bytes that wait in the lanes of each site's senders.
    sites: Table<IpAddr, usize>,
    /// Bytes that wait in all of them.
    len: usize,
    /// Bytes that their buffers take.
    capacity: usize,
}

impl Lanes {
    pub(super) fn is_empty(&self) -> bool {
        self.lanes.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Bytes that wait in the lanes of a site's senders.
    pub(super) fn len_of_site(&self, site: &IpAddr) -> usize {
        self.sites.get(site).copied().unwrap_or(0)
    }

    /// Bytes of memory that they take.
    pub(super) fn memory(&self) -> usize {
        self.capacity + self.lanes.memory() + self.gone.memory() + self.sites.memory()
    }

    /// By how much memory `n` more bytes of a sender grow them.
    pub(super) fn growth(&self, of: LinkId, n: usize) -> usize {
        match self.lanes.get(&of) {
            Some(lane) => lane.bytes.growth(n),
            None => n + size_of::<(LinkId, Lane)>() + size_of::<(IpAddr, usize)>(),
        }
    }

    /// Appends whole frames of a sender; how many bytes that was.
    pub(super) fn push(&mut self, of: Sender, write: impl FnOnce(&mut Vec<u8>)) -> usize {
        let lane = self.lanes.or_insert_with(of.link, || Lane::new(of.site));
        self.capacity -= lane.bytes.capacity();
        let n = lane.bytes.append(write);
        self.capacity += lane.bytes.capacity();
        self.len += n;
        *self.sites.or_insert_with(lane.site, usize::default) += n;
        n
    }

    /// Has the word that a sender is gone follow what waits of it; whether something does.
    pub(super) fn end_with_gone(&mut self, of: LinkId, route: Route) -> bool {
        let Some(lane) = self.lanes.get_mut(&of) else {
            return false;
        };
        lane.gone = Some(route);
        self.gone.insert(route, ());
        true
    }

    /// Whether the word that a route is gone waits behind what came from there.
    pub(super) fn tells_gone(&self, route: &Route) -> bool {
        self.gone.contains_key(route)
    }

    /// Moves what the sender whose turn it is may send. None if nothing waits.
    pub(super) fn turn(&mut self, output: &mut Buffer) -> Option<Turn> {
        let from_next = self.lanes.from(&self.next).next();
        let (of, _) = from_next.or_else(|| self.lanes.iter().next())?;
        let of = *of;
        self.next = LinkId(of.0 + 1);
        let lane = self.lanes.get_mut(&of)?;
        lane.allowance += QUANTUM as i64;
        let n = frames_within(lane.bytes.as_slice(), lane.allowance);
        lane.allowance -= n as i64;
        output.append(|out| out.extend_from_slice(&lane.bytes.as_slice()[..n]));
        self.capacity -= lane.bytes.capacity();
        lane.bytes.consume(n, 0);
        self.capacity += lane.bytes.capacity();
        self.len -= n;
        if let Some(of_site) = self.sites.get_mut(&lane.site) {
            *of_site -= n;
            if *of_site == 0 {
                self.sites.remove(&lane.site);
            }
        }
        let gone = lane.gone.filter(|_| lane.bytes.is_empty());
        if lane.bytes.is_empty() {
            self.lanes.remove(&of);
        }
        if let Some(route) = gone {
            self.gone.remove(&route);
        }
        Some(Turn { of, bytes: n, gone })
    }
}

/// Bytes of the first frames, the last of which begins within `allowance`. A frame has one line
/// feed, at its end.
fn frames_within(bytes: &[u8], allowance: i64) -> usize {
    let allowance = usize::try_from(allowance).unwrap_or(0);
    let mut end = 0;
    while end < allowance.min(bytes.len()) {
        let length = memchr::memchr(b'\n', &bytes[end..]).map_or(bytes.len() - end, |at| at + 1);
        end += length;
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two senders are at each site.
    fn sender(number: u64) -> Sender {
        Sender {
            link: LinkId(number),
            site: [10, 0, 0, number as u8 / 2].into(),
        }
    }

    fn push(lanes: &mut Lanes, of: u64, frame: usize) {
        lanes.push(sender(of), |out| {
            out.resize(out.len() + frame - 1, of as u8);
            out.push(b'\n');
        });
    }

    #[test]
    fn senders_share_alike_whatever_the_size_of_their_frames() {
        let mut lanes = Lanes::default();
        for (of, frame) in [(20, 60_000), (30, 1_000), (70, 100)] {
            for _ in 0..2_000_000 / frame {
                push(&mut lanes, of, frame);
            }
        }
        let (mut output, mut sent) = (Buffer::default(), Table::default());
        while output.len() < 1_500_000 {
            let turn = lanes.turn(&mut output).unwrap();
            *sent.or_insert_with(turn.of, || 0) += turn.bytes;
        }
        assert!(
            sent.values().all(|n| (440_000..=560_000).contains(n)),
            "{sent:?}"
        );
        assert_eq!(output.as_slice().last(), Some(&b'\n'), "whole frames");
    }

    #[test]
    fn a_lane_that_is_empty_is_gone_and_so_is_its_memory() {
        let mut lanes = Lanes::default();
        for of in 0..100 {
            push(&mut lanes, of, 50_000);
            push(&mut lanes, of, 10);
        }
        assert!(lanes.memory() >= lanes.len());
        let mut output = Buffer::default();
        while lanes.turn(&mut output).is_some() {}
        assert_eq!((output.len(), lanes.len()), (100 * 50_010, 0));
        assert!(
            lanes.is_empty() && lanes.memory() < 10_000,
            "{}",
            lanes.memory()
        );
    }

    #[test]
    fn what_waits_of_a_site_is_counted_until_it_has_left() {
        let mut lanes = Lanes::default();
        push(&mut lanes, 2, 1_000);
        push(&mut lanes, 3, 2_000);
        push(&mut lanes, 4, 500);
        let site = |of| sender(of).site;
        assert_eq!(lanes.len_of_site(&site(2)), 3_000);
        assert_eq!(lanes.len_of_site(&site(4)), 500);
        let mut output = Buffer::default();
        while lanes.turn(&mut output).is_some() {}
        assert_eq!(lanes.len_of_site(&site(2)), 0);
        assert!(lanes.sites.is_empty());
    }

    #[test]
    fn the_word_that_a_sender_is_gone_follows_the_last_that_waits_of_it() {
        let (mut lanes, mut output, route) =
            (Lanes::default(), Buffer::default(), Route::default());
        assert!(
            !lanes.end_with_gone(LinkId(2), route),
            "nothing waits of it"
        );
        for _ in 0..3 {
            push(&mut lanes, 2, QUANTUM);
        }
        assert!(lanes.end_with_gone(LinkId(2), route));
        for gone in [None, None, Some(route)] {
            assert!(lanes.tells_gone(&route));
            let turn = lanes.turn(&mut output).unwrap();
            assert_eq!((turn.bytes, turn.gone), (QUANTUM, gone));
        }
        assert!(!lanes.tells_gone(&route));
        assert_eq!(lanes.turn(&mut output), None);
    }

    #[test]
    fn what_one_sends_keeps_its_order() {
        let mut lanes = Lanes::default();
        for i in 0..1_000u32 {
            let of = u64::from(i % 3);
            lanes.push(sender(of), |out| {
                out.extend_from_slice(format!("{of} {i}\n").as_bytes())
            });
        }
        let mut output = Buffer::default();
        while lanes.turn(&mut output).is_some() {}
        let text = std::str::from_utf8(output.as_slice()).unwrap();
        for of in ["0 ", "1 ", "2 "] {
            let own = text.lines().filter_map(|l| l.strip_prefix(of));
            let own: Vec<u32> = own.map(|n| n.parse().unwrap()).collect();
            assert!(own.len() > 300 && own.is_sorted(), "{of}");
        }
    }
}
