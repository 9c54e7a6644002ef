//! The nodes that a call is for.

use super::Node;
use crate::error::Error;
use crate::name::NodeName;

/// The nodes that a call is for.
#[derive(Clone, Debug)]
pub(crate) enum Targets {
    /// These.
    List(Vec<NodeName>),
    /// Every peer that is known when the call begins.
    All,
}

impl Targets {
    /// Whether the call is for whoever is there.
    pub(super) fn are_all(&self) -> bool {
        matches!(self, Targets::All)
    }

    /// Whether one that is not known yet may be waited for. Of peers that are known when the call
    /// begins, those that leave meanwhile are not waited for.
    pub(super) fn may_be_waited_for(&self) -> bool {
        matches!(self, Targets::List(_))
    }
}

/// Whether a target whose call ended so is left out of the results: a call of every peer is for
/// those that allow it.
pub(super) fn is_left_out<T>(to_all: bool, outcome: &Result<T, Error>) -> bool {
    to_all && matches!(outcome, Err(Error::NotAllowed(_)))
}

impl Node {
    /// Their names.
    pub(crate) fn targets(&self, targets: Targets) -> Vec<NodeName> {
        match targets {
            Targets::List(list) => list,
            Targets::All => self.peers().into_iter().map(|p| p.name).collect(),
        }
    }
}
