//! What this node asks: calls of its own, and relays for what has come.

use super::calling::Ask;
use super::errand::{Answer, Cargo, Errand, Question};
use super::links::State;
use super::links::exchange::{Exchange, Received};
use super::relays::Pinged;
use super::serving::{self, Return};
use super::{Engine, Output};
use crate::address::RelayAddress;
use crate::compat::post::{Kind, Packet};
use crate::compat::status::answer_lost;
use crate::engine::CallNumber;
use crate::logging::record;
use crate::name::{CommandPath, NodeName};
use crate::protocol::{LinkId, Now, Time};

/// Calls.
impl Engine {
    /// Asks a peer. The end comes as [`Output::Answered`], unless it is forgotten before.
    pub fn call(
        &mut self,
        now: Now,
        number: CallNumber,
        target: &NodeName,
        path: &CommandPath,
        (args, kwargs): (&[u8], &[u8]),
    ) {
        let ask = Ask {
            target,
            path,
            args,
            kwargs,
        };
        let mut ctx = self.core.at(now);
        self.calls.add(&mut ctx, number, &ask);
        let Some(address) = self.peers.lan_address(target) else {
            return self.call_relayed(now, number.0);
        };
        if self.links.asking() >= ctx.config.limits.compat_links {
            return self.calls.refuse(&mut ctx, number);
        }
        let address = address.into();
        if let Some(question) = self.calls.straight(&ctx, number, address) {
            let link = self.ask(question);
            self.core.outputs.push_back(Output::Dial(link, address));
        }
    }

    /// Sends a call through the next relay that has its target.
    fn call_relayed(&mut self, now: Now, number: u64) {
        let relays = &self.relays;
        let untried = |target: &NodeName, tried: &[RelayAddress]| relays.untried(target, tried);
        let posting = self.calls.relayed(&mut self.core.at(now), number, untried);
        if let Some(posting) = posting {
            let (relay, cargo) = (posting.relay, Cargo::Call(number));
            self.post(now, &relay, &posting.target, &posting.packet, cargo);
        }
    }

    /// The call has ended otherwise.
    pub fn forget(&mut self, now: Now, number: CallNumber) {
        if !self.calls.forget(number) {
            return;
        }
        self.relays.forget(number.0);
        for id in self.links.of_call(number.0) {
            let link = self.links.close(&mut self.core.at(now), id);
            if let Some(State::Asking(exchange)) = link.map(|link| link.state)
                && let Some(relay) = exchange.errand().relay()
            {
                self.post_over(now, relay);
            }
        }
    }
}

/// Requests and their answers.
impl Engine {
    /// Makes a link for a request, to be dialled.
    fn ask(&mut self, question: Question) -> LinkId {
        let limits = &self.core.config.limits;
        let exchange = Exchange::new(question.errand, question.request, limits);
        self.links.ask(exchange, question.deadline)
    }

    /// Makes a link for a request to a relay, and has it dialled.
    fn dial_relay(&mut self, exchange: Exchange, deadline: Time) {
        let relay = exchange.errand().relay();
        let target = relay.and_then(|relay| self.relays.target(relay));
        let link = self.links.ask(exchange, deadline);
        if let Some(target) = target {
            self.core.outputs.push_back(Output::DialRelay {
                link,
                relay: target.relay,
                nth: target.nth,
                learnt: target.learnt,
            });
        }
    }

    fn ask_relay(&mut self, question: Question) {
        let limits = &self.core.config.limits;
        let exchange = Exchange::new(question.errand, question.request, limits);
        self.dial_relay(exchange, question.deadline);
    }

    /// Bytes of an answer came.
    pub(super) fn answer_received(&mut self, now: Now, id: LinkId, bytes: &[u8]) {
        let ctx = self.core.at(now);
        let is_full = !self.links.has_room_for_answer(&ctx, id, bytes.len());
        let Some(exchange) = self.links.exchange_mut(id) else {
            return;
        };
        match exchange.receive(bytes, is_full) {
            Received::Part => {}
            Received::Whole => self.exchange_over(now, id, false),
            Received::Malformed(why) => {
                if let Some(link) = self.links.close(&mut self.core.at(now), id)
                    && let State::Asking(exchange) = link.state
                {
                    self.exchanged(now, exchange.errand(), &Answer::Malformed(why));
                }
            }
        }
    }

    /// An answer is whole, or no more will come of it, because its time is over if it is late.
    pub(super) fn exchange_over(&mut self, now: Now, id: LinkId, is_late: bool) {
        let Some(link) = self.links.close(&mut self.core.at(now), id) else {
            return;
        };
        let State::Asking(exchange) = link.state else {
            return;
        };
        let next = exchange.retries().filter(|_| !is_late);
        if next.is_some_and(|relay| self.relays.try_next_address(relay)) {
            let exchange = exchange.again(&self.core.config.limits);
            return self.dial_relay(exchange, link.deadline);
        }
        self.exchanged(now, exchange.errand(), &exchange.answer(is_late));
    }

    fn exchanged(&mut self, now: Now, errand: &Errand, answer: &Answer<'_>) {
        match errand {
            Errand::Call(number) => {
                let is_relayed = self
                    .calls
                    .exchanged(&mut self.core.at(now), *number, answer);
                if is_relayed {
                    self.call_relayed(now, *number);
                }
            }
            Errand::Ping(relay) => self.pinged(now, relay, answer),
            Errand::Post(relay, cargo) => self.posted(now, relay, cargo, answer),
        }
    }
}

/// Relays.
impl Engine {
    /// Asks the relays whose time has come.
    pub(super) fn ask_relays(&mut self, now: Now) {
        for question in self.relays.ask_due(&self.core.at(now)) {
            self.ask_relay(question);
        }
    }

    /// Gives a packet to a relay, now or when those before it are there.
    pub(super) fn post(
        &mut self,
        now: Now,
        relay: &RelayAddress,
        target: &NodeName,
        packet: &Packet,
        cargo: Cargo,
    ) {
        self.relays.post(relay, target, packet, cargo);
        self.post_next(now, relay);
    }

    fn post_next(&mut self, now: Now, relay: &RelayAddress) {
        while let Some(question) = self.relays.next_post(&self.core.at(now), relay) {
            self.ask_relay(question);
        }
    }

    /// A packet is on its way no more.
    fn post_over(&mut self, now: Now, relay: &RelayAddress) {
        self.relays.post_over(relay);
        self.post_next(now, relay);
    }

    /// A relay has taken a packet, or has not.
    fn posted(&mut self, now: Now, relay: &RelayAddress, cargo: &Cargo, answer: &Answer<'_>) {
        self.post_over(now, relay);
        if let Some(number) = cargo.call() {
            let is_relayed = self.calls.posted(&mut self.core.at(now), number, answer);
            if is_relayed {
                self.call_relayed(now, number);
            }
            return;
        }
        let status = match answer {
            Answer::Came(head, _) => head.status,
            Answer::Malformed(_) | Answer::None { .. } => 0,
        };
        if status == 200 {
            return;
        }
        record!(Debug, "an answer was lost at relay {relay}: {answer:?}");
        self.core.refused += 1;
        // It was too large, for the relay or for what is left of a mailbox.
        if let Cargo::Answer { id, to } = cargo
            && matches!(status, 413 | 503)
        {
            self.post_notice(now, relay, id, to);
        }
    }

    /// Tells a caller, in few bytes, that its command ran but that its answer is lost: nothing
    /// else would, and it might call again.
    fn post_notice(&mut self, now: Now, relay: &RelayAddress, id: &str, to: &NodeName) {
        let back = Return {
            relay: relay.clone(),
            id: id.to_owned(),
            to: to.clone(),
        };
        let (status, value) = answer_lost();
        let packet = serving::relayed_answer(&mut self.core.at(now), &back, status, &value);
        self.post(now, relay, to, &packet, Cargo::Notice);
    }

    /// A relay has answered what has come, or has not.
    fn pinged(&mut self, now: Now, relay: &RelayAddress, answer: &Answer<'_>) {
        match self.relays.pinged(&mut self.core.at(now), relay, answer) {
            Pinged::Nothing => {}
            Pinged::Failed { gone, unsent } => {
                for number in unsent {
                    self.call_relayed(now, number);
                }
                self.tell_places(now, &gone);
            }
            Pinged::Answered { changed, packets } => {
                self.tell_places(now, &changed);
                for packet in packets {
                    match packet.kind {
                        Kind::Request => self.serve_packet(now, relay, packet),
                        Kind::Response => self.calls.answered(&mut self.core.at(now), &packet),
                    }
                }
            }
        }
    }

    /// Tells where peers are, as far as that is news.
    pub(super) fn tell_places(&mut self, now: Now, names: &[NodeName]) {
        for name in names {
            let relay = self.relays.first_of(name);
            self.peers.tell(&mut self.core.at(now), name, relay);
        }
    }
}
