//! What a part of the library that is built on nodes may do, and a program may not: keep something
//! with the node, and answer commands of the library's own. The files are such a part; the node
//! knows nothing of them.

use super::command::{Handler, Registry};
use super::request::Call;
use super::{CallId, CallStream, Handle, Node};
use crate::engine::Source;
use crate::error::Error;
use crate::limits::Limits;
use crate::name::NodeName;
use crate::wire::record::Status;
use std::any::Any;
use std::sync::{Arc, Mutex, PoisonError};

/// Values that the library's own commands take: a few numbers and names are enough.
const RESERVED_VALUES: usize = 64;

/// What parts keep with a node: one of each type.
#[derive(Default)]
pub(super) struct Extensions(Mutex<Vec<Arc<dyn Any + Send + Sync>>>);

impl Extensions {
    /// The one of this type, which is made first if there is none.
    fn get<T: Any + Send + Sync>(&self, make: impl FnOnce() -> T) -> Arc<T> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = all.iter().find_map(|e| e.clone().downcast().ok());
        found.unwrap_or_else(|| {
            let new = Arc::new(make());
            all.push(new.clone());
            new
        })
    }
}

impl Node {
    /// What a part keeps with this node, which is made from the node's limits first if it is not
    /// there yet. An error if the node cannot be used any more.
    pub(crate) fn extension<T: Any + Send + Sync>(
        &self,
        make: impl FnOnce(Limits) -> T,
    ) -> Result<Arc<T>, Error> {
        let Handle {
            shared, extensions, ..
        } = &*self.0;
        shared.turns.check()?;
        Ok(extensions.get(|| make(shared.limits())))
    }

    /// An error if waiting here would be waiting for oneself.
    pub(crate) fn check_may_wait(&self) -> Result<(), Error> {
        self.0.shared.turns.check_may_wait()
    }

    /// Where the session with a peer comes from, if there is one.
    pub(crate) fn source_of(&self, peer: &NodeName) -> Option<Source> {
        let turns = &self.0.shared.turns;
        let source = turns.with(|engine, _| engine.source_of_name(peer));
        source.ok().flatten()
    }

    /// Sets what answers one of the library's own commands.
    pub(crate) fn set_reserved(&self, path: &'static str, handler: Handler) {
        self.0.registry.set_reserved(path, handler);
    }

    /// In a program's loop, on its thread: does what is to be done now, for whoever waits for
    /// something else.
    pub(crate) fn have_turn(&self) {
        self.0.shared.turns.have_turn();
    }
}

impl Registry {
    fn set_reserved(&self, path: &'static str, handler: Handler) {
        let within = move |call: Call| {
            if let Some(call) = call.if_within(RESERVED_VALUES) {
                handler(call);
            }
        };
        // A node that has ended answers nothing.
        if let Ok(mut registered) = self.change() {
            registered.reserve(path, Arc::new(within));
        }
    }
}

impl Call {
    /// Answers that there is no room for this call now, and that nothing was done for it.
    pub(crate) fn turn_away(self) -> Result<(), Error> {
        self.answer.end(Status::Overloaded, "")
    }

    /// The source that this call counts for, also while the caller has no session. `None` once the
    /// call is over, and for the call of a Python node.
    pub(crate) fn source(&self) -> Option<Source> {
        let caller = self.answer.id.caller;
        let turns = &self.answer.shared.turns;
        let source = turns.with(|engine, _| engine.source_of_calls(caller));
        source.ok().flatten()
    }
}

impl CallStream {
    /// By which it can be cancelled from elsewhere.
    pub(crate) fn id(&self) -> CallId {
        CallId(self.pending.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_part_keeps_is_made_once_and_found_by_its_type() {
        let extensions = Extensions::default();
        let first = extensions.get(|| 1_u32);
        assert_eq!(*extensions.get(|| "another type"), "another type");
        assert!(Arc::ptr_eq(&first, &extensions.get(|| 2_u32)));
    }
}
