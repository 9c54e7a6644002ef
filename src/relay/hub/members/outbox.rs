//! What waits to be written to one link.
//!
//! What is to be sent next waits in the output, in order. When that is more than a little, what
//! other members send waits behind it in [`Lanes`], and their adverts wait until there is room for
//! the latest.

use super::lanes::{Lanes, QUANTUM, Sender};
use crate::buffer::Buffer;
use crate::limits::FRAME_MAX;
use crate::protocol::{LinkId, Time};
use crate::wire::relay::Route;
use std::collections::VecDeque;
use std::net::IpAddr;

/// Bytes of output beyond which more waits behind it: what a frame of a new sender finds before it.
/// Enough that a fast link is never kept waiting: the system holds as much again.
pub(super) const AHEAD: usize = 128 * 1024;
/// The largest output that is kept when it is empty, for another member.
pub(super) const SPARE_CAPACITY: usize = 256 * 1024;
/// Room for output that a busy member keeps, so that it need not be made anew for each frame.
const OUTPUT_KEPT: usize = 16 * 1024;
/// Room that an idle member keeps.
const SEGMENTS_KEPT: usize = 64;

/// Bytes in the output that one link sent, or the relay itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Segment {
    /// The sender; the receiver itself for what the relay says.
    pub(in super::super) of: LinkId,
    pub(in super::super) bytes: u32,
}

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Outbox {
    output: Buffer,
    /// Whose bytes wait in the output, in order.
    segments: VecDeque<Segment>,
    /// What waits behind the output. If there is something, there is something in the output.
    lanes: Lanes,
    /// When the output began to wait, or had last moved on by as much as it must.
    moved: Time,
    /// Bytes that it must take until the next time that it has.
    owed: usize,
    /// What `owed` is at most.
    least: usize,
}

impl Outbox {
    /// Of what waits the link must take `least` bytes, or all, each time that it may be stalled
    /// for.
    pub(super) fn new(least: usize, now: Time) -> Outbox {
        Outbox {
            output: Buffer::default(),
            segments: VecDeque::new(),
            lanes: Lanes::default(),
            moved: now,
            owed: 0,
            least,
        }
    }

    pub(super) fn pending(&self) -> &[u8] {
        self.output.as_slice()
    }

    /// Whether nothing waits in the output.
    pub(super) fn is_empty(&self) -> bool {
        self.output.is_empty()
    }

    /// Whether nothing waits behind the output.
    pub(super) fn has_no_lanes(&self) -> bool {
        self.lanes.is_empty()
    }

    /// Bytes that wait, in the output and behind.
    pub(super) fn waiting(&self) -> usize {
        self.output.len() + self.lanes.len()
    }

    /// Whether more would wait too long in the output, where nothing can overtake it.
    pub(super) fn is_busy(&self) -> bool {
        !self.lanes.is_empty() || self.is_full()
    }

    fn is_full(&self) -> bool {
        self.output.len() >= AHEAD
    }

    /// Whether more waits than may. Forwards stop at the queue, so members cannot drive one of them
    /// out by filling it: this much is what the relay itself has to tell. A newcomer is told of so
    /// much before anything of it can be written.
    pub(super) fn exceeds(&self, queue: usize) -> bool {
        let most = queue.max(AHEAD).saturating_mul(2);
        self.waiting() > most.saturating_add(FRAME_MAX)
    }

    /// Bytes of output up to which adverts that the member lacks are handed to it now: no more than
    /// their share of the line, if others wait.
    pub(super) fn adverts_end(&self) -> usize {
        match self.lanes.is_empty() {
            true => AHEAD,
            false => AHEAD.min(self.output.len() + QUANTUM),
        }
    }

    /// Whether the output is shorter than so many bytes.
    pub(super) fn is_below(&self, end: usize) -> bool {
        self.output.len() < end
    }

    /// When the output began to wait, or last moved on by as much as it must.
    pub(super) fn moved(&self) -> Time {
        self.moved
    }

    /// The link counts as having moved on now, whatever it took.
    #[cfg(feature = "compat")]
    pub(super) fn restart(&mut self, now: Time) {
        self.moved = now;
    }

    /// Bytes of memory of the output, and what lists its senders.
    pub(super) fn memory(&self) -> usize {
        self.output.capacity() + self.segments.capacity() * size_of::<Segment>()
    }

    pub(super) fn lanes_memory(&self) -> usize {
        self.lanes.memory()
    }

    /// By how much memory `n` more bytes of a sender grow what waits behind the output.
    pub(super) fn lanes_growth(&self, of: LinkId, n: usize) -> usize {
        self.lanes.growth(of, n)
    }

    /// Bytes of a site's senders that wait behind the output.
    pub(super) fn waiting_of_site(&self, site: &IpAddr) -> usize {
        self.lanes.len_of_site(site)
    }

    /// Whether it needs a buffer before the next append.
    pub(super) fn has_no_buffer(&self) -> bool {
        self.output.capacity() == 0
    }

    /// Takes over an empty buffer that another member has used.
    pub(super) fn give_buffer(&mut self, spare: Buffer) {
        self.output = spare;
    }

    /// Gives up the buffer, if nothing is in it; it is worth keeping if it is not too large.
    pub(super) fn take_buffer(&mut self) -> Option<Buffer> {
        let is_idle = self.output.is_empty() && self.output.capacity() > 0;
        let buffer = is_idle.then(|| std::mem::take(&mut self.output))?;
        (buffer.capacity() <= SPARE_CAPACITY).then_some(buffer)
    }

    /// Appends something of a sender's to the output.
    pub(super) fn append(&mut self, of: LinkId, now: Time, write: impl FnOnce(&mut Vec<u8>)) {
        let bytes = self.output.append(write);
        self.note(of, bytes, now);
    }

    /// Appends something of a sender's behind the output.
    pub(super) fn append_behind(&mut self, of: Sender, write: impl FnOnce(&mut Vec<u8>)) {
        self.lanes.push(of, write);
    }

    /// Has the word that a sender is gone follow what waits of it; whether something does.
    pub(super) fn end_with_gone(&mut self, of: LinkId, route: Route) -> bool {
        self.lanes.end_with_gone(of, route)
    }

    /// Whether the word that a route is gone waits behind what came from there.
    pub(super) fn tells_gone(&self, route: &Route) -> bool {
        self.lanes.tells_gone(route)
    }

    /// Notes that the last bytes of the output are a sender's.
    fn note(&mut self, of: LinkId, bytes: usize, now: Time) {
        if bytes == self.output.len() {
            self.move_on(now);
        }
        let bytes = bytes as u32;
        match self.segments.back_mut() {
            Some(last) if last.of == of => last.bytes += bytes,
            _ => self.segments.push_back(Segment { of, bytes }),
        }
    }

    /// From now on the link must take what waits, or the least that it must.
    fn move_on(&mut self, now: Time) {
        self.moved = now;
        self.owed = self.waiting().min(self.least);
    }

    /// The link took `n` bytes; `drained` is told whose, as far as they have gone.
    pub(super) fn sent(&mut self, mut n: usize, now: Time, mut drained: impl FnMut(Segment)) {
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
            && let Some(first) = self.segments.front_mut()
        {
            let bytes = (first.bytes as usize).min(n) as u32;
            drained(Segment { bytes, ..*first });
            first.bytes -= bytes;
            n -= bytes as usize;
            if first.bytes == 0 {
                self.segments.pop_front();
            }
        }
        if self.segments.capacity() > SEGMENTS_KEPT.max(4 * self.segments.len()) {
            self.segments.shrink_to(2 * self.segments.len());
        }
    }

    /// Moves from the next lane in turn to the output what may go now; false if the output is full,
    /// or nothing waits behind it. If the lane ends with the word that its sender is gone, `say`
    /// appends that, for the link `own`.
    pub(super) fn take_turn(
        &mut self,
        own: LinkId,
        now: Time,
        say: impl FnOnce(Route, &mut Vec<u8>),
    ) -> bool {
        if self.is_full() {
            return false;
        }
        let Some(turn) = self.lanes.turn(&mut self.output) else {
            return false;
        };
        if turn.bytes > 0 {
            self.note(turn.of, turn.bytes, now);
        }
        if let Some(route) = turn.gone {
            self.append(own, now, |out| say(route, out));
        }
        true
    }

    /// What is in the output, which the link is left without.
    pub(super) fn take(&mut self) -> Vec<u8> {
        self.output.take()
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::context::tests::at;
    use super::*;

    const LEAST: usize = 100;

    fn outbox() -> Outbox {
        Outbox::new(LEAST, at(0).at)
    }

    fn line(n: usize) -> impl FnOnce(&mut Vec<u8>) {
        move |out| {
            out.resize(out.len() + n - 1, b'x');
            out.push(b'\n');
        }
    }

    fn drained(outbox: &mut Outbox, n: usize, seconds: u64) -> Vec<(u64, u32)> {
        let mut drained = Vec::new();
        outbox.sent(n, at(seconds).at, |s| drained.push((s.of.0, s.bytes)));
        drained
    }

    /// The word that a sender is gone has four bytes.
    fn take_turn(outbox: &mut Outbox, seconds: u64) -> bool {
        outbox.take_turn(LinkId(9), at(seconds).at, |_, out| line(4)(out))
    }

    fn sender(number: u64) -> Sender {
        Sender {
            link: LinkId(number),
            site: [10, 0, 0, 1].into(),
        }
    }

    #[test]
    fn senders_are_told_of_their_bytes_in_order_as_they_leave() {
        let mut outbox = outbox();
        for (of, n) in [(1, 10), (1, 10), (2, 10)] {
            outbox.append(LinkId(of), at(1).at, line(n));
        }
        assert_eq!(drained(&mut outbox, 15, 1), [(1, 15)]);
        assert_eq!(drained(&mut outbox, 99, 1), [(1, 5), (2, 10)]);
        assert!(outbox.is_empty());
    }

    #[test]
    fn a_link_moves_on_when_it_has_taken_the_least_that_it_must_or_all() {
        let mut outbox = outbox();
        outbox.append(LinkId(1), at(1).at, line(250));
        assert_eq!(outbox.moved(), at(1).at);
        drained(&mut outbox, 99, 2);
        assert_eq!(outbox.moved(), at(1).at, "one byte is missing");
        drained(&mut outbox, 1, 3);
        assert_eq!(outbox.moved(), at(3).at);
        drained(&mut outbox, 99, 4);
        outbox.append(LinkId(1), at(5).at, line(10));
        assert_eq!(outbox.moved(), at(3).at, "what comes behind is no progress");
        drained(&mut outbox, 61, 6);
        assert_eq!(outbox.moved(), at(6).at);
        outbox.append(LinkId(1), at(9).at, line(10));
        assert_eq!(outbox.moved(), at(9).at, "it was empty");
    }

    #[test]
    fn what_waits_behind_a_full_output_comes_in_turns_when_there_is_room() {
        let mut outbox = outbox();
        outbox.append(LinkId(1), at(1).at, line(AHEAD));
        assert!(outbox.is_busy());
        outbox.append_behind(sender(2), line(1_000));
        outbox.append_behind(sender(3), line(1_000));
        assert!(!take_turn(&mut outbox, 1), "the output is full");
        drained(&mut outbox, AHEAD, 2);
        assert!(outbox.is_busy(), "others wait");
        assert_eq!(outbox.adverts_end(), QUANTUM);
        while take_turn(&mut outbox, 2) {}
        assert_eq!(drained(&mut outbox, 2_000, 3), [(2, 1_000), (3, 1_000)]);
        assert!(!outbox.is_busy());
        assert_eq!(outbox.adverts_end(), AHEAD);
    }

    #[test]
    fn the_word_that_a_sender_is_gone_comes_after_what_it_has_sent() {
        let (mut outbox, route) = (outbox(), Route::default());
        assert!(
            !outbox.end_with_gone(LinkId(2), route),
            "nothing of it waits"
        );
        outbox.append_behind(sender(2), line(10));
        assert!(outbox.end_with_gone(LinkId(2), route));
        assert!(outbox.tells_gone(&route));
        while take_turn(&mut outbox, 1) {}
        assert!(!outbox.tells_gone(&route));
        assert_eq!(drained(&mut outbox, 14, 1), [(2, 10), (9, 4)]);
    }

    #[test]
    fn the_relay_may_tell_twice_the_queue_and_a_frame() {
        let mut outbox = outbox();
        outbox.append(LinkId(1), at(1).at, line(2 * AHEAD + FRAME_MAX));
        assert!(!outbox.exceeds(1_000));
        outbox.append(LinkId(1), at(1).at, line(1));
        assert!(outbox.exceeds(1_000));
        assert!(!outbox.exceeds(4 * AHEAD));
    }

    #[test]
    fn an_empty_buffer_is_given_up_and_one_that_is_too_large_is_not_kept() {
        let mut outbox = outbox();
        assert!(outbox.has_no_buffer() && outbox.take_buffer().is_none());
        outbox.append(LinkId(1), at(1).at, line(100));
        assert!(outbox.take_buffer().is_none(), "something is in it");
        drained(&mut outbox, 100, 1);
        let buffer = outbox.take_buffer().unwrap();
        assert!(outbox.has_no_buffer());
        outbox.give_buffer(buffer);
        assert!(!outbox.has_no_buffer());
        let mut large = Buffer::default();
        large.append(|out| out.reserve_exact(SPARE_CAPACITY + 1));
        outbox.give_buffer(large);
        assert!(outbox.take_buffer().is_none() && outbox.has_no_buffer());
    }
}
