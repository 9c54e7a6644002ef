//! The answers that come to the calls of this node: they are judged, and their callees are told
//! that they have arrived.

use super::{CallNumber, Commands, Ctx, LinkId, Network, RequestId, own_call};
use crate::engine::calls::outgoing::{Reply, SETTLED_WITH_CALL, Verdict};
use crate::engine::payload::Payload;
use crate::error::Error;
use crate::wire::record::{Channel, Status, encode_notice};

impl Commands {
    /// An answer came.
    pub(super) fn answered(
        &mut self,
        ctx: &mut Ctx<'_>,
        network: &mut Network,
        link: LinkId,
        number: u64,
        status: Status,
        body: &[u8],
    ) {
        let Some(session) = network.session(link) else {
            return;
        };
        session.mark_used(ctx.now.at);
        let peer = session.peer;
        let verdict = self.calls.answer(Reply {
            peer,
            link,
            number,
            status,
            body,
        });
        match verdict {
            Verdict::Over => {
                ctx.stats.replies_unexpected += 1;
                self.confirm_answer(ctx, network, link, number);
            }
            Verdict::Unexpected => ctx.stats.replies_unexpected += 1,
            Verdict::ValueComes => self.value_announced(ctx, network, link, number, body),
            Verdict::ValueIsKept => self.end_if_complete(ctx, network, own_call(ctx, number)),
            Verdict::Value(value) => self.value_came(ctx, network, number, Ok(value)),
            Verdict::Ends(result) => {
                self.confirm_answer(ctx, network, link, number);
                self.end_call(ctx, network, CallNumber(number), result);
            }
        }
    }

    /// The value of a call comes on a stream of its own, of `length` bytes. Announced again over
    /// another path, it goes on where it was.
    fn value_announced(
        &mut self,
        ctx: &mut Ctx<'_>,
        network: &mut Network,
        link: LinkId,
        number: u64,
        length: &[u8],
    ) {
        let Ok(length) = length.try_into().map(u64::from_be_bytes) else {
            return self.violation(ctx, network, link);
        };
        let Some(peer) = network.session(link).map(|s| s.peer) else {
            return;
        };
        let id = own_call(ctx, number);
        if let Err(lost) = self.streams.expect_value(ctx, id, peer, length) {
            return self.value_came(ctx, network, number, Err(lost));
        }
        self.go_on_over(ctx, network, id.stream(Channel::Value), link);
    }

    /// The value of a call that may stream is there, or a large one, or it will not come.
    pub(super) fn value_came(
        &mut self,
        ctx: &mut Ctx<'_>,
        network: &mut Network,
        number: u64,
        value: Result<Payload, Error>,
    ) {
        match value {
            Ok(value) => {
                self.calls.keep_value(number, value);
                self.end_if_complete(ctx, network, own_call(ctx, number));
            }
            Err(why) => {
                if let Some(link) = self.calls.link_of(number) {
                    self.confirm_answer(ctx, network, link, number);
                }
                self.end_call(ctx, network, CallNumber(number), Err(why));
            }
        }
    }

    /// Ends a call of this node if nothing of it is still to come: it has its value, and what was
    /// streamed to it.
    pub(super) fn end_if_complete(
        &mut self,
        ctx: &mut Ctx<'_>,
        network: &mut Network,
        id: RequestId,
    ) {
        if id.caller != ctx.instance {
            return;
        }
        let Some(streamed) = self.streams.ended(id.stream(Channel::Response)) else {
            return;
        };
        if let Some(kept) = self.calls.take_value(id.number) {
            self.confirm_answer(ctx, network, kept.link, id.number);
            let result = streamed.map(|()| kept.value);
            self.end_call(ctx, network, CallNumber(id.number), result);
        }
    }

    /// The callee may forget a call. It is told along with the next call, or once there are many.
    fn confirm_answer(
        &mut self,
        ctx: &mut Ctx<'_>,
        network: &mut Network,
        link: LinkId,
        number: u64,
    ) {
        let Some(session) = network.session(link) else {
            return;
        };
        if session.add_confirmation(number) >= SETTLED_WITH_CALL * 2 {
            // No new call takes them along. Calls that the callee cannot be told of are forgotten
            // there at their deadline.
            let numbers = session.take_confirmations();
            if network.takes_more(ctx.config, link) {
                network.send_record(ctx, link, |sequence, out| {
                    encode_notice(sequence, &numbers, out)
                });
            }
        }
    }
}
