//! Asking the peers which of them have a file.

use super::{Fetch, ask};
use crate::engine::{Path, PeerInfo, Source};
use crate::error::Error;
use crate::files::INFO;
use crate::files::name::is_plain;
use crate::json;
use crate::limits::FILE_ASKING;
use crate::name::NodeName;
use crate::node::{Options, RawAnswer, Targets};
use std::time::{Duration, Instant};

/// JSON values in what a node says about a file: its size and name, and a few more in later
/// versions.
const INFO_VALUES: usize = 64;

/// A node that says that it has a file.
#[derive(Clone, Debug)]
pub(super) struct Holder {
    pub(super) node: NodeName,
    /// Where its session comes from, if it has one still.
    pub(super) source: Option<Source>,
    pub(super) size: u64,
    pub(super) name: Option<String>,
}

impl Fetch<'_> {
    /// Asks the peers which of them have the file. If none says that it does, and some have not
    /// answered in time, they are asked again, for as long as the transfer may make no progress: a
    /// holder may be slow, or its session may have to be made first.
    pub(super) fn first_holders(&self) -> Result<Vec<Holder>, Error> {
        let began = Instant::now();
        loop {
            let left = self.timeout.saturating_sub(began.elapsed());
            match self.holders_within(left) {
                Err(Error::Timeout) if left > FILE_ASKING => {}
                found => return found,
            }
        }
    }

    /// Asks the peers which of them have the file.
    pub(super) fn holders(&self) -> Result<Vec<Holder>, Error> {
        self.holders_within(self.timeout)
    }

    fn holders_within(&self, timeout: Duration) -> Result<Vec<Holder>, Error> {
        // A peer of PeerBase 0.7.1 has no files to give.
        let can_have_files = |p: &PeerInfo| !p.path.as_ref().is_some_and(Path::is_compat);
        let peers = self.node.peers().into_iter().filter(can_have_files);
        let peers: Vec<NodeName> = peers.map(|p| p.name).collect();
        let options = all_at_once(peers.len(), timeout);
        let asked = ask(INFO, format!("[\"{}\"]", self.hash))?;
        let targets = Targets::List(peers);
        let answers = self.node.call_many(targets, asked, options)?;
        // A node that could not say is not one that has no such file.
        let unsaid = answers.iter().find_map(|(_, answer)| {
            let why = answer.as_ref().err()?;
            let unsaid = matches!(why, Error::Timeout | Error::Overloaded(_));
            unsaid.then(|| why.clone())
        });
        let holders = answers.into_iter().filter_map(|answer| self.holder(answer));
        let holders: Vec<Holder> = holders.collect();
        match unsaid {
            Some(why) if holders.is_empty() => Err(why),
            _ => Ok(holders),
        }
    }

    /// What a node has answered, if it has the file.
    fn holder(&self, (node, answer): RawAnswer) -> Option<Holder> {
        let value = json::parse(&answer.ok()?.into_json().ok()?, INFO_VALUES).ok()?;
        // The name is kept for as long as the fetch takes, so only a plain one is, which is short.
        let name = value.get("name").and_then(|n| n.as_str());
        Some(Holder {
            source: self.node.source_of(&node),
            node,
            size: value.get("size")?.as_u64()?,
            name: name.filter(|n| is_plain(n)).map(str::to_owned),
        })
    }
}

/// Asks so many peers at the same time. Peers that were invented answer nothing, and if some were
/// asked before others, those that answer would wait for them.
fn all_at_once(peers: usize, timeout: Duration) -> Options {
    Options {
        timeout: timeout.min(FILE_ASKING),
        // One that leaves meanwhile is not waited for.
        wait: false,
        max_in_flight: peers.max(1),
        ..Options::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_of_peers_are_asked_in_the_time_of_one() {
        let day = Duration::from_secs(24 * 3600);
        for (peers, at_once) in [(0, 1), (64, 64), (4_096, 4_096)] {
            let options = all_at_once(peers, day);
            assert_eq!(
                (options.max_in_flight, options.timeout),
                (at_once, FILE_ASKING)
            );
        }
        let short = Duration::from_millis(1);
        assert_eq!(all_at_once(2, short).timeout, short);
    }
}
