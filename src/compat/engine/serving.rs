//! What Python nodes ask of us, straight or through a relay.

use super::super::http::{self, Fault, Method, write_answer, write_fault};
use super::super::message::{Call, answer_text, body_len, open, relayed_answer_text, seal};
use super::super::post::{Kind, Packet};
use super::super::python::{ctime, repr};
use super::peers::Place;
use super::{Engine, Output, Role};
use crate::address::RelayAddress;
use crate::json::{self, quoted};
use crate::name::{CommandPath, NodeName};
use crate::protocol::{LinkId, Now};
use crate::wire::record::Status;
use std::net::SocketAddr;

/// What a call may have besides what is counted in a message.
const CALL_ROOM: usize = 1_024;

/// What a caller is told whose command ran.
const ANSWER_LOST: &str = "the command ran, but there was no room for its answer";

pub(super) const LATE: Fault = Fault::new(408, "the request took too long");

/// How somebody is answered.
#[derive(Debug)]
enum Back {
    /// On the link it came by.
    Straight(LinkId),
    /// With a packet to this one.
    Relayed {
        relay: RelayAddress,
        id: String,
        to: NodeName,
    },
}

/// A call that is being answered.
#[derive(Debug)]
pub(super) struct Served {
    back: Back,
    command: String,
}

impl Engine {
    /// A link that somebody opened, or `None` if there is no room for one.
    pub fn accept(&mut self, now: Now, from: SocketAddr) -> Option<LinkId> {
        let from = from.ip().to_canonical();
        let theirs = |id: &LinkId| self.links.get(id).is_some_and(|l| l.from == Some(from));
        let open: Vec<LinkId> = {
            let links = self.links.iter().filter(|(_, l)| l.from.is_some());
            links.map(|(id, _)| *id).collect()
        };
        let limits = &self.config.limits;
        let crowded =
            open.iter().filter(|id| theirs(id)).count() >= limits.compat_links_per_address;
        if !self.running || crowded {
            self.refused += 1;
            return None;
        }
        if open.len() >= limits.compat_links {
            // Who has not said what it wants gives way: an honest request takes milliseconds.
            let reading = |id: &&LinkId| {
                let link = self.links.get(id);
                link.is_some_and(|l| matches!(l.role, Role::Reading(_)))
            };
            let oldest = *open.iter().find(reading)?;
            self.refused += 1;
            self.close(oldest);
        }
        let deadline = now.at + self.config.limits.handshake;
        let role = Role::Reading(http::Reader::default());
        Some(self.add_link(role, Some(from), deadline))
    }

    pub(super) fn request_received(&mut self, now: Now, id: LinkId, bytes: &[u8]) {
        let limits = &self.config.limits;
        let (most, patience) = (
            limits.message_bytes,
            limits.frame.saturating_sub(limits.handshake),
        );
        let body_max = body_len(limits.max_message + CALL_ROOM);
        let from = self.links.get(&id).and_then(|l| l.from);
        let (all, theirs) = self.held(from);
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        let reader = match &mut link.role {
            Role::Reading(reader) => reader,
            Role::Serving(ticket) => {
                let ticket = *ticket;
                self.withdraw(ticket);
                return self.refuse(now, id, Fault::new(400, "something follows the request"));
            }
            // What comes too late is not looked at.
            _ => return,
        };
        if all + bytes.len() > most || theirs + bytes.len() > most / 2 {
            return self.refuse(now, id, Fault::new(503, "too much is coming in at once"));
        }
        let had_head = reader.head().is_some();
        match reader.take(bytes, body_max) {
            Err(fault) => self.refuse(now, id, fault),
            Ok(true) => self.request(now, id),
            Ok(false) if !had_head && reader.head().is_some() => {
                // The head came in time; now the body has some.
                let deadline = link.deadline + patience;
                self.extend(id, deadline);
            }
            Ok(false) => {}
        }
    }

    /// Answers in clear that a request is not taken, and closes.
    pub(super) fn refuse(&mut self, now: Now, id: LinkId, fault: Fault) {
        self.refused += 1;
        let mut answer = Vec::new();
        write_fault(fault, &mut answer);
        self.write(now, id, answer);
    }

    fn write(&mut self, now: Now, id: LinkId, answer: Vec<u8>) {
        let deadline = now.at + self.config.limits.frame;
        if let Some(link) = self.links.get_mut(&id) {
            link.role = Role::Answering;
            link.output = answer;
            self.outputs.push_back(Output::Writable(id));
            self.extend(id, deadline);
        }
    }

    /// A request is whole.
    fn request(&mut self, now: Now, id: LinkId) {
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        // Until it is answered; a caller that gives up closes the connection.
        let Role::Reading(reader) = std::mem::replace(&mut link.role, Role::Answering) else {
            return;
        };
        let head = reader.head();
        if head.is_none_or(|h| h.method != Method::Post || h.path != "/") {
            return self.refuse(now, id, Fault::new(404, "calls are posted to /"));
        }
        if !self.called(now, reader.body(), Back::Straight(id)) {
            let why = "the body is not sealed with the network's key";
            self.refuse(now, id, Fault::new(400, why));
        }
    }

    /// Serves a call, or says what is wrong with it; false if it is not sealed with our key, so that the caller
    /// could not read what we say.
    fn called(&mut self, now: Now, body: &[u8], back: Back) -> bool {
        let Some(text) = open(body, &self.config.keys, &mut self.opened) else {
            return false;
        };
        match Call::decode(text, &self.config.network) {
            Ok(call) => self.serve(now, call, back),
            Err(why) => {
                self.refused += 1;
                self.answer(now, back, 500, quoted(why).as_bytes());
            }
        }
        true
    }

    /// A call came through a relay.
    pub(super) fn serve_packet(&mut self, now: Now, relay: RelayAddress, packet: Packet) {
        let (id, to) = (packet.id, packet.originator);
        if !self.called(now, packet.data.as_bytes(), Back::Relayed { relay, id, to }) {
            self.refused += 1;
        }
    }

    fn serve(&mut self, now: Now, call: Call, back: Back) {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        let full = self.served.len() >= self.config.limits.served_per_peer;
        if let Back::Straight(id) = &back {
            let (id, deadline) = (*id, now.at + self.config.limits.call_timeout);
            if let Some(link) = self.links.get_mut(&id) {
                link.role = Role::Serving(ticket);
            }
            self.extend(id, deadline);
        }
        let path = CommandPath::new(&call.command);
        let served = Served {
            back,
            command: call.command,
        };
        self.served.insert(ticket, served);
        if full {
            return self.reply(now, ticket, Status::Overloaded, &[]);
        }
        match path {
            Err(_) => self.reply(now, ticket, Status::NotFound, &[]),
            // Of these Python nodes expect what their own would say.
            Ok(path) if path.as_str() == "__echo__" => {
                match self.echo(now, &call.args, &call.kwargs) {
                    Ok(text) => self.reply(now, ticket, Status::Value, text.as_bytes()),
                    Err(e) => self.reply(now, ticket, Status::Failed, e.to_string().as_bytes()),
                }
            }
            Ok(path) if path.as_str() == "__peers__" => {
                let text = self.peers_text();
                self.reply(now, ticket, Status::Value, text.as_bytes());
            }
            Ok(path) => self.outputs.push_back(Output::Request {
                ticket,
                caller: call.caller,
                path,
                args: call.args,
                kwargs: call.kwargs,
            }),
        }
    }

    fn echo(&self, now: Now, args: &[u8], kwargs: &[u8]) -> Result<String, crate::error::Error> {
        json::check_args(args)?;
        json::check_kwargs(kwargs)?;
        let mut text = String::from("Echoed args ");
        repr(&String::from_utf8_lossy(args), &mut text);
        text.push_str(" and kwargs ");
        repr(&String::from_utf8_lossy(kwargs), &mut text);
        Ok(quoted(&format!("{text} at time [{}]", ctime(now.unix))))
    }

    /// Who is on the LAN, and where.
    fn peers_text(&self) -> String {
        let entry = |(name, place): (&NodeName, &Place)| match place {
            Place::Lan(a) => Some(format!(
                "{}:[\"{}\",{}]",
                quoted(name.as_str()),
                a.ip(),
                a.port()
            )),
            Place::Relay(_) => None,
        };
        let list: Vec<String> = self.peers.told().filter_map(entry).collect();
        format!("{{{}}}", list.join(","))
    }

    /// Answers a [`Output::Request`]: a value is a JSON text, anything else words. An answer that is late is
    /// dropped.
    pub fn reply(&mut self, now: Now, ticket: u64, status: Status, body: &[u8]) {
        let Some(served) = self.served.remove(&ticket) else {
            return;
        };
        let words = |text: &str| quoted(text).into_bytes();
        let body_text = || words(&String::from_utf8_lossy(body));
        let (mut status, mut value) = match status {
            Status::Value => (200, body.to_vec()),
            Status::NotFound => (404, words(&format!("CMD \"{}\" NOT FOUND", served.command))),
            Status::Overloaded => (503, words("too much is in flight here")),
            Status::Refused => (403, body_text()),
            Status::Failed | Status::TooLarge | Status::Large => (500, body_text()),
            Status::TooManyValues => (403, words("the arguments hold too many values")),
            Status::AnswerLost => (500, words(ANSWER_LOST)),
        };
        if self.held(None).0 + body_len(value.len()) > 2 * self.config.limits.message_bytes {
            // The command ran, so this is not the 503 after which a caller may try again.
            (status, value) = (500, words(ANSWER_LOST));
        }
        self.answer(now, served.back, status, &value);
    }

    /// Gives a status and a JSON text back to who asked.
    fn answer(&mut self, now: Now, back: Back, status: u16, value: &[u8]) {
        let (keys, entropy) = (&self.config.keys, &mut *self.entropy);
        match back {
            Back::Straight(id) => {
                let mut sealed = seal(&answer_text(value, now.unix), keys, now.unix, entropy);
                sealed.push(b'\n');
                let mut answer = Vec::with_capacity(sealed.len() + 256);
                write_answer(
                    status,
                    "text/plain; charset=utf-8",
                    "",
                    &sealed,
                    &mut answer,
                );
                self.write(now, id, answer);
            }
            Back::Relayed { relay, id, to } => {
                let sealed = seal(&relayed_answer_text(status, value), keys, now.unix, entropy);
                let packet = Packet {
                    id,
                    originator: self.config.name.clone(),
                    kind: Kind::Response,
                    data: String::from_utf8_lossy(&sealed).into_owned(),
                    remote: relay.to_string(),
                };
                self.post(now, relay, &to, &packet, None);
            }
        }
    }

    /// Nobody waits for this answer.
    pub(super) fn withdraw(&mut self, ticket: u64) {
        if self.served.remove(&ticket).is_some() {
            self.outputs.push_back(Output::Withdrawn(ticket));
        }
    }
}
