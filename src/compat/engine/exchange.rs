//! A request of ours and its answer, on a connection of its own.

use super::super::http::{self, AnswerHead};
use super::super::message::body_len;
use super::{Engine, Output, Role};
use crate::address::RelayAddress;
use crate::protocol::{LinkId, Now, Time};

/// Bytes that an answer may have besides what is sealed.
const ANSWER_ROOM: usize = 1_024;

/// Times that a relay is dialled for one request: its name may mean several addresses, not all of them good.
const ATTEMPTS: u32 = 3;

/// What a request is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Errand {
    /// A call, straight to its peer.
    Call(u64),
    /// What has come, at a relay.
    Ping(RelayAddress),
    /// A packet, for a relay; of a call, or an answer.
    Post(RelayAddress, Option<u64>),
}

/// How a request ended.
#[derive(Debug)]
pub(super) enum Answer<'a> {
    /// With an answer.
    Came(&'a AnswerHead, &'a [u8]),
    /// With what is no answer.
    Malformed(&'static str),
    /// With none; whether the request may have been read.
    None { sent: bool },
}

#[derive(Debug)]
pub(super) struct Exchange {
    errand: Errand,
    /// Bytes of the answer's body at most.
    body_max: usize,
    /// Attempts to connect that have failed.
    failed: u32,
    /// Some of the request has left.
    pub(super) sent: bool,
    head: Option<AnswerHead>,
    input: Vec<u8>,
}

impl Exchange {
    pub(super) fn held(&self) -> usize {
        self.input.len()
    }
}

impl Engine {
    /// Makes a link for a request, to be dialled. It has until `deadline`.
    pub(super) fn ask(&mut self, errand: Errand, request: Vec<u8>, deadline: Time) -> LinkId {
        let exchange = Exchange {
            body_max: match errand {
                Errand::Call(_) => body_len(self.config.limits.max_message + ANSWER_ROOM),
                // A mailbox may hold several messages.
                Errand::Ping(_) => self.config.limits.message_bytes,
                Errand::Post(..) => ANSWER_ROOM,
            },
            errand,
            failed: 0,
            sent: false,
            head: None,
            input: Vec::new(),
        };
        let id = self.add_link(Role::Asking(exchange), None, deadline);
        if let Some(link) = self.links.get_mut(&id) {
            link.output = request;
        }
        id
    }

    /// Requests of ours that are under way.
    pub(super) fn asking(&self) -> usize {
        let links = self.links.values();
        links.filter(|l| matches!(l.role, Role::Asking(_))).count()
    }

    /// A link that was to be dialled is connected.
    pub fn connected(&mut self, now: Now, id: LinkId) {
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        self.outputs.push_back(Output::Writable(id));
        if let Role::Asking(exchange) = &link.role
            && let Errand::Call(_) = exchange.errand
        {
            // From here on the call's own time counts, which the native engine keeps.
            let most = self.config.limits.call_timeout;
            self.extend(id, now.at + most);
        }
    }

    pub(super) fn exchange_received(&mut self, now: Now, id: LinkId, bytes: &[u8]) {
        let (held, _) = self.held(None);
        let full = held + bytes.len() > self.config.limits.message_bytes * 2;
        let Some(Role::Asking(exchange)) = self.links.get_mut(&id).map(|l| &mut l.role) else {
            return;
        };
        exchange.input.extend_from_slice(bytes);
        if exchange.head.is_none() {
            match http::answer(&exchange.input, exchange.body_max) {
                Ok(head) => exchange.head = head,
                Err(fault) => return self.exchange_failed(now, id, fault.why),
            }
        }
        let Some(head) = &exchange.head else { return };
        let body = exchange.input.len() - head.size;
        if full || body > head.length.unwrap_or(exchange.body_max) {
            return self.exchange_failed(now, id, "the answer is too large");
        }
        if head.length == Some(body) {
            self.exchange_over(now, id, false);
        }
    }

    fn exchange_failed(&mut self, now: Now, id: LinkId, why: &'static str) {
        if let Some(link) = self.close(id)
            && let Role::Asking(exchange) = link.role
        {
            self.exchanged(now, &exchange.errand, &Answer::Malformed(why));
        }
    }

    /// The answer is whole, or no more will come of it.
    pub(super) fn exchange_over(&mut self, now: Now, id: LinkId, late: bool) {
        let Some(link) = self.close(id) else { return };
        let Role::Asking(exchange) = link.role else {
            return;
        };
        let sent = exchange.sent;
        if !sent
            && !late
            && exchange.failed + 1 < ATTEMPTS
            && let Errand::Ping(relay) | Errand::Post(relay, _) = &exchange.errand
            && self.try_next_address(relay)
        {
            let (errand, failed) = (exchange.errand.clone(), exchange.failed + 1);
            let link = self.dial_relay(errand, link.output, link.deadline);
            if let Some(Role::Asking(again)) = self.links.get_mut(&link).map(|l| &mut l.role) {
                again.failed = failed;
            }
            return;
        }
        let answer = match &exchange.head {
            // An answer without a length ends with its connection.
            Some(head) if !late => {
                let body = &exchange.input[head.size..];
                match head.length {
                    Some(n) if n != body.len() => Answer::None { sent },
                    _ => Answer::Came(head, body),
                }
            }
            _ => Answer::None { sent },
        };
        self.exchanged(now, &exchange.errand, &answer);
    }

    fn exchanged(&mut self, now: Now, errand: &Errand, answer: &Answer<'_>) {
        match errand {
            Errand::Call(number) => self.call_exchanged(now, *number, answer),
            Errand::Ping(relay) => self.pinged(now, relay, answer),
            Errand::Post(relay, of) => self.posted(now, relay, *of, answer),
        }
    }

    /// Gives up on a request of a call.
    pub(super) fn forget_exchange(&mut self, now: Now, number: u64) {
        let is_its = |role: &Role| match role {
            Role::Asking(exchange) => match &exchange.errand {
                Errand::Call(n) | Errand::Post(_, Some(n)) => *n == number,
                _ => false,
            },
            _ => false,
        };
        let its = self.links.iter().filter(|(_, l)| is_its(&l.role));
        for id in its.map(|(id, _)| *id).collect::<Vec<_>>() {
            if let Some(link) = self.close(id)
                && let Role::Asking(exchange) = link.role
                && let Errand::Post(relay, _) = exchange.errand
            {
                self.post_over(now, &relay);
            }
        }
    }
}
