//! Values that are too large for one record, and how much of such may be under way.

use super::stream::Incoming;
use super::{Engine, LinkId, Now, StreamId};
use crate::error::Error;
use crate::wire::Instance;
use crate::wire::record::Channel;

impl Engine {
    /// Whether a value of `length` bytes may come from `peer`, besides those that are coming.
    fn has_room_for_value(&self, length: u64, peer: Instance) -> bool {
        let limit = self.core.config.limits.message_bytes as u64;
        let (all, its) = self.streams.expected(peer);
        all + length <= limit && its + length <= limit / 2
    }

    /// The value of a call of ours comes on a channel of its own.
    pub(super) fn value_announced(&mut self, now: Now, link: LinkId, number: u64, length: &[u8]) {
        let id = self.own_stream(number, Channel::Value);
        let Ok(length) = length.try_into().map(u64::from_be_bytes) else {
            return self.violation(now, link);
        };
        let Some(peer) = self.session(link).map(|s| s.peer) else {
            return;
        };
        // Announced again over another path, it goes on where it was.
        if self.streams.incoming(id).is_none() {
            let limit = self.core.config.limits.max_message;
            if length > limit as u64 {
                // Not the error for what is asked: the command ran.
                let too_large = Error::AnswerLost("it is larger than max_message");
                return self.value_complete(now, number, Err(too_large));
            }
            if !self.has_room_for_value(length, peer) {
                self.core.stats.overloaded += 1;
                let full = Error::AnswerLost("too many large answers are coming");
                return self.value_complete(now, number, Err(full));
            }
            let into = Incoming::expecting(length, self.stream_window());
            self.streams.add_incoming(id, peer, into);
        }
        self.sync_incoming(now, link, id);
    }

    /// All of a large value is there.
    pub(super) fn value_came(&mut self, now: Now, id: StreamId) {
        let Some(into) = self.streams.incoming(id) else {
            return;
        };
        let value = into.take_all();
        let value = into.failure().cloned().map_or(Ok(value), Err);
        self.streams.remove(id);
        self.value_complete(now, id.call.number, value);
    }
}
