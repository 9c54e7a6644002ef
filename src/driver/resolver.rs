//! Names of relays to addresses, on threads of their own: the system's resolver may take half a
//! minute, and the event loop must not wait for it.
//!
//! One lookup for each name, and no second one for the same name, however often it is asked for
//! meanwhile. A few run at a time, each on a thread that ends with its answer, also when nobody
//! waits any more; the others wait in a line of bounded length. Names that were learnt from others
//! take only a part of the threads and come last, so that inventing names that nobody can resolve
//! does not keep a relay from being found that the program was given.
//!
//! The addresses that a lookup finds are remembered for a while. A name without any is not
//! remembered: its next lookup may find some.

use crate::address::RelayAddress;
use crate::limits::REMOTES_MAX;
use crate::logging::record;
use crate::protocol::{LinkId, Time};
use crate::reach::{self, Word};
use crate::signals;
use mio::Waker;
use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Lookups that run at a time: each is a thread, and is as slow as the system's resolver.
const RUNNING_MAX: usize = 4;
/// Those of them for names that were learnt from others.
const RUNNING_LEARNT_MAX: usize = 2;
/// Lookups that wait for one of those to end: more than a node is linked to relays, and each asks
/// again.
const WAITING_MAX: usize = 64;
/// Names whose addresses are remembered: as many as relays that a node may be linked to, and some
/// learnt ones.
const RESOLVED_MAX: usize = 2 * REMOTES_MAX;

type Found = Vec<SocketAddr>;
/// Answers that have come.
type Answers = Arc<Mutex<Vec<(RelayAddress, Found)>>>;
/// What means to look a host's name up, and may take long.
type LookUp = fn(&str, u16) -> Found;

#[derive(Debug)]
struct Lookup {
    relay: RelayAddress,
    /// For which link: of who asked last.
    link: LinkId,
    learnt: bool,
    running: bool,
}

/// The addresses that a lookup found.
#[derive(Debug)]
struct Resolved {
    relay: RelayAddress,
    found: Found,
    until: Time,
}

pub(crate) struct Resolver {
    waker: Arc<Waker>,
    answers: Answers,
    /// What runs and what waits, in the order in which it was asked for.
    asked: Vec<Lookup>,
    resolved: Vec<Resolved>,
    resolved_for: Duration,
    look_up: LookUp,
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver")
            .field("asked", &self.asked)
            .field("resolved", &self.resolved)
            .finish()
    }
}

fn system(host: &str, port: u16) -> Found {
    let found = (host, port).to_socket_addrs();
    found.map(Iterator::collect).unwrap_or_default()
}

impl Resolver {
    /// A resolver that remembers addresses for `resolved_for` after their lookup.
    pub(crate) fn new(waker: Arc<Waker>, resolved_for: Duration) -> Resolver {
        Resolver {
            waker,
            answers: Answers::default(),
            asked: Vec::new(),
            resolved: Vec::new(),
            resolved_for,
            look_up: system,
        }
    }

    /// The addresses, if none need be looked up; otherwise they come from [`Resolver::next`]. None
    /// at all when too many names wait already: as for a name that means nothing, asking again
    /// later is all that can be done.
    pub(crate) fn resolve(
        &mut self,
        link: LinkId,
        relay: &RelayAddress,
        learnt: bool,
        now: Time,
    ) -> Option<Found> {
        if let Some(ip) = relay.ip() {
            return Some(vec![SocketAddr::new(ip, relay.host_and_port().1)]);
        }
        let mut resolved = self.resolved.iter();
        if let Some(known) = resolved.find(|r| r.relay == *relay && now < r.until) {
            return Some(known.found.clone());
        }
        if let Some(lookup) = self.asked.iter_mut().find(|l| l.relay == *relay) {
            lookup.link = link;
            lookup.learnt &= learnt;
            self.start_what_may_run();
            return None;
        }
        if self.asked.iter().filter(|l| !l.running).count() >= WAITING_MAX {
            record!(
                Debug,
                "{relay} is not looked up: too many names wait for that"
            );
            return Some(Vec::new());
        }
        self.asked.push(Lookup {
            relay: relay.clone(),
            link,
            learnt,
            running: false,
        });
        self.start_what_may_run();
        None
    }

    /// Nobody waits for this link any more: a lookup for it that has not begun is not begun.
    pub(crate) fn forget(&mut self, link: LinkId) {
        self.asked.retain(|l| l.running || l.link != link);
    }

    /// An answer that has come: of which relay, for which link, and the addresses, none if there
    /// are none.
    pub(crate) fn next(&mut self, now: Time) -> Option<(RelayAddress, LinkId, Found)> {
        if self.asked.is_empty() {
            return None;
        }
        let (relay, found) = {
            let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
            answers.pop()?
        };
        self.remember(&relay, &found, now);
        let at = self.asked.iter().position(|l| l.relay == relay)?;
        let lookup = self.asked.remove(at);
        self.start_what_may_run();
        Some((relay, lookup.link, found))
    }

    /// Also a lookup that takes longer than a link may wait for it is of use to the next attempt.
    fn remember(&mut self, relay: &RelayAddress, found: &[SocketAddr], now: Time) {
        self.resolved.retain(|r| now < r.until && r.relay != *relay);
        if !found.is_empty() && self.resolved.len() < RESOLVED_MAX {
            self.resolved.push(Resolved {
                relay: relay.clone(),
                found: found.to_vec(),
                until: now + self.resolved_for,
            });
        }
    }

    /// The next lookup that may begin: those for relays that the program was given come first.
    fn next_to_run(&self) -> Option<usize> {
        let running = self.asked.iter().filter(|l| l.running);
        let learnt = running.clone().filter(|l| l.learnt).count();
        if running.count() >= RUNNING_MAX {
            return None;
        }
        let waits = |learnt: bool| {
            let mut all = self.asked.iter();
            all.position(|l| !l.running && l.learnt == learnt)
        };
        waits(false).or_else(|| waits(true).filter(|_| learnt < RUNNING_LEARNT_MAX))
    }

    fn start_what_may_run(&mut self) {
        while let Some(at) = self.next_to_run() {
            self.asked[at].running = true;
            let relay = self.asked[at].relay.clone();
            if let Err(e) = self.start(relay.clone()) {
                record!(Debug, "starting a lookup of {relay}: {e}");
                // As if it had been in vain, and told in the same way.
                answer(&self.answers, &self.waker, relay, Vec::new());
            }
        }
    }

    fn start(&self, relay: RelayAddress) -> std::io::Result<()> {
        let (answers, waker, look_up) = (self.answers.clone(), self.waker.clone(), self.look_up);
        let lookup = signals::spawn("peerbase-dns", move || {
            let (host, port) = relay.host_and_port();
            let found = look_up(host, port);
            answer(&answers, &waker, relay, found);
        });
        lookup.map(drop)
    }
}

fn answer(answers: &Answers, waker: &Waker, relay: RelayAddress, found: Found) {
    let mut answers = answers.lock().unwrap_or_else(PoisonError::into_inner);
    answers.push((relay, found));
    if let Err(e) = waker.wake() {
        record!(Error, "waking the event loop: {e}");
    }
}

/// Whether something may be dialled at `to`. A relay that was learnt is what some member says. On
/// loopback nothing else is dialled, and there everyone is on this host.
pub(crate) fn may_dial(to: SocketAddr, learnt: bool, loopback_only: bool) -> bool {
    if loopback_only {
        return to.ip().to_canonical().is_loopback() && reach::may_dial(to, Word::Program);
    }
    let word = if learnt { Word::Anyone } else { Word::Program };
    reach::may_dial(to, word)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Condvar;
    use std::sync::atomic::{AtomicU8, Ordering};

    /// How long the resolvers of these tests remember addresses.
    const RESOLVED_FOR: Duration = Duration::from_secs(60);
    const START: Time = Time(Duration::ZERO);

    fn poll() -> (mio::Poll, Resolver) {
        let poll = mio::Poll::new().unwrap();
        let waker = Waker::new(poll.registry(), mio::Token(0)).unwrap();
        (poll, Resolver::new(Arc::new(waker), RESOLVED_FOR))
    }

    fn relay(text: &str) -> RelayAddress {
        RelayAddress::new(text).unwrap()
    }

    /// Waits for the next answer.
    fn hear(poll: &mut mio::Poll, resolver: &mut Resolver) -> (RelayAddress, LinkId, Found) {
        let mut events = mio::Events::with_capacity(4);
        loop {
            if let Some(answer) = resolver.next(START) {
                return answer;
            }
            poll.poll(&mut events, Some(Duration::from_secs(30)))
                .unwrap();
            assert!(!events.is_empty(), "waited too long for a lookup");
        }
    }

    #[test]
    fn an_address_needs_no_lookup_and_a_name_does_not_wait() {
        let (mut poll, mut resolver) = poll();
        let found = resolver.resolve(LinkId(1), &relay("[::1]:7"), false, START);
        assert_eq!(found, Some(vec!["[::1]:7".parse().unwrap()]));
        // The hosts file knows this one; nothing leaves the machine.
        let name = relay("localhost:7");
        assert_eq!(resolver.resolve(LinkId(2), &name, false, START), None);
        assert_eq!(resolver.resolve(LinkId(3), &name, false, START), None);
        assert_eq!(resolver.asked.len(), 1, "no second thread");
        let (_, link, found) = hear(&mut poll, &mut resolver);
        assert_eq!(link, LinkId(3), "for who asked last");
        assert!(!found.is_empty() && found.iter().all(|a| a.ip().is_loopback()));
        assert_eq!(resolver.next(START), None);
    }

    #[test]
    fn a_name_is_looked_up_again_when_its_time_is_over_and_not_before() {
        static LOOKUPS: AtomicU8 = AtomicU8::new(0);
        let (mut poll, mut resolver) = poll();
        // Each lookup finds another address.
        resolver.look_up = |_, port| {
            let nth = LOOKUPS.fetch_add(1, Ordering::Relaxed) + 1;
            vec![SocketAddr::from(([10, 0, 0, nth], port))]
        };
        let (name, other) = (relay("name:7"), relay("other:7"));
        let at = |nth: u8| vec![SocketAddr::from(([10, 0, 0, nth], 7))];
        assert_eq!(resolver.resolve(LinkId(1), &name, false, START), None);
        assert_eq!(
            hear(&mut poll, &mut resolver),
            (name.clone(), LinkId(1), at(1))
        );
        let end = START + RESOLVED_FOR;
        let nearly = Time(end.0 - Duration::from_nanos(1));
        for now in [START, nearly] {
            let found = resolver.resolve(LinkId(2), &name, false, now);
            assert_eq!(found, Some(at(1)), "remembered at {now:?}");
        }
        assert!(resolver.asked.is_empty(), "nothing is looked up");
        assert_eq!(resolver.resolve(LinkId(3), &other, false, START), None);
        assert_eq!(hear(&mut poll, &mut resolver).2, at(2), "of another name");
        assert_eq!(resolver.resolve(LinkId(4), &name, false, end), None);
        assert_eq!(hear(&mut poll, &mut resolver), (name, LinkId(4), at(3)));
    }

    #[test]
    fn a_name_without_addresses_is_looked_up_again_at_once() {
        let (mut poll, mut resolver) = poll();
        resolver.look_up = |_, _| Vec::new();
        let name = relay("name:7");
        for _ in 0..2 {
            assert_eq!(resolver.resolve(LinkId(1), &name, false, START), None);
            assert_eq!(hear(&mut poll, &mut resolver).2, []);
        }
    }

    #[test]
    fn so_many_names_are_remembered_and_those_whose_time_is_over_make_room() {
        let (_poll, mut resolver) = poll();
        let found = [SocketAddr::from(([10, 0, 0, 1], 7))];
        for i in 0..2 * RESOLVED_MAX {
            resolver.remember(&relay(&format!("name{i}:7")), &found, START);
        }
        assert_eq!(resolver.resolved.len(), RESOLVED_MAX);
        let later = START + RESOLVED_FOR;
        resolver.remember(&relay("later:7"), &found, later);
        assert_eq!(resolver.resolved.len(), 1);
    }

    /// A resolver of the system that answers about names with "slow" in them when it is told to.
    fn slow(host: &str, port: u16) -> Found {
        if host.contains("slow") {
            let open = GATE.0.lock().unwrap();
            drop(GATE.1.wait_while(open, |open| !*open).unwrap());
        }
        vec![SocketAddr::from(([10, 0, 0, 1], port))]
    }
    static GATE: (Mutex<bool>, Condvar) = (Mutex::new(false), Condvar::new());

    #[test]
    fn names_that_others_invent_are_bounded_and_never_starve_a_given_relay() {
        let (mut poll, mut resolver) = poll();
        resolver.look_up = slow;
        let running = |r: &Resolver| r.asked.iter().filter(|l| l.running).count();
        let mut turned_away = 0;
        for i in 0..500 {
            let invented = relay(&format!("slow{i}:7"));
            match resolver.resolve(LinkId(i), &invented, true, START) {
                None => {}
                Some(found) => {
                    assert_eq!(found, [], "a clear answer");
                    turned_away += 1;
                }
            }
            assert!(running(&resolver) <= RUNNING_LEARNT_MAX);
            assert!(resolver.asked.len() <= RUNNING_LEARNT_MAX + WAITING_MAX);
        }
        assert_eq!(turned_away, 500 - RUNNING_LEARNT_MAX - WAITING_MAX);
        // One place in the line is free again when its link is given up.
        resolver.forget(LinkId(10));
        let given = relay("given:7");
        assert_eq!(resolver.resolve(LinkId(1_000), &given, false, START), None);
        let (of, link, found) = hear(&mut poll, &mut resolver);
        assert_eq!((of, link, found.len()), (given, LinkId(1_000), 1));
        // Two given ones that are slow take the rest, and no more.
        resolver.asked.retain(|l| l.running);
        for i in 0..3 {
            let name = relay(&format!("slow-given{i}:7"));
            assert_eq!(
                resolver.resolve(LinkId(2_000 + i), &name, false, START),
                None
            );
        }
        assert_eq!(running(&resolver), RUNNING_MAX);
        *GATE.0.lock().unwrap() = true;
        GATE.1.notify_all();
        let mut links: Vec<u64> = (0..5).map(|_| hear(&mut poll, &mut resolver).1.0).collect();
        links.sort_unstable();
        assert_eq!(links, [0, 1, 2_000, 2_001, 2_002], "each is answered once");
        assert!(resolver.asked.is_empty());
    }

    #[test]
    fn a_name_that_was_learnt_and_is_given_counts_as_given() {
        let (mut poll, mut resolver) = poll();
        resolver.look_up = |_, _| Vec::new();
        for i in 0..RUNNING_LEARNT_MAX as u64 {
            // These never end: nobody has begun them.
            resolver.asked.push(Lookup {
                relay: relay(&format!("never{i}:7")),
                link: LinkId(i),
                learnt: true,
                running: true,
            });
        }
        let name = relay("both:7");
        assert_eq!(resolver.resolve(LinkId(7), &name, true, START), None);
        assert!(!resolver.asked.last().unwrap().running);
        assert_eq!(resolver.resolve(LinkId(8), &name, false, START), None);
        assert_eq!(hear(&mut poll, &mut resolver).1, LinkId(8));
    }

    #[test]
    fn a_learnt_relay_is_not_dialled_on_this_host() {
        let at = |s: &str| s.parse::<SocketAddr>().unwrap();
        for here in [
            "127.0.0.1:7",
            "127.9.9.9:7",
            "[::1]:7",
            "[::ffff:127.0.0.1]:7",
            "0.0.0.0:7",
            "[::]:7",
            "224.0.0.1:7",
            "[ff02::1]:7",
            "255.255.255.255:7",
            "169.254.169.254:7",
        ] {
            assert!(!may_dial(at(here), true, false), "{here}");
        }
        assert!(may_dial(at("10.0.0.1:7"), true, false));
        assert!(may_dial(at("127.0.0.1:7"), false, false), "the user may");
        assert!(may_dial(at("127.0.0.1:7"), true, true));
        assert!(
            !may_dial(at("10.0.0.1:7"), false, true),
            "loopback is loopback"
        );
    }
}
