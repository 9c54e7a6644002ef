//! Getting a file: who has it, pieces from several at once, and the whole checked before it has a name.

use super::part::Part;
use super::share::{Offer, Share};
use super::{BUFFER, FileHash, INFO, READ};
use crate::error::Error;
use crate::name::NodeName;
use crate::node::Node;
use std::collections::VecDeque;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

/// How long to wait for who has a file.
const ASKING: Duration = Duration::from_secs(5);
/// Nodes that one file is fetched from at a time.
const HOLDERS: usize = 8;
/// Times in a row that a node may fail before the others go on without it.
const PATIENCE: u32 = 3;
/// How long a node that fails, or is busy, is left alone.
const REST: Duration = Duration::from_millis(300);

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
        if !share.begin_fetch(hash) {
            return Err(Error::Argument("the file is being fetched already"));
        }
        let fetch = Fetch {
            node: self,
            share: &share,
            hash,
            folder,
            timeout,
        };
        let outcome = fetch.run(&mut progress);
        share.end_fetch(hash);
        outcome
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
            let limit = self.share.limits.file_bytes;
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
            if !matches!(outcome, Err(Error::Damaged(_) | Error::Broken { .. })) {
                break;
            }
        }
        outcome
    }

    /// Who has it.
    fn holders(&self) -> Result<Vec<Holder>, Error> {
        let answers = self
            .node
            .call(INFO)
            .arg(self.hash.to_string())
            .to_all()
            .timeout(self.timeout.min(ASKING))
            .send_all()?;
        let holder = |answer: crate::node::TargetResult| {
            let value = answer.result.ok()?;
            Some(Holder {
                node: answer.node,
                size: value.get("size")?.as_u64()?,
                name: value
                    .get("name")
                    .and_then(|n| n.as_str())
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
        self.share.offer(self.hash, Offer { path, stamp })?;
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
        let missing: VecDeque<(u64, u64)> = part.missing().into();
        let mut left = missing.len();
        let queue = Mutex::new(missing);
        let (tell, news) = mpsc::channel();
        let mut received = part.received();
        let mut active = holders.len();
        let mut last = Error::FileUnknown(self.hash.to_string());
        thread::scope(|scope| {
            for holder in holders {
                let (queue, tell, file) = (&queue, tell.clone(), part.file()?);
                let body = move || self.fetch_from(holder, queue, &file, &tell);
                let thread = thread::Builder::new().name("peerbase-file".into());
                thread
                    .spawn_scoped(scope, body)
                    .map_err(|e| Error::io("starting a thread", &e))?;
            }
            drop(tell);
            let outcome = loop {
                progress(Progress {
                    received,
                    size,
                    holders: active,
                });
                if left == 0 {
                    break Ok(());
                }
                match news.recv() {
                    Ok(News::Bytes(n)) => received = received.saturating_add_signed(n),
                    Ok(News::Piece(offset)) => {
                        left -= 1;
                        if let Err(e) = part.mark(offset) {
                            break Err(e);
                        }
                    }
                    Ok(News::Disk(e)) => break Err(e),
                    Ok(News::GaveUp(e)) => {
                        active -= 1;
                        last = e;
                    }
                    Err(_) => {
                        break Err(Error::Broken {
                            arrived: part.received(),
                            why: last.to_string(),
                        });
                    }
                }
            };
            // Whoever is still at it finds nothing more to do.
            lock(&queue).clear();
            drop(news);
            outcome
        })
    }

    /// Fetches one piece after the other from one node, as long as there are some.
    fn fetch_from(
        &self,
        holder: &Holder,
        queue: &Mutex<VecDeque<(u64, u64)>>,
        file: &File,
        tell: &mpsc::Sender<News>,
    ) {
        let mut failures = 0;
        loop {
            let Some((offset, length)) = lock(queue).pop_front() else {
                return;
            };
            match self.fetch_piece(holder, (offset, length), file, tell) {
                Ok(()) => {
                    failures = 0;
                    if tell.send(News::Piece(offset)).is_err() {
                        return;
                    }
                }
                Err(e @ Error::Io { .. }) => {
                    let _ = tell.send(News::Disk(e));
                    return;
                }
                Err(e) => {
                    lock(queue).push_front((offset, length));
                    failures += 1;
                    if failures >= PATIENCE || e == Error::Stopped {
                        let _ = tell.send(News::GaveUp(e));
                        return;
                    }
                    thread::sleep(REST);
                }
            }
        }
    }

    fn fetch_piece(
        &self,
        holder: &Holder,
        (offset, length): (u64, u64),
        file: &File,
        tell: &mpsc::Sender<News>,
    ) -> Result<(), Error> {
        let mut stream = self
            .node
            .call(READ)
            .arg(self.hash.to_string())
            .arg(offset)
            .arg(length)
            .to(holder.node.as_str())
            .timeout(self.timeout)
            .wait(false)
            .stream()?;
        stream.finish();
        let (mut at, mut buf) = (0u64, vec![0; BUFFER]);
        let outcome = loop {
            match stream.ends().read(&mut buf, None) {
                Ok(0) if at == length => break stream.value().map(|_| ()),
                // Refused, most likely: the value says why.
                Ok(0) => break Err(stream.value().err().unwrap_or_else(|| short(at))),
                Ok(n) if at + n as u64 > length => break Err(short(at)),
                Ok(n) => {
                    let written = file.write_all_at(&buf[..n], offset + at);
                    if let Err(e) = written {
                        return Err(Error::io("writing a file", &e));
                    }
                    at += n as u64;
                    if tell.send(News::Bytes(n as i64)).is_err() {
                        return Err(Error::Cancelled);
                    }
                }
                Err(e) => break Err(stream.value().err().unwrap_or(e)),
            }
        };
        // It comes again, from whomever.
        if outcome.is_err() {
            let _ = tell.send(News::Bytes(-(at as i64)));
        }
        outcome.map_err(|e| match e {
            Error::Io { text, .. } => Error::CommandFailed(text),
            e => e,
        })
    }
}

fn short(arrived: u64) -> Error {
    Error::Broken {
        arrived,
        why: "it was not as long as was said".into(),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
