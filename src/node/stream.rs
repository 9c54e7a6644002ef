//! Streams of a call, as programs use them: each end reads or writes, blocking or not.

use super::Node;
use super::reply::Reply;
use super::shared::Shared;
use super::turns::signal::{Ready, Signal};
use super::turns::slot::Slot;
use super::turns::{Completion, Outcome};
use super::{CallBuilder, Options};
use crate::engine::{Ask, CallNumber, Engine, Now, RequestId, StreamId};
use crate::error::Error;
use crate::name::NodeName;
use crate::wire::record::Channel;
use serde_json::Value;
use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Both streams of a call, at one of its sides.
pub(crate) struct Ends {
    shared: Arc<Shared>,
    call: RequestId,
    read: StreamId,
    write: StreamId,
    signal: Arc<Signal>,
    closed: AtomicBool,
    finished: AtomicBool,
}

impl Ends {
    fn new(shared: &Arc<Shared>, call: RequestId, is_caller: bool) -> Arc<Ends> {
        let stream = |channel| StreamId { call, channel };
        let (request, response) = (stream(Channel::Request), stream(Channel::Response));
        let (read, write) = match is_caller {
            true => (response, request),
            false => (request, response),
        };
        Arc::new(Ends {
            shared: shared.clone(),
            call,
            read,
            write,
            signal: shared.turns.signal(call),
            closed: AtomicBool::new(false),
            finished: AtomicBool::new(false),
        })
    }

    /// The callee's ends; from now on the caller may stream.
    pub(super) fn accept(shared: &Arc<Shared>, call: RequestId) -> Result<Arc<Ends>, Error> {
        shared.turns.check()?;
        shared
            .turns
            .with(|engine, now| engine.accept_streams(now, call))??;
        Ok(Ends::new(shared, call, false))
    }

    /// Reads what has come; 0 at the end. Waits at most `timeout` for something; without, for as
    /// long as the call lives.
    pub(crate) fn read(&self, buf: &mut [u8], timeout: Option<Duration>) -> Result<usize, Error> {
        let id = self.read;
        if self.closed.load(Ordering::Relaxed) {
            return Err(Error::Argument("the stream was closed"));
        }
        self.shared
            .turns
            .wait_stream(&self.signal, timeout, |engine: &mut Engine, now: Now| {
                engine.stream_read(now, id, buf)
            })
    }

    /// Writes as much of `data` as there is room for, at least a byte; waits as [`Ends::read`]
    /// does.
    pub(crate) fn write(&self, data: &[u8], timeout: Option<Duration>) -> Result<usize, Error> {
        let id = self.write;
        if data.is_empty() {
            return Ok(0);
        }
        self.shared
            .turns
            .wait_stream(&self.signal, timeout, |engine: &mut Engine, now: Now| {
                let n = engine.stream_write(now, id, data)?;
                Ok(Some(n).filter(|n| *n > 0))
            })
    }

    /// All was written.
    pub(crate) fn finish(&self) {
        let id = self.write;
        self.end(&self.finished, |engine, now| engine.stream_finish(now, id));
    }

    /// Not all was written.
    pub(crate) fn abort(&self, why: &str) {
        let id = self.write;
        self.end(&self.finished, |engine, now| {
            engine.stream_abort(now, id, why)
        });
    }

    /// Nobody writes any more, whether all was written or not.
    fn let_go(&self) {
        let id = self.write;
        self.end(&self.finished, |engine, now| engine.stream_let_go(now, id));
    }

    /// No more is read.
    pub(crate) fn close(&self) {
        let id = self.read;
        self.end(&self.closed, |engine, now| engine.stream_close(now, id));
    }

    /// Ends one of the streams on this side, unless `is_over` says that this was done before.
    fn end<R>(&self, is_over: &AtomicBool, f: impl FnOnce(&mut Engine, Now) -> R) {
        if is_over.swap(true, Ordering::Relaxed) || self.shared.turns.is_forked() {
            return;
        }
        // In a node that has ended there is no stream any more.
        let _ = self.shared.turns.with(f);
    }

    /// What is told on the loop's thread when a read or write that would have had to wait no longer
    /// has to.
    pub(crate) fn on_ready(&self, ready: Option<Ready>) {
        self.signal.set_ready(ready);
    }
}

impl Drop for Ends {
    fn drop(&mut self) {
        if !self.shared.turns.is_forked() {
            self.close();
            self.let_go();
            self.shared.turns.forget_signal(self.call);
        }
    }
}

pub(super) fn io_error(error: Error) -> io::Error {
    let kind = match error {
        Error::Broken { .. } => ErrorKind::UnexpectedEof,
        Error::Timeout => ErrorKind::TimedOut,
        Error::WouldBlock => ErrorKind::WouldBlock,
        _ => ErrorKind::Other,
    };
    io::Error::new(kind, error)
}

/// What the other side of a call streams, to be read. A stream that broke off ends in an error
/// ([`ErrorKind::UnexpectedEof`], holding [`Error::Broken`]) and never looks whole; a whole one has
/// been checked by its SHA-256 when this gives 0. Dropped, it tells the other side that no more is
/// read.
pub struct StreamReader(Arc<Ends>);

impl StreamReader {
    /// Sets the [callback](crate#callbacks) that runs, on the loop's thread, when a read or write
    /// that ended as [`Error::WouldBlock`] can be tried again; for a program with an event loop,
    /// which must not block. In a callback, read and write with a timeout of zero; with a longer
    /// one, an operation that has to wait is [`Error::WouldDeadlock`] there.
    ///
    /// The reader and the writer of a call share one callback, which is dropped with the last of
    /// the two. It must not own either of them, or none of the three would ever be dropped.
    pub fn on_ready(&self, ready: impl Fn() + Send + Sync + 'static) {
        self.0.on_ready(Some(Arc::new(ready)));
    }

    /// As [`Read::read`], waiting at most `timeout`: then it is [`Error::WouldBlock`].
    pub fn read_timeout(&mut self, buf: &mut [u8], timeout: Duration) -> Result<usize, Error> {
        self.0.read(buf, Some(timeout))
    }
}

impl Read for StreamReader {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read(buf, None).map_err(io_error)
    }
}

impl Drop for StreamReader {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl fmt::Debug for StreamReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("StreamReader").field(&self.0.call).finish()
    }
}

/// What this side of a call streams, to be written. It ends with [`StreamWriter::finish`]; dropped
/// before, it is broken off, and its reader is told so. A command that has written nothing may just
/// drop it.
pub struct StreamWriter(Arc<Ends>);

impl StreamWriter {
    /// As [`Write::write`], waiting at most `timeout`: then it is [`Error::WouldBlock`].
    pub fn write_timeout(&mut self, data: &[u8], timeout: Duration) -> Result<usize, Error> {
        self.0.write(data, Some(timeout))
    }

    /// Says that this is all. What was written is still on its way; that it has arrived is known
    /// when the call has its value.
    pub fn finish(self) {
        self.0.finish();
    }

    /// Breaks the stream off, and tells the reader why.
    pub fn abort(self, why: &str) {
        self.0.abort(why);
    }
}

impl Write for StreamWriter {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.0.write(data, None).map_err(io_error)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for StreamWriter {
    fn drop(&mut self) {
        self.0.let_go();
    }
}

impl fmt::Debug for StreamWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("StreamWriter").field(&self.0.call).finish()
    }
}

/// The value of a call that streams, once there is one.
pub(super) struct Pending {
    pub(super) shared: Arc<Shared>,
    pub(super) number: CallNumber,
    slot: Arc<Slot<Outcome>>,
    over: bool,
}

impl Pending {
    pub(crate) fn wait(&mut self) -> Outcome {
        self.shared.turns.check_may_wait()?;
        if std::mem::replace(&mut self.over, true) {
            return Err(Error::Argument("the call was waited for already"));
        }
        self.shared.turns.wait_for(&self.slot)
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if !self.over && !self.shared.turns.is_forked() {
            self.shared.turns.cancel(self.number);
        }
    }
}

/// A call under way that streams both ways: written to, it streams to the command; read, it gives
/// what the command streams. Dropped, the call is cancelled.
///
/// ```no_run
/// # use std::io::{Read, Write};
/// # let node = peerbase::Node::builder("a", "b", peerbase::Key::from_bytes([0; 32])).start()?;
/// let mut stream = node.call("compress").to("gateway").stream()?;
/// stream.write_all(b"as much as one likes").unwrap();
/// stream.finish();
/// let mut result = Vec::new();
/// stream.read_to_end(&mut result).unwrap();
/// let value = stream.value()?;
/// # Ok::<(), peerbase::Error>(())
/// ```
pub struct CallStream {
    // In this order they are dropped: the call is cancelled before its streams are given up.
    pub(super) pending: Pending,
    pub(super) ends: Arc<Ends>,
}

impl CallStream {
    /// Says that all was written.
    pub fn finish(&mut self) {
        self.ends.finish();
    }

    /// The three parts of it, for use on different threads.
    pub fn split(self) -> (StreamReader, StreamWriter, StreamValue) {
        let (ends, pending) = (self.ends, self.pending);
        (
            StreamReader(ends.clone()),
            StreamWriter(ends),
            StreamValue(pending),
        )
    }

    /// Says that all was written, gives up what was not read, and waits for the command's value.
    pub fn value(mut self) -> Result<Value, Error> {
        let payload = self.payload()?;
        self.pending.shared.value_of(payload)
    }

    /// As [`CallStream::value`], for a command that may answer with bytes.
    pub fn reply(mut self) -> Result<Reply, Error> {
        let payload = self.payload()?;
        Reply::read(payload, self.pending.shared.max_values())
    }

    pub(crate) fn payload(&mut self) -> Outcome {
        self.check_may_wait()?;
        self.ends.finish();
        self.ends.close();
        self.pending.wait()
    }

    pub(crate) fn ends(&self) -> &Arc<Ends> {
        &self.ends
    }

    /// An error if waiting here would be waiting for oneself.
    pub(crate) fn check_may_wait(&self) -> Result<(), Error> {
        self.pending.shared.turns.check_may_wait()
    }
}

impl Read for CallStream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.ends.read(buf, None).map_err(io_error)
    }
}

impl Write for CallStream {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.ends.write(data, None).map_err(io_error)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Debug for CallStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CallStream").field(&self.ends.call).finish()
    }
}

/// The value of a call that streams, to be waited for. Dropped, the call is cancelled.
pub struct StreamValue(Pending);

impl StreamValue {
    /// Waits for it. What the command streams must be read meanwhile, or its reader dropped.
    pub fn wait(mut self) -> Result<Value, Error> {
        let payload = self.0.wait()?;
        self.0.shared.value_of(payload)
    }

    /// As [`StreamValue::wait`], for a command that may answer with bytes.
    pub fn wait_reply(mut self) -> Result<Reply, Error> {
        let payload = self.0.wait()?;
        Reply::read(payload, self.0.shared.max_values())
    }
}

impl fmt::Debug for StreamValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("StreamValue").field(&self.0.number).finish()
    }
}

impl CallBuilder<'_> {
    /// Calls one node and streams to it, and from it. [`CallBuilder::timeout`] is then how long
    /// nothing may move.
    ///
    /// It does not wait for the peer. A call of a peer that is not there is `Ok` as well: writes
    /// then fill the window ([`stream_window`](crate::Limits::stream_window)) and wait, and once
    /// the timeout is over, reads and writes end as [`Error::Broken`]. Why the call ended, here
    /// [`Error::Unreachable`], is what [`CallStream::value`] and [`StreamValue::wait`] return, with
    /// the other errors of [`CallBuilder::send`].
    ///
    /// # Errors
    ///
    /// [`Error::Overloaded`] if too many streams or calls of this node are open,
    /// [`Error::Unreachable`] if the name is not known and [`CallBuilder::wait`] is off,
    /// [`Error::Argument`] if the target is this node, and those of names and paths.
    pub fn stream(mut self) -> Result<CallStream, Error> {
        let (target, ask, options) = (self.single()?, self.ask()?, self.options());
        self.node().begin_stream(&target, ask, options)
    }
}

impl Node {
    pub(crate) fn begin_stream(
        &self,
        target: &NodeName,
        ask: Ask,
        options: Options,
    ) -> Result<CallStream, Error> {
        let shared = &self.0.shared;
        let slot = Slot::new();
        let terms = options.terms(true);
        let number = shared
            .turns
            .begin(target, ask, terms, Completion::Slot(slot.clone()))?;
        // A call that was begun as another instance has ended.
        let caller = shared.turns.with(|engine, _| engine.instance())?;
        let call = RequestId {
            caller,
            number: number.0,
        };
        Ok(CallStream {
            pending: Pending {
                shared: shared.clone(),
                number,
                slot,
                over: false,
            },
            ends: Ends::new(shared, call, true),
        })
    }
}

/// What the caller streams, and what is streamed to it: see [`super::Call::streams`].
pub(super) fn split(ends: &Arc<Ends>) -> (StreamReader, StreamWriter) {
    (StreamReader(ends.clone()), StreamWriter(ends.clone()))
}
