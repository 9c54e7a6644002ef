//! The nodes that a call is for.

use super::Node;
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
    /// Whether one that is not known yet may be waited for. Of peers that are known when the call
    /// begins, those that leave meanwhile are not waited for.
    pub(super) fn may_be_waited_for(&self) -> bool {
        matches!(self, Targets::List(_))
    }
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
