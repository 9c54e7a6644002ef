//! The sockets of the old protocol: a second lane of links, and a port of datagrams of its own. What its
//! engine learns goes to the native one, and what that asks of foreign peers comes back.

use super::datagrams::Datagrams;
use super::interfaces::Interfaces;
use super::resolver::{self, Resolver};
use super::{Lane, Links, Poller};
use crate::address::RelayAddress;
use crate::compat::engine::{Config, Engine, Output, Place};
use crate::engine::{self, Ask, CompatPlace};
use crate::entropy::OsEntropy;
use crate::error::Error;
use crate::protocol::{LinkId, Now, Time};
use mio::{Registry, Waker};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

/// How long a relay's name is taken to mean the same: a relay is dialled several times a second.
const RESOLVED_FOR: Duration = Duration::from_secs(30);

/// Where and how Python nodes are met.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Where calls come to; any address and port unless set.
    pub(crate) listen: Option<SocketAddrV4>,
    /// The UDP port of adverts.
    pub(crate) advertise_port: u16,
    /// Their relays.
    pub(crate) relays: Vec<RelayAddress>,
    /// With those that relays tell of.
    pub(crate) max_remotes: usize,
    /// Between two questions to a relay.
    pub(crate) tick: Duration,
}

#[derive(Debug)]
pub(super) struct Compat {
    pub(super) engine: Engine,
    links: Links,
    /// Only where peers of the same LAN are looked for.
    datagrams: Option<Datagrams>,
    resolver: Resolver,
    /// Links whose relay's name is being looked up, which of its addresses to take, and whether it was learnt.
    resolving: Vec<(LinkId, RelayAddress, usize, bool)>,
    loopback: bool,
}

impl Compat {
    /// Opens the sockets; nothing is said before the name is ours.
    pub(super) fn open(
        settings: &Settings,
        whole: &super::Settings,
        native: &engine::Config,
        registry: Registry,
        waker: Arc<Waker>,
    ) -> Result<Compat, Error> {
        let (lan, loopback) = (whole.lan, whole.loopback);
        let datagrams = match lan {
            true => Some(Datagrams::open(
                settings.advertise_port,
                loopback,
                Lane::COMPAT.datagrams(),
                &registry,
            )?),
            false => None,
        };
        let mut links = Links::new(registry, Lane::COMPAT);
        let any = match loopback {
            true => SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0),
            false => SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0),
        };
        let address = settings.listen.unwrap_or(any);
        let port = match lan {
            true => links.listen(&[address.into()])?.port(),
            // Nobody would learn of it.
            false => 0,
        };
        let config = Config {
            network: native.network.clone(),
            name: native.name.clone(),
            keys: native.keys.clone(),
            port,
            address: match address.ip().is_unspecified() {
                false => Some(*address.ip()),
                true => match native.address {
                    Some(IpAddr::V4(ip)) => Some(ip),
                    _ => None,
                },
            },
            loopback,
            relays: settings.relays.clone(),
            max_remotes: settings.max_remotes,
            tick: settings.tick,
            limits: native.limits.clone(),
        };
        Ok(Compat {
            engine: Engine::new(config, Box::new(OsEntropy::new()?)),
            links,
            datagrams,
            resolver: Resolver::new(waker, RESOLVED_FOR),
            resolving: Vec::new(),
            loopback,
        })
    }

    pub(super) fn deadline(&self) -> Option<Time> {
        let deadlines = [self.engine.deadline(), self.links.retry_at()];
        deadlines.into_iter().flatten().min()
    }

    pub(super) fn has_unread(&self) -> bool {
        self.links.has_unread() || self.datagrams.as_ref().is_some_and(Datagrams::has_unread)
    }

    /// Takes in what the poller found, and the time.
    pub(super) fn process(
        &mut self,
        native: &mut engine::Engine,
        poller: &Poller,
        interfaces: &Interfaces,
        now: Now,
    ) {
        let datagrams = self.links.take(poller, &mut self.engine, now);
        if let Some(socket) = &mut self.datagrams {
            if datagrams {
                socket.readable();
            }
            let engine = &mut self.engine;
            socket.receive(&mut |from, bytes| {
                engine.datagram(now, interfaces.is_own(from.ip()), bytes);
            });
        }
        while let Some((relay, _, found)) = self.resolver.next(now.at) {
            self.resolved(now, &relay, &found);
        }
        while let Some(id) = self.links.next_unread() {
            self.links.read(id, &mut self.engine, now);
            self.perform(native, interfaces, now);
        }
        if self.engine.deadline().is_some_and(|at| now.at >= at) {
            self.engine.tick(now);
        }
        self.perform(native, interfaces, now);
    }

    /// Takes what of the native engine's outputs is for this one, and does it; gives back what is not.
    pub(super) fn take(
        &mut self,
        native: &mut engine::Engine,
        interfaces: &Interfaces,
        now: Now,
        output: engine::Output,
    ) -> Option<engine::Output> {
        match output {
            engine::Output::CompatCall {
                number,
                target,
                path,
                args,
                kwargs,
            } => self
                .engine
                .call(now, number, &target, &path, (&args, &kwargs)),
            engine::Output::CompatForget(number) => self.engine.forget(now, number),
            engine::Output::CompatReply(ticket, status, body) => {
                self.engine.reply(now, ticket, status, &body);
            }
            engine::Output::Running => {
                self.engine.start(now);
                self.perform(native, interfaces, now);
                return Some(output);
            }
            other => return Some(other),
        }
        self.perform(native, interfaces, now);
        None
    }

    fn perform(&mut self, native: &mut engine::Engine, interfaces: &Interfaces, now: Now) {
        while let Some(output) = self.engine.poll() {
            match output {
                Output::Advertise => {
                    if let Some(datagrams) = &self.datagrams {
                        for target in interfaces.targets() {
                            let advert = self.engine.advert(target.own);
                            datagrams.broadcast(&advert, target.broadcast);
                        }
                    }
                }
                Output::Dial(link, to) => self.dial(now, link, Some(to), false),
                Output::DialRelay {
                    link,
                    relay,
                    nth,
                    learnt,
                } => {
                    let found = self.resolver.resolve(link, &relay, learnt, now.at);
                    self.resolving.push((link, relay.clone(), nth, learnt));
                    if let Some(found) = found {
                        self.resolved(now, &relay, &found);
                    }
                }
                Output::Writable(link) => self.links.mark_writable(link),
                Output::Finish(link) => self.links.finish(link),
                Output::Close(link) => {
                    self.stop_resolving(link);
                    self.links.close(link, &[]);
                }
                Output::Peer(name, place) => {
                    let place = place.map(|place| match place {
                        Place::Lan(address) => CompatPlace {
                            address: Some(address.into()),
                            relay: None,
                        },
                        Place::Relay(relay) => CompatPlace {
                            address: None,
                            relay: Some(relay),
                        },
                    });
                    native.compat_peer(now, name, place);
                }
                Output::Relay(relay, state) => native.compat_relay(relay, state),
                Output::Request {
                    ticket,
                    caller,
                    path,
                    args,
                    kwargs,
                } => {
                    let ask = Ask::Command { path, args, kwargs };
                    native.compat_request(now, ticket, caller, ask);
                }
                Output::Withdrawn(ticket) => native.compat_withdrawn(ticket),
                Output::Answered(number, result) => native.compat_answered(now, number, result),
            }
        }
    }

    /// The addresses of a relay are known, or that there are none.
    fn resolved(&mut self, now: Now, relay: &RelayAddress, found: &[SocketAddr]) {
        // The one lookup is for all who wait for it.
        for (link, of, nth, learnt) in std::mem::take(&mut self.resolving) {
            if of != *relay {
                self.resolving.push((link, of, nth, learnt));
                continue;
            }
            let to = found.get(nth % found.len().max(1)).copied();
            self.dial(now, link, to, learnt);
        }
    }

    /// A link does not wait any more for what its relay's name means; others to the same relay may.
    fn stop_resolving(&mut self, link: LinkId) {
        let Some(at) = self.resolving.iter().position(|(l, ..)| *l == link) else {
            return;
        };
        let (_, relay, ..) = self.resolving.swap_remove(at);
        if self.resolving.iter().all(|(_, r, ..)| *r != relay) {
            self.resolver.forget(link);
        }
    }

    fn dial(&mut self, now: Now, link: LinkId, to: Option<SocketAddr>, learnt: bool) {
        let to = to.filter(|to| resolver::may_dial(*to, learnt, self.loopback));
        if !to.is_some_and(|to| self.links.dial(link, to)) {
            self.engine.closed(now, link);
        }
    }

    /// Writes what waits for links, as far as they take it; whether something came of it.
    pub(super) fn flush(
        &mut self,
        native: &mut engine::Engine,
        interfaces: &Interfaces,
        now: Now,
    ) -> bool {
        let told = self.links.flush(&mut self.engine, now);
        self.perform(native, interfaces, now);
        told
    }

    /// Ends everything.
    pub(super) fn stop(&mut self, native: &mut engine::Engine, interfaces: &Interfaces, now: Now) {
        self.engine.stop();
        self.perform(native, interfaces, now);
    }
}
