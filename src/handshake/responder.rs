//! The side that is asked for a session.

use super::initiator::{envelope, write};
use super::{Own, Party, Refused, SessionKeys, prologue};
use crate::entropy::Entropy;
use crate::noise::Handshake;
use crate::noise::pattern::XXPSK0;
use crate::wire::handshake::{Envelope, First, HandshakeId, Second, Step, Third};
use crate::wire::{Instance, VERSION};
use std::fmt;

/// The first message of another node, which was sent by a holder of the network key, or is a
/// recording of such a message.
pub struct Question {
    noise: Handshake,
    id: HandshakeId,
    first: First,
    ephemeral: [u8; 32],
}

impl Question {
    /// Reads the first message. Each key of the network is tried, which costs no operation on the
    /// curve.
    pub fn read(own: Own<'_>, envelope: &Envelope) -> Result<Question, Refused> {
        let mut payload = Vec::new();
        let read = Handshake::read_first(
            &XXPSK0,
            &prologue(envelope.id, own.network),
            own.keys.psks(),
            Some(own.credentials.static_key()),
            &envelope.message,
            &mut payload,
        );
        let (noise, _) = read.map_err(|_| Refused::Unopened)?;
        let first = First::decode(&payload).map_err(|_| Refused::Malformed)?;
        if !(first.least..=first.most).contains(&VERSION) {
            return Err(Refused::Malformed);
        }
        let ephemeral = envelope.message.first_chunk().ok_or(Refused::Unopened)?;
        Ok(Question {
            noise,
            id: envelope.id,
            first,
            ephemeral: *ephemeral,
        })
    }

    /// The start that the other side says it is. It has proved nothing yet.
    pub fn instance(&self) -> Instance {
        self.first.instance
    }

    /// The ephemeral key, by which a recording of the message can be recognised.
    pub fn ephemeral(&self) -> &[u8; 32] {
        &self.ephemeral
    }

    /// Answers it. Also gives the second message.
    pub fn answer(
        mut self,
        own: Own<'_>,
        entropy: &mut dyn Entropy,
    ) -> Result<(Responder, Envelope), Refused> {
        let second = Second {
            version: VERSION,
            card: own.card(),
        };
        let mut payload = Vec::new();
        second.encode(&mut payload);
        let message = write(&mut self.noise, &payload, entropy)?;
        let responder = Responder {
            noise: self.noise,
            id: self.id,
            instance: self.first.instance,
        };
        Ok((responder, envelope(Step::Second, self.id, message)))
    }
}

impl fmt::Debug for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Question")
            .field("instance", &self.first.instance)
            .finish_non_exhaustive()
    }
}

/// A handshake whose first message this side has answered.
pub struct Responder {
    noise: Handshake,
    id: HandshakeId,
    instance: Instance,
}

impl Responder {
    /// Which handshake it is.
    pub fn id(&self) -> HandshakeId {
        self.id
    }

    /// The start that the other side says it is. It has proved nothing yet.
    pub fn instance(&self) -> Instance {
        self.instance
    }

    /// Reads the third message, whose envelope has the id of this handshake.
    pub fn read(mut self, own: Own<'_>, message: &[u8]) -> Result<(Party, SessionKeys), Refused> {
        let mut payload = Vec::new();
        self.noise
            .read(message, &mut payload)
            .map_err(|_| Refused::Unopened)?;
        let third = Third::decode(&payload).map_err(|_| Refused::Malformed)?;
        if third.meant != *own.name {
            return Err(Refused::Malformed);
        }
        let static_key = self.noise.remote_static().ok_or(Refused::Malformed)?;
        let party = Party::check(third.card, static_key)?;
        if party.instance != self.instance {
            return Err(Refused::Malformed);
        }
        Ok((party, SessionKeys::of(self.noise, false)?))
    }
}

impl fmt::Debug for Responder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Responder")
            .field("instance", &self.instance)
            .finish_non_exhaustive()
    }
}
