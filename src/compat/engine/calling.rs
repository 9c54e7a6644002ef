//! What we ask of Python nodes: straight where they are on the LAN, or else through a relay that
//! has them.
//!
//! A call that may have been read by its peer is not sent again: compat has nothing that tells it
//! from a second call.

use super::Output;
use super::context::Ctx;
use super::errand::{Answer, Errand, Question};
use crate::address::RelayAddress;
use crate::compat::http::{AnswerHead, write_post};
use crate::compat::message::{call_text, open, read_answer, read_relayed_answer, seal};
use crate::compat::post::{Kind, Packet};
use crate::compat::status::outcome;
use crate::engine::CallNumber;
use crate::error::Error;
use crate::name::{CommandPath, NodeName};
use crate::table::Table;
use std::net::SocketAddr;

const LOST: &str = "the connection ended without an answer; the command may have run";
const BUSY_HERE: &str = "too many calls of Python nodes are under way";
const BUSY_THERE: &str = "at the relay, where too much waits for the peer";

/// A call of ours, until it has ended.
#[derive(Debug)]
struct Call {
    target: NodeName,
    path: CommandPath,
    /// Sealed.
    body: Vec<u8>,
    /// Its packet's id, if it goes through relays.
    packet: Option<String>,
    /// Relays that do not have the target, after all.
    tried: Vec<RelayAddress>,
}

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ask<'a> {
    pub(super) target: &'a NodeName,
    pub(super) path: &'a CommandPath,
    /// A JSON array.
    pub(super) args: &'a [u8],
    /// A JSON object.
    pub(super) kwargs: &'a [u8],
}

/// A packet for a relay.
#[derive(Debug)]
pub(super) struct Posting {
    pub(super) relay: RelayAddress,
    pub(super) target: NodeName,
    pub(super) packet: Packet,
}

/// Calls of ours that have not ended.
#[derive(Debug, Default)]
pub(super) struct Calls(Table<u64, Call>);

impl Calls {
    pub(super) fn add(&mut self, ctx: &mut Ctx<'_>, number: CallNumber, ask: &Ask<'_>) {
        let config = ctx.config;
        let args_and_kwargs = (ask.args, ask.kwargs);
        let (network, name, unix) = (&config.network, &config.name, ctx.now.unix);
        let text = call_text(ask.path, args_and_kwargs, network, name, unix);
        let call = Call {
            target: ask.target.clone(),
            path: ask.path.clone(),
            body: seal(&text, &config.keys, unix, ctx.entropy),
            packet: None,
            tried: Vec::new(),
        };
        self.0.insert(number.0, call);
    }

    /// The call has ended otherwise; whether it was there.
    pub(super) fn forget(&mut self, number: CallNumber) -> bool {
        self.0.remove(&number.0).is_some()
    }

    pub(super) fn clear(&mut self) {
        self.0 = Table::default();
    }

    fn end(&mut self, ctx: &mut Ctx<'_>, number: u64, result: Result<Vec<u8>, Error>) {
        if self.0.remove(&number).is_some() {
            let output = Output::Answered(CallNumber(number), result);
            ctx.outputs.push_back(output);
        }
    }

    /// Too many calls are under way for this one.
    pub(super) fn refuse(&mut self, ctx: &mut Ctx<'_>, number: CallNumber) {
        self.end(ctx, number.0, Err(Error::Overloaded(BUSY_HERE)));
    }

    /// The request of a call that goes straight to its peer.
    pub(super) fn straight(
        &self,
        ctx: &Ctx<'_>,
        number: CallNumber,
        address: SocketAddr,
    ) -> Option<Question> {
        let call = self.0.get(&number.0)?;
        let mut request = Vec::with_capacity(call.body.len() + 256);
        write_post(&address.to_string(), "/", &call.body, None, &mut request);
        Some(Question {
            errand: Errand::Call(number.0),
            request,
            deadline: ctx.now.at + ctx.config.limits.handshake,
        })
    }

    /// The packet of a call for the next relay that has its target, which `untried` finds. If there
    /// is none the call ends.
    pub(super) fn relayed(
        &mut self,
        ctx: &mut Ctx<'_>,
        number: u64,
        untried: impl FnOnce(&NodeName, &[RelayAddress]) -> Option<RelayAddress>,
    ) -> Option<Posting> {
        let mut id = [0; 32];
        ctx.entropy.fill(&mut id);
        let id: String = id.iter().map(|b| format!("{b:02x}")).collect();
        let call = self.0.get_mut(&number)?;
        let Some(relay) = untried(&call.target, &call.tried) else {
            let why = Error::Unreachable(call.target.to_string());
            self.end(ctx, number, Err(why));
            return None;
        };
        call.packet = Some(id.clone());
        call.tried.push(relay.clone());
        let packet = Packet {
            id,
            originator: ctx.config.name.clone(),
            kind: Kind::Request,
            data: String::from_utf8_lossy(&call.body).into_owned(),
            remote: relay.to_string(),
        };
        let target = call.target.clone();
        Some(Posting {
            relay,
            target,
            packet,
        })
    }

    /// A request that went straight has ended; whether the call goes through a relay now.
    pub(super) fn exchanged(
        &mut self,
        ctx: &mut Ctx<'_>,
        number: u64,
        answer: &Answer<'_>,
    ) -> bool {
        let Some(call) = self.0.get(&number) else {
            return false;
        };
        let result = match answer {
            Answer::None { sent: false } => return true,
            Answer::None { sent: true } => Err(Error::Damaged(LOST.into())),
            Answer::Malformed(why) => Err(Error::Damaged((*why).into())),
            Answer::Came(head, body) => call.read(ctx, head, body),
        };
        self.end(ctx, number, result);
        false
    }

    /// A call's packet was taken by a relay, or not; whether the call goes through another one now.
    pub(super) fn posted(&mut self, ctx: &mut Ctx<'_>, number: u64, answer: &Answer<'_>) -> bool {
        match answer {
            Answer::Came(head, _) if head.status == 503 => {
                self.end(ctx, number, Err(Error::Overloaded(BUSY_THERE)));
                false
            }
            // No relay takes it, if this one does not: they say as little of the target.
            Answer::Came(head, _) if head.status == 413 => {
                if let Some(call) = self.0.get(&number) {
                    let why = call.too_large(ctx);
                    self.end(ctx, number, Err(why));
                }
                false
            }
            // The target is not there: the peer cannot have it.
            Answer::Came(head, _) => head.status != 200,
            Answer::None { sent } => !sent,
            Answer::Malformed(_) => false,
        }
    }

    /// An answer came through a relay.
    pub(super) fn answered(&mut self, ctx: &mut Ctx<'_>, packet: &Packet) {
        let waits = |call: &Call| call.packet.as_ref() == Some(&packet.id);
        let found = self.0.iter().find(|(_, call)| waits(call));
        let Some((number, call)) = found.map(|(n, call)| (*n, call)) else {
            // Its time was over.
            return;
        };
        let text = open(packet.data.as_bytes(), &ctx.config.keys, ctx.opened);
        match text.and_then(read_relayed_answer) {
            Some((status, text)) => {
                let result = outcome(status, text, &call.path);
                self.end(ctx, number, result);
            }
            // Any program at the relay can make one up: the right one may still come.
            None => *ctx.refused += 1,
        }
    }
}

impl Call {
    /// The peer, or a relay, does not take so much.
    fn too_large(&self, ctx: &Ctx<'_>) -> Error {
        Error::TooLarge {
            size: self.body.len(),
            limit: ctx.config.limits.max_message,
        }
    }

    /// Reads an answer that came straight.
    fn read(&self, ctx: &mut Ctx<'_>, head: &AnswerHead, body: &[u8]) -> Result<Vec<u8>, Error> {
        let text = open(body, &ctx.config.keys, ctx.opened).and_then(read_answer);
        match text {
            Some(text) => outcome(head.status, text, &self.path),
            // Before it looks at what is sealed, a node of ours answers in clear.
            None if head.status == 413 => Err(self.too_large(ctx)),
            None => Err(Error::Damaged(format!(
                "the answer, of HTTP status {}, is not sealed with the network's key",
                head.status
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::context::Core;
    use super::super::context::tests::{at, core, name};
    use super::*;
    use crate::compat::message::{answer_text, relayed_answer_text};
    use crate::limits::Limits;

    const ONE: CallNumber = CallNumber(1);

    fn head(status: u16) -> AnswerHead {
        AnswerHead {
            status,
            location: None,
            waits: false,
            size: 0,
            length: None,
        }
    }

    fn called() -> (Core, Calls) {
        let (mut core, mut calls) = (core(Limits::default()), Calls::default());
        let (target, path) = (name("beta"), CommandPath::new("add").unwrap());
        let ask = Ask {
            target: &target,
            path: &path,
            args: b"[1]",
            kwargs: b"{}",
        };
        calls.add(&mut core.at(at(0)), ONE, &ask);
        (core, calls)
    }

    fn sealed(core: &mut Core, text: &[u8]) -> Vec<u8> {
        let ctx = core.at(at(0));
        seal(text, &ctx.config.keys, 0, ctx.entropy)
    }

    fn ended(core: &mut Core) -> Option<Result<Vec<u8>, Error>> {
        core.outputs.pop_front().map(|output| match output {
            Output::Answered(ONE, result) => result,
            output => panic!("{output:?}"),
        })
    }

    #[test]
    fn an_answer_that_came_straight_ends_the_call_once() {
        for (status, result) in [
            (200, Ok(b"3".to_vec())),
            (404, Err(Error::CommandNotFound("add".into()))),
            (503, Err(Error::Overloaded("at the peer"))),
        ] {
            let (mut core, mut calls) = called();
            let body = sealed(&mut core, &answer_text(b"3", 0));
            let head = head(status);
            for _ in 0..2 {
                let answer = Answer::Came(&head, &body);
                assert!(!calls.exchanged(&mut core.at(at(0)), 1, &answer));
            }
            assert_eq!(
                (ended(&mut core), ended(&mut core).is_none()),
                (Some(result), true)
            );
        }
    }

    #[test]
    fn a_call_that_may_have_been_read_is_not_sent_again() {
        let (mut core, mut calls) = called();
        let unsent = Answer::None { sent: false };
        assert!(
            calls.exchanged(&mut core.at(at(0)), 1, &unsent),
            "it goes through a relay"
        );
        let lost = Answer::None { sent: true };
        assert!(!calls.exchanged(&mut core.at(at(0)), 1, &lost));
        assert_eq!(ended(&mut core), Some(Err(Error::Damaged(LOST.into()))));
        let (mut core, mut calls) = called();
        assert!(!calls.posted(&mut core.at(at(0)), 1, &lost));
        assert!(calls.posted(&mut core.at(at(0)), 1, &unsent));
        assert!(calls.posted(&mut core.at(at(0)), 1, &Answer::Came(&head(404), b"")));
        assert!(!calls.posted(&mut core.at(at(0)), 1, &Answer::Came(&head(200), b"")));
        assert_eq!(ended(&mut core), None);
    }

    #[test]
    fn a_call_that_is_too_large_for_a_relay_is_said_to_be_and_not_that_its_peer_is_away() {
        let (mut core, mut calls) = called();
        let answer = Answer::Came(&head(413), b"clear");
        assert!(
            !calls.posted(&mut core.at(at(0)), 1, &answer),
            "to no other relay"
        );
        assert!(matches!(
            ended(&mut core),
            Some(Err(Error::TooLarge { .. }))
        ));
    }

    #[test]
    fn an_answer_that_is_not_sealed_is_damaged() {
        let (mut core, mut calls) = called();
        let answer = Answer::Came(&head(200), b"clear");
        calls.exchanged(&mut core.at(at(0)), 1, &answer);
        assert!(matches!(ended(&mut core), Some(Err(Error::Damaged(_)))));
        let (mut core, mut calls) = called();
        let answer = Answer::Came(&head(413), b"clear");
        calls.exchanged(&mut core.at(at(0)), 1, &answer);
        assert!(matches!(
            ended(&mut core),
            Some(Err(Error::TooLarge { .. }))
        ));
    }

    #[test]
    fn a_call_goes_through_one_relay_after_the_other_until_none_is_left() {
        let (mut core, mut calls) = called();
        let relays = ["a:1", "b:1"].map(|text| RelayAddress::new(text).unwrap());
        let next = |core: &mut Core, calls: &mut Calls| {
            let untried = |_: &NodeName, tried: &[RelayAddress]| {
                relays.iter().find(|relay| !tried.contains(relay)).cloned()
            };
            calls.relayed(&mut core.at(at(0)), 1, untried)
        };
        let first = next(&mut core, &mut calls).unwrap();
        let second = next(&mut core, &mut calls).unwrap();
        assert_eq!([&first.relay, &second.relay], [&relays[0], &relays[1]]);
        assert_ne!(first.packet.id, second.packet.id);
        let mut answer = Packet {
            kind: Kind::Response,
            ..second.packet
        };
        answer.data = "made up".into();
        calls.answered(&mut core.at(at(0)), &answer);
        assert_eq!((ended(&mut core), core.refused), (None, 1));
        let body = sealed(&mut core, &relayed_answer_text(200, b"3"));
        answer.data = String::from_utf8(body).unwrap();
        let late = Packet {
            id: first.packet.id,
            ..answer.clone()
        };
        calls.answered(&mut core.at(at(0)), &late);
        assert_eq!(ended(&mut core), None, "that is the packet before");
        calls.answered(&mut core.at(at(0)), &answer);
        assert_eq!(ended(&mut core), Some(Ok(b"3".to_vec())));
        let (mut core, mut calls) = called();
        for _ in 0..3 {
            next(&mut core, &mut calls);
        }
        assert_eq!(
            ended(&mut core),
            Some(Err(Error::Unreachable("beta".into())))
        );
    }

    #[test]
    fn a_call_that_has_ended_otherwise_is_forgotten() {
        let (mut core, mut calls) = called();
        let address = "10.0.0.2:5".parse().unwrap();
        let question = calls.straight(&core.at(at(0)), ONE, address).unwrap();
        assert_eq!(question.errand, Errand::Call(1));
        assert!(calls.forget(ONE) && !calls.forget(ONE));
        assert!(calls.straight(&core.at(at(0)), ONE, address).is_none());
        calls.refuse(&mut core.at(at(0)), ONE);
        assert_eq!(ended(&mut core), None);
    }
}
