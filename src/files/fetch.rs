//! Getting a file: who has it, pieces from several at once, and the whole checked before it has a name.

use super::name::is_plain;
use super::part::{LARGEST, Part};
use super::share::{Offer, Share};
use super::{BUFFER, FileHash, INFO, READ};
use crate::engine::{Ask, Path, PeerInfo};
use crate::error::Error;
use crate::json;
use crate::name::{CommandPath, NodeName};
use crate::node::{CallId, Node, Options, RawAnswer, Targets};
use crate::signals;
use std::collections::VecDeque;
use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long the thread that waits for pieces leaves callbacks of a foreign loop waiting.
const TURN: Duration = Duration::from_millis(20);

/// How long to wait for who has a file.
const ASKING: Duration = Duration::from_secs(5);
/// Nodes that one file is fetched from at a time.
const HOLDERS: usize = 8;
/// Times in a row that a node may fail before the others go on without it. To be busy, or slower than another, is no
/// failure.
const PATIENCE: u32 = 3;
/// Values in what a node tells of a file: its size and name, and a few more in later versions.
const INFO_VALUES: usize = 64;
/// How long a piece is left with one node, and at least twice as long as another took for its last, before that other,
/// if it has nothing else to do, fetches it instead. Each time it goes to another it has twice as long, so that where
/// all are slow it comes all the same.
const SLOW: Duration = match cfg!(test) {
    true => Duration::from_millis(100),
    false => Duration::from_secs(5),
};
/// How often it is looked whether a piece is still to come from a node.
const LOOK: Duration = match cfg!(test) {
    true => Duration::from_millis(20),
    false => Duration::from_millis(500),
};
/// How long a node that fails, or is busy, is left alone; each time that it is busy again, it is twice as long.
const REST: Duration = Duration::from_millis(300);
/// The longest that a node that is busy is left alone: it is not to stay idle for long when it has a place again.
const LONGEST_REST: Duration = Duration::from_secs(2);

/// How far a file has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Bytes that are there.
    pub received: u64,
    /// Bytes of the whole, as those say who have it.
    pub size: u64,
    /// How many it is fetched from.
    pub holders: usize,
}

/// A file that was fetched, or was there already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// Where it is.
    pub path: PathBuf,
    /// Its bytes.
    pub size: u64,
}

/// Who says to have a file.
#[derive(Clone, Debug)]
struct Holder {
    node: NodeName,
    size: u64,
    name: Option<String>,
}

/// What the threads tell that fetch pieces.
enum News {
    /// Bytes came; fewer than none if they must come again.
    Bytes(i64),
    Piece(u64),
    /// Nothing can be written, which is nobody's fault but ours.
    Disk(Error),
    GaveUp(Error),
}

/// What is still to be fetched, and what has happened. Not a channel of the standard library: one makes a
/// handle of the thread that waits, which is kept until that ends, in a program whose threads are not
/// ours.
#[derive(Default)]
struct Pieces {
    state: Mutex<PiecesState>,
    changed: Condvar,
}

#[derive(Default)]
struct PiecesState {
    missing: VecDeque<Piece>,
    news: VecDeque<News>,
    /// Threads that fetch.
    fetching: usize,
    /// Pieces that are being fetched.
    out: Vec<Out>,
    /// Pieces given out so far.
    given: u64,
    over: bool,
}

/// A piece that is still to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Piece {
    offset: u64,
    length: u64,
    /// How long it is left with one node.
    patience: Duration,
}

/// A piece that is being fetched.
struct Out {
    /// Which giving out this is.
    number: u64,
    piece: Piece,
    since: Instant,
    /// The call that it is to come by.
    call: Option<CallId>,
}

impl Out {
    /// When another, which took so long for its last piece, fetches it instead.
    fn due(&self, usual: Duration) -> Instant {
        self.since + self.piece.patience.max(usual * 2)
    }
}

impl PiecesState {
    /// Takes back what was given out, unless another has it now.
    fn take_back(&mut self, number: u64) -> bool {
        let found = self.out.iter().position(|out| out.number == number);
        found.map(|at| self.out.swap_remove(at)).is_some()
    }
}

impl Pieces {
    /// These are to be fetched, each of them an offset and a length.
    fn new(missing: Vec<(u64, u64)>) -> Pieces {
        let piece = |(offset, length)| Piece {
            offset,
            length,
            patience: SLOW,
        };
        let pieces = Pieces::default();
        pieces.lock().missing = missing.into_iter().map(piece).collect();
        pieces
    }

    fn lock(&self) -> MutexGuard<'_, PiecesState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, news: News) {
        self.lock().news.push_back(news);
        self.changed.notify_all();
    }

    /// The next piece to fetch, for one that took `usual` for its last. One that another thread has may come back,
    /// and is waited for; where the other is much slower, it is fetched by this one instead.
    fn take(&self, usual: Duration) -> Option<Taken<'_>> {
        let mut state = self.lock();
        loop {
            if state.over {
                return None;
            }
            if let Some(piece) = state.missing.pop_front() {
                return Some(self.give(&mut state, piece, None));
            }
            let due = |at: &usize| state.out[*at].due(usual);
            let slowest = (0..state.out.len()).min_by_key(due)?;
            let left = due(&slowest).saturating_duration_since(Instant::now());
            if left.is_zero() {
                let Out {
                    mut piece, call, ..
                } = state.out.swap_remove(slowest);
                piece.patience *= 2;
                return Some(self.give(&mut state, piece, call));
            }
            let waited = self.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn give(&self, state: &mut PiecesState, piece: Piece, instead_of: Option<CallId>) -> Taken<'_> {
        state.given += 1;
        let number = state.given;
        state.out.push(Out {
            number,
            piece,
            since: Instant::now(),
            call: None,
        });
        Taken {
            pieces: self,
            number,
            piece,
            instead_of,
        }
    }

    /// Notes the call that a piece is to come by, which is cancelled when another fetches the piece instead; whether
    /// the piece is still to come by it.
    fn begun(&self, number: u64, call: CallId) -> bool {
        let mut state = self.lock();
        if state.over {
            return false;
        }
        let out = state.out.iter_mut().find(|out| out.number == number);
        out.map(|out| out.call = Some(call)).is_some()
    }

    /// Whether a piece is still to come from whom it was asked of.
    fn is_wanted(&self, number: u64) -> bool {
        let state = self.lock();
        !state.over && state.out.iter().any(|out| out.number == number)
    }

    /// No more is to be fetched; the calls that are under way for it.
    fn end(&self) -> Vec<CallId> {
        let mut state = self.lock();
        state.over = true;
        state.missing.clear();
        let calls = state.out.iter().filter_map(|out| out.call).collect();
        drop(state);
        self.changed.notify_all();
        calls
    }

    /// Waits for so long, unless no more is to be fetched.
    fn rest(&self, time: Duration) {
        let rested = self
            .changed
            .wait_timeout_while(self.lock(), time, |state| !state.over);
        drop(rested.unwrap_or_else(PoisonError::into_inner));
    }

    /// What happened next; `None` when nobody fetches any more. In a foreign loop this thread may be the only
    /// one that may run callbacks, for which it has a turn now and then.
    fn next(&self, node: &Node) -> Option<News> {
        let mut state = self.lock();
        loop {
            if let Some(news) = state.news.pop_front() {
                return Some(news);
            }
            if state.fetching == 0 {
                return None;
            }
            let waited = self.changed.wait_timeout(state, TURN);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            if state.news.is_empty() {
                drop(state);
                node.have_turn();
                state = self.lock();
            }
        }
    }
}

/// A piece that one thread fetches. Dropped, it is given back: others wait for that.
struct Taken<'a> {
    pieces: &'a Pieces,
    number: u64,
    piece: Piece,
    /// The call by which the piece was to come before, for another thread.
    instead_of: Option<CallId>,
}

impl Taken<'_> {
    /// The piece is there; an error if another was asked for it meanwhile.
    fn arrived(&self) -> Result<(), Error> {
        match self.pieces.lock().take_back(self.number) {
            true => Ok(()),
            false => Err(Error::Timeout),
        }
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        let mut state = self.pieces.lock();
        // It is to be fetched by whomever it may be.
        if state.take_back(self.number) && !state.over {
            state.missing.push_back(self.piece);
        }
        drop(state);
        self.pieces.changed.notify_all();
    }
}

/// Dropped, no more is fetched, also if the program's own function for progress has panicked.
struct Ending<'a>(&'a Pieces, &'a Node);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        for call in self.0.end() {
            self.1.cancel(call);
        }
    }
}

impl Node {
    /// Fetches a file by its hash, from whoever of the peers has it, several at once; where it is then. Its
    /// folder is that of [`Node::set_file_dir`], and its name the one it is offered under, if that is a
    /// plain name that nothing has there. `timeout` is how long nothing may come. `progress` is told now and
    /// then.
    ///
    /// Interrupted, the pieces that are there are kept, and the next request goes on with them. The file is
    /// offered by this node, too, from then on.
    ///
    /// # Errors
    ///
    /// [`Error::FileUnknown`] if nobody has it, [`Error::Damaged`] if nobody has what the hash says,
    /// [`Error::TooLarge`] beyond [`file_bytes`](crate::Limits::file_bytes), [`Error::Broken`] if it was
    /// interrupted, [`Error::Io`] if it cannot be written, which leaves nothing behind.
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

/// One request.
struct Fetch<'a> {
    node: &'a Node,
    share: &'a Share,
    hash: FileHash,
    folder: PathBuf,
    timeout: Duration,
}

impl Fetch<'_> {
    fn run(&self, progress: &mut dyn FnMut(Progress)) -> Result<Fetched, Error> {
        let holders = self.holders()?;
        // One of them may lie: those who agree on the size are asked together, the most first.
        let mut sizes: Vec<u64> = holders.iter().map(|h| h.size).collect();
        sizes.sort_unstable();
        sizes.dedup();
        let of = |size: u64| -> Vec<Holder> {
            let alike = holders.iter().filter(|h| h.size == size);
            alike.take(HOLDERS).cloned().collect()
        };
        sizes.sort_by_key(|size| usize::MAX - of(*size).len());
        let mut outcome = Err(Error::FileUnknown(self.hash.to_string()));
        for size in sizes {
            let limit = self.share.limits.file_bytes.min(LARGEST);
            if size > limit {
                let fits = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
                let (size, limit) = (fits(size), fits(limit));
                outcome = Err(Error::TooLarge { size, limit });
                continue;
            }
            let alike = of(size);
            outcome = self.fetch(&alike, size, progress);
            // Somebody sent something else: each by itself shows who.
            if matches!(outcome, Err(Error::Damaged(_))) && alike.len() > 1 {
                for one in &alike {
                    outcome = self.fetch(std::slice::from_ref(one), size, progress);
                    if !matches!(outcome, Err(Error::Damaged(_))) {
                        break;
                    }
                }
            }
            if !outcome.as_ref().is_err_and(may_be_a_lie) {
                break;
            }
        }
        outcome
    }

    /// Who has it.
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
        let holder = |(node, answer): RawAnswer| {
            let value = json::parse(&answer.ok()?, INFO_VALUES).ok()?;
            Some(Holder {
                node,
                size: value.get("size")?.as_u64()?,
                // Kept for as long as the fetch takes, so only if it is of use, and thereby short.
                name: value
                    .get("name")
                    .and_then(|n| n.as_str())
                    .filter(|n| is_plain(n))
                    .map(str::to_owned),
            })
        };
        Ok(answers.into_iter().filter_map(holder).collect())
    }

    fn fetch(
        &self,
        holders: &[Holder],
        size: u64,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Fetched, Error> {
        let mut part = Part::open(&self.folder, self.hash, size)?;
        match self.fetch_pieces(holders, &mut part, size, progress) {
            Ok(()) => {}
            Err(e @ Error::Io { .. }) => {
                part.discard();
                return Err(e);
            }
            Err(e) => return Err(e),
        }
        let name = holders.iter().find_map(|h| h.name.as_deref());
        let Some((path, stamp)) = part.finish(self.hash, name)? else {
            return Err(Error::Damaged(format!(
                "what was sent is not the file {}",
                self.hash
            )));
        };
        let offered = path.clone();
        let links = false;
        self.share.offer(self.hash, Offer { path, stamp, links })?;
        Ok(Fetched {
            path: offered,
            size,
        })
    }

    /// Fetches what is missing, from each holder on a thread of its own.
    fn fetch_pieces(
        &self,
        holders: &[Holder],
        part: &mut Part,
        size: u64,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(), Error> {
        let pieces = Arc::new(Pieces::new(part.missing()));
        let mut threads = Vec::new();
        let mut outcome = Ok(());
        for holder in holders {
            let worker = Worker {
                node: self.node.clone(),
                hash: self.hash,
                timeout: self.timeout,
                holder: holder.node.clone(),
                pieces: pieces.clone(),
                file: part.file()?,
            };
            pieces.lock().fetching += 1;
            // If there is no thread the worker is dropped, and says that it does not fetch.
            match signals::spawn("peerbase-file", move || worker.run()) {
                Ok(thread) => threads.push(thread),
                Err(e) => {
                    outcome = Err(Error::io("starting a thread", &e));
                }
            }
        }
        // Whoever is still at it then finds nothing more to do.
        let ending = Ending(&pieces, self.node);
        if !threads.is_empty() {
            outcome = Self::follow(self.node, &pieces, threads.len(), part, size, progress);
        }
        drop(ending);
        for thread in threads {
            let _ = thread.join();
        }
        outcome
    }

    /// Notes what has come until all has, or nobody fetches any more.
    fn follow(
        node: &Node,
        pieces: &Pieces,
        mut holders: usize,
        part: &mut Part,
        size: u64,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(), Error> {
        let mut left = part.missing().len();
        let mut received = part.received();
        let mut last = None;
        loop {
            progress(Progress {
                received,
                size,
                holders,
            });
            if left == 0 {
                return Ok(());
            }
            match pieces.next(node) {
                Some(News::Bytes(n)) => received = received.saturating_add_signed(n),
                Some(News::Piece(offset)) => {
                    left -= 1;
                    part.mark(offset)?;
                }
                Some(News::Disk(e)) => return Err(e),
                Some(News::GaveUp(e)) => {
                    holders -= 1;
                    last = Some(e);
                }
                None => {
                    return Err(Error::Broken {
                        arrived: part.received(),
                        why: last.map_or("nobody sends it".into(), |e| e.to_string()),
                    });
                }
            }
        }
    }
}

/// Fetches pieces from one node.
struct Worker {
    node: Node,
    hash: FileHash,
    timeout: Duration,
    holder: NodeName,
    pieces: Arc<Pieces>,
    file: File,
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.pieces.lock().fetching -= 1;
        self.pieces.changed.notify_all();
    }
}

impl Worker {
    /// One piece after the other, as long as there are some.
    fn run(&self) {
        let (mut failures, mut usual) = (0, Duration::ZERO);
        let (mut busy_since, mut rest) = (None, REST);
        loop {
            let Some(piece) = self.pieces.take(usual) else {
                return;
            };
            if let Some(call) = piece.instead_of {
                self.node.cancel(call);
            }
            let began = Instant::now();
            let outcome = self.fetch(&piece);
            let offset = piece.piece.offset;
            let is_wanted = self.pieces.is_wanted(piece.number);
            drop(piece);
            match outcome {
                Ok(()) => {
                    (failures, usual) = (0, began.elapsed());
                    (busy_since, rest) = (None, REST);
                    self.pieces.tell(News::Piece(offset));
                }
                Err(e @ Error::Io { .. }) => return self.pieces.tell(News::Disk(e)),
                // Another fetches it instead, which is no failure of this node.
                Err(_) if !is_wanted => {}
                Err(e @ Error::Overloaded(_)) => {
                    if busy_since.get_or_insert(began).elapsed() >= self.timeout {
                        return self.pieces.tell(News::GaveUp(e));
                    }
                    self.pieces.rest(rest);
                    rest = (rest * 2).min(LONGEST_REST);
                }
                Err(e) => {
                    failures += 1;
                    if failures >= PATIENCE || e == Error::Stopped {
                        return self.pieces.tell(News::GaveUp(e));
                    }
                    self.pieces.rest(REST);
                }
            }
        }
    }

    fn fetch(&self, piece: &Taken<'_>) -> Result<(), Error> {
        let Piece { offset, length, .. } = piece.piece;
        let options = Options {
            timeout: self.timeout,
            wait: false,
            ..Options::default()
        };
        let asked = ask(READ, format!("[\"{}\",{offset},{length}]", self.hash))?;
        let mut stream = self.node.begin_stream(&self.holder, asked, options)?;
        if !self.pieces.begun(piece.number, stream.id()) {
            return Err(Error::Cancelled);
        }
        stream.finish();
        let (mut at, mut buf) = (0u64, vec![0; BUFFER]);
        let outcome = loop {
            let read = stream.ends().read(&mut buf, Some(LOOK));
            if !self.pieces.is_wanted(piece.number) {
                break Err(Error::Timeout);
            }
            match read {
                Err(Error::WouldBlock) => {}
                Ok(0) if at == length => break stream.value_text().and_then(|_| piece.arrived()),
                // Refused, most likely: the value says why.
                Ok(0) => break Err(stream.value_text().err().unwrap_or_else(|| short(at))),
                Ok(n) if at + n as u64 > length => break Err(short(at)),
                Ok(n) => {
                    let written = self.file.write_all_at(&buf[..n], offset + at);
                    written.map_err(|e| Error::io("writing a file", &e))?;
                    at += n as u64;
                    self.pieces.tell(News::Bytes(n as i64));
                }
                Err(e) => break Err(stream.value_text().err().unwrap_or(e)),
            }
        };
        // It comes again, from whomever.
        if outcome.is_err() {
            self.pieces.tell(News::Bytes(-(at as i64)));
        }
        outcome
    }
}

fn ask(path: &str, args: String) -> Result<Ask, Error> {
    Ok(Ask::Command {
        path: CommandPath::new(path)?,
        args: args.into_bytes(),
        kwargs: b"{}".to_vec(),
    })
}

/// Whether a fetch has failed because of what the holders say, so that others may be asked who say something else: a
/// size that no disk takes is a lie as well.
fn may_be_a_lie(error: &Error) -> bool {
    use Error::{Broken, Damaged, Io, TooLarge};
    let size = ErrorKind::FileTooLarge;
    matches!(error, Damaged(_) | Broken { .. } | TooLarge { .. })
        || matches!(error, Io { kind, .. } if *kind == size)
}

fn short(arrived: u64) -> Error {
    Error::Broken {
        arrived,
        why: "it was not as long as was said".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::CallNumber;

    #[test]
    fn a_piece_that_comes_back_is_left_longer_with_the_next() {
        let pieces = Pieces::new(vec![(0, 5)]);
        let slow = pieces.take(Duration::ZERO).unwrap();
        assert!(pieces.begun(slow.number, CallId(CallNumber(7))));
        let other = pieces.take(Duration::ZERO).unwrap();
        assert_eq!(other.instead_of, Some(CallId(CallNumber(7))));
        assert!(!pieces.is_wanted(slow.number) && pieces.is_wanted(other.number));
        drop(slow);
        assert!(pieces.lock().missing.is_empty(), "another fetches it");
        drop(other);
        let again = pieces.take(Duration::ZERO).unwrap();
        let piece = Piece {
            offset: 0,
            length: 5,
            patience: SLOW * 2,
        };
        assert_eq!((again.piece, again.instead_of), (piece, None));
        assert!(pieces.begun(again.number, CallId(CallNumber(8))));
        assert_eq!(pieces.end(), [CallId(CallNumber(8))]);
        assert!(!pieces.begun(again.number, CallId(CallNumber(9))));
        pieces.rest(Duration::from_secs(3_600));
    }
}
