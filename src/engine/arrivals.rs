//! What comes: datagrams, and what links bring. The network says what it is. Which part acts on it
//! is decided here.

use super::links::{Came, Refuse, Room};
use super::network::Greeted;
use super::peers::Origin;
use super::{Engine, LinkId, Now, Output, Phase, RelayFault};
use crate::error::Error;
use crate::protocol::LinkWriter;
use crate::wire::advert::Advert;
use std::net::SocketAddr;

impl Engine {
    /// A link that another node opened, or `None` if there is no room for one.
    pub fn accept(&mut self, now: Now, from: SocketAddr) -> Option<LinkId> {
        if self.core.phase == Phase::Stopped {
            return None;
        }
        Some(self.network.accept(&mut self.core.at(now), from))
    }

    pub(super) fn datagram(&mut self, now: Now, from: SocketAddr, bytes: &[u8]) {
        let (ctx, commands) = (&mut self.core.at(now), &self.commands);
        let wanted = |name: &_| commands.waits_for(name);
        let opened = &mut self.opened;
        let outcome = self.network.datagram(ctx, from, bytes, opened, &wanted);
        if let Some(outcome) = outcome {
            self.commands.act_on_advert(ctx, &mut self.network, outcome);
        }
    }

    pub(super) fn connected(&mut self, now: Now, link: LinkId) {
        self.network.connected(&mut self.core.at(now), link);
    }

    /// The name of the relay that a link was to go to means nothing.
    pub(super) fn unresolved(&mut self, now: Now, link: LinkId) {
        self.network.note_fault(link, RelayFault::Unresolved);
        self.closed(now, link);
    }

    /// A link has ended.
    pub(super) fn closed(&mut self, now: Now, link: LinkId) {
        let (ctx, network) = (&mut self.core.at(now), &mut self.network);
        network.note_closed(ctx, link);
        self.commands.link_ended(ctx, network, link);
    }

    /// Has the bytes that wait for a link written, and sends what waited for room there. Returns
    /// whether bytes wait for the link after that.
    pub(super) fn transmit(&mut self, now: Now, link: LinkId, write: &mut LinkWriter<'_>) -> bool {
        let (ctx, network) = (&mut self.core.at(now), &mut self.network);
        match network.transmit(ctx, link, write) {
            Room::None => return !network.pending(link).is_empty(),
            Room::Session => self.commands.pump(ctx, network, link),
            Room::Relay { waited } => {
                for link in waited {
                    self.commands.pump(ctx, network, link);
                }
            }
        }
        self.commands.streams_go_on(now.at);
        !network.pending(link).is_empty()
    }

    /// Bytes came on a link. What is read of a record lies in `opened` while it is acted on.
    pub(super) fn received(&mut self, now: Now, id: LinkId, mut bytes: &[u8]) {
        loop {
            let (ctx, network) = (&mut self.core.at(now), &mut self.network);
            let next = network.next(ctx, id, &mut bytes, &mut self.opened);
            let Some((link, came)) = next else {
                return;
            };
            match came {
                Came::Nothing | Came::Advert(_, None) => {}
                Came::Record { peer, body } => {
                    self.commands.record(ctx, network, link, peer, body);
                }
                Came::Question(question) => {
                    let greeted = network.question(ctx, link, question);
                    self.greeted(now, link, greeted);
                }
                Came::Answer(answer) => {
                    let greeted = network.answered(ctx, link, answer);
                    self.greeted(now, link, greeted);
                }
                Came::Opened => {
                    if self.commands.session_opened(ctx, network, link).is_err() {
                        return self.lose_name(now);
                    }
                }
                Came::Echo(lives) => {
                    if let Some(peer) = lives {
                        network.note_alive(&peer);
                    }
                    self.commands.echo_came(ctx, network, link);
                }
                Came::Ended { altered } => {
                    if altered {
                        network.spoil(now.at, link);
                    }
                    self.commands.link_ended(ctx, network, link);
                }
                Came::Refused(why) => self.commands.refuse(ctx, network, link, why),
                Came::Advert(route, Some(advert)) => {
                    self.advert(now, Origin::Relay(link, route), &advert);
                }
                Came::Joined { is_proven } => network.relay_joined(ctx, link, is_proven),
                Came::Gone(route) => self.commands.route_gone(ctx, network, link, route),
                Came::Busy => self.commands.close_at_once(ctx, network, link),
                Came::Credit => {
                    self.commands.pump(ctx, network, link);
                    self.commands.streams_go_on(now.at);
                }
                Came::GiveUp(fault) => self.commands.give_up(ctx, network, link, fault),
            }
        }
    }

    /// A relay has handed on an advert.
    fn advert(&mut self, now: Now, from: Origin, advert: &Advert) {
        let (ctx, commands) = (&mut self.core.at(now), &self.commands);
        let wanted = |name: &_| commands.waits_for(name);
        if let Some(outcome) = self.network.advert(ctx, from, advert, &wanted) {
            self.commands.act_on_advert(ctx, &mut self.network, outcome);
        }
    }

    /// Acts on what a message of a handshake leads to.
    fn greeted(&mut self, now: Now, link: LinkId, greeted: Greeted) {
        let (ctx, network) = (&mut self.core.at(now), &mut self.network);
        let commands = &mut self.commands;
        match greeted {
            Greeted::Nothing => {}
            Greeted::Session => {
                if commands.session_up(ctx, network, link).is_err() {
                    self.lose_name(now);
                }
            }
            Greeted::Stray => commands.refuse(ctx, network, link, Refuse::Hello),
            Greeted::Distrusted(dialled) => {
                commands.close_at_once(ctx, network, link);
                if let Some(dialled) = dialled {
                    network.rest(&dialled);
                }
            }
            Greeted::Detour => commands.close_at_once(ctx, network, link),
            Greeted::Replaces(carrier, route, question) => {
                commands.link_ended(ctx, network, link);
                network.answer_anew(ctx, (carrier, route), *question);
            }
        }
    }

    /// Another node has our name: this one cannot take part.
    fn lose_name(&mut self, now: Now) {
        let name = self.core.config.name.to_string();
        self.stop_without_advert(now, Error::Stopped);
        let failed = Output::Failed(Error::NameTaken(name));
        self.core.outputs.push_back(failed);
    }
}
