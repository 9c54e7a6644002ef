//! What a relay counts. Nothing in it tells one member from another.

use crate::wire::relay::Refusal;

crate::stats::stats! {
    /// What a relay has counted since start, and a few current sizes.
    RelayStats;
    /// Networks with members now.
    networks,
    /// Members now.
    members,
    /// Links now, in whatever stage.
    links,
    /// Links accepted.
    accepted,
    /// Links closed before they joined, to make room for others.
    gave_way,
    /// Links that joined.
    joined,
    /// Members that left or were lost.
    left,
    /// Frames carried.
    forwarded,
    /// Bytes of them.
    forwarded_bytes,
    /// Frames for routes that lead nowhere, turned away.
    forwards_gone,
    /// Frames for members too slow for them, turned away.
    forwards_busy,
    /// Adverts taken in.
    adverts,
    /// Adverts handed to a member.
    adverts_handed,
    /// Times a member was not read for a while, because it sent too fast.
    held,
    /// Frames kept from members that do not want them, turned away.
    forwards_blocked,
    /// Mailboxes of Python nodes now.
    mailboxes,
    /// Bytes in them now.
    mailbox_bytes,
    /// Requests of Python nodes.
    http_requests,
    /// Those turned away, and what was no request.
    http_refused,
    /// Links refused for bytes that are no frame, or a frame out of place.
    refused_frame,
    /// Links refused for another version of what nodes and relays say.
    refused_version,
    /// Links refused for a network that is not served.
    refused_network,
    /// Links refused because there are as many networks as may be.
    refused_networks,
    /// Links refused for a wrong proof.
    refused_key,
    /// Links refused because their network, or the relay, is full.
    refused_full,
    /// Links refused because too many come from their address.
    refused_address,
    /// Links that did not join in time.
    refused_late,
    /// Members lost because they were silent.
    refused_idle,
    /// Members lost because they did not read.
    refused_slow,
    /// Links closed because all links took too much memory, or those of their site.
    refused_memory,
    /// Members lost because they went over a window.
    refused_flood,
}

impl RelayStats {
    /// Counts a link that is told why it is closed.
    pub(super) fn count_refusal(&mut self, why: Refusal) {
        let counter = match why {
            Refusal::Frame => &mut self.refused_frame,
            Refusal::Version => &mut self.refused_version,
            Refusal::Network => &mut self.refused_network,
            Refusal::Networks => &mut self.refused_networks,
            Refusal::Key => &mut self.refused_key,
            Refusal::Full => &mut self.refused_full,
            Refusal::Address => &mut self.refused_address,
            Refusal::Late => &mut self.refused_late,
            Refusal::Idle => &mut self.refused_idle,
            Refusal::Slow => &mut self.refused_slow,
            Refusal::Flood => &mut self.refused_flood,
            // Not a refusal, and there is nobody left to count it for.
            Refusal::Stopping => return,
        };
        *counter += 1;
    }
}
