//! What a relay says to a node.

use super::route::Route;
use super::spoken::{Spoken, is_verb};
use super::tags::TagAnswer;
use super::{Word, WordError};
use crate::limits::ROUTE_WINDOW;
use crate::wire::Malformed;
use crate::wire::relay_key::{Challenge, Proof};
use crate::wire::text::{bytes, number, put_bytes, put_number};

/// How a relay tells the members of a network of each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Everyone is handed the advert of everyone.
    Full,
    /// Everyone is handed the adverts that it asks for.
    Tags,
}

/// What a relay says to a node.
///
/// A total counts bytes of `fwd` frames for a route since the route was opened on this link; it
/// wraps around after 2^64 - 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FromRelay {
    /// The relay answers a node that asks to join. If it has a relay key it proves that, and asks
    /// the node to do so.
    Prove(Challenge, Option<Proof>),
    /// The node has joined, and this is its own route.
    Joined(Route),
    /// The route leads to no member any more. It is closed.
    Gone(Route),
    /// A frame for the route was dropped; the total of bytes that are not under way any more, with
    /// those of that frame.
    Busy(Route, u64),
    /// The total of bytes that are not under way any more.
    Credit(Route, u64),
    /// As [`FromRelay::Credit`]; and the route is closed. With the next frame for it, it is opened
    /// again, and totals begin at 0.
    Settled(Route, u64),
    /// So many bytes may be under way to the route, [`ROUTE_WINDOW`] or more.
    Window(Route, u64),
    /// How many members there are, and how they are told of each other.
    Form(Form, u64),
    /// The answer to what was asked of tags.
    Tags(TagAnswer),
    /// The relay does not serve this verb.
    Unknown(Box<[u8]>),
    /// A word of a newer version that may be ignored: all of it but its fields.
    Newer(Box<[u8]>),
}

fn total(spoken: &mut Spoken<'_>) -> Result<(Route, u64), Malformed> {
    let route = Route::parse(spoken.argument()?)?;
    Ok((route, number(spoken.argument()?)?))
}

fn window(spoken: &mut Spoken<'_>) -> Result<FromRelay, Malformed> {
    let (route, bytes) = total(spoken)?;
    match bytes >= ROUTE_WINDOW.into() {
        true => Ok(FromRelay::Window(route, bytes)),
        false => Err(Malformed),
    }
}

fn form(spoken: &mut Spoken<'_>) -> Result<FromRelay, Malformed> {
    let form = match spoken.argument()? {
        b"full" => Form::Full,
        b"tags" => Form::Tags,
        _ => return Err(Malformed),
    };
    Ok(FromRelay::Form(form, number(spoken.argument()?)?))
}

fn unknown(spoken: &mut Spoken<'_>) -> Result<FromRelay, Malformed> {
    let verb = spoken.argument()?;
    match is_verb(verb) {
        true => Ok(FromRelay::Unknown(verb.into())),
        false => Err(Malformed),
    }
}

impl FromRelay {
    /// Reads the payload of a `reg` frame, without its number and MAC.
    pub fn decode(payload: &[u8]) -> Result<Word<FromRelay>, WordError> {
        let (mut spoken, fields) = Spoken::read(payload)?;
        let word = match spoken.verb {
            b"prove" => {
                let challenge = bytes(spoken.argument()?)?;
                let proof = spoken.next().map(bytes).transpose()?;
                FromRelay::Prove(challenge, proof)
            }
            b"joined" => FromRelay::Joined(Route::parse(spoken.argument()?)?),
            b"gone" => FromRelay::Gone(Route::parse(spoken.argument()?)?),
            b"busy" => total(&mut spoken).map(|(route, n)| FromRelay::Busy(route, n))?,
            b"credit" => total(&mut spoken).map(|(route, n)| FromRelay::Credit(route, n))?,
            b"settled" => total(&mut spoken).map(|(route, n)| FromRelay::Settled(route, n))?,
            b"window" => window(&mut spoken)?,
            b"form" => form(&mut spoken)?,
            b"unknown" => unknown(&mut spoken)?,
            _ => match TagAnswer::read(&mut spoken)? {
                Some(answer) => FromRelay::Tags(answer),
                None => FromRelay::Newer(spoken.newer()?),
            },
        };
        spoken.end()?;
        Ok(Word { word, fields })
    }

    /// Appends the payload, without fields, number and MAC.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let (word, route, bytes) = match self {
            FromRelay::Prove(challenge, proof) => {
                out.extend_from_slice(b"prove.");
                put_bytes(challenge, out);
                if let Some(proof) = proof {
                    out.push(b'.');
                    put_bytes(proof, out);
                }
                return;
            }
            FromRelay::Form(form, count) => {
                out.extend_from_slice(match form {
                    Form::Full => b"form.full.",
                    Form::Tags => b"form.tags.",
                });
                return put_number(*count, out);
            }
            FromRelay::Tags(answer) => return answer.encode(out),
            FromRelay::Unknown(verb) => {
                out.extend_from_slice(b"unknown.");
                return out.extend_from_slice(verb);
            }
            FromRelay::Newer(text) => return out.extend_from_slice(text),
            FromRelay::Joined(route) => ("joined.", route, None),
            FromRelay::Gone(route) => ("gone.", route, None),
            FromRelay::Busy(route, total) => ("busy.", route, Some(total)),
            FromRelay::Credit(route, total) => ("credit.", route, Some(total)),
            FromRelay::Settled(route, total) => ("settled.", route, Some(total)),
            FromRelay::Window(route, bytes) => ("window.", route, Some(bytes)),
        };
        out.extend_from_slice(word.as_bytes());
        out.extend_from_slice(route.as_bytes());
        if let Some(bytes) = bytes {
            out.push(b'.');
            put_number(*bytes, out);
        }
    }
}

impl Word<FromRelay> {
    /// Appends the payload, without its number and MAC.
    pub fn encode(&self, out: &mut Vec<u8>) {
        self.word.encode(out);
        out.extend_from_slice(self.fields.as_bytes());
    }
}
