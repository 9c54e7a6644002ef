//! What this node offers, and reading it for others.

use super::{BUFFER, FileHash, INFO, READ, Stamp, failed_to_read, hash, open};
use crate::engine::Source;
use crate::error::Error;
use crate::json;
use crate::limits::{FILE_QUESTIONS, Limits, UPLOAD_STALLED};
use crate::logging::record;
use crate::name::NodeName;
use crate::node::{Call, Node, StreamWriter};
use crate::signals;
use crate::table::Table;
use serde_json::Value;
use std::collections::{BTreeSet, VecDeque};
use std::fs;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// A file that is offered.
#[derive(Clone, Debug)]
pub(super) struct Offer {
    pub(super) path: PathBuf,
    pub(super) stamp: Stamp,
    /// Whether the path may be a link: only one that the program named. What lies in the folder is
    /// offered because it does, and a link that takes its place leads elsewhere.
    pub(super) links: bool,
}

impl Offer {
    fn of(path: &Path, links: bool) -> Result<(FileHash, Offer), Error> {
        let (hash, stamp) = hash(&open(path, links)?)?;
        let path = path.to_owned();
        Ok((hash, Offer { path, stamp, links }))
    }

    /// Whether the file is still what it was.
    fn is_current(&self) -> bool {
        #[cfg(test)]
        super::lies::the_disk_is_asked(&self.path);
        let metadata = match self.links {
            true => fs::metadata(&self.path),
            false => fs::symlink_metadata(&self.path),
        };
        metadata.is_ok_and(|m| m.is_file() && Stamp::of(&m) == self.stamp)
    }
}

/// What a look at the offered files has found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Refreshed {
    /// Files of the folder that are offered now and were not before.
    pub added: usize,
    /// Files that were there with other contents.
    pub changed: usize,
    /// Files that are gone, or cannot be read any more.
    pub removed: usize,
}

#[derive(Debug, Default)]
struct Offers {
    by_hash: Table<FileHash, Offer>,
    folder: Option<PathBuf>,
    /// What is being fetched.
    fetching: Vec<FileHash>,
}

/// Who asks whether a file is offered, which the disk is to be asked.
#[derive(Debug, Default)]
struct Questions {
    waiting: VecDeque<(FileHash, Call)>,
    /// Whether a thread answers them.
    answered: bool,
}

/// The files of one node.
#[derive(Debug)]
pub(super) struct Share {
    offers: Mutex<Offers>,
    questions: Mutex<Questions>,
    /// The peers that have the places of what is read for others, and where each is, one entry for each place.
    uploads: Mutex<Vec<(NodeName, Source)>>,
    /// When the next piece may go out, where uploads are slowed down.
    next: Mutex<Instant>,
    pub(super) limits: Limits,
}

impl Share {
    pub(super) fn new(limits: Limits) -> Share {
        Share {
            offers: Mutex::default(),
            questions: Mutex::default(),
            uploads: Mutex::default(),
            next: Mutex::new(Instant::now()),
            limits,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Offers> {
        self.offers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn folder(&self) -> Result<PathBuf, Error> {
        let folder = self.lock().folder.clone();
        folder.ok_or(Error::Argument("no folder is set for files"))
    }

    /// Offers a file that has been hashed.
    pub(super) fn offer(&self, hash: FileHash, offer: Offer) -> Result<bool, Error> {
        let mut offers = self.lock();
        let known = offers.by_hash.contains_key(&hash);
        if !known && offers.by_hash.len() >= self.limits.files {
            return Err(Error::Overloaded("as many files are offered as may be"));
        }
        offers.by_hash.insert(hash, offer);
        Ok(!known)
    }

    /// An offered file, if it is still what it was; otherwise it is not offered any more.
    pub(super) fn find(&self, hash: FileHash) -> Option<Offer> {
        let offer = self.lock().by_hash.get(&hash).cloned()?;
        if offer.is_current() {
            return Some(offer);
        }
        let mut offers = self.lock();
        // Unless it was offered again meanwhile, as what it is now.
        let still = |o: &Offer| o.path == offer.path && o.stamp == offer.stamp;
        if offers.by_hash.get(&hash).is_some_and(still) {
            offers.by_hash.remove(&hash);
        }
        None
    }

    /// Whether a file was offered, without a look at the disk.
    fn has_offered(&self, hash: FileHash) -> bool {
        self.lock().by_hash.contains_key(&hash)
    }

    /// Marks that a file is being fetched, until what this gives is dropped; `None` if it is already.
    pub(super) fn begin_fetch(&self, hash: FileHash) -> Option<Fetching<'_>> {
        let mut offers = self.lock();
        if offers.fetching.contains(&hash) {
            return None;
        }
        offers.fetching.push(hash);
        Some(Fetching { share: self, hash })
    }

    /// Looks at what is offered, and at what is in the folder.
    fn refresh(&self) -> Result<Refreshed, Error> {
        let mut found = Refreshed::default();
        let (known, folder) = {
            let offers = self.lock();
            let known: Vec<_> = offers
                .by_hash
                .iter()
                .map(|(h, o)| (*h, o.clone()))
                .collect();
            (known, offers.folder.clone())
        };
        for (old, offer) in &known {
            if self.find(*old).is_some() {
                continue;
            }
            match Offer::of(&offer.path, offer.links) {
                Ok((new, offer)) => {
                    self.offer(new, offer)?;
                    found.changed += 1;
                }
                Err(_) => found.removed += 1,
            }
        }
        let Some(folder) = folder else {
            return Ok(found);
        };
        let offered: BTreeSet<PathBuf> = {
            let offers = self.lock();
            offers.by_hash.values().map(|o| o.path.clone()).collect()
        };
        let failed = |e: io::Error| Error::io("reading the folder", &e);
        for entry in fs::read_dir(&folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            // Not through links, and not what is hidden: only what lies open in the folder is offered.
            let plain = entry.file_type().is_ok_and(|t| t.is_file());
            let path = entry.path();
            let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
            if !plain || hidden || offered.contains(&path) {
                continue;
            }
            if let Ok((hash, offer)) = Offer::of(&path, false)
                && self.offer(hash, offer)?
            {
                found.added += 1;
            }
        }
        Ok(found)
    }

    fn questions(&self) -> MutexGuard<'_, Questions> {
        self.questions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn uploads(&self) -> MutexGuard<'_, Vec<(NodeName, Source)>> {
        self.uploads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes to send at once: slowed down, so few that nobody waits long for a place that is given up.
    fn at_once(&self) -> usize {
        let per_second = self.limits.upload_bytes_per_second;
        let quarter = usize::try_from(per_second / 4).unwrap_or(BUFFER);
        match per_second {
            0 => BUFFER,
            _ => quarter.clamp(1, BUFFER),
        }
    }

    /// Waits until so many more bytes may go out.
    fn pace(&self, bytes: usize) {
        let per_second = self.limits.upload_bytes_per_second;
        if per_second == 0 {
            return;
        }
        let wait = {
            let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
            let from = (*next).max(Instant::now());
            *next = from + Duration::from_secs_f64(bytes as f64 / per_second as f64);
            from.saturating_duration_since(Instant::now())
        };
        thread::sleep(wait);
    }
}

/// That a file is being fetched.
pub(super) struct Fetching<'a> {
    share: &'a Share,
    hash: FileHash,
}

impl Drop for Fetching<'_> {
    fn drop(&mut self) {
        self.share.lock().fetching.retain(|h| *h != self.hash);
    }
}

impl Node {
    /// The files of this node.
    pub(super) fn share(&self) -> Result<Arc<Share>, Error> {
        self.extension(Share::new)
    }

    /// Offers a file to the network; its SHA-256 in hexadecimal, by which others ask for it. All of it is
    /// read. Changed or removed later, it is not offered any more; see [`Node::refresh`].
    pub fn add_file(&self, path: impl AsRef<Path>) -> Result<String, Error> {
        let share = self.share()?;
        let path = std::path::absolute(path).map_err(|e| Error::io("finding a file", &e))?;
        let (hash, offer) = Offer::of(&path, true)?;
        share.offer(hash, offer)?;
        self.serve_files(&share);
        Ok(hash.to_string())
    }

    /// Where fetched files are put, and whose files [`Node::refresh`] offers. Made if it is not there.
    pub fn set_file_dir(&self, folder: impl AsRef<Path>) -> Result<(), Error> {
        let share = self.share()?;
        let failed = |e: std::io::Error| Error::io("making the folder", &e);
        fs::create_dir_all(&folder).map_err(failed)?;
        share.lock().folder = Some(fs::canonicalize(folder).map_err(failed)?);
        self.serve_files(&share);
        Ok(())
    }

    /// Looks at the offered files again: those that have changed are offered as what they are now, those
    /// that are gone not any more, and new regular files of the folder, hidden ones apart, from now on.
    pub fn refresh(&self) -> Result<Refreshed, Error> {
        self.share()?.refresh()
    }

    fn serve_files(&self, share: &Arc<Share>) {
        let (info, read) = (share.clone(), share.clone());
        self.set_reserved(INFO, Arc::new(move |call| tell(&info, call)));
        self.set_reserved(READ, Arc::new(move |call| upload(&read, call)));
    }
}

/// Tells whether a file is offered. What was offered may have changed, and the loop must not wait for the disk, or
/// for the server that it is on: a thread looks, one for all.
fn tell(share: &Arc<Share>, call: Call) {
    let asked = call.args().first().and_then(Value::as_str);
    let hash = asked.and_then(|text| FileHash::parse(text).ok());
    let Some(hash) = hash.filter(|hash| share.has_offered(*hash)) else {
        let _ = call.reply_text(b"null".to_vec());
        return;
    };
    let mut questions = share.questions();
    if questions.waiting.len() >= FILE_QUESTIONS {
        drop(questions);
        let _ = call.refuse("as many ask for files as may");
        return;
    }
    questions.waiting.push_back((hash, call));
    if std::mem::replace(&mut questions.answered, true) {
        return;
    }
    drop(questions);
    let answers = Answers {
        share: share.clone(),
        over: false,
    };
    if let Err(e) = signals::spawn("peerbase-file", move || answers.run()) {
        record!(Warn, "starting to look for a file: {e}");
    }
}

/// The thread that answers questions, until there are none. If it cannot be, or panics, those who wait are told
/// that there is no answer, and the next question starts it again.
struct Answers {
    share: Arc<Share>,
    /// Whether there was no more to answer.
    over: bool,
}

impl Answers {
    fn run(mut self) {
        while let Some((hash, call)) = self.next() {
            let _ = call.reply_text(info(self.share.find(hash)));
        }
    }

    fn next(&mut self) -> Option<(FileHash, Call)> {
        let mut questions = self.share.questions();
        let next = questions.waiting.pop_front();
        questions.answered = next.is_some();
        self.over = next.is_none();
        next
    }
}

impl Drop for Answers {
    fn drop(&mut self) {
        if !self.over {
            // Outside the lock: what is dropped answers.
            let left = std::mem::take(&mut *self.share.questions());
            drop(left);
        }
    }
}

fn info(offer: Option<Offer>) -> Vec<u8> {
    let text = match offer {
        Some(offer) => {
            let name = offer.path.file_name().and_then(|n| n.to_str());
            let (name, size) = (name.map_or("null".into(), json::quoted), offer.stamp.size);
            format!("{{\"size\":{size},\"name\":{name}}}")
        }
        None => "null".to_owned(),
    };
    text.into_bytes()
}

/// A part of a file, as it was asked for.
struct Part {
    hash: FileHash,
    offset: u64,
    length: u64,
}

fn part_of(call: &Call) -> Option<Part> {
    let args = call.args();
    Some(Part {
        hash: FileHash::parse(args.first()?.as_str()?).ok()?,
        offset: args.get(1)?.as_u64()?,
        length: args.get(2)?.as_u64()?,
    })
}

/// The place of one that is read, given back however that ends.
pub(super) struct Place {
    share: Arc<Share>,
    peer: (NodeName, Source),
}

impl Place {
    /// A place for a peer, if those of its source, its own counted twice, are fewer than are free. So all peers of one
    /// source leave room for other sources, whatever names they invent, and one peer leaves some for the others there.
    pub(super) fn take(share: &Arc<Share>, peer: &NodeName, source: Source) -> Option<Place> {
        let mut uploads = share.uploads();
        let near = || uploads.iter().filter(|(_, s)| *s == source);
        let own = near().filter(|(p, _)| p == peer).count();
        if near().count() + own >= share.limits.uploads.saturating_sub(uploads.len()) {
            return None;
        }
        let peer = (peer.clone(), source);
        uploads.push(peer.clone());
        let share = share.clone();
        Some(Place { share, peer })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut uploads = self.share.uploads();
        if let Some(at) = uploads.iter().position(|p| *p == self.peer) {
            uploads.swap_remove(at);
        }
    }
}

const NOT_OFFERED: &str = "no such part of a file is offered";

fn upload(share: &Arc<Share>, call: Call) {
    upload_on(share, call, |body| {
        signals::spawn("peerbase-file", body).map(drop)
    });
}

/// Reads a part of a file for a caller, on a thread: the disk may be slow, and the loop must not wait for it.
pub(super) fn upload_on(
    share: &Arc<Share>,
    call: Call,
    spawn: impl FnOnce(Box<dyn FnOnce() + Send>) -> io::Result<()>,
) {
    let Some(part) = part_of(&call).filter(|part| share.has_offered(part.hash)) else {
        let _ = call.refuse(NOT_OFFERED);
        return;
    };
    if share.limits.uploads == 0 {
        let _ = call.refuse("this node uploads no files");
        return;
    }
    let source = call.source();
    let Some(place) = source.and_then(|source| Place::take(share, call.caller(), source)) else {
        let _ = call.turn_away();
        return;
    };
    if let Err(e) = spawn(Box::new(move || answer(&place.share, &part, call))) {
        record!(Warn, "starting to read a file: {e}");
    }
}

fn answer(share: &Share, part: &Part, call: Call) {
    let end = part.offset.checked_add(part.length);
    let within = |offer: &Offer| end.is_some_and(|end| end <= offer.stamp.size);
    let Some(offer) = share.find(part.hash).filter(within) else {
        let _ = call.refuse(NOT_OFFERED);
        return;
    };
    let _ = match send(share, &offer, part, &call) {
        Ok(()) => call.reply_text(b"true".to_vec()),
        Err(e) => call.fail(&e.to_string()),
    };
}

fn send(share: &Share, offer: &Offer, part: &Part, call: &Call) -> Result<(), Error> {
    let (_, mut writer) = call.streams()?;
    let file = open(&offer.path, offer.links)?;
    let is_current = || -> Result<bool, Error> {
        Ok(Stamp::of(&file.metadata().map_err(failed_to_read)?) == offer.stamp)
    };
    let (mut at, end) = (part.offset, part.offset + part.length);
    let mut buf = vec![0; share.at_once()];
    // Before the first byte, too: what has taken the file's place is not for others.
    let is_it = is_current()?;
    while is_it && at < end {
        let most = buf
            .len()
            .min(usize::try_from(end - at).unwrap_or(usize::MAX));
        let n = file.read_at(&mut buf[..most], at).map_err(failed_to_read)?;
        if n == 0 {
            break;
        }
        share.pace(n);
        write(&mut writer, &buf[..n])?;
        at += n as u64;
    }
    if at < end || !is_current()? {
        let why = "the file has changed";
        writer.abort(why);
        return Err(Error::Damaged(why.into()));
    }
    writer.finish();
    Ok(())
}

/// Writes all of it, unless the reader takes nothing for too long.
fn write(writer: &mut StreamWriter, mut data: &[u8]) -> Result<(), Error> {
    while !data.is_empty() {
        match writer.write_timeout(data, UPLOAD_STALLED) {
            Ok(n) => data = &data[n..],
            Err(Error::WouldBlock) => return Err(Error::Timeout),
            Err(e) => return Err(e),
        }
    }
    Ok(())
}
