//! What this node offers, and reading it for others.

use super::{BUFFER, FileHash, INFO, READ, Stamp, hash};
use crate::error::Error;
use crate::json;
use crate::limits::Limits;
use crate::node::{Call, Node};
use crate::table::Table;
use serde_json::Value;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// A file that is offered.
#[derive(Clone, Debug)]
pub(super) struct Offer {
    pub(super) path: PathBuf,
    pub(super) stamp: Stamp,
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

/// The files of one node.
#[derive(Debug)]
pub(crate) struct Share {
    offers: Mutex<Offers>,
    uploads: AtomicUsize,
    /// When the next piece may go out, where uploads are slowed down.
    next: Mutex<Instant>,
    pub(super) limits: Limits,
}

impl Share {
    pub(crate) fn new(limits: Limits) -> Share {
        Share {
            offers: Mutex::default(),
            uploads: AtomicUsize::new(0),
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
        let same =
            fs::metadata(&offer.path).is_ok_and(|m| m.is_file() && Stamp::of(&m) == offer.stamp);
        if !same {
            self.lock().by_hash.remove(&hash);
        }
        Some(offer).filter(|_| same)
    }

    /// Marks that a file is being fetched; false if it is already.
    pub(super) fn begin_fetch(&self, hash: FileHash) -> bool {
        let mut offers = self.lock();
        let fresh = !offers.fetching.contains(&hash);
        if fresh {
            offers.fetching.push(hash);
        }
        fresh
    }

    pub(super) fn end_fetch(&self, hash: FileHash) {
        self.lock().fetching.retain(|h| *h != hash);
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
            self.lock().by_hash.remove(old);
            match hash(&offer.path) {
                Ok((new, stamp)) => {
                    let path = offer.path.clone();
                    self.offer(new, Offer { path, stamp })?;
                    found.changed += 1;
                }
                Err(_) => found.removed += 1,
            }
        }
        let Some(folder) = folder else {
            return Ok(found);
        };
        let failed = |e: std::io::Error| Error::io("reading the folder", &e);
        for entry in fs::read_dir(&folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            // Not through links, and not what is hidden: only what lies open in the folder is offered.
            let plain = entry.file_type().is_ok_and(|t| t.is_file());
            let path = entry.path();
            let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
            if !plain || hidden || self.offers_path(&path) {
                continue;
            }
            if let Ok((hash, stamp)) = hash(&path)
                && self.offer(hash, Offer { path, stamp })?
            {
                found.added += 1;
            }
        }
        Ok(found)
    }

    fn offers_path(&self, path: &Path) -> bool {
        self.lock().by_hash.values().any(|o| o.path == path)
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

impl Node {
    /// Offers a file to the network; its SHA-256 in hexadecimal, by which others ask for it. All of it is
    /// read. Changed or removed later, it is not offered any more; see [`Node::refresh`].
    pub fn add_file(&self, path: impl AsRef<Path>) -> Result<String, Error> {
        let share = self.share()?;
        let path = std::path::absolute(path).map_err(|e| Error::io("finding a file", &e))?;
        let (hash, stamp) = hash(&path)?;
        share.offer(hash, Offer { path, stamp })?;
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

fn tell(share: &Share, call: Call) {
    let asked = call.args().first().and_then(Value::as_str);
    let hash = asked.and_then(|text| FileHash::parse(text).ok());
    let answer = match hash.and_then(|hash| share.find(hash)) {
        Some(offer) => {
            let name = offer.path.file_name().and_then(|n| n.to_str());
            let (name, size) = (name.map_or("null".into(), json::quoted), offer.stamp.size);
            format!("{{\"size\":{size},\"name\":{name}}}")
        }
        None => "null".to_owned(),
    };
    let _ = call.reply_text(answer.into_bytes());
}

/// A part of a file, as it was asked for.
struct Part {
    offer: Offer,
    offset: u64,
    length: u64,
}

fn part_of(share: &Share, call: &Call) -> Option<Part> {
    let args = call.args();
    let hash = FileHash::parse(args.first()?.as_str()?).ok()?;
    let (offset, length) = (args.get(1)?.as_u64()?, args.get(2)?.as_u64()?);
    let offer = share.find(hash)?;
    let within = offset.checked_add(length)? <= offer.stamp.size;
    within.then_some(Part {
        offer,
        offset,
        length,
    })
}

fn upload(share: &Arc<Share>, call: Call) {
    let Some(part) = part_of(share, &call) else {
        let _ = call.refuse("no such part of a file is offered");
        return;
    };
    if share.uploads.fetch_add(1, Ordering::Relaxed) >= share.limits.uploads {
        share.uploads.fetch_sub(1, Ordering::Relaxed);
        let _ = call.refuse("as many files are being read as may be");
        return;
    }
    let share = share.clone();
    let body = move || {
        let outcome = send(&share, &part, &call);
        share.uploads.fetch_sub(1, Ordering::Relaxed);
        let _ = match outcome {
            Ok(()) => call.reply_text(b"true".to_vec()),
            Err(e) => call.fail(&e.to_string()),
        };
    };
    // The disk may be slow, and the loop must not wait for it.
    let thread = thread::Builder::new().name("peerbase-file".into());
    if let Err(e) = thread.spawn(body) {
        log::warn!("starting to read a file: {e}");
    }
}

fn send(share: &Share, part: &Part, call: &Call) -> Result<(), Error> {
    let failed = |e: std::io::Error| Error::io("reading a file", &e);
    let (_, mut writer) = call.streams()?;
    let mut file = File::open(&part.offer.path).map_err(failed)?;
    file.seek(SeekFrom::Start(part.offset)).map_err(failed)?;
    let (mut left, mut buf) = (part.length, vec![0; BUFFER]);
    while left > 0 {
        let most = buf.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let n = file.read(&mut buf[..most]).map_err(failed)?;
        if n == 0 {
            break;
        }
        share.pace(n);
        writer
            .write_all(&buf[..n])
            .map_err(|e| Error::io("sending a file", &e))?;
        left -= n as u64;
    }
    let stamp = Stamp::of(&file.metadata().map_err(failed)?);
    if left > 0 || stamp != part.offer.stamp {
        let why = "the file has changed";
        writer.abort(why);
        return Err(Error::Damaged(why.into()));
    }
    writer.finish();
    Ok(())
}
