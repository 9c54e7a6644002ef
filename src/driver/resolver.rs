//! Names of relays to addresses, on threads of their own: the system's resolver may take half a minute,
//! and the event loop must not wait for it.
//!
//! One thread for each name that is being looked up, and no second one for the same name, however
//! often it is asked for meanwhile. A thread ends with its answer, also when nobody waits any more.

use crate::address::RelayAddress;
use crate::protocol::LinkId;
use mio::Waker;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex, PoisonError};

type Found = Vec<SocketAddr>;
/// Answers that have come.
type Answers = Arc<Mutex<Vec<(RelayAddress, Found)>>>;

#[derive(Debug)]
pub(super) struct Resolver {
    waker: Arc<Waker>,
    answers: Answers,
    /// What is being looked up, and for which link.
    asked: Vec<(RelayAddress, LinkId)>,
}

impl Resolver {
    pub(super) fn new(waker: Arc<Waker>) -> Resolver {
        Resolver {
            waker,
            answers: Answers::default(),
            asked: Vec::new(),
        }
    }

    /// The addresses, if none need be looked up; otherwise they come from [`Resolver::next`].
    pub(super) fn resolve(&mut self, link: LinkId, relay: &RelayAddress) -> Option<Found> {
        let (host, port) = relay.host_and_port();
        if let Some(ip) = relay.ip() {
            return Some(vec![SocketAddr::new(ip, port)]);
        }
        if let Some((_, waits)) = self.asked.iter_mut().find(|(r, _)| r == relay) {
            *waits = link;
            return None;
        }
        let (answers, waker, asked) = (self.answers.clone(), self.waker.clone(), relay.clone());
        let host = host.to_owned();
        let look_up = move || {
            let found = (host.as_str(), port).to_socket_addrs();
            let found = found.map(Iterator::collect).unwrap_or_default();
            let mut answers = answers.lock().unwrap_or_else(PoisonError::into_inner);
            answers.push((asked, found));
            if let Err(e) = waker.wake() {
                log::error!("waking the event loop: {e}");
            }
        };
        let thread = std::thread::Builder::new().name("peerbase-dns".into());
        if let Err(e) = thread.spawn(look_up) {
            log::debug!("starting a lookup: {e}");
            return Some(Vec::new());
        }
        self.asked.push((relay.clone(), link));
        None
    }

    /// An answer that has come: of which relay, for which link, and the addresses, none if there are none.
    pub(super) fn next(&mut self) -> Option<(RelayAddress, LinkId, Found)> {
        if self.asked.is_empty() {
            return None;
        }
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let (relay, found) = answers.pop()?;
        let at = self.asked.iter().position(|(r, _)| *r == relay)?;
        let (relay, link) = self.asked.swap_remove(at);
        Some((relay, link, found))
    }
}

/// Whether a relay may be dialled at `ip`. One that was learnt is what some member says: it must not
/// lead to services of this host, nor to everyone. On loopback nothing else is dialled.
pub(super) fn may_dial(ip: IpAddr, learnt: bool, loopback_only: bool) -> bool {
    let ip = ip.to_canonical();
    if loopback_only {
        return ip.is_loopback();
    }
    let broadcast = matches!(ip, IpAddr::V4(v4) if v4.is_broadcast() || v4.is_link_local());
    !learnt || !(ip.is_loopback() || ip.is_unspecified() || ip.is_multicast() || broadcast)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn poll() -> (mio::Poll, Resolver) {
        let poll = mio::Poll::new().unwrap();
        let waker = Waker::new(poll.registry(), mio::Token(0)).unwrap();
        (poll, Resolver::new(Arc::new(waker)))
    }

    #[test]
    fn an_address_needs_no_lookup_and_a_name_does_not_wait() {
        let (mut poll, mut resolver) = poll();
        let relay = |s| RelayAddress::new(s).unwrap();
        let found = resolver.resolve(LinkId(1), &relay("[::1]:7"));
        assert_eq!(found, Some(vec!["[::1]:7".parse().unwrap()]));
        // The hosts file knows this one; nothing leaves the machine.
        let name = relay("localhost:7");
        assert_eq!(resolver.resolve(LinkId(2), &name), None);
        assert_eq!(resolver.resolve(LinkId(3), &name), None, "no second thread");
        let mut events = mio::Events::with_capacity(4);
        poll.poll(&mut events, Some(Duration::from_secs(30)))
            .unwrap();
        let (_, link, found) = resolver.next().unwrap();
        assert_eq!(link, LinkId(3), "for who asked last");
        assert!(!found.is_empty() && found.iter().all(|a| a.ip().is_loopback()));
        assert_eq!(resolver.next(), None);
    }

    #[test]
    fn a_learnt_relay_is_not_dialled_on_this_host() {
        let ip = |s: &str| s.parse::<IpAddr>().unwrap();
        for here in [
            "127.0.0.1",
            "127.9.9.9",
            "::1",
            "::ffff:127.0.0.1",
            "0.0.0.0",
            "::",
            "224.0.0.1",
            "ff02::1",
            "255.255.255.255",
            "169.254.169.254",
        ] {
            assert!(!may_dial(ip(here), true, false), "{here}");
        }
        assert!(may_dial(ip("10.0.0.1"), true, false));
        assert!(may_dial(ip("127.0.0.1"), false, false), "the user may");
        assert!(may_dial(ip("127.0.0.1"), true, true));
        assert!(
            !may_dial(ip("10.0.0.1"), false, true),
            "loopback is loopback"
        );
    }
}
