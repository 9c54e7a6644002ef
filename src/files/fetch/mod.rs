//! Fetching a file: which nodes have it, its pieces from several of them at once, and the check of
//! the whole before the file gets its name.
//!
//! `pieces` holds what is still to be fetched, `worker` is the thread that fetches from one node.

mod pieces;
mod worker;

use super::name::is_plain;
use super::part::{KeptParts, LARGEST, Part};
use super::share::{Offer, Share};
use super::{FileHash, INFO};
use crate::engine::{Ask, Path, PeerInfo};
use crate::error::Error;
use crate::json;
use crate::logging::record;
use crate::name::{CommandPath, NodeName};
use crate::node::{Node, Options, RawAnswer, Targets};
use crate::signals;
use pieces::{Ending, News, Pieces};
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use worker::Worker;

/// How long to wait until nodes have said whether they have a file.
const ASKING: Duration = Duration::from_secs(5);
/// How long the holders that say one size may take until a piece is whole, while others say another
/// size; the time doubles each time that all of them are slow. It is enough for a piece at 70 KB/s.
const STALLED: Duration = match cfg!(test) {
    true => Duration::from_secs(1),
    false => Duration::from_secs(60),
};
/// Nodes from which one file is fetched at a time.
const HOLDERS: usize = 8;
/// JSON values in what a node says about a file: its size and name, and a few more in later
/// versions.
const INFO_VALUES: usize = 64;

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

/// A node that says that it has a file.
#[derive(Clone, Debug)]
struct Holder {
    node: NodeName,
    size: u64,
    name: Option<String>,
}
impl Node {
    /// Fetches a file by its hash from the peers that have it, several at once. Returns where it is
    /// then. Its folder is that of [`Node::set_file_dir`], which must have been called before. Its
    /// name is the one under which it is offered, if that is a plain name that no file there has.
    /// A file that this node offers itself is returned at once, from where it is. `timeout` is how
    /// long the transfer may make no progress.
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
        let outcome = self.fetch_in_any_size(progress);
        if let Some(kept) = KeptParts::look(&self.folder).filter(|_| outcome.is_ok()) {
            kept.remove_all(self.hash);
        }
        outcome
    }

    /// Fetches the file in one of the sizes that nodes say.
    fn fetch_in_any_size(&self, progress: &mut dyn FnMut(Progress)) -> Result<Fetched, Error> {
        let holders = self.holders()?;
        // A holder may lie. So those that agree on a size are asked together, the largest group
        // first.
        let mut sizes: Vec<u64> = holders.iter().map(|h| h.size).collect();
        sizes.sort_unstable();
        sizes.dedup();
        let of = |size: u64| -> Vec<Holder> {
            let alike = holders.iter().filter(|h| h.size == size);
            alike.take(HOLDERS).cloned().collect()
        };
        sizes.sort_by_key(|size| usize::MAX - of(*size).len());
        let mut outcome = Err(Error::FileUnknown(self.hash.to_string()).into());
        let mut patience = (sizes.len() > 1).then_some(STALLED);
        let mut left = sizes;
        while !left.is_empty() {
            let mut stalled = Vec::new();
            for size in std::mem::take(&mut left) {
                outcome = self.fetch_alike(&of(size), size, patience, progress);
                if let Some(kept) = KeptParts::look(&self.folder) {
                    kept.leave_best(self.hash);
                }
                if matches!(outcome, Err(Failed { stalled: true, .. })) {
                    stalled.push(size);
                }
                if !outcome.as_ref().is_err_and(Failed::may_be_a_lie) {
                    break;
                }
            }
            // Slow holders may be honest: they are asked again, and left more time.
            if outcome.as_ref().is_err_and(Failed::may_be_a_lie) {
                left = stalled;
                patience = patience.map(|patience| patience * 2);
            }
        }
        outcome.map_err(|failed| failed.why)
    }

    /// Fetches from holders that say that the file has this size.
    fn fetch_alike(
        &self,
        alike: &[Holder],
        size: u64,
        patience: Option<Duration>,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Fetched, Failed> {
        let limit = self.share.limits.file_bytes.min(LARGEST);
        if size > limit {
            let fits = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
            let (size, limit) = (fits(size), fits(limit));
            return Err(Error::TooLarge { size, limit }.into());
        }
        let outcome = self.fetch(alike, size, patience, progress);
        if !outcome.as_ref().is_err_and(Failed::is_damage) || alike.len() == 1 {
            return outcome;
        }
        // One of them sent something else. Fetching from each alone shows which one.
        let alone = alike.iter().map(std::slice::from_ref);
        let mut outcomes = alone.map(|one| self.fetch(one, size, patience, progress));
        let other = outcomes.find(|outcome| !outcome.as_ref().is_err_and(Failed::is_damage));
        other.unwrap_or(outcome)
    }

    /// Asks the peers which of them have the file.
    fn holders(&self) -> Result<Vec<Holder>, Error> {
        let options = Options {
            timeout: self.timeout.min(ASKING),
            // One that leaves meanwhile is not waited for.
            wait: false,
            ..Options::default()
        };
        let asked = ask(INFO, format!("[\"{}\"]", self.hash))?;
        // A peer of PeerBase 0.7.1 has no files to give.
        let can_have_files = |p: &PeerInfo| !p.path.as_ref().is_some_and(Path::is_compat);
        let peers = self.node.peers().into_iter().filter(can_have_files);
        let targets = Targets::List(peers.map(|p| p.name).collect());
        let answers = self.node.call_many(targets, asked, options)?;
        // A node that could not say is not one that has no such file.
        let unsaid = answers.iter().find_map(|(_, answer)| {
            let why = answer.as_ref().err()?;
            let unsaid = matches!(why, Error::Timeout | Error::Overloaded(_));
            unsaid.then(|| why.clone())
        });
        let holder = |(node, answer): RawAnswer| {
            let value = json::parse(&answer.ok()?, INFO_VALUES).ok()?;
            Some(Holder {
                node,
                size: value.get("size")?.as_u64()?,
                // The name is kept for as long as the fetch takes, so only a plain one is, which is
                // short.
                name: value
                    .get("name")
                    .and_then(|n| n.as_str())
                    .filter(|n| is_plain(n))
                    .map(str::to_owned),
            })
        };
        let holders: Vec<Holder> = answers.into_iter().filter_map(holder).collect();
        match unsaid {
            Some(why) if holders.is_empty() => Err(why),
            _ => Ok(holders),
        }
    }

    /// Fetches from these holders. If `patience` is given, the attempt fails as stalled when no
    /// piece has become whole for that long.
    fn fetch(
        &self,
        holders: &[Holder],
        size: u64,
        patience: Option<Duration>,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Fetched, Failed> {
        let mut part = Part::open(&self.folder, self.hash, size)?;
        if let Err(failed) = self.fetch_pieces(holders, &mut part, patience, progress) {
            // Only whole pieces are worth keeping, and only of a file for which disks are large
            // enough. An error of this node may pass.
            if part.received() == 0 || failed.is_size_no_disk_takes() {
                part.discard();
            }
            return Err(failed);
        }
        let name = holders.iter().find_map(|h| h.name.as_deref());
        let Some((path, stamp)) = part.finish(self.hash, name)? else {
            let why = format!("what was sent is not the file {}", self.hash);
            return Err(Error::Damaged(why).into());
        };
        let offer = Offer {
            path: path.clone(),
            stamp,
            links: false,
        };
        // The file is there, whether this node may offer it or not.
        if let Err(e) = self.share.offer(self.hash, offer) {
            record!(Warn, "a file that was fetched is not offered: {e}");
        }
        Ok(Fetched { path, size })
    }

    /// Fetches the missing pieces, from each holder on a thread of its own.
    fn fetch_pieces(
        &self,
        holders: &[Holder],
        part: &mut Part,
        patience: Option<Duration>,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(), Failed> {
        let pieces = Arc::new(Pieces::new(part.missing()));
        let mut threads = Vec::new();
        let mut outcome = Ok(());
        // When `ending` is dropped, the threads that fetch find nothing more to do.
        let ending = Ending(&pieces, self.node);
        for holder in holders {
            let worker = Worker {
                node: self.node.clone(),
                hash: self.hash,
                timeout: self.timeout,
                holder: holder.node.clone(),
                pieces: pieces.clone(),
                file: part.file()?,
            };
            pieces.worker_begins();
            // If no thread can be started, the worker is dropped, and its drop says that it is
            // over.
            match signals::spawn("peerbase-file", move || worker.run()) {
                Ok(thread) => threads.push(thread),
                Err(e) => {
                    outcome = Err(Error::io("starting a thread", &e).into());
                }
            }
        }
        if !threads.is_empty() {
            outcome = self.follow(&pieces, threads.len(), part, patience, progress);
        }
        drop(ending);
        for thread in threads {
            let _ = thread.join();
        }
        outcome
    }

    /// Notes what has arrived until all has, or no thread fetches any more.
    fn follow(
        &self,
        pieces: &Pieces,
        mut holders: usize,
        part: &mut Part,
        patience: Option<Duration>,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(), Failed> {
        let size = part.size();
        let mut left = part.missing().len();
        let mut received = part.received();
        let mut last = None;
        let mut whole_at = Instant::now();
        loop {
            progress(Progress {
                received,
                size,
                holders,
            });
            if left == 0 {
                return Ok(());
            }
            match pieces.next(self.node) {
                Some(News::Bytes(n)) => received = received.saturating_add_signed(n),
                Some(News::Piece(offset)) => {
                    left -= 1;
                    part.mark(offset)?;
                    whole_at = Instant::now();
                }
                Some(News::Disk(e)) => return Err(e.into()),
                Some(News::GaveUp(e)) => {
                    holders -= 1;
                    last = Some(e);
                }
                None => {
                    let why = last.map_or("nobody sends it".into(), |e| e.to_string());
                    return Err(broken(part, why).into());
                }
            }
            // A holder that sends a byte now and then does not time out.
            if patience.is_some_and(|patience| whole_at.elapsed() > patience) {
                let why = broken(part, "it is sent too slowly".into());
                return Err(Failed { why, stalled: true });
            }
        }
    }
}
fn ask(path: &str, args: String) -> Result<Ask, Error> {
    Ok(Ask::Command {
        path: CommandPath::new(path)?,
        args: args.into_bytes(),
        kwargs: b"{}".to_vec(),
    })
}

fn broken(part: &Part, why: String) -> Error {
    let arrived = part.received();
    Error::Broken { arrived, why }
}

/// Why an attempt to fetch a file in one size has failed.
#[derive(Debug)]
struct Failed {
    why: Error,
    /// Whether it was given up because no piece became whole for long.
    stalled: bool,
}

impl From<Error> for Failed {
    fn from(why: Error) -> Failed {
        Failed {
            why,
            stalled: false,
        }
    }
}

impl Failed {
    fn is_damage(&self) -> bool {
        matches!(self.why, Error::Damaged(_))
    }

    /// Whether the attempt has failed because of what the holders say. Then others that say
    /// something else may be asked. A size that no disk takes is a lie as well.
    fn may_be_a_lie(&self) -> bool {
        use Error::{Broken, Damaged, TooLarge};
        matches!(self.why, Damaged(_) | Broken { .. } | TooLarge { .. })
            || self.is_size_no_disk_takes()
    }

    fn is_size_no_disk_takes(&self) -> bool {
        let size = ErrorKind::FileTooLarge;
        matches!(self.why, Error::Io { kind, .. } if kind == size)
    }
}
