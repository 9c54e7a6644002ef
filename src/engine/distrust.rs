//! Why a node is not trusted with the name that it goes by.

use crate::wire::record::CloseReason;
use std::fmt;

/// Why a node that holds the network key is not trusted with its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Distrust {
    /// Its name is pinned to another key.
    OtherKey,
    /// It shows no certificate, and the network is certified.
    NoCertificate,
    /// Its certificate is not one of this network, name and key that a known authority has signed.
    WrongCertificate,
    /// Its certificate was signed when there was a newer revocation list than either side has.
    OldList,
    /// Its certificate was revoked.
    Revoked,
    /// What a peer says of this node: its certificate is not good, or one of the two needs a newer
    /// revocation list.
    Certificate,
}

impl Distrust {
    /// Every reason.
    pub(crate) const ALL: [Distrust; 6] = [
        Distrust::OtherKey,
        Distrust::NoCertificate,
        Distrust::WrongCertificate,
        Distrust::OldList,
        Distrust::Revoked,
        Distrust::Certificate,
    ];

    /// What the other side is told.
    pub(crate) fn close_reason(self) -> CloseReason {
        match self {
            Distrust::OtherKey => CloseReason::Identity,
            Distrust::Revoked => CloseReason::Revoked,
            Distrust::NoCertificate
            | Distrust::WrongCertificate
            | Distrust::OldList
            | Distrust::Certificate => CloseReason::Certificate,
        }
    }

    /// Why the other side does not trust this node, if it says so.
    pub(crate) fn told_by(reason: CloseReason) -> Option<Distrust> {
        match reason {
            CloseReason::Identity => Some(Distrust::OtherKey),
            CloseReason::Revoked => Some(Distrust::Revoked),
            CloseReason::Certificate => Some(Distrust::Certificate),
            _ => None,
        }
    }
}

impl fmt::Display for Distrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Distrust::OtherKey => {
                "its name is pinned to another key: if it was given a new identity, accept its key"
            }
            Distrust::NoCertificate => {
                "it shows no certificate: have the authority sign one, or give it the authority's \
                 key"
            }
            Distrust::WrongCertificate => {
                "its certificate is not one of this network, name and key that a known authority \
                 has signed: have it sign a new one"
            }
            Distrust::OldList => {
                "its certificate needs a newer revocation list than either node has: give one node \
                 the newest list"
            }
            Distrust::Certificate => {
                "it has no good certificate, or a newer revocation list is missing: compare the \
                 certificate and the authority, and give one node the newest list"
            }
            Distrust::Revoked => {
                "its certificate was revoked: if it may come back, have the authority sign a new one"
            }
        })
    }
}
