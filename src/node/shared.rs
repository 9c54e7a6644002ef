//! What a node, its calls and its streams hold in common.

use super::turns::{EventHandler, Handlers, Opened, Turns};
use super::{Handle, Node};
use crate::engine::Payload;
use crate::error::Error;
use crate::json;
use crate::limits::{ANSWERS_OF_SEVERAL, Limits};
use crate::name::{NetworkName, NodeName};
use serde_json::Value;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// See the module's documentation.
pub(super) struct Shared {
    pub(super) turns: Turns,
    name: NodeName,
    network: NetworkName,
    limits: Limits,
    port: u16,
    handle: Weak<Handle>,
}

impl Shared {
    /// What the node of this handle holds, of which there is none yet. `handlers` makes what runs
    /// for what comes in, and is given a reference to the result.
    pub(super) fn new(
        opened: Opened,
        handle: Weak<Handle>,
        handlers: impl FnOnce(Weak<Shared>) -> Handlers,
        on_event: Option<EventHandler>,
    ) -> Arc<Shared> {
        let engine = &opened.driver.engine;
        let (name, network) = (engine.name().clone(), engine.network().clone());
        let limits = engine.limits().clone();
        let port = opened.driver.port();
        Arc::new_cyclic(|shared| Shared {
            turns: Turns::new(opened, handlers(shared.clone()), on_event),
            name,
            network,
            limits,
            port,
            handle,
        })
    }

    pub(super) fn name(&self) -> &NodeName {
        &self.name
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    pub(super) fn network(&self) -> &NetworkName {
        &self.network
    }

    #[cfg(feature = "files")]
    pub(super) fn limits(&self) -> Limits {
        self.limits.clone()
    }

    /// Bytes of the largest answer.
    pub(super) fn max_message(&self) -> usize {
        self.limits.max_message
    }

    /// Bytes of answers that are held until all of a call of several have come.
    pub(super) fn message_bytes(&self) -> usize {
        self.limits.message_bytes
    }

    /// How long a call may take at most.
    pub(super) fn call_timeout(&self) -> Duration {
        self.limits.call_timeout
    }

    /// Values of what is called with, or answered, that may be made.
    pub(super) fn max_values(&self) -> usize {
        self.limits.max_values
    }

    /// The value that a command answered.
    pub(super) fn value_of(&self, payload: Payload) -> Result<Value, Error> {
        value_within(&payload.into_json()?, self.max_values())
    }

    /// The node, unless its last clone is gone.
    pub(super) fn node(&self) -> Option<Node> {
        self.handle.upgrade().map(Node)
    }
}

/// The value that a command answered, of at most `max_values` values.
pub(super) fn value_within(text: &[u8], max_values: usize) -> Result<Value, Error> {
    json::parse(text, max_values).map_err(|e| match e {
        // The command ran, which the other error would deny.
        Error::TooManyValues(_) => TOO_MANY_VALUES,
        e => e,
    })
}

const TOO_MANY_VALUES: Error = Error::AnswerLost("it holds more values than max_values");

/// Makes the values of all answers to a call of several, which the program holds at a time.
pub(super) struct SeveralValues {
    max_values: usize,
    /// Values that may still be made.
    left: usize,
}

impl SeveralValues {
    /// Each answer may hold `max_values`, and all together [`ANSWERS_OF_SEVERAL`] times as many.
    pub(super) fn new(max_values: usize) -> SeveralValues {
        SeveralValues {
            max_values,
            left: max_values.saturating_mul(ANSWERS_OF_SEVERAL),
        }
    }

    /// The value of the next answer.
    pub(super) fn read(&mut self, payload: Payload) -> Result<Value, Error> {
        let text = payload.into_json()?;
        let values = json::check(&text)?;
        if values > self.max_values {
            return Err(TOO_MANY_VALUES);
        }
        let left = self.left.checked_sub(values);
        self.left = left.ok_or(Error::AnswerLost(
            "the answers of all targets hold more than four times max_values",
        ))?;
        Ok(json::value_of(&text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_values_of_all_answers_together_are_bounded() {
        let mut values = SeveralValues::new(10);
        let json = |text: &str| Payload::Json(text.as_bytes().to_vec());
        for _ in 0..ANSWERS_OF_SEVERAL {
            assert!(matches!(
                values.read(json("[1,2,3,4,5,6,7,8,9,0]")),
                Err(Error::AnswerLost(_))
            ));
            assert!(values.read(json("[1,2,3,4,5,6,7,8,9]")).is_ok());
        }
        assert!(matches!(values.read(json("1")), Err(Error::AnswerLost(_))));
    }
}
