//! What a command answered, for callers that take JSON and bytes.

use super::CallBuilder;
use super::call::CallId;
use super::shared::value_within;
use super::turns::Outcome;
use crate::engine::Payload;
use crate::error::Error;
use serde_json::Value;

/// What a command answered: its callee says which of the two it is.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// A JSON value: the handler called [`Call::reply`](crate::Call::reply).
    Json(Value),
    /// Bytes: the handler called [`Call::reply_data`](crate::Call::reply_data).
    Data(Vec<u8>),
}

impl Reply {
    /// An answer whose JSON is to hold at most `max_values`.
    pub(super) fn read(payload: Payload, max_values: usize) -> Result<Reply, Error> {
        match payload {
            Payload::Json(text) => value_within(&text, max_values).map(Reply::Json),
            Payload::Data(bytes) => Ok(Reply::Data(bytes)),
        }
    }
}

impl CallBuilder<'_> {
    /// As [`CallBuilder::send`], for a command that may answer with bytes.
    pub fn send_reply(mut self) -> Result<Reply, Error> {
        let (target, ask) = (self.single()?, self.ask()?);
        let payload = self.node().call_one(&target, ask, self.options())?;
        Reply::read(payload, self.node().0.shared.max_values())
    }

    /// As [`CallBuilder::send_async`], for a command that may answer with bytes.
    pub fn send_reply_async(
        self,
        done: impl FnOnce(Result<Reply, Error>) + Send + 'static,
    ) -> Result<CallId, Error> {
        let max_values = self.node().0.shared.max_values();
        self.begin_with(move |outcome: Outcome| {
            done(outcome.and_then(|payload| Reply::read(payload, max_values)));
        })
    }
}
