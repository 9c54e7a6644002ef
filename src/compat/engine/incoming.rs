//! What others ask of this node: requests on links, and packets that came through a relay.

use super::errand::Cargo;
use super::links::Read;
use super::serving::{self, Back, Return, Source, Work};
use super::{Engine, Output};
use crate::address::RelayAddress;
use crate::compat::http::{Fault, Method, Reader, write_fault};
use crate::compat::message::{Call, body_len};
use crate::compat::post::Packet;
use crate::json::quoted;
use crate::logging::record;
use crate::protocol::{LinkId, Now};
use crate::reach::site_of;
use crate::site_share::is_within_share;
use crate::wire::record::Status;
use std::net::SocketAddr;

impl Engine {
    /// A link that another program opened, or `None` if there is no room for one.
    pub fn accept(&mut self, now: Now, from: SocketAddr) -> Option<LinkId> {
        if !self.running {
            self.core.refused += 1;
            return None;
        }
        let from = from.ip().to_canonical();
        self.links.accept(&mut self.core.at(now), from)
    }

    /// Bytes of a request came.
    pub(super) fn request_received(&mut self, now: Now, id: LinkId, bytes: &[u8]) {
        match self.links.read(&self.core.at(now), id, bytes) {
            Read::Nothing => {}
            Read::Request(reader) => self.request(now, id, &reader),
            Read::Followed(ticket) => {
                self.serving.withdraw(&mut self.core.at(now), ticket);
                self.refuse(now, id, Fault::new(400, "something follows the request"));
            }
            Read::Fault(fault) => self.refuse(now, id, fault),
        }
    }

    /// Answers in clear that a request is not taken, and closes.
    pub(super) fn refuse(&mut self, now: Now, id: LinkId, fault: Fault) {
        self.core.refused += 1;
        let mut answer = Vec::new();
        write_fault(fault, &mut answer);
        self.links.answer(&mut self.core.at(now), id, answer);
    }

    /// A request is whole.
    fn request(&mut self, now: Now, id: LinkId, reader: &Reader) {
        let head = reader.head();
        if head.is_none_or(|h| h.method != Method::Post || h.path != "/") {
            return self.refuse(now, id, Fault::new(404, "calls are posted to /"));
        }
        if !self.called(now, reader.body(), Back::Straight(id)) {
            let why = "the body is not sealed with the network's key";
            self.refuse(now, id, Fault::new(400, why));
        }
    }

    /// A call came through a relay.
    pub(super) fn serve_packet(&mut self, now: Now, relay: &RelayAddress, packet: Packet) {
        let back = Back::Relayed(Return {
            relay: relay.clone(),
            id: packet.id,
            to: packet.originator,
        });
        if !self.called(now, packet.data.as_bytes(), back) {
            self.core.refused += 1;
        }
    }

    /// Serves a call, or says what is wrong with it; false if it is not sealed with our key, so
    /// that the caller could not read what we say.
    fn called(&mut self, now: Now, body: &[u8], back: Back) -> bool {
        match serving::read(&mut self.core.at(now), body) {
            None => return false,
            Some(Ok(call)) => self.serve(now, call, back),
            Some(Err(why)) => {
                self.core.refused += 1;
                self.answer(now, &back, 500, quoted(why).as_bytes());
            }
        }
        true
    }

    fn serve(&mut self, now: Now, call: Call, back: Back) {
        let ctx = self.core.at(now);
        let (link, source) = match &back {
            Back::Straight(id) => {
                let Some(from) = self.links.from(*id) else {
                    return;
                };
                (Some(*id), Source::Site(site_of(from)))
            }
            Back::Relayed(to) => (None, Source::Relay(to.relay.clone())),
        };
        let has_room = self.serving.has_room_for(&ctx, &source, &call);
        let ticket = self.serving.add(source, &call, back);
        if let Some(id) = link {
            self.links.serve(&ctx, id, ticket);
        }
        if !has_room {
            return self.reply(now, ticket, Status::Overloaded, &[]);
        }
        match Work::of(&call, &ctx.config.rules) {
            Work::Nothing => self.reply(now, ticket, Status::NotFound, &[]),
            Work::Echo => match serving::echo(now.unix, &call.args, &call.kwargs) {
                Ok(text) => self.reply(now, ticket, Status::Value, text.as_bytes()),
                Err(e) => self.reply(now, ticket, Status::Failed, e.to_string().as_bytes()),
            },
            Work::Peers => {
                let text = self.peers.lan_text();
                self.reply(now, ticket, Status::Value, text.as_bytes());
            }
            Work::Command(path) => ctx.outputs.push_back(Output::Request {
                ticket,
                caller: call.caller,
                path,
                args: call.args,
                kwargs: call.kwargs,
            }),
        }
    }

    /// Answers an [`Output::Request`]: a value is a JSON text, anything else words. An
    /// answer that is late is dropped.
    pub fn reply(&mut self, now: Now, ticket: u64, status: Status, body: &[u8]) {
        let back = self.serving.back(ticket);
        let has_room = back.is_some_and(|back| self.has_room_for_answer(now, &back, body.len()));
        if let Some(reply) = self.serving.end(ticket, status, body, has_room) {
            self.answer(now, &reply.back, reply.status, &reply.value);
        }
    }

    /// Whether an answer of so many bytes may be held until its caller, or the relay that it goes
    /// through, has taken it. What waits for relays is counted apart from what waits for callers,
    /// and no relay has more of it than it leaves for others.
    fn has_room_for_answer(&mut self, now: Now, back: &Back, size: usize) -> bool {
        let (ctx, size) = (self.core.at(now), body_len(size));
        let most = 2 * ctx.config.limits.message_bytes;
        match back {
            Back::Straight(_) => self.links.held() + size <= most,
            Back::Relayed(to) => {
                let waiting = self.relays.answers(&to.relay);
                let on_its_way = self.links.answers(&to.relay);
                let all = waiting.all + on_its_way.all + size;
                let own = waiting.own + on_its_way.own + size;
                self.relays.has_place_for_answer(&ctx, &to.relay) && is_within_share(all, own, most)
            }
        }
    }

    /// Gives a status and a JSON text back to the caller.
    fn answer(&mut self, now: Now, back: &Back, status: u16, value: &[u8]) {
        match back {
            Back::Straight(id) => {
                let mut ctx = self.core.at(now);
                let answer = serving::straight_answer(&mut ctx, status, value);
                self.links.answer(&mut ctx, *id, answer);
            }
            Back::Relayed(to) => {
                if !self.has_room_for_answer(now, back, value.len()) {
                    record!(Debug, "an answer for relay {} has no room", to.relay);
                    self.core.refused += 1;
                    return;
                }
                let mut ctx = self.core.at(now);
                let packet = serving::relayed_answer(&mut ctx, to, status, value);
                let cargo = Cargo::Answer {
                    id: to.id.clone(),
                    to: to.to.clone(),
                };
                self.post(now, &to.relay, &to.to, &packet, cargo);
            }
        }
    }
}
