//! The sockets of the compat protocol: a second lane of links, and a port of datagrams of its own.
//! What its engine learns goes to the native one, and what that asks of compat peers comes back.

use crate::address::RelayAddress;
use crate::compat::engine::{Config, Engine, Output, Place};
use crate::driver::companion::Companion;
use crate::driver::interfaces::Interfaces;
use crate::driver::resolver::{self, Resolver};
use crate::driver::udp::Udp;
use crate::driver::{self, Lane, Poller, Tcp};
use crate::engine::{self, Ask, CompatPlace, Stats};
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
pub(super) struct Settings {
    /// Where calls come to; any address and port unless set.
    pub(super) listen: Option<SocketAddrV4>,
    /// The UDP port of adverts.
    pub(super) advertise_port: u16,
    /// Their relays.
    pub(super) relays: Vec<RelayAddress>,
    /// With those that relays tell of.
    pub(super) max_remotes: usize,
    /// Between two questions to a relay.
    pub(super) tick: Duration,
}

#[derive(Debug)]
pub(super) struct Bridge {
    engine: Engine,
    tcp: Tcp,
    /// Only where peers of the same LAN are looked for.
    udp: Option<Udp>,
    resolver: Resolver,
    resolving: Vec<Resolving>,
    loopback: bool,
}

/// A link whose relay's name is being looked up.
#[derive(Debug)]
struct Resolving {
    link: LinkId,
    relay: RelayAddress,
    /// Which of its addresses to take.
    nth: usize,
    /// Whether the relay was learnt from others.
    learnt: bool,
}

impl Bridge {
    /// Opens the sockets; nothing is said before the name is ours.
    pub(super) fn open(
        settings: &Settings,
        whole: &driver::Settings,
        native: &engine::Config,
        registry: Registry,
        lane: Lane,
        waker: Arc<Waker>,
    ) -> Result<Bridge, Error> {
        let (lan, loopback) = (whole.lan, whole.loopback);
        let udp = match lan {
            true => Some(Udp::open(
                settings.advertise_port,
                loopback,
                lane,
                &registry,
            )?),
            false => None,
        };
        let mut tcp = Tcp::new(registry, lane);
        let any = match loopback {
            true => SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0),
            false => SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0),
        };
        let address = settings.listen.unwrap_or(any);
        let port = match lan {
            true => tcp.listen(&[address.into()])?.port(),
            // No Python node would learn of the port.
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
            rules: native.rules.clone(),
        };
        Ok(Bridge {
            engine: Engine::new(config, Box::new(OsEntropy::new()?)),
            tcp,
            udp,
            resolver: Resolver::new(waker, RESOLVED_FOR),
            resolving: Vec::new(),
            loopback,
        })
    }

    fn perform(&mut self, native: &mut engine::Engine, interfaces: &Interfaces, now: Now) {
        while let Some(output) = self.engine.poll() {
            match output {
                Output::Advertise => self.advertise(interfaces),
                Output::Dial(link, to) => self.dial(now, link, Some(to), false),
                Output::DialRelay {
                    link,
                    relay,
                    nth,
                    learnt,
                } => self.dial_relay(
                    now,
                    Resolving {
                        link,
                        relay,
                        nth,
                        learnt,
                    },
                ),
                Output::Writable(link) => self.tcp.mark_writable(link),
                Output::Finish(link) => self.tcp.finish(link),
                Output::Close(link) => {
                    self.stop_resolving(link);
                    self.tcp.close(link, &[]);
                }
                Output::Peer(name, place) => {
                    native.compat_peer(now, name, place.map(native_place));
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

    fn advertise(&self, interfaces: &Interfaces) {
        let Some(udp) = &self.udp else {
            return;
        };
        for target in interfaces.targets() {
            let advert = self.engine.advert(target.own);
            udp.broadcast(&advert, target.broadcast);
        }
    }

    /// Dials a relay as soon as its name is looked up.
    fn dial_relay(&mut self, now: Now, waiting: Resolving) {
        let (relay, learnt) = (waiting.relay.clone(), waiting.learnt);
        let found = self.resolver.resolve(waiting.link, &relay, learnt, now.at);
        self.resolving.push(waiting);
        if let Some(found) = found {
            self.resolved(now, &relay, &found);
        }
    }

    /// The addresses of a relay are known, or that there are none.
    fn resolved(&mut self, now: Now, relay: &RelayAddress, found: &[SocketAddr]) {
        // The one lookup is for all who wait for it.
        for waiting in std::mem::take(&mut self.resolving) {
            if waiting.relay != *relay {
                self.resolving.push(waiting);
                continue;
            }
            let to = found.get(waiting.nth % found.len().max(1)).copied();
            self.dial(now, waiting.link, to, waiting.learnt);
        }
    }

    /// A link does not wait any more for what its relay's name means; others to the same relay may.
    fn stop_resolving(&mut self, link: LinkId) {
        let Some(at) = self.resolving.iter().position(|r| r.link == link) else {
            return;
        };
        let given_up = self.resolving.swap_remove(at);
        if self.resolving.iter().all(|r| r.relay != given_up.relay) {
            self.resolver.forget(link);
        }
    }

    fn dial(&mut self, now: Now, link: LinkId, to: Option<SocketAddr>, learnt: bool) {
        let to = to.filter(|to| resolver::may_dial(*to, learnt, self.loopback));
        if !to.is_some_and(|to| self.tcp.dial(link, to)) {
            self.engine.closed(now, link);
        }
    }
}

impl Companion for Bridge {
    fn take(
        &mut self,
        native: &mut engine::Engine,
        interfaces: &Interfaces,
        now: Now,
        output: engine::Output,
    ) {
        match output {
            engine::Output::CompatCall {
                number,
                target,
                path,
                args,
                kwargs,
            } => {
                let engine = &mut self.engine;
                engine.call(now, number, &target, &path, (&args, &kwargs));
            }
            engine::Output::CompatForget(number) => self.engine.forget(now, number),
            engine::Output::CompatReply(ticket, status, body) => {
                self.engine.reply(now, ticket, status, &body);
            }
            engine::Output::Keys(keys) => self.engine.set_keys(keys),
            // The driver hands over nothing else.
            _ => {}
        }
        self.perform(native, interfaces, now);
    }

    fn start(&mut self, native: &mut engine::Engine, interfaces: &Interfaces, now: Now) {
        self.engine.start(now);
        self.perform(native, interfaces, now);
    }

    fn process(
        &mut self,
        native: &mut engine::Engine,
        poller: &Poller,
        interfaces: &Interfaces,
        now: Now,
    ) {
        self.tcp.take_events(poller, &mut self.engine, now);
        if let Some(udp) = &mut self.udp {
            udp.take_events(poller);
            let engine = &mut self.engine;
            udp.receive(&mut |from, bytes| {
                let from = from.ip();
                engine.datagram(now, from, is_own(interfaces, from), bytes);
            });
        }
        while let Some((relay, _, found)) = self.resolver.next(now.at) {
            self.resolved(now, &relay, &found);
        }
        while let Some(id) = self.tcp.next_unread() {
            self.tcp.read(id, &mut self.engine, now);
            self.perform(native, interfaces, now);
        }
        if self.engine.deadline().is_some_and(|at| now.at >= at) {
            self.engine.tick(now);
        }
        self.perform(native, interfaces, now);
    }

    fn flush(&mut self, native: &mut engine::Engine, interfaces: &Interfaces, now: Now) -> bool {
        let told = self.tcp.flush(&mut self.engine, now);
        self.perform(native, interfaces, now);
        told
    }

    fn begin_stop(&mut self, native: &mut engine::Engine, interfaces: &Interfaces, now: Now) {
        self.engine.begin_stop();
        self.perform(native, interfaces, now);
    }

    fn stop(&mut self, native: &mut engine::Engine, interfaces: &Interfaces, now: Now) {
        self.engine.stop();
        self.perform(native, interfaces, now);
    }

    fn is_flushed(&self) -> bool {
        self.engine.is_flushed()
    }

    fn deadline(&self) -> Option<Time> {
        let deadlines = [self.engine.deadline(), self.tcp.retry_at()];
        deadlines.into_iter().flatten().min()
    }

    fn has_unread(&self) -> bool {
        self.tcp.has_unread() || self.udp.as_ref().is_some_and(Udp::has_unread)
    }

    fn count(&self, stats: &mut Stats) {
        stats.compat_refused = self.engine.refused();
    }
}

/// Where a peer is, as the native engine says it.
fn native_place(place: Place) -> CompatPlace {
    match place {
        Place::Lan(address) => CompatPlace {
            address: Some(address.into()),
            relay: None,
        },
        Place::Relay(relay) => CompatPlace {
            address: None,
            relay: Some(relay),
        },
    }
}

/// Whether an address is this host's.
fn is_own(interfaces: &Interfaces, ip: IpAddr) -> bool {
    ip.is_loopback() || interfaces.targets().iter().any(|t| IpAddr::V4(t.own) == ip)
}
