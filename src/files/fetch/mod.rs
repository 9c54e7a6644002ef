//! Fetching a file: which nodes have it, its pieces from several of them at once, and the check of
//! the whole before the file gets its name.
//!
//! `holders` asks who has it, `teams` says which of these are asked for it and in which order, and
//! `turn` for how long. `attempt` fetches from one team: `pieces` holds what is still to be
//! fetched, and `worker` is the thread that fetches from one node.

mod attempt;
mod holders;
mod pieces;
mod teams;
mod turn;
mod worker;

use super::FileHash;
use super::part::KeptParts;
use super::share::Share;
use crate::engine::Ask;
use crate::error::Error;
use crate::limits::FILE_GIVEN_UP;
use crate::name::CommandPath;
use crate::node::Node;
use holders::Holder;
use std::hash::{BuildHasher, RandomState};
use std::path::PathBuf;
use std::time::Duration;
use teams::Findings;
use turn::Turn;

/// How much of a file has been fetched, whether now or by an earlier request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Bytes that are there. It begins with those that an interrupted request has left, and may go
    /// back by what a node sent in vain.
    pub received: u64,
    /// Bytes of the whole file, as the nodes say that have it.
    pub size: u64,
    /// The number of nodes from which it is fetched.
    pub holders: usize,
}

/// A file that was fetched, or was there before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// Where it is.
    pub path: PathBuf,
    /// Its bytes.
    pub size: u64,
}

impl Node {
    /// Fetches a file by its hash from the peers that have it, several at once. Returns where it is
    /// then. Its folder is that of [`Node::set_file_dir`], which must have been called before. Its
    /// name is the one under which it is offered, if that is a plain name that no file there has.
    /// A file that this node offers itself is returned at once, from where it is. `timeout` is how
    /// long the transfer may make no progress, also before any peer has said that it has the file.
    /// Peers that send a byte now and then are given up when no piece has become whole for as long,
    /// or for 160 s if that is longer. Nodes that join while a file is fetched slowly are asked for
    /// it, too.
    ///
    /// `progress` is called now and then on the thread that called this function. It cannot stop
    /// the transfer, and nothing else but [`Node::stop`] can.
    ///
    /// A file is fetched in pieces of 4 MiB. If a transfer is interrupted, also by an error of this
    /// node such as a full disk, the pieces that have arrived whole are kept in the folder, and the
    /// next request resumes with them. They are kept for a week at least; if peers have said
    /// several sizes, only those of the size of which most pieces have arrived. After the transfer
    /// this node offers the file, too.
    ///
    /// Files are asked for by their hash. A node cannot list the files that others offer; a command
    /// of the program can tell other nodes the hashes that [`Node::add_file`] returned.
    ///
    /// # Errors
    ///
    /// [`Error::FileUnknown`] if no peer has the file, [`Error::Damaged`] if no peer sent what the
    /// hash says, [`Error::TooLarge`] beyond [`file_bytes`](crate::Limits::file_bytes),
    /// [`Error::Broken`] if the transfer was interrupted, [`Error::Io`] if the file cannot be
    /// written, [`Error::Argument`] if no folder is set or the file is being fetched already, and
    /// [`Error::WouldDeadlock`] in a [callback](crate#callbacks).
    pub fn request_file(
        &self,
        hash: &str,
        timeout: Duration,
        mut progress: impl FnMut(Progress),
    ) -> Result<Fetched, Error> {
        let hash = FileHash::parse(hash)?;
        let share = self.share()?;
        self.check_may_wait()?;
        if let Some(offer) = share.find(hash) {
            let (path, size) = (offer.path, offer.stamp.size);
            return Ok(Fetched { path, size });
        }
        let folder = share.folder()?;
        let already = Error::Argument("the file is being fetched already");
        let _fetching = share.begin_fetch(hash).ok_or(already)?;
        let fetch = Fetch {
            node: self,
            share: &share,
            hash,
            folder,
            timeout,
        };
        fetch.run(&mut progress)
    }
}

/// One request for a file.
struct Fetch<'a> {
    node: &'a Node,
    share: &'a Share,
    hash: FileHash,
    folder: PathBuf,
    timeout: Duration,
}

impl Fetch<'_> {
    fn run(&self, progress: &mut dyn FnMut(Progress)) -> Result<Fetched, Error> {
        if let Some(kept) = KeptParts::look(&self.folder) {
            kept.remove_old(self.hash);
        }
        let outcome = self.fetch_from_any(progress);
        if let Some(kept) = KeptParts::look(&self.folder).filter(|_| outcome.is_ok()) {
            kept.remove_all(self.hash);
        }
        outcome
    }

    /// Fetches the file from whichever holders send it. Those that say one size have a turn, and
    /// then those that say another. When a turn has ended before the file was whole, the peers are
    /// asked again who has it: an honest holder may have joined.
    fn fetch_from_any(&self, progress: &mut dyn FnMut(Progress)) -> Result<Fetched, Error> {
        let mut holders = self.first_holders()?;
        let (random, mut findings) = (RandomState::new(), Findings::default());
        // Nobody may know beforehand whose turn comes first, but tests must.
        let chance = |holder: &Holder| match cfg!(test) {
            true => holder.size,
            false => random.hash_one(holder.node.as_str()),
        };
        let mut last = Error::FileUnknown(self.hash.to_string());
        for round in 0.. {
            let teams = findings.teams(&holders, chance);
            if teams.is_empty() || findings.given_up() > FILE_GIVEN_UP {
                break;
            }
            let turn = Turn::of(teams.len(), round, self.timeout);
            let mut is_late = false;
            for team in &teams {
                let outcome = self.fetch_alike(team, turn, &mut findings, progress);
                if let Some(kept) = KeptParts::look(&self.folder) {
                    kept.leave_best(self.hash);
                }
                match outcome {
                    Err(failed) if failed.may_be_a_lie() => {
                        is_late |= failed.is_late();
                        last = failed.why;
                    }
                    ended => return ended.map_err(|failed| failed.why),
                }
            }
            if is_late && let Ok(now) = self.holders() {
                holders = now;
            }
        }
        Err(last)
    }
}

fn ask(path: &str, args: String) -> Result<Ask, Error> {
    Ok(Ask::Command {
        path: CommandPath::new(path)?,
        args: args.into_bytes(),
        kwargs: b"{}".to_vec(),
    })
}
