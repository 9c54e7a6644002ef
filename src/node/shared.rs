//! What a node, its calls and its streams hold in common.

use super::command::{CommandTree, MessageHandler, Registry};
use super::turns::{self, EventHandler, Turns};
use super::{Handle, Node};
use crate::error::Error;
use crate::json;
use crate::limits::Limits;
use crate::name::{NetworkName, NodeName};
use crate::wire::Instance;
use serde_json::Value;
use std::sync::{Arc, OnceLock, Weak};

/// A node whose sockets are open, and what the program gave it to run.
pub(super) struct Parts {
    pub(super) opened: turns::Opened,
    pub(super) commands: CommandTree,
    pub(super) on_message: Option<MessageHandler>,
    pub(super) on_event: Option<EventHandler>,
}

/// See the module's documentation.
pub(super) struct Shared {
    pub(super) turns: Turns,
    pub(super) registry: Arc<Registry>,
    name: NodeName,
    network: NetworkName,
    instance: Instance,
    limits: Limits,
    port: u16,
    handle: OnceLock<Weak<Handle>>,
}

impl Shared {
    pub(super) fn new(parts: Parts) -> Arc<Shared> {
        let Parts {
            opened,
            commands,
            on_message,
            on_event,
        } = parts;
        let engine = &opened.driver.engine;
        let (name, network) = (engine.name().clone(), engine.network().clone());
        let (instance, limits) = (engine.instance(), engine.limits().clone());
        let port = opened.driver.port();
        let registry = Arc::new(Registry::new(commands, on_message));
        Arc::new_cyclic(|shared| {
            let handlers = handlers(shared.clone(), &registry);
            Shared {
                turns: Turns::new(opened, handlers, on_event),
                registry,
                name,
                network,
                instance,
                limits,
                port,
                handle: OnceLock::new(),
            }
        })
    }

    pub(super) fn name(&self) -> &NodeName {
        &self.name
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// This start of the node.
    pub(super) fn instance(&self) -> Instance {
        self.instance
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

    /// Values of what is called with, or answered, that may be made.
    pub(super) fn max_values(&self) -> usize {
        self.limits.max_values
    }

    /// The value that a command answered.
    pub(super) fn value_of(&self, text: &[u8]) -> Result<Value, Error> {
        value_within(text, self.max_values())
    }

    pub(super) fn set_handle(&self, handle: Weak<Handle>) {
        let _ = self.handle.set(handle);
    }

    /// The node, unless its last clone is gone.
    pub(super) fn node(&self) -> Option<Node> {
        self.handle.get()?.upgrade().map(Node)
    }
}

/// What runs for what comes in. The call of a request holds all that is shared, so this does not.
fn handlers(shared: Weak<Shared>, registry: &Arc<Registry>) -> turns::Handlers {
    let (of_messages, of_end) = (registry.clone(), registry.clone());
    turns::Handlers {
        on_request: Box::new(move |request| {
            if let Some(shared) = shared.upgrade() {
                shared.registry.dispatch(&shared, request);
            }
        }),
        on_message: Box::new(move |sender, data, kept| of_messages.told(sender, data, kept)),
        on_end: Box::new(move || of_end.close()),
    }
}

/// The value that a command answered, of at most `max_values` values.
pub(super) fn value_within(text: &[u8], max_values: usize) -> Result<Value, Error> {
    json::parse(text, max_values).map_err(|e| match e {
        // The command ran, which the other error would deny.
        Error::TooManyValues(_) => Error::AnswerLost("it holds more values than max_values"),
        e => e,
    })
}
