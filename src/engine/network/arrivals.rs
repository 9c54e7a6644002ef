//! What comes on links: hellos open sessions, records go to the part that they are about.

use crate::engine::commands::CallRecord;
use crate::engine::links::{Came, Greeting, Refuse, Way};
use crate::engine::peers::Origin;
use crate::engine::{Engine, LinkId, Now, Phase};
use crate::fernet::KeyIndex;
use crate::wire::Instance;
use crate::wire::hello::{Hello, Role};
use crate::wire::record::{Body, CloseReason, Form};
use std::net::SocketAddr;

impl Engine {
    /// A link that another node opened, or `None` if there is no room for one.
    pub fn accept(&mut self, now: Now, from: SocketAddr) -> Option<LinkId> {
        if self.phase == Phase::Stopped {
            return None;
        }
        Some(self.links.accept(&mut self.core.at(now), from))
    }

    pub(in crate::engine) fn connected(&mut self, now: Now, id: LinkId) {
        let probing = self.is_probing();
        let ctx = &mut self.core.at(now);
        self.links.connected(ctx, &mut self.plain, probing, id);
    }

    pub(in crate::engine) fn received(&mut self, now: Now, id: LinkId, mut bytes: &[u8]) {
        // What is read of a record lies in it while the record is acted on.
        let mut opened = std::mem::take(&mut self.opened);
        while let Some((link, came)) =
            self.links
                .next(&mut self.core.at(now), id, &mut bytes, &mut opened)
        {
            self.came(now, link, came);
        }
        self.opened = opened;
    }

    fn came(&mut self, now: Now, id: LinkId, came: Came<'_>) {
        match came {
            Came::Nothing => {}
            Came::Record { peer, opens, body } => {
                if opens {
                    self.session_opened(now, id);
                }
                self.record(now, id, peer, body);
            }
            Came::Hello(hello, key) => self.hello(now, id, &hello, key),
            Came::Echo(lives) => {
                if let Some(peer) = lives {
                    self.directory.lives(&peer);
                }
                self.echo_came(now, id);
            }
            Came::Over { altered } => {
                if altered {
                    self.spoil(now, id);
                }
                self.ended(now, id);
            }
            Came::Refused(why) => self.refuse(now, id, why),
            Came::Advert(route, Some(advert)) => {
                self.advert(now, Origin::Relay(id, route), &advert);
            }
            Came::Advert(_, None) => {}
            Came::Joined => self.relay_joined(now, id),
            Came::Gone(route) => self.route_gone(now, id, route),
            Came::Busy => self.close_quietly(now, id, Vec::new()),
            Came::Credit => {
                self.pump(now, id);
                self.streams_go_on(now);
            }
            Came::GiveUp(fault) => self.give_up_relay(now, id, fault),
        }
    }

    fn record(&mut self, now: Now, id: LinkId, peer: Instance, body: Body<'_>) {
        match body {
            Body::Call {
                number,
                timeout_ms,
                again,
                streams,
                settled,
                ask,
            } => {
                self.settle(peer, settled);
                let form = Form { again, streams };
                let call = CallRecord {
                    number,
                    form,
                    timeout_ms,
                    ask,
                };
                self.serve(now, id, call);
            }
            Body::Reply {
                number,
                status,
                body,
            } => self.answered(now, id, number, status, body),
            Body::Cancel { number } => self.withdraw(peer, number),
            Body::Notice(settled) => self.settle(peer, settled),
            Body::Peers(peers) => self.told_of_peers(now, id, peers),
            Body::Close(reason) => self.closed_by_peer(now, id, reason),
            of_stream => {
                if self.stream_record(now, id, of_stream).is_err() {
                    self.violation(now, id);
                }
            }
        }
    }

    fn closed_by_peer(&mut self, now: Now, id: LinkId, reason: CloseReason) {
        let Some(peer) = self.session(id).map(|s| s.peer) else {
            return;
        };
        if reason == CloseReason::Leaving {
            self.directory.leaves(&peer);
            // It has left when the last of its sessions has ended: another one may still hold an
            // answer.
            self.close_quietly(now, id, Vec::new());
            self.challenge(now, peer);
        } else {
            self.close_quietly(now, id, Vec::new());
            self.directory.rest(&peer);
        }
        self.calls_want_dial(now, peer);
    }

    fn hello(&mut self, now: Now, id: LinkId, hello: &Hello, key: KeyIndex) {
        let id = match hello.role {
            Role::Ask => match self.make_way(now, id, hello.instance) {
                Some(id) => id,
                None => return,
            },
            Role::Answer(_) => id,
        };
        let probing = self.is_probing();
        match self.links.greeting(now.at, id, hello) {
            None => {}
            Some(Greeting::Question) => {
                let ctx = &mut self.core.at(now);
                self.links
                    .answer(ctx, &mut self.plain, probing, id, (hello, key));
            }
            Some(Greeting::Answer {
                dialled,
                took,
                relayed,
            }) => {
                let used = self.best_session(dialled).filter(|_| relayed);
                if used.is_some_and(|used| self.links.is_detour(now.at, used, took)) {
                    return self.close_quietly(now, id, Vec::new());
                }
                let ctx = &mut self.core.at(now);
                self.links
                    .open(ctx, &mut self.plain, id, (hello, key), took);
                self.directory.dial_answered(ctx, &dialled, id);
                self.session_up(now, id);
            }
            Some(Greeting::Stray) => self.refuse(now, id, Refuse::Hello),
        }
    }

    /// The link that is to answer the question of `asker`, if this side is to.
    fn make_way(&mut self, now: Now, id: LinkId, asker: Instance) -> Option<LinkId> {
        match self.links.make_way(self.core.instance, id, asker)? {
            Way::Free => Some(id),
            Way::Yielded(dialled) => {
                self.directory.route_dial_over(&dialled, id);
                Some(id)
            }
            Way::Taken => None,
            Way::Replaced(carrier, route) => {
                self.ended(now, id);
                let ctx = &mut self.core.at(now);
                self.links.accept_route(ctx, carrier, route)
            }
        }
    }
}
