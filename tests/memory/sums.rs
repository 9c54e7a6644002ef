//! What the limits add up to. Each part says which limit bounds it.

use peerbase::limits::{BODY_MAX, FRAME_MAX, Limits, ROUTE_WINDOW, RelayLimits};

/// A buffer that grows while it is full is, for that moment, there twice: as it was, and twice as
/// long.
const GROWING: usize = 3;
/// Tables, adverts, sessions and the like, of everybody together; none of it grows with what
/// passes.
const FIXED: usize = 1024 * 1024;
/// Shares of one caller's answers that all callers have together: `SHARES` of the engine.
const SHARES: usize = 4;
/// A request or answer that is remembered, and its place in a table.
const REMEMBERED: usize = 512;

/// What a node may take with so many peers.
pub(crate) fn of_a_node(limits: &Limits, peers: usize) -> usize {
    // What waits to be written: `link_queue` and what is added last, a frame of an answer and one
    // of a stream.
    let output = GROWING * (limits.link_queue + 2 * FRAME_MAX);
    // An unfinished frame, and the bytes that were read with its beginning.
    let input = GROWING * FRAME_MAX;
    // Calls of ours: as they were asked, and cut into pieces where they are large.
    let calls = 2 * limits.call_bytes;
    // Answers, as they are kept, and the last of them as it is cut into pieces.
    let answers = SHARES * limits.reply_bytes + limits.max_message;
    // Large messages on their way in, and the last of them put together and handed out.
    let messages = limits.message_bytes + 2 * limits.max_message;
    // What streams keep at either end.
    let streams = limits.streams * limits.stream_window;
    // Short requests that wait for their handlers, of which only the number is limited, and what is
    // known of each.
    let requests = peers * limits.served_per_peer * (BODY_MAX + REMEMBERED);
    peers * (output + input) + calls + answers + messages + streams + requests + FIXED
}

/// What a relay may take with so many members, of whom so many read too slowly.
pub(crate) fn of_a_relay(limits: &RelayLimits, members: usize, slow: usize) -> usize {
    // Frames for a slow reader: `queue`, and the one that reaches it.
    let slowly = GROWING * (limits.queue + FRAME_MAX);
    // Whoever reads has a window of credit words and the like at most.
    let quickly = GROWING * FRAME_MAX;
    // An unfinished frame, and what is known of a member and of its flows.
    let each = GROWING * FRAME_MAX + 4 * 1024 + limits.flows.min(members) * 64;
    // Buffers that are kept for the next that has something to send: 16 of 256 KiB.
    let spare = 16 * ROUTE_WINDOW as usize;
    slow * slowly + members * (quickly + each) + spare + FIXED
}
