//! One attempt to fetch a file: from nodes that say the same size of it, while their turn lasts.

use super::holders::Holder;
use super::pieces::{Ending, News, Pieces};
use super::teams::{Findings, Team};
use super::turn::Turn;
use super::worker::Worker;
use super::{Fetch, Fetched, Progress};
use crate::error::Error;
use crate::files::part::{LARGEST, Part};
use crate::files::share::Offer;
use crate::logging::record;
use crate::signals;
use std::io::ErrorKind;
use std::slice;
use std::sync::Arc;
use std::time::Instant;

/// Why an attempt has failed.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) why: Error,
    how: How,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    /// These holders do not send the file.
    ForGood,
    /// What has arrived is not the file, but some of it had arrived before.
    WithWhatWasKept,
    /// Their turn was over. `gained` is whether a piece has become whole in it.
    Late { gained: bool },
}

impl From<Error> for Failed {
    fn from(why: Error) -> Failed {
        let how = How::ForGood;
        Failed { why, how }
    }
}

impl Failed {
    /// Whether the attempt has failed because of what the holders say. Then others may be asked. A
    /// size that no disk takes is a lie as well.
    pub(super) fn may_be_a_lie(&self) -> bool {
        use Error::{Broken, Damaged, TooLarge};
        matches!(self.why, Damaged(_) | Broken { .. } | TooLarge { .. })
            || self.is_size_no_disk_takes()
    }

    /// Whether the turn of the holders was over before the file was whole.
    pub(super) fn is_late(&self) -> bool {
        matches!(self.how, How::Late { .. })
    }

    fn is_damage(&self) -> bool {
        matches!(self.why, Error::Damaged(_))
    }

    fn is_size_no_disk_takes(&self) -> bool {
        let size = ErrorKind::FileTooLarge;
        matches!(self.why, Error::Io { kind, .. } if kind == size)
    }

    /// Notes what this says about the holders.
    fn note(&self, holders: &[Holder], findings: &mut Findings) {
        match self.how {
            How::ForGood | How::WithWhatWasKept => findings.give_up(holders),
            How::Late { gained: false } => findings.were_slow(holders),
            How::Late { gained: true } => {}
        }
    }
}

fn broken(part: &Part, why: String) -> Failed {
    let arrived = part.received();
    Error::Broken { arrived, why }.into()
}

impl Fetch<'_> {
    /// Fetches from holders that say the same size.
    pub(super) fn fetch_alike(
        &self,
        team: &Team,
        turn: Turn,
        findings: &mut Findings,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Fetched, Failed> {
        let mut outcome = self.fetch(&team.holders, team.size, turn, progress);
        let Err(failed) = &outcome else {
            return outcome;
        };
        let is_sure = team.holders.len() == 1 && failed.how != How::WithWhatWasKept;
        if !failed.is_damage() || is_sure {
            failed.note(&team.holders, findings);
            return outcome;
        }
        // One of them sent something else, or one of those that were asked before. Fetching from
        // each alone, from the beginning, shows which one.
        for one in &team.holders {
            self.begin_anew(team.size);
            outcome = self.fetch(slice::from_ref(one), team.size, turn, progress);
            match &outcome {
                Err(failed) if failed.may_be_a_lie() => {
                    failed.note(slice::from_ref(one), findings);
                }
                _ => break,
            }
        }
        outcome
    }

    /// Removes what has arrived of the file in this size.
    fn begin_anew(&self, size: u64) {
        if let Ok(part) = Part::open(&self.folder, self.hash, size) {
            part.discard();
        }
    }

    /// Fetches from these holders.
    fn fetch(
        &self,
        holders: &[Holder],
        size: u64,
        turn: Turn,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Fetched, Failed> {
        let limit = self.share.limits.file_bytes.min(LARGEST);
        if size > limit {
            let fits = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
            let (size, limit) = (fits(size), fits(limit));
            return Err(Error::TooLarge { size, limit }.into());
        }
        let mut part = Part::open(&self.folder, self.hash, size)?;
        let kept = part.received();
        if let Err(failed) = self.fetch_pieces(holders, &mut part, turn, progress) {
            // Only whole pieces are worth keeping, and only of a file for which disks are large
            // enough. An error of this node may pass.
            if part.received() == 0 || failed.is_size_no_disk_takes() {
                part.discard();
            }
            return Err(failed);
        }
        let name = holders.iter().find_map(|h| h.name.as_deref());
        let Some((path, stamp)) = part.finish(self.hash, name)? else {
            let why = Error::Damaged(format!("what was sent is not the file {}", self.hash));
            let how = match kept {
                0 => How::ForGood,
                _ => How::WithWhatWasKept,
            };
            return Err(Failed { why, how });
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
        turn: Turn,
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
            outcome = self.follow(&pieces, threads.len(), part, turn, progress);
        }
        drop(ending);
        for thread in threads {
            let _ = thread.join();
        }
        outcome
    }

    /// Notes what has arrived until all has, no thread fetches any more, or the turn is over.
    fn follow(
        &self,
        pieces: &Pieces,
        mut holders: usize,
        part: &mut Part,
        turn: Turn,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(), Failed> {
        let size = part.size();
        let mut left = part.missing().len();
        let mut received = part.received();
        let mut last = None;
        let mut clock = Clock::new(turn);
        loop {
            progress(Progress {
                received,
                size,
                holders,
            });
            if left == 0 {
                return Ok(());
            }
            match pieces.next(self.node, clock.next) {
                Some(News::Bytes(n)) => received = received.saturating_add_signed(n),
                Some(News::Piece(offset)) => {
                    left -= 1;
                    part.mark(offset)?;
                    clock.gained();
                }
                Some(News::Disk(e)) => return Err(e.into()),
                Some(News::GaveUp(e)) => {
                    holders -= 1;
                    last = Some(e);
                }
                Some(News::Late) => {
                    let failed = broken(part, "it is sent too slowly".into());
                    return Err(clock.late(failed));
                }
                None => {
                    let why = last.map_or("nobody sends it".into(), |e| e.to_string());
                    return Err(broken(part, why));
                }
            }
        }
    }
}

/// How much of a turn is over.
struct Clock {
    turn: Turn,
    ends: Instant,
    /// When the attempt ends if no further piece becomes whole.
    next: Instant,
    gained: bool,
}

impl Clock {
    fn new(turn: Turn) -> Clock {
        let now = Instant::now();
        let ends = now + turn.lasts;
        Clock {
            turn,
            ends,
            next: ends.min(now + turn.piece),
            gained: false,
        }
    }

    /// A piece has become whole.
    fn gained(&mut self) {
        self.next = self.ends.min(Instant::now() + self.turn.piece);
        self.gained = true;
    }

    /// An attempt has failed because its time was over, either that of the turn or that which one
    /// piece may take.
    fn late(&self, failed: Failed) -> Failed {
        let gave_nothing = !self.gained && self.turn.lasts >= self.turn.piece;
        let how = match self.next < self.ends || gave_nothing {
            true => How::ForGood,
            false => How::Late {
                gained: self.gained,
            },
        };
        Failed { how, ..failed }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn holders_that_give_no_piece_in_its_time_are_given_up_and_others_have_further_turns() {
        let turn = |lasts, piece| Turn {
            lasts: Duration::from_secs(lasts),
            piece: Duration::from_secs(piece),
        };
        let late = |clock: &Clock| clock.late(Error::Timeout.into()).how;
        let mut short = Clock::new(turn(5, 160));
        assert_eq!(late(&short), How::Late { gained: false });
        short.gained();
        assert_eq!(late(&short), How::Late { gained: true });
        assert_eq!(late(&Clock::new(turn(160, 160))), How::ForGood);
        let mut long = Clock::new(turn(600, 160));
        assert_eq!(late(&long), How::ForGood);
        long.gained();
        assert_eq!(late(&long), How::ForGood, "the next piece took too long");
    }
}
