//! Which of the nodes that say that they have a file are asked for it, which of them together, and
//! in which order.
//!
//! A node may lie about the size, send other contents, or send slowly, and names cost nothing: a
//! liar has as many as it likes. But it has few addresses. So each source in turn has one size
//! tried, and among the nodes that say one size those of different sources come first. Where all
//! come from one source, such as a relay, chance decides.

use super::holders::Holder;
use crate::engine::Source;
use crate::files::ordered::ordered;
use crate::limits::FILE_SIZES;
use crate::name::NodeName;
use crate::table::Table;

/// Nodes from which one file is fetched at a time.
const HOLDERS: usize = 8;

/// Nodes that say that the file has one size. They are asked together.
#[derive(Debug)]
pub(super) struct Team {
    pub(super) size: u64,
    pub(super) holders: Vec<Holder>,
}

impl Team {
    /// Where its holders are, each place once.
    fn sources(&self) -> Vec<Option<Source>> {
        let mut sources = Vec::new();
        for holder in &self.holders {
            if !sources.contains(&holder.source) {
                sources.push(holder.source);
            }
        }
        sources
    }
}

/// What was seen so often so far.
struct Seen<K>(Table<K, usize>);

impl<K: Ord> Seen<K> {
    fn new() -> Seen<K> {
        Seen(Table::default())
    }

    fn times(&self, key: &K) -> usize {
        self.0.get(key).copied().unwrap_or_default()
    }

    fn add(&mut self, key: K) {
        *self.0.or_insert_with(key, || 0) += 1;
    }
}

/// What this request has found out about holders.
#[derive(Debug, Default)]
pub(super) struct Findings {
    /// Holders that are not asked again.
    given_up: Table<NodeName, ()>,
    /// Holders that had a turn in which no piece became whole, and for how many of them.
    slow: Table<NodeName, u32>,
}

impl Findings {
    /// Notes that these are not asked again.
    pub(super) fn give_up(&mut self, holders: &[Holder]) {
        for holder in holders {
            self.given_up.insert(holder.node.clone(), ());
        }
    }

    /// Notes that no piece became whole in a turn of these.
    pub(super) fn were_slow(&mut self, holders: &[Holder]) {
        for holder in holders {
            *self.slow.or_insert_with(holder.node.clone(), || 0) += 1;
        }
    }

    /// How many are not asked again.
    pub(super) fn given_up(&self) -> usize {
        self.given_up.len()
    }

    /// The teams of one round, in their order. `chance` orders what nothing else does.
    pub(super) fn teams(&self, holders: &[Holder], chance: impl Fn(&Holder) -> u64) -> Vec<Team> {
        let is_left = |holder: &&Holder| !self.given_up.contains_key(&holder.node);
        let holders: Vec<Holder> = holders.iter().filter(is_left).cloned().collect();
        let holders = ordered(holders, |holder| [holder.size, chance(holder)]);
        let alike = holders.chunk_by(|a, b| a.size == b.size);
        let teams: Vec<Team> = alike.map(|alike| self.team(alike)).collect();
        let teams = ordered(teams, |team| {
            let most_first = u64::MAX - team.sources().len() as u64;
            [most_first, team.holders.first().map_or(0, &chance)]
        });
        let mut teams = one_by_each_source(teams);
        teams.truncate(FILE_SIZES);
        teams
    }

    /// Those who are asked of the holders that say one size: first those that were not slow, and
    /// of these one of each source.
    fn team(&self, alike: &[Holder]) -> Team {
        let mut seen = Seen::new();
        let mut ranked: Vec<_> = Vec::new();
        for holder in alike {
            let slow = self.slow.get(&holder.node).copied().unwrap_or_default();
            let rank = [u64::from(slow), seen.times(&holder.source) as u64];
            seen.add(holder.source);
            ranked.push((rank, holder));
        }
        let ranked = ordered(ranked, |(rank, _)| *rank);
        let asked = ranked.into_iter().take(HOLDERS);
        Team {
            size: alike.first().map_or(0, |holder| holder.size),
            holders: asked.map(|(_, holder)| holder.clone()).collect(),
        }
    }
}

/// Orders teams so that each source has one of its teams before any source has a second one.
fn one_by_each_source(teams: Vec<Team>) -> Vec<Team> {
    let mut seen = Seen::new();
    let mut ranked = Vec::new();
    for team in teams {
        let sources = team.sources();
        let rank = sources.iter().map(|source| seen.times(source)).min();
        sources.into_iter().for_each(|source| seen.add(source));
        ranked.push((rank.unwrap_or_default() as u64, team));
    }
    let ranked = ordered(ranked, |(rank, _)| [*rank, 0]);
    ranked.into_iter().map(|(_, team)| team).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::IpAddr;

    fn holder(name: &str, site: u8, size: u64) -> Holder {
        Holder {
            node: NodeName::new(name).unwrap(),
            source: Some(Source::Address(IpAddr::from([10, 0, 0, site]))),
            size,
            name: None,
        }
    }

    fn teams(findings: &Findings, holders: &[Holder]) -> Vec<Team> {
        findings.teams(holders, |holder| holder.size)
    }

    fn sizes(holders: &[Holder]) -> Vec<u64> {
        let teams = teams(&Findings::default(), holders);
        teams.iter().map(|team| team.size).collect()
    }

    /// Two hundred names at one place, each with a size of its own.
    fn liars() -> Vec<Holder> {
        (0..200).map(|n| holder(&format!("l{n}"), 1, n)).collect()
    }

    #[test]
    fn an_honest_holder_is_asked_second_however_many_names_a_liar_has() {
        let mut holders = liars();
        holders.push(holder("honest", 2, 9_000));
        let sizes = sizes(&holders);
        assert_eq!((sizes[0], sizes[1], sizes.len()), (0, 9_000, FILE_SIZES));
        // The liar has two places, and each of its sizes is said from both.
        let mut twice = holders;
        twice.extend((0..200).map(|n| holder(&format!("m{n}"), 3, n)));
        assert_eq!(self::sizes(&twice)[1], 9_000);
    }

    #[test]
    fn the_size_that_most_places_say_comes_first() {
        let mut holders = liars();
        holders.extend([holder("a", 2, 9_000), holder("b", 3, 9_000)]);
        assert_eq!(sizes(&holders)[0], 9_000);
        assert!(sizes(&[]).is_empty());
    }

    #[test]
    fn of_those_that_say_one_size_each_place_has_one_and_then_those_that_were_not_slow() {
        let mut holders: Vec<Holder> = (0..20).map(|n| holder(&format!("l{n}"), 1, 5)).collect();
        holders.push(holder("honest", 2, 5));
        let mut findings = Findings::default();
        let names = |teams: Vec<Team>| -> Vec<String> {
            assert_eq!(teams.len(), 1);
            let holders = teams[0].holders.iter();
            holders.map(|holder| holder.node.to_string()).collect()
        };
        let first = ["l0", "honest", "l1", "l2", "l3", "l4", "l5", "l6"];
        assert_eq!(names(teams(&findings, &holders)), first);
        findings.were_slow(&teams(&findings, &holders)[0].holders);
        let second = names(teams(&findings, &holders));
        assert!(second.iter().all(|name| !first.contains(&&**name)));
        findings.give_up(&holders[..19]);
        assert_eq!(names(teams(&findings, &holders)), ["l19", "honest"]);
        findings.give_up(&holders);
        assert!(teams(&findings, &holders).is_empty());
        assert_eq!(findings.given_up(), 21);
    }
}
