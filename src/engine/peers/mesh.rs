//! Networks without advertising: an address is dialled, and whichever node answers tells of others.
//!
//! An address that a program gave is dialled again for as long as nobody there is reached. Peers
//! are told of each other when one of them cannot find the others by their adverts.

use super::{CallNumber, Ctx, LinkId, Output, Time};
use crate::backoff::{Backoff, STEADY};
use crate::engine::payload::Payload;
use crate::error::Error;
use crate::limits::SEEDS_MAX;
use crate::name::NodeName;
use crate::reach::{self, Word};
use crate::table::Table;
use crate::wire::Instance;
use crate::wire::peers::Acquaintance;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

/// How long news of peers are put together before they are told.
const NEWS_GAP: Duration = Duration::from_millis(100);
/// How often everything is told again: what was not taken in the first time may be now.
const RETOLD: Duration = Duration::from_secs(30);

/// A program's call that waits for an address to be linked to, and until when.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    number: CallNumber,
    until: Time,
}

/// The node that was met at a seed.
#[derive(Debug)]
struct Resident {
    instance: Instance,
    name: NodeName,
}

/// An address to be linked to.
#[derive(Debug)]
struct Seed {
    address: SocketAddr,
    /// The dial that is under way.
    link: Option<LinkId>,
    /// The node that answered there last.
    resident: Option<Resident>,
    /// Whether a call waits for a peer that is not known, and that may be there.
    sought: bool,
    /// Since when there has been a session with that.
    since: Option<Time>,
    /// Whether that has closed the last session because it has more than it may have.
    evicted: bool,
    /// When to dial it next.
    at: Time,
    /// Dials in vain, and sessions that were not good, since the last good one.
    failures: u32,
    waiting: Vec<Waiting>,
    /// Whether it is dialled for ever: a node has answered there, or a program said so.
    keep: bool,
}

impl Seed {
    /// The instance that answered there last.
    fn instance(&self) -> Option<&Instance> {
        Some(&self.resident.as_ref()?.instance)
    }
}

/// A seed that nobody is reached at, and that is not being dialled.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Undialled {
    seed: usize,
    pub(crate) address: SocketAddr,
    /// When to dial it.
    pub(crate) at: Time,
    /// Whether a call waits for it, or for a peer that may be there.
    pub(crate) is_wanted: bool,
}

#[derive(Debug)]
pub(crate) struct Mesh {
    seeds: Vec<Seed>,
    /// Whether this node has to do with others that are not all found by advertising.
    active: bool,
    /// When to tell what is new.
    news_at: Time,
    /// When to tell everything.
    all_at: Time,
    /// When to look at the seeds.
    due: Time,
    /// Peers that the other side of each link was told of, in ascending order.
    told: Table<LinkId, Vec<Instance>>,
}

impl Default for Mesh {
    fn default() -> Mesh {
        Mesh {
            seeds: Vec::new(),
            active: false,
            news_at: Time::NEVER,
            all_at: Time::NEVER,
            due: Time::NEVER,
            told: Table::default(),
        }
    }
}

impl Mesh {
    pub(crate) fn due(&self) -> Time {
        self.due.min(self.news_at).min(self.all_at)
    }

    pub(crate) fn activate(&mut self, now: Time) {
        if !self.active {
            self.active = true;
            self.all_at = now + NEWS_GAP;
        }
    }

    /// How many calls wait for an address to be linked to.
    pub(crate) fn waiting(&self) -> usize {
        self.seeds.iter().map(|s| s.waiting.len()).sum()
    }

    /// How many seeds are being dialled.
    pub(crate) fn dialling(&self) -> usize {
        self.seeds.iter().filter(|s| s.link.is_some()).count()
    }

    fn by_link(&mut self, link: LinkId) -> Option<&mut Seed> {
        self.seeds.iter_mut().find(|s| s.link == Some(link))
    }

    /// An address to be linked to, as a seed that [`Mesh::keep`] or [`Mesh::wait`] is to be told
    /// of. An error if nobody can be there, or there are too many.
    pub(crate) fn seed(&mut self, now: Time, address: SocketAddr) -> Result<usize, Error> {
        if !reach::may_dial(address, Word::Program) {
            return Err(Error::Address(address.to_string()));
        }
        self.activate(now);
        if let Some(at) = self.seeds.iter().position(|s| s.address == address) {
            return Ok(at);
        }
        if self.seeds.len() >= SEEDS_MAX {
            return Err(Error::Overloaded("too many addresses to be linked to"));
        }
        self.seeds.push(Seed {
            address,
            link: None,
            resident: None,
            sought: false,
            since: None,
            evicted: false,
            at: now,
            failures: 0,
            waiting: Vec::new(),
            keep: false,
        });
        Ok(self.seeds.len() - 1)
    }

    /// Keeps a seed for as long as this node runs.
    pub(crate) fn keep(&mut self, now: Time, seed: usize) {
        self.seeds[seed].keep = true;
        self.due = now;
    }

    /// Has a call wait for a seed to be linked to.
    pub(crate) fn wait(&mut self, now: Time, seed: usize, number: CallNumber, until: Time) {
        let seed = &mut self.seeds[seed];
        seed.waiting.push(Waiting { number, until });
        if seed.evicted {
            // It answers; it was left alone because nothing needed it.
            seed.at = seed.at.min(now);
        }
        self.due = now;
    }

    /// Ends the calls whose seed is linked to, or whose time is over, and forgets seeds that nobody
    /// wants. `reached` is the name of a peer with which a session is open.
    pub(crate) fn end_waits<'n>(
        &mut self,
        ctx: &mut Ctx<'_>,
        reached: impl Fn(&Instance) -> Option<&'n NodeName>,
    ) {
        self.due = Time::NEVER;
        let now = ctx.now.at;
        for seed in &mut self.seeds {
            let name = seed.instance().and_then(&reached);
            let address = seed.address;
            seed.waiting.retain(|wait| {
                let outcome = match name {
                    Some(name) => Ok(Payload::Data(name.as_str().as_bytes().to_vec())),
                    None if now >= wait.until => Err(Error::Unreachable(address.to_string())),
                    None => {
                        self.due = self.due.min(wait.until);
                        return true;
                    }
                };
                ctx.outputs.push_back(Output::Ended(wait.number, outcome));
                false
            });
        }
        self.seeds
            .retain(|s| s.keep || !s.waiting.is_empty() || s.link.is_some());
    }

    /// The seeds that nobody is reached at, and that are not being dialled. [`Mesh::note_dial`] is
    /// to follow for each of them, but for those that wait until a session ends.
    pub(crate) fn undialled(&self, is_reached: impl Fn(&Instance) -> bool) -> Vec<Undialled> {
        let seeds = self.seeds.iter().enumerate();
        let undialled =
            seeds.filter(|(_, s)| s.link.is_none() && !s.instance().is_some_and(&is_reached));
        let undialled = undialled.map(|(seed, s)| Undialled {
            seed,
            address: s.address,
            at: s.at,
            is_wanted: s.sought || !s.waiting.is_empty(),
        });
        undialled.collect()
    }

    /// A seed is being dialled, or has to wait.
    pub(crate) fn note_dial(&mut self, now: Time, undialled: Undialled, link: Option<LinkId>) {
        if link.is_some() {
            self.seeds[undialled.seed].link = link;
        } else {
            let again = undialled.at.max(now + NEWS_GAP);
            self.due = self.due.min(again);
        }
    }

    /// A call waits for a peer of this name, which is not known. It may be at the seed where one of
    /// that name was met, which is dialled without a pause, or where nobody was met yet.
    pub(crate) fn seek(&mut self, now: Time, name: &NodeName) {
        for seed in &mut self.seeds {
            match &seed.resident {
                Some(resident) if resident.name == *name => seed.at = seed.at.min(now),
                Some(_) => continue,
                None => {}
            }
            seed.sought = true;
            self.due = now;
        }
    }

    /// A dial was in vain; it may have been that of a seed.
    pub(crate) fn seed_failed(&mut self, ctx: &mut Ctx<'_>, link: LinkId) {
        let Some(seed) = self.by_link(link) else {
            return;
        };
        seed.failures += 1;
        let pause = Backoff::new(ctx.config.limits.redial).after(seed.failures);
        seed.at = ctx.now.at + ctx.entropy.jitter(pause);
        seed.link = None;
        self.due = ctx.now.at;
    }

    /// A session is there: calls that wait for it are to end, and others to be told of it.
    /// `is_guest` is whether its peer was not found by advertising.
    pub(crate) fn session_up(
        &mut self,
        now: Time,
        link: LinkId,
        (instance, name): (Instance, &NodeName),
        is_guest: bool,
    ) {
        if let Some(seed) = self.by_link(link) {
            seed.link = None;
            let name = name.clone();
            seed.resident = Some(Resident { instance, name });
            seed.sought = false;
            seed.keep = true;
        }
        for seed in self.of_peer(instance) {
            seed.since.get_or_insert(now);
            seed.evicted = false;
        }
        self.due = now;
        if (self.active || is_guest) && self.news_at == Time::NEVER {
            self.news_at = now + NEWS_GAP;
        }
    }

    /// A link has ended: what its other side was told is forgotten.
    pub(crate) fn unlink(&mut self, link: LinkId) {
        self.told.remove(&link);
    }

    fn of_peer(&mut self, instance: Instance) -> impl Iterator<Item = &mut Seed> {
        let seeds = self.seeds.iter_mut();
        seeds.filter(move |seed| seed.instance() == Some(&instance))
    }

    /// The other side closes a session because it has more than it may have.
    pub(crate) fn evicted_by(&mut self, instance: Instance) {
        self.of_peer(instance).for_each(|seed| seed.evicted = true);
    }

    /// The last session with a peer is lost: if it is at a seed, that is dialled again. It is soon
    /// if the session was good. A seed with more peers than sessions would close another session
    /// for each new one: it is left alone for ever longer.
    pub(crate) fn peer_lost(&mut self, ctx: &mut Ctx<'_>, instance: Instance) {
        let (now, limits) = (ctx.now.at, &ctx.config.limits);
        let (first, longest) = limits.redial;
        for seed in self.of_peer(instance) {
            let up_for = seed.since.take().map(|since| now - since);
            let is_good = !seed.evicted && up_for.is_some_and(|up| up >= STEADY);
            seed.failures = match is_good {
                true => 0,
                false => seed.failures.saturating_add(1),
            };
            let longest = match seed.evicted {
                true => limits.redial_direct,
                false => longest,
            };
            let pause = Backoff::new((first, longest)).after(seed.failures);
            seed.at = now + ctx.entropy.jitter(pause);
        }
    }

    /// A session has ended: seeds are looked at, for which there may be room now.
    pub(crate) fn session_down(&mut self, now: Time) {
        self.due = self.due.min(now);
    }

    /// Whether peers are to be told of others now: of all if it is `Some(true)`, of those that are
    /// new if it is `Some(false)`. `has_guest` is whether one of them was not found by advertising.
    pub(crate) fn take_news(
        &mut self,
        ctx: &mut Ctx<'_>,
        has_guest: impl FnOnce() -> bool,
    ) -> Option<bool> {
        let now = ctx.now.at;
        if now < self.news_at && now < self.all_at {
            return None;
        }
        self.news_at = Time::NEVER;
        if !self.active {
            // A peer that was not heard before it dialled may have been since, on a LAN that is
            // just slow to tell.
            if !has_guest() {
                return None;
            }
            self.active = true;
            self.all_at = now;
        }
        let all = now >= self.all_at;
        if all {
            self.all_at = now + ctx.entropy.jitter(RETOLD);
        }
        Some(all)
    }

    /// Which of the peers that are `known` the peer `to` at `place` is to be told of, over `link`:
    /// all of them, or those that it was not told of.
    pub(crate) fn untold(
        &mut self,
        link: LinkId,
        (to, place): (Instance, SocketAddr),
        known: &[Acquaintance],
        all: bool,
    ) -> Vec<Acquaintance> {
        let told = self.told.or_insert_with(link, Vec::new);
        told.retain(|i| known.iter().any(|k| k.instance == *i));
        known
            .iter()
            .filter(|k| k.instance != to && (all || !told.contains(&k.instance)))
            // A loopback address means something else on another host.
            .filter(|k| !k.address.ip().is_loopback() || place.ip().is_loopback())
            .cloned()
            .collect()
    }

    /// The other side of a link was told of some peers.
    pub(crate) fn note_told(&mut self, link: LinkId, some: &[Acquaintance]) {
        if let Some(told) = self.told.get_mut(&link) {
            told.extend(some.iter().map(|k| k.instance));
            told.sort_unstable();
            told.dedup();
        }
    }

    /// Calls that wait for an address wait in vain: the node is stopped.
    pub(crate) fn end_all_waits(&mut self, outputs: &mut VecDeque<Output>, why: &Error) {
        for seed in std::mem::take(&mut self.seeds) {
            for wait in seed.waiting {
                outputs.push_back(Output::Ended(wait.number, Err(why.clone())));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::fixture::{Fixture, acquaintance, address, at, name};

    #[test]
    fn a_call_for_an_address_ends_with_the_name_of_the_node_there_or_in_time() {
        let (mut fixture, mut mesh) = (Fixture::default(), Mesh::default());
        let seed = mesh.seed(at(0), address(1)).unwrap();
        mesh.wait(at(0), seed, CallNumber(1), at(50));
        mesh.wait(at(0), seed, CallNumber(2), at(500));
        assert_eq!(mesh.waiting(), 2);
        fixture.now = at(50);
        mesh.end_waits(&mut fixture.ctx(), |_| None);
        assert!(matches!(
            fixture.core.outputs.pop_front(),
            Some(Output::Ended(CallNumber(1), Err(Error::Unreachable(_))))
        ));
        let undialled = mesh.undialled(|_| false);
        mesh.note_dial(at(50), undialled[0], Some(LinkId(3)));
        assert!(mesh.undialled(|_| false).is_empty());
        mesh.session_up(at(60), LinkId(3), (Instance([1; 16]), &name("p1")), true);
        let reached = name("p1");
        mesh.end_waits(&mut fixture.ctx(), |_| Some(&reached));
        let ended = fixture.core.outputs.pop_front();
        assert!(
            matches!(ended, Some(Output::Ended(CallNumber(2), Ok(who))) if who.bytes() == b"p1")
        );
        assert!(mesh.undialled(|_| true).is_empty());
        assert_eq!(mesh.undialled(|_| false).len(), 1, "it is kept");
    }

    #[test]
    fn a_seed_is_dialled_again_later_each_time() {
        let (mut fixture, mut mesh) = (Fixture::default(), Mesh::default());
        let seed = mesh.seed(at(0), address(1)).unwrap();
        mesh.keep(at(0), seed);
        let mut pauses = Vec::new();
        for link in 0..4 {
            let undialled = mesh.undialled(|_| false)[0];
            mesh.note_dial(at(0), undialled, Some(LinkId(link)));
            mesh.seed_failed(&mut fixture.ctx(), LinkId(link));
            pauses.push(mesh.undialled(|_| false)[0].at);
        }
        assert!(pauses.is_sorted_by(|a, b| a < b), "{pauses:?}");
    }

    /// A seed at which a peer was reached `rounds` times, each time for so long, and then lost; the
    /// pause before each next dial.
    fn pauses(rounds: u64, up_for: Duration, is_evicted: bool) -> Vec<Duration> {
        let (mut fixture, mut mesh) = (Fixture::default(), Mesh::default());
        let seed = mesh.seed(at(0), address(1)).unwrap();
        mesh.keep(at(0), seed);
        let peer = Instance([1; 16]);
        let pause = |link| {
            let undialled = mesh.undialled(|_| false)[0];
            fixture.now = fixture.now.max(undialled.at);
            mesh.note_dial(fixture.now, undialled, Some(LinkId(link)));
            mesh.session_up(fixture.now, LinkId(link), (peer, &name("p1")), false);
            fixture.now = fixture.now + up_for;
            if is_evicted {
                mesh.evicted_by(peer);
            }
            mesh.peer_lost(&mut fixture.ctx(), peer);
            mesh.undialled(|_| false)[0].at - fixture.now
        };
        (0..rounds).map(pause).collect()
    }

    #[test]
    fn a_seed_is_dialled_again_soon_after_a_good_session_and_later_after_others() {
        let (first, longest) = Fixture::default().core.config.limits.redial;
        let good = pauses(20, STEADY, false);
        assert!(
            good.iter().all(|pause| *pause <= first * 11 / 10),
            "{good:?}"
        );
        let short = pauses(20, Duration::from_secs(1), false);
        assert!(short[..7].is_sorted(), "{short:?}");
        assert!(short[19] >= longest * 9 / 10, "{short:?}");
    }

    #[test]
    fn a_seed_with_no_room_is_left_alone_for_longer_unless_a_call_wants_it() {
        let rest = Fixture::default().core.config.limits.redial_direct;
        let evicted = pauses(20, STEADY, true);
        assert!(evicted[19] >= rest * 9 / 10, "{evicted:?}");

        let (mut fixture, mut mesh) = (Fixture::default(), Mesh::default());
        let (seed, peer) = (mesh.seed(at(0), address(1)).unwrap(), Instance([1; 16]));
        mesh.keep(at(0), seed);
        mesh.note_dial(at(0), mesh.undialled(|_| false)[0], Some(LinkId(1)));
        mesh.session_up(at(0), LinkId(1), (peer, &name("p1")), false);
        mesh.evicted_by(peer);
        mesh.peer_lost(&mut fixture.ctx(), peer);
        assert!(mesh.undialled(|_| false)[0].at > at(0));
        mesh.wait(at(1), seed, CallNumber(1), at(500));
        let undialled = mesh.undialled(|_| false)[0];
        assert!(undialled.is_wanted && undialled.at <= at(1));
    }

    #[test]
    fn a_peer_is_told_once_of_each_other_and_of_all_now_and_then() {
        let mut mesh = Mesh::default();
        let known = [acquaintance(1), acquaintance(2), acquaintance(3)];
        let to = (Instance([1; 16]), address(1));
        let link = LinkId(4);
        let news = mesh.untold(link, to, &known, false);
        assert_eq!(news, known[1..], "not of itself");
        mesh.note_told(link, &news);
        assert!(mesh.untold(link, to, &known, false).is_empty());
        assert_eq!(mesh.untold(link, to, &known, true).len(), 2);
        mesh.unlink(link);
        assert_eq!(mesh.untold(link, to, &known, false).len(), 2);
    }
}
