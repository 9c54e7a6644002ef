//! The Noise Protocol Framework (<https://noiseprotocol.org/noise.html>, revision 34) with 25519,
//! ChaChaPoly and SHA256. The sections that this module cites are those of its specification.
//!
//! A [`Handshake`] is one side of a handshake. It owns the keys that the handshake needs and makes.
//! It does no IO, draws no random bytes, and does not know what the payloads mean.
//!
//! ```text
//!            write, read, as the pattern says
//!     new ------------------------------------> finished --- split ---> two chain keys
//!      |                                            |
//!      +------ Invalid --------> dead <-------------+ another message
//! ```
//!
//! The secrets of a handshake lie on the heap, and are wiped when it dies or is dropped. A moved
//! handshake leaves no copy of them behind, since it is a pointer. What the curve and the cipher
//! leave on the stack is not wiped.
//!
//! `pattern` lists the patterns, `curve` has the key pairs, `state` seals and hashes.

mod curve;
pub(crate) mod pattern;
mod state;
#[cfg(test)]
mod tests;

pub(crate) use curve::KeyPair;

use crate::limits::NOISE_MESSAGE_MAX;
use pattern::{Kind, Pattern, Token};
use state::SymmetricState;
use std::sync::Arc;
use zeroize::Zeroizing;

/// The error of a handshake that fails. It has no reason on purpose: a reason is an oracle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Invalid;

/// The two sides of a handshake.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// The side that sends the first message.
    Initiator,
    /// The other one.
    Responder,
}

impl Side {
    fn other(self) -> Side {
        match self {
            Side::Initiator => Side::Responder,
            Side::Responder => Side::Initiator,
        }
    }
}

/// The secrets in which a handshake ends: both sides have the same two.
pub(crate) struct Split {
    /// For what the initiator sends.
    pub(crate) initiator: Zeroizing<[u8; 32]>,
    /// For what the responder sends.
    pub(crate) responder: Zeroizing<[u8; 32]>,
}

/// One side of a handshake. After an error it is dead: nothing more is written or read, and its
/// secrets are wiped.
pub(crate) struct Handshake(Option<Box<State>>);

impl Handshake {
    /// A handshake of which no message was written or read.
    ///
    /// Both sides need the same `prologue` and the same `psks`, as many as the pattern has, in the
    /// order of the pattern. `static_key` is this side's own; a pattern in which this side sends no
    /// static key needs none. A key that is missing is an error when its turn comes.
    pub(crate) fn new(
        pattern: &'static Pattern,
        side: Side,
        prologue: &[u8],
        psks: &[&[u8; 32]],
        static_key: Option<Arc<KeyPair>>,
    ) -> Handshake {
        let mut symmetric = SymmetricState::new(pattern.name);
        symmetric.mix_hash(prologue);
        Handshake(Some(Box::new(State {
            pattern,
            side,
            messages: 0,
            symmetric,
            psks: Zeroizing::new(psks.iter().map(|psk| **psk).collect()),
            psks_mixed: 0,
            static_key,
            ephemeral_key: None,
            remote_static: None,
            remote_ephemeral: None,
        })))
    }

    /// A responder's handshake that has read `message` under the first of `psks` that opens it, and
    /// which of them that is. For patterns that begin with their only pre-shared key.
    ///
    /// A key that does not open the message costs some hashing and no operation on the curve.
    pub(crate) fn read_first<'a>(
        pattern: &'static Pattern,
        prologue: &[u8],
        psks: impl IntoIterator<Item = &'a [u8; 32]>,
        static_key: Option<&Arc<KeyPair>>,
        message: &[u8],
        payload: &mut Vec<u8>,
    ) -> Result<(Handshake, usize), Invalid> {
        let tried = psks.into_iter().enumerate().find_map(|(index, psk)| {
            let static_key = static_key.cloned();
            let side = Side::Responder;
            let mut handshake = Handshake::new(pattern, side, prologue, &[psk], static_key);
            handshake.read(message, payload).ok()?;
            Some((handshake, index))
        });
        tried.ok_or(Invalid)
    }

    /// Appends the next message to `out`.
    ///
    /// `ephemeral` is a private key that was never used and will not be used again. A message
    /// without an ephemeral key ignores it.
    ///
    /// It is an error, which leaves `out` as it was, if another message is expected, a key is
    /// missing, the other side's key is a point of low order, or the message would be longer than
    /// [`NOISE_MESSAGE_MAX`].
    pub(crate) fn write(
        &mut self,
        ephemeral: &[u8; 32],
        payload: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), Invalid> {
        self.advance(out, |state, out| state.write(ephemeral, payload, out))
    }

    /// Reads the next message, and appends what it carries to `payload`.
    ///
    /// It is an error, which leaves `payload` as it was, if another message is expected, a key is
    /// missing, the other side's key is a point of low order, the message is longer than
    /// [`NOISE_MESSAGE_MAX`], or it is not what a holder of the same keys wrote at this point.
    pub(crate) fn read(&mut self, message: &[u8], payload: &mut Vec<u8>) -> Result<(), Invalid> {
        self.advance(payload, |state, payload| state.read(message, payload))
    }

    /// The other side's static public key, once it was read. The message that brings it also proves
    /// that the other side has its private key, in every pattern of this module.
    pub(crate) fn remote_static(&self) -> Option<&[u8; 32]> {
        self.0.as_ref()?.remote_static.as_ref()
    }

    /// Whether all messages were written and read.
    #[cfg(test)]
    pub(crate) fn is_finished(&self) -> bool {
        self.0.as_ref().is_some_and(|state| state.is_finished())
    }

    /// Ends a finished handshake. Any other is an error.
    pub(crate) fn split(self) -> Result<Split, Invalid> {
        let state = self.0.filter(|state| state.is_finished()).ok_or(Invalid)?;
        let keys = state.symmetric.split();
        Ok(Split {
            initiator: Zeroizing::new(keys[0]),
            responder: Zeroizing::new(keys[1]),
        })
    }

    /// Takes one step, which appends to `out`. The state is put back only if the step succeeds.
    fn advance(
        &mut self,
        out: &mut Vec<u8>,
        step: impl FnOnce(&mut State, &mut Vec<u8>) -> Result<(), Invalid>,
    ) -> Result<(), Invalid> {
        let mut state = self.0.take().ok_or(Invalid)?;
        let start = out.len();
        step(&mut state, out).inspect_err(|_| out.truncate(start))?;
        state.messages += 1;
        self.0 = Some(state);
        Ok(())
    }
}

/// What a handshake holds while it is under way: the `HandshakeState` of section 5.3.
struct State {
    pattern: &'static Pattern,
    side: Side,
    /// Messages that were written or read.
    messages: usize,
    symmetric: SymmetricState,
    psks: Zeroizing<Vec<[u8; 32]>>,
    psks_mixed: usize,
    static_key: Option<Arc<KeyPair>>,
    ephemeral_key: Option<KeyPair>,
    remote_static: Option<[u8; 32]>,
    remote_ephemeral: Option<[u8; 32]>,
}

impl State {
    fn is_finished(&self) -> bool {
        self.messages == self.pattern.messages.len()
    }

    /// The tokens of the next message, if `sender` is to send it.
    fn tokens(&self, sender: Side) -> Result<&'static [Token], Invalid> {
        let turn = match self.messages % 2 {
            0 => Side::Initiator,
            _ => Side::Responder,
        };
        if sender != turn {
            return Err(Invalid);
        }
        let tokens = self.pattern.messages.get(self.messages);
        tokens.copied().ok_or(Invalid)
    }

    fn write(
        &mut self,
        ephemeral: &[u8; 32],
        payload: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), Invalid> {
        let start = out.len();
        for token in self.tokens(self.side)? {
            match token {
                Token::E => {
                    let pair = self.ephemeral_key.insert(KeyPair::new(ephemeral));
                    let public = *pair.public();
                    out.extend_from_slice(&public);
                    self.mix_ephemeral(&public);
                }
                Token::S => {
                    let pair = self.static_key.as_ref().ok_or(Invalid)?;
                    self.symmetric.encrypt_and_hash(pair.public(), out)?;
                }
                Token::Dh(initiator, responder) => self.mix_shared(*initiator, *responder)?,
                Token::Psk => self.mix_psk()?,
            }
        }
        self.symmetric.encrypt_and_hash(payload, out)?;
        if out.len() - start > NOISE_MESSAGE_MAX {
            return Err(Invalid);
        }
        Ok(())
    }

    fn read(&mut self, mut message: &[u8], payload: &mut Vec<u8>) -> Result<(), Invalid> {
        if message.len() > NOISE_MESSAGE_MAX {
            return Err(Invalid);
        }
        for token in self.tokens(self.side.other())? {
            match token {
                Token::E => {
                    let (public, rest) = message.split_first_chunk().ok_or(Invalid)?;
                    self.remote_ephemeral = Some(*public);
                    self.mix_ephemeral(public);
                    message = rest;
                }
                Token::S => {
                    let length = 32 + self.symmetric.overhead();
                    let (sealed, rest) = message.split_at_checked(length).ok_or(Invalid)?;
                    let mut public = Vec::new();
                    self.symmetric.decrypt_and_hash(sealed, &mut public)?;
                    self.remote_static = Some(public.try_into().map_err(|_| Invalid)?);
                    message = rest;
                }
                Token::Dh(initiator, responder) => self.mix_shared(*initiator, *responder)?,
                Token::Psk => self.mix_psk()?,
            }
        }
        self.symmetric.decrypt_and_hash(message, payload)
    }

    /// Mixes an ephemeral public key of either side.
    fn mix_ephemeral(&mut self, public: &[u8; 32]) {
        self.symmetric.mix_hash(public);
        if self.pattern.has_psk() {
            self.symmetric.mix_key(public);
        }
    }

    /// Mixes the secret that a key of the initiator and a key of the responder share.
    fn mix_shared(&mut self, initiator: Kind, responder: Kind) -> Result<(), Invalid> {
        let (own, remote) = match self.side {
            Side::Initiator => (initiator, responder),
            Side::Responder => (responder, initiator),
        };
        let own = match own {
            Kind::Ephemeral => self.ephemeral_key.as_ref(),
            Kind::Static => self.static_key.as_deref(),
        };
        let remote = match remote {
            Kind::Ephemeral => self.remote_ephemeral.as_ref(),
            Kind::Static => self.remote_static.as_ref(),
        };
        let secret = own.ok_or(Invalid)?.agree(remote.ok_or(Invalid)?)?;
        self.symmetric.mix_key(&*secret);
        Ok(())
    }

    /// Mixes the next pre-shared key.
    fn mix_psk(&mut self) -> Result<(), Invalid> {
        let psk = self.psks.get(self.psks_mixed).ok_or(Invalid)?;
        self.symmetric.mix_key_and_hash(psk);
        self.psks_mixed += 1;
        Ok(())
    }
}
