//! What a node says to a relay.

use super::route::Route;
use super::spoken::Spoken;
use super::tags::TagRequest;
use super::{VERSION, Word, WordError};
use crate::wire::relay_key::{Challenge, Proof};
use crate::wire::text::{bytes, number, put_bytes, put_number};

/// What a node says to a relay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToRelay {
    /// The node asks to join.
    Join(Challenge),
    /// The node proves that it has the relay's key.
    Proof(Proof),
    /// The node wants nothing more from a route.
    Block(Route),
    /// The node asks something of tags.
    Tags(TagRequest),
    /// A word of a newer version that may be ignored: all of it but its fields.
    Newer(Box<[u8]>),
}

impl ToRelay {
    /// Reads the payload of a `reg` frame, without its number and MAC.
    pub fn decode(payload: &[u8]) -> Result<Word<ToRelay>, WordError> {
        let (mut spoken, fields) = Spoken::read(payload)?;
        let word = match spoken.verb {
            b"join" => {
                if number(spoken.argument()?)? != VERSION {
                    return Err(WordError::Version);
                }
                ToRelay::Join(bytes(spoken.argument()?)?)
            }
            // Nothing would protect a field of it from being taken away.
            b"proof" if fields.as_bytes().is_empty() => ToRelay::Proof(bytes(spoken.argument()?)?),
            b"proof" => return Err(WordError::Malformed),
            b"block" => ToRelay::Block(Route::parse(spoken.argument()?)?),
            _ => match TagRequest::read(&mut spoken)? {
                Some(request) => ToRelay::Tags(request),
                None => ToRelay::Newer(spoken.newer()?),
            },
        };
        spoken.end()?;
        Ok(Word { word, fields })
    }

    /// Appends the payload, without fields, number and MAC.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            ToRelay::Join(challenge) => {
                out.extend_from_slice(b"join.");
                put_number(VERSION, out);
                out.push(b'.');
                put_bytes(challenge, out);
            }
            ToRelay::Proof(proof) => {
                out.extend_from_slice(b"proof.");
                put_bytes(proof, out);
            }
            ToRelay::Block(route) => {
                out.extend_from_slice(b"block.");
                out.extend_from_slice(route.as_bytes());
            }
            ToRelay::Tags(request) => request.encode(out),
            ToRelay::Newer(text) => out.extend_from_slice(text),
        }
    }

    /// The verb.
    pub fn verb(&self) -> &[u8] {
        match self {
            ToRelay::Join(_) => b"join",
            ToRelay::Proof(_) => b"proof",
            ToRelay::Block(_) => b"block",
            ToRelay::Tags(request) => request.verb().as_bytes(),
            ToRelay::Newer(text) => text.split(|b| *b == b'.').next().unwrap_or_default(),
        }
    }
}

impl Word<ToRelay> {
    /// Appends the payload, without its number and MAC.
    pub fn encode(&self, out: &mut Vec<u8>) {
        self.word.encode(out);
        out.extend_from_slice(self.fields.as_bytes());
    }
}
