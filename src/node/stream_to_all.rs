//! One stream for several targets.

use super::shared::value_within;
use super::stream::io_error;
use super::{CallBuilder, CallStream, Node, Options, RawAnswer, TargetResult};
use crate::engine::Ask;
use crate::error::Error;
use crate::name::NodeName;
use std::fmt;
use std::io::{self, Write};

/// One source for several targets: what is written goes to each. The slowest sets the pace; one
/// that fails is left out, and the others go on.
#[derive(Default)]
pub struct FanOut {
    targets: Vec<(NodeName, Result<CallStream, Error>)>,
}

impl FanOut {
    /// An error if waiting here would be waiting for oneself.
    pub(crate) fn check_may_wait(&self) -> Result<(), Error> {
        let mut open = self.targets.iter().filter_map(|(_, s)| s.as_ref().ok());
        open.next().map_or(Ok(()), CallStream::check_may_wait)
    }

    pub(crate) fn write_some(&mut self, data: &[u8]) -> Result<usize, Error> {
        // In a callback, a target with no room just now would be taken for one that has failed.
        self.check_may_wait()?;
        let mut last = Error::Argument("a call needs a target");
        let mut took = false;
        for (_, stream) in &mut self.targets {
            let Ok(open) = stream else { continue };
            let mut rest = data;
            let outcome = loop {
                if rest.is_empty() {
                    break Ok(());
                }
                match open.ends.write(rest, None) {
                    Ok(n) => rest = &rest[n..],
                    Err(e) => break Err(e),
                }
            };
            match outcome {
                Ok(()) => took = true,
                // Its value says better than the write why it takes no more.
                Err(e) => {
                    let why = open.value_text().err().unwrap_or_else(|| e.clone());
                    *stream = Err(why);
                    last = e;
                }
            }
        }
        if took { Ok(data.len()) } else { Err(last) }
    }

    /// Says that all was written.
    pub fn finish(&mut self) {
        for open in self.targets.iter().filter_map(|(_, s)| s.as_ref().ok()) {
            open.ends.finish();
        }
    }

    /// Says that all was written, and waits for each target's value.
    pub fn values(mut self) -> Result<Vec<TargetResult>, Error> {
        let open = self.targets.iter().find_map(|(_, s)| s.as_ref().ok());
        let max_values = open.map_or(0, |open| open.pending.shared.max_values());
        let read = |text: Vec<u8>| value_within(&text, max_values);
        let texts = self.value_texts()?.into_iter();
        Ok(texts
            .map(|(node, text)| TargetResult {
                node,
                result: text.and_then(read),
            })
            .collect())
    }

    pub(crate) fn value_texts(&mut self) -> Result<Vec<RawAnswer>, Error> {
        self.check_may_wait()?;
        self.finish();
        Ok(std::mem::take(&mut self.targets)
            .into_iter()
            .map(|(node, stream)| (node, stream.and_then(|mut s| s.value_text())))
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
    /// Calls every target and streams the same to each.
    pub fn stream_to_all(self) -> Result<FanOut, Error> {
        let (targets, ask, options) = (self.target_names()?, self.ask()?, self.options());
        self.node().begin_fan_out(targets, ask, options)
    }
}

impl Node {
    pub(crate) fn begin_fan_out(
        &self,
        targets: Vec<NodeName>,
        ask: Ask,
        options: Options,
    ) -> Result<FanOut, Error> {
        self.0.shared.turns.check()?;
        let mut streams = Vec::with_capacity(targets.len());
        for target in targets {
            let stream = self.begin_stream(&target, ask.clone(), options);
            streams.push((target, stream));
        }
        Ok(FanOut { targets: streams })
    }
}
