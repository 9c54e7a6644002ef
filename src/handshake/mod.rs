//! The handshake of two nodes, as far as it is cryptography: who the other side is, and the keys of
//! the session.
//!
//! ```text
//! initiator                                    responder
//! Initiator::begin  --- First --------------->  Question::read, then Question::answer
//! Initiator::read   <-- Second ---------------
//! Initiator::finish --- Third ---------------->  Responder::read
//! ```
//!
//! It is `Noise_XXpsk0_25519_ChaChaPoly_SHA256` of the Noise protocol framework, revision 34. The
//! pre-shared key is derived from the network's key, so whoever does not hold that learns nothing
//! and is not answered. The static keys are those of the two identities. The ephemeral keys give
//! forward secrecy: a recording stays closed to whoever steals the network key and both identities
//! later. The payloads are those of [`wire::handshake`](crate::wire::handshake).
//!
//! Nothing here knows a link or a clock. A message that does not open, or that says what it must
//! not say, is an error, and the handshake is over.

#[cfg(test)]
mod attacks;
mod card;
mod initiator;
mod record_keys;
mod responder;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod vectors;
#[cfg(test)]
mod worked_values;

pub use crate::network_keys::NetworkKeys;
pub use card::{Credentials, Own, Party, Shown};
pub use initiator::Initiator;
pub use record_keys::{RecordKeys, SessionKeys};
pub use responder::{Question, Responder};

use crate::name::NetworkName;
use crate::wire::handshake::HandshakeId;

/// Why a message of a handshake is refused. The other side is not told which it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// It does not open: another network key, another handshake, or altered on the way.
    Unopened,
    /// It opens, and says what it must not say.
    Malformed,
}

/// What both sides must agree on before the first message.
fn prologue(id: HandshakeId, network: &NetworkName) -> Vec<u8> {
    let name = network.as_str().as_bytes();
    let mut prologue = vec![crate::wire::VERSION];
    prologue.extend_from_slice(&id);
    prologue.push(name.len() as u8);
    prologue.extend_from_slice(name);
    prologue
}
