//! The side that asks for a session.

use super::{Own, Party, Refused, SessionKeys, prologue};
use crate::entropy::Entropy;
use crate::name::NodeName;
use crate::noise::pattern::XXPSK0;
use crate::noise::{Handshake, Side};
use crate::wire::VERSION;
use crate::wire::extensions::Extensions;
use crate::wire::handshake::{Envelope, First, HandshakeId, Second, Step, Third};
use std::fmt;
use zeroize::Zeroizing;

/// A handshake that this side has begun.
pub struct Initiator {
    noise: Handshake,
    id: HandshakeId,
}

impl Initiator {
    /// Begins a handshake. Also gives the first message.
    pub fn begin(own: Own<'_>, entropy: &mut dyn Entropy) -> (Initiator, Envelope) {
        let mut id = [0; 8];
        entropy.fill(&mut id);
        let psk: Vec<&[u8; 32]> = own.keys.psks().take(1).collect();
        let mut noise = Handshake::new(
            &XXPSK0,
            Side::Initiator,
            &prologue(id, own.network),
            &psk,
            Some(own.credentials.static_key().clone()),
        );
        let first = First {
            least: VERSION,
            most: VERSION,
            instance: own.credentials.instance(),
            extensions: Extensions::default(),
        };
        let mut payload = Vec::new();
        first.encode(&mut payload);
        // Nothing of the other side is in it that could be wrong.
        let message = write(&mut noise, &payload, entropy).unwrap_or_default();
        let envelope = envelope(Step::First, id, message);
        (Initiator { noise, id }, envelope)
    }

    /// Which handshake it is.
    pub fn id(&self) -> HandshakeId {
        self.id
    }

    /// Reads the second message, whose envelope has the id of this handshake.
    pub fn read(&mut self, message: &[u8]) -> Result<Party, Refused> {
        let mut payload = Vec::new();
        self.noise
            .read(message, &mut payload)
            .map_err(|_| Refused::Unopened)?;
        let second = Second::decode(&payload).map_err(|_| Refused::Malformed)?;
        if second.version != VERSION {
            return Err(Refused::Malformed);
        }
        let static_key = self.noise.remote_static().ok_or(Refused::Malformed)?;
        Party::check(second.card, static_key)
    }

    /// Ends the handshake that [`Initiator::read`] has found good, with the node of this name. Also
    /// gives the third message.
    pub fn finish(
        mut self,
        own: Own<'_>,
        meant: &NodeName,
        entropy: &mut dyn Entropy,
    ) -> Result<(Envelope, SessionKeys), Refused> {
        let third = Third {
            meant: meant.clone(),
            card: own.card(),
        };
        let mut payload = Vec::new();
        third.encode(&mut payload);
        let message = write(&mut self.noise, &payload, entropy)?;
        let keys = SessionKeys::of(self.noise, true)?;
        Ok((envelope(Step::Third, self.id, message), keys))
    }
}

impl fmt::Debug for Initiator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Initiator(..)")
    }
}

/// The next message of this side.
pub(super) fn write(
    noise: &mut Handshake,
    payload: &[u8],
    entropy: &mut dyn Entropy,
) -> Result<Vec<u8>, Refused> {
    let mut ephemeral = Zeroizing::new([0; 32]);
    entropy.fill(ephemeral.as_mut_slice());
    let mut message = Vec::new();
    let written = noise.write(&ephemeral, payload, &mut message);
    written.map_err(|_| Refused::Unopened)?;
    Ok(message)
}

pub(super) fn envelope(step: Step, id: HandshakeId, message: Vec<u8>) -> Envelope {
    Envelope {
        version: VERSION,
        step,
        id,
        message,
    }
}
