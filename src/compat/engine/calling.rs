//! What we ask of Python nodes: straight where they are on the LAN, or else through a relay that has them.
//!
//! A call that may have been read by its peer is not sent again: the old protocol could not tell it from a
//! second call.

use super::super::http::write_post;
use super::super::message::{call_text, open, read_answer, read_relayed_answer, seal};
use super::super::post::{Kind, Packet};
use super::exchange::{Answer, Errand};
use super::relays::Relay;
use super::{Engine, Output};
use crate::address::RelayAddress;
use crate::engine::CallNumber;
use crate::error::Error;
use crate::name::{CommandPath, NodeName};
use crate::protocol::Now;
use std::net::SocketAddr;

const LOST: &str = "the connection ended without an answer; the command may have run";

/// A call of ours, until it has ended.
#[derive(Debug)]
pub(super) struct Call {
    target: NodeName,
    path: CommandPath,
    /// Sealed.
    body: Vec<u8>,
    /// Its packet's id, if it goes through relays.
    packet: Option<String>,
    /// Relays that do not have the target, after all.
    tried: Vec<RelayAddress>,
}

/// What an answer means. `text` is its value, a JSON text.
fn outcome(status: u16, text: Vec<u8>, path: &CommandPath) -> Result<Vec<u8>, Error> {
    // A text without its quotes, anything else as it is.
    let words = || match serde_json::from_slice::<String>(&text) {
        Ok(words) => words,
        Err(_) => String::from_utf8_lossy(&text).into_owned(),
    };
    match status {
        200 => Ok(text),
        404 => Err(Error::CommandNotFound(path.to_string())),
        503 => Err(Error::Overloaded("at the peer")),
        403 => Err(Error::Refused(words())),
        _ => Err(Error::CommandFailed(words())),
    }
}

impl Engine {
    /// Asks a peer. The end comes as [`Output::Answered`], unless it is forgotten before.
    pub fn call(
        &mut self,
        now: Now,
        number: CallNumber,
        target: &NodeName,
        path: &CommandPath,
        args_and_kwargs: (&[u8], &[u8]),
    ) {
        let config = &self.config;
        let text = call_text(
            path,
            args_and_kwargs,
            &config.network,
            &config.name,
            now.unix,
        );
        let call = Call {
            target: target.clone(),
            path: path.clone(),
            body: seal(&text, &config.keys, now.unix, &mut *self.entropy),
            packet: None,
            tried: Vec::new(),
        };
        let straight = self.peers.lan_address(target);
        self.calls.insert(number.0, call);
        match straight {
            None => self.call_relayed(now, number.0),
            Some(_) if self.asking() >= self.config.limits.compat_links => {
                let why = Error::Overloaded("too many calls of Python nodes are under way");
                self.end_call(number.0, Err(why));
            }
            Some(address) => self.call_straight(now, number.0, address.into()),
        }
    }

    /// The call has ended otherwise.
    pub fn forget(&mut self, now: Now, number: CallNumber) {
        if self.calls.remove(&number.0).is_some() {
            self.relays.forget(number.0);
            self.forget_exchange(now, number.0);
        }
    }

    fn call_straight(&mut self, now: Now, number: u64, address: SocketAddr) {
        let Some(call) = self.calls.get(&number) else {
            return;
        };
        let mut request = Vec::with_capacity(call.body.len() + 256);
        write_post(&address.to_string(), "/", &call.body, None, &mut request);
        let deadline = now.at + self.config.limits.handshake;
        let link = self.ask(Errand::Call(number), request, deadline);
        self.outputs.push_back(Output::Dial(link, address));
    }

    /// Sends a call through the next relay that has its target.
    pub(super) fn call_relayed(&mut self, now: Now, number: u64) {
        let mut id = [0; 32];
        self.entropy.fill(&mut id);
        let id: String = id.iter().map(|b| format!("{b:02x}")).collect();
        let Some(call) = self.calls.get_mut(&number) else {
            return;
        };
        let target = call.target.clone();
        let untried = |r: &&Relay| !call.tried.contains(&r.address);
        let relay = self.relays.of(&target).find(untried);
        let Some(relay) = relay.map(|r| r.address.clone()) else {
            let why = Error::Unreachable(target.to_string());
            return self.end_call(number, Err(why));
        };
        call.packet = Some(id.clone());
        call.tried.push(relay.clone());
        let packet = Packet {
            id,
            originator: self.config.name.clone(),
            kind: Kind::Request,
            data: String::from_utf8_lossy(&call.body).into_owned(),
            remote: relay.to_string(),
        };
        self.post(now, relay, &target, &packet, Some(number));
    }

    fn end_call(&mut self, number: u64, result: Result<Vec<u8>, Error>) {
        if self.calls.remove(&number).is_some() {
            let number = CallNumber(number);
            self.outputs.push_back(Output::Answered(number, result));
        }
    }

    /// A request that went straight has ended.
    pub(super) fn call_exchanged(&mut self, now: Now, number: u64, answer: &Answer<'_>) {
        let Some(call) = self.calls.get(&number) else {
            return;
        };
        let result = match answer {
            Answer::None { sent: false } => return self.call_relayed(now, number),
            Answer::None { sent: true } => Err(Error::Damaged(LOST.into())),
            Answer::Malformed(why) => Err(Error::Damaged((*why).into())),
            Answer::Came(head, body) => {
                let text = open(body, &self.config.keys, &mut self.opened).and_then(read_answer);
                match text {
                    Some(text) => outcome(head.status, text, &call.path),
                    // Before it looks at what is sealed, a node of ours answers in clear.
                    None if head.status == 413 => Err(Error::TooLarge {
                        size: call.body.len(),
                        limit: self.config.limits.max_message,
                    }),
                    None => Err(Error::Damaged(format!(
                        "the answer, of HTTP status {}, is not sealed with the network's key",
                        head.status
                    ))),
                }
            }
        };
        self.end_call(number, result);
    }

    /// A call's packet was taken by a relay, or not.
    pub(super) fn call_posted(&mut self, now: Now, number: u64, answer: &Answer<'_>) {
        let again = match answer {
            Answer::Came(head, _) if head.status == 503 => {
                let why = Error::Overloaded(
                    "at the relay, where the peer does not fetch what it is sent",
                );
                return self.end_call(number, Err(why));
            }
            // Not there: the peer cannot have it.
            Answer::Came(head, _) => head.status != 200,
            Answer::None { sent } => !sent,
            Answer::Malformed(_) => false,
        };
        if again {
            self.call_relayed(now, number);
        }
    }

    /// An answer came through a relay.
    pub(super) fn call_answered(&mut self, packet: &Packet) {
        let waits = |call: &Call| call.packet.as_ref() == Some(&packet.id);
        let found = self.calls.iter().find(|(_, call)| waits(call));
        let Some((number, call)) = found.map(|(n, call)| (*n, call)) else {
            // Its time was over.
            return;
        };
        let text = open(packet.data.as_bytes(), &self.config.keys, &mut self.opened);
        match text.and_then(read_relayed_answer) {
            Some((status, text)) => {
                let result = outcome(status, text, &call.path);
                self.end_call(number, result);
            }
            // Anybody at the relay can make one up: the right one may still come.
            None => self.refused += 1,
        }
    }
}
