//! One stream for several targets.

use super::shared::SeveralValues;
use super::stream::io_error;
use super::targets::is_left_out;
use super::{CallBuilder, CallStream, Node, Options, RawAnswer, TargetResult, Targets};
use crate::engine::{Ask, Payload};
use crate::error::Error;
use crate::limits::CHUNK;
use crate::name::NodeName;
use std::fmt;
use std::io::{self, Write};
use std::time::{Duration, Instant};

/// Bytes that every target takes before any of them is given more, so that none goes far ahead of
/// the others and then waits for them until its call times out.
const PIECE: usize = CHUNK;

/// One source for several targets: what is written goes to each. The slowest sets the pace. A
/// target that fails is left out, and so is one that takes less than 16 KiB in half the timeout of
/// the call; the others go on.
#[derive(Default)]
pub struct FanOut {
    targets: Vec<(NodeName, Sink)>,
    /// How long one target may hold up the others.
    patience: Duration,
    /// Whether it is for every peer.
    to_all: bool,
}

/// The stream to one of the targets.
enum Sink {
    Open(CallStream),
    /// It takes no more, for this reason; the value of its call may say better why.
    Broken(CallStream, Error),
    /// There is no call, or not any more.
    Failed(Error),
}

impl Sink {
    /// Writes all of `data` until then, or leaves the target out.
    fn write(&mut self, mut data: &[u8], until: Option<Instant>) {
        let Sink::Open(open) = self else { return };
        while !data.is_empty() {
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            match open.ends.write(data, left) {
                Ok(n) => data = &data[n..],
                Err(why) => return self.leave_out(why),
            }
        }
    }

    fn leave_out(&mut self, why: Error) {
        *self = match std::mem::replace(self, Sink::Failed(Error::Timeout)) {
            // It was too slow: its call is given up.
            Sink::Open(_) if why == Error::WouldBlock => Sink::Failed(Error::Timeout),
            Sink::Open(open) => Sink::Broken(open, why),
            left_out => left_out,
        };
    }

    fn error(&self) -> Option<&Error> {
        match self {
            Sink::Open(_) => None,
            Sink::Broken(_, why) | Sink::Failed(why) => Some(why),
        }
    }

    fn stream(&self) -> Option<&CallStream> {
        match self {
            Sink::Open(open) | Sink::Broken(open, _) => Some(open),
            Sink::Failed(_) => None,
        }
    }

    /// Waits for the value of the call.
    fn payload(self) -> Result<Payload, Error> {
        match self {
            Sink::Open(mut open) => open.payload(),
            Sink::Broken(mut open, why) => Err(open.payload().err().unwrap_or(why)),
            Sink::Failed(why) => Err(why),
        }
    }
}

impl FanOut {
    fn open(&self) -> impl Iterator<Item = &CallStream> {
        let sinks = self.targets.iter().map(|(_, sink)| sink);
        sinks.filter_map(|sink| match sink {
            Sink::Open(open) => Some(open),
            Sink::Broken(..) | Sink::Failed(_) => None,
        })
    }

    /// An error if waiting here would be waiting for oneself.
    pub(crate) fn check_may_wait(&self) -> Result<(), Error> {
        let mut streams = self.targets.iter().filter_map(|(_, sink)| sink.stream());
        streams.next().map_or(Ok(()), CallStream::check_may_wait)
    }

    pub(crate) fn write_some(&mut self, data: &[u8]) -> Result<usize, Error> {
        // In a callback, a target with no room just now would be taken for one that has failed.
        self.check_may_wait()?;
        for piece in data.chunks(PIECE) {
            // A time that the clock cannot express does not come.
            let until = Instant::now().checked_add(self.patience);
            for (_, sink) in &mut self.targets {
                sink.write(piece, until);
            }
        }
        if self.open().next().is_some() {
            return Ok(data.len());
        }
        let why = self.targets.iter().rev().find_map(|(_, sink)| sink.error());
        Err(why
            .cloned()
            .unwrap_or(Error::Argument("a call needs a target")))
    }

    /// Says that all was written.
    pub fn finish(&mut self) {
        for open in self.open() {
            open.ends.finish();
        }
    }

    /// Says that all was written, and waits for each target's value. Their number and size are
    /// bounded as those of [`CallBuilder::send_all`].
    pub fn values(mut self) -> Result<Vec<TargetResult>, Error> {
        let open = self.targets.iter().find_map(|(_, sink)| sink.stream());
        let max_values = open.map_or(0, |open| open.pending.shared.max_values());
        let mut values = SeveralValues::new(max_values);
        let answers = self.payloads()?.into_iter();
        Ok(answers
            .map(|(node, answer)| TargetResult {
                node,
                result: answer.and_then(|payload| values.read(payload)),
            })
            .collect())
    }

    pub(crate) fn payloads(&mut self) -> Result<Vec<RawAnswer>, Error> {
        self.check_may_wait()?;
        self.finish();
        let targets = std::mem::take(&mut self.targets).into_iter();
        let answers = targets.map(|(node, sink)| (node, sink.payload()));
        Ok(answers
            .filter(|(_, answer)| !is_left_out(self.to_all, answer))
            .collect())
    }
}

impl Write for FanOut {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.write_some(data).map_err(io_error)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Debug for FanOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.targets.iter().map(|(name, _)| name);
        f.debug_list().entries(names).finish()
    }
}

impl CallBuilder<'_> {
    /// Calls every target and streams the same to each. With [`CallBuilder::to_all`], peers whose
    /// rules do not allow the call have no value.
    pub fn stream_to_all(mut self) -> Result<FanOut, Error> {
        let (targets, ask, options) = (self.targets()?, self.ask()?, self.options());
        self.node().begin_fan_out(targets, ask, options)
    }
}

impl Node {
    pub(crate) fn begin_fan_out(
        &self,
        targets: Targets,
        ask: Ask,
        options: Options,
    ) -> Result<FanOut, Error> {
        self.0.shared.turns.check()?;
        let to_all = targets.are_all();
        let targets = self.targets(targets);
        let mut sinks = Vec::with_capacity(targets.len());
        for target in targets {
            let sink = match self.begin_stream(&target, ask.clone(), options) {
                Ok(stream) => Sink::Open(stream),
                Err(why) => Sink::Failed(why),
            };
            sinks.push((target, sink));
        }
        Ok(FanOut {
            targets: sinks,
            patience: options.timeout.min(self.0.shared.call_timeout()) / 2,
            to_all,
        })
    }
}
