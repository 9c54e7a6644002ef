//! A thread that fetches the pieces of a file from one node, one after the other.

use super::super::{BUFFER, FileHash, READ};
use super::ask;
use super::pieces::{News, Piece, Pieces, Taken};
use crate::error::Error;
use crate::name::NodeName;
use crate::node::{Node, Options};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Times in a row that a node may fail before the fetch goes on without it. To be busy, or slower
/// than another node, is no failure.
const PATIENCE: u32 = 3;
/// How often the worker checks whether its piece is still wanted.
const LOOK: Duration = match cfg!(test) {
    true => Duration::from_millis(20),
    false => Duration::from_millis(500),
};
/// How long a node that failed, or is busy, is left alone. The time doubles each time that it is
/// busy again.
const REST: Duration = Duration::from_millis(300);
/// The longest time that a busy node is left alone: it should not stay idle for long once it has a
/// place again.
const LONGEST_REST: Duration = Duration::from_secs(2);

/// Fetches pieces from one node.
pub(super) struct Worker {
    pub(super) node: Node,
    pub(super) hash: FileHash,
    pub(super) timeout: Duration,
    pub(super) holder: NodeName,
    pub(super) pieces: Arc<Pieces>,
    pub(super) file: File,
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.pieces.worker_ended();
    }
}

impl Worker {
    /// Fetches one piece after the other, as long as there are some.
    pub(super) fn run(&self) {
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
                // Another thread fetches the piece instead, which is no failure of this node.
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
                Ok(0) if at == length => break stream.payload().and_then(|_| piece.arrived()),
                // The node has most likely refused the call; the value says why.
                Ok(0) => break Err(stream.payload().err().unwrap_or_else(|| short(at))),
                Ok(n) if at + n as u64 > length => break Err(short(at)),
                Ok(n) => {
                    let written = self.file.write_all_at(&buf[..n], offset + at);
                    written.map_err(|e| Error::io("writing a file", &e))?;
                    at += n as u64;
                    self.pieces.tell(News::Bytes(n as i64));
                }
                Err(e) => break Err(stream.payload().err().unwrap_or(e)),
            }
        };
        // These bytes are fetched again, from this node or another.
        if outcome.is_err() {
            self.pieces.tell(News::Bytes(-(at as i64)));
        }
        outcome
    }
}
fn short(arrived: u64) -> Error {
    Error::Broken {
        arrived,
        why: "it was not as long as was said".into(),
    }
}
