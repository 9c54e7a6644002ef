//! Handshake patterns (sections 7 and 9): which keys each message carries, and which are mixed.

use Kind::{Ephemeral, Static};
use Token::{Dh, E, Psk, S};

/// The two kinds of keys that a side may have.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Made for this handshake alone.
    Ephemeral,
    /// The same in many handshakes, so that a side can be known by it.
    Static,
}

/// One step of writing or reading a message.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Token {
    /// The sender's ephemeral public key, in clear.
    E,
    /// The sender's static public key, sealed if there is a key to seal it with.
    S,
    /// The secret that a key of the initiator, named first, and a key of the responder share.
    Dh(Kind, Kind),
    /// The next pre-shared key.
    Psk,
}

const EE: Token = Dh(Ephemeral, Ephemeral);
const ES: Token = Dh(Ephemeral, Static);
const SE: Token = Dh(Static, Ephemeral);

/// A handshake pattern in which neither side knows a key of the other beforehand.
pub(crate) struct Pattern {
    /// The whole name of the protocol, which both sides hash first.
    pub(super) name: &'static str,
    /// The tokens of each message. The initiator sends the first one, then the sides take turns.
    pub(super) messages: &'static [&'static [Token]],
}

impl Pattern {
    /// Whether a key is pre-shared. Ephemeral public keys are part of the chain key then, so that
    /// no two handshakes seal anything under the same key (section 9.2).
    pub(super) fn has_psk(&self) -> bool {
        self.messages.iter().any(|tokens| tokens.contains(&Psk))
    }
}

/// Both sides prove static keys that the other did not know, and only who has the pre-shared key
/// can read anything.
pub(crate) static XXPSK0: Pattern = Pattern {
    name: "Noise_XXpsk0_25519_ChaChaPoly_SHA256",
    messages: &[&[Psk, E], &[E, EE, S, ES], &[S, SE]],
};

/// [`XXPSK0`] without the pre-shared key.
#[cfg(test)]
pub(super) static XX: Pattern = Pattern {
    name: "Noise_XX_25519_ChaChaPoly_SHA256",
    messages: &[&[E], &[E, EE, S, ES], &[S, SE]],
};

/// Nobody has a static key.
#[cfg(test)]
pub(super) static NNPSK0: Pattern = Pattern {
    name: "Noise_NNpsk0_25519_ChaChaPoly_SHA256",
    messages: &[&[Psk, E], &[E, EE]],
};

/// [`XXPSK0`] with the pre-shared key at the end.
#[cfg(test)]
pub(super) static XXPSK3: Pattern = Pattern {
    name: "Noise_XXpsk3_25519_ChaChaPoly_SHA256",
    messages: &[&[E], &[E, EE, S, ES], &[S, SE, Psk]],
};

/// [`XXPSK0`] with a second pre-shared key.
#[cfg(test)]
pub(super) static XXPSK0_PSK1: Pattern = Pattern {
    name: "Noise_XXpsk0+psk1_25519_ChaChaPoly_SHA256",
    messages: &[&[Psk, E, Psk], &[E, EE, S, ES], &[S, SE]],
};
