//! Records that come from peers go to the part that they are about.

use super::incoming::CallRecord;
use super::{Commands, Ctx, LinkId, Network};
use crate::wire::Instance;
use crate::wire::record::{Body, CloseReason, Form};

impl Commands {
    /// A record of a session with `peer` came.
    pub(crate) fn record(
        &mut self,
        ctx: &mut Ctx<'_>,
        network: &mut Network,
        link: LinkId,
        peer: Instance,
        body: Body<'_>,
    ) {
        let asks = matches!(body, Body::Call { .. } | Body::Reply { .. });
        if asks && network.waits_for_list(link) {
            // A member hands its list on before anything else.
            return self.close_session(ctx, network, link, CloseReason::Certificate);
        }
        match body {
            Body::Call {
                number,
                timeout_ms,
                again,
                streams,
                settled,
                ask,
            } => {
                self.answers_confirmed(ctx, peer, settled);
                let call = CallRecord {
                    number,
                    form: Form { again, streams },
                    timeout_ms,
                    ask,
                };
                self.serve(ctx, network, link, call);
            }
            Body::Reply {
                number,
                status,
                body,
            } => self.answered(ctx, network, link, number, status, body),
            Body::Cancel { number } => self.withdraw(ctx, peer, number),
            Body::Notice(settled) => self.answers_confirmed(ctx, peer, settled),
            Body::Peers(peers) => {
                if network.told_of_peers(ctx, link, peers).is_err() {
                    self.violation(ctx, network, link);
                }
            }
            Body::List {
                offset,
                length,
                bytes,
            } => self.list_piece(ctx, network, link, (offset, length), bytes),
            Body::Close(reason) => self.closed_by_peer(ctx, network, link, reason),
            of_stream => {
                if self.stream_record(ctx, network, link, of_stream).is_err() {
                    self.violation(ctx, network, link);
                }
            }
        }
    }
}
