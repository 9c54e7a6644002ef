//! Reading offered files for other nodes, each on a thread, and how many may be read at a time.

use super::{Offer, Share};
use crate::engine::Source;
use crate::error::Error;
use crate::files::{BUFFER, FileHash, Stamp, failed_to_read, open};
use crate::limits::UPLOAD_STALLED;
use crate::logging::record;
use crate::name::NodeName;
use crate::node::{Call, StreamWriter};
use crate::signals;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

impl Share {
    pub(in crate::files) fn uploads(&self) -> MutexGuard<'_, Vec<(NodeName, Source)>> {
        self.uploads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes that are sent at once. If uploads are slowed down they are so few that no other peer
    /// waits long for a place that is given up.
    fn at_once(&self) -> usize {
        let per_second = self.limits.upload_bytes_per_second;
        let quarter = usize::try_from(per_second / 4).unwrap_or(BUFFER);
        match per_second {
            0 => BUFFER,
            _ => quarter.clamp(1, BUFFER),
        }
    }

    /// Waits until so many more bytes may be sent.
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

/// The place of a peer for which a file is read. It is given back when it is dropped.
pub(crate) struct Place {
    share: Arc<Share>,
    peer: (NodeName, Source),
}

impl Place {
    /// Takes a place for a peer, if the places of its source, those of the peer counted twice, are
    /// fewer than are free. So all peers of one source leave room for other sources, whatever names
    /// they invent, and one peer leaves some room for the others of its source.
    pub(crate) fn take(share: &Arc<Share>, peer: &NodeName, source: Source) -> Option<Place> {
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

pub(super) fn upload(share: &Arc<Share>, call: Call) {
    upload_on(share, call, |body| {
        signals::spawn("peerbase-file", body).map(drop)
    });
}

/// Reads a part of a file for a caller, on a thread of its own: the disk may be slow, and the event
/// loop must not wait for it.
pub(crate) fn upload_on(
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
    // Also before the first byte: another file that has taken its place must not be sent.
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

/// Writes all of the data, unless the reader accepts nothing for too long.
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
