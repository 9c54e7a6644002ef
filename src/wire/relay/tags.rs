//! The words for networks that are too large for everyone to have the advert of everyone.
//!
//! A member carries tags, one for each of its keys, which those can compute who know its name and
//! a key. A relay hands over the adverts of those who carry a tag, of some members drawn at random,
//! or of all, a page at a time. No relay of this version serves these words: it answers each of
//! them with `unknown`.

use super::spoken::Spoken;
use crate::limits::TAGS_MAX;
use crate::wire::Malformed;
use crate::wire::text::{bytes, number, put_bytes, put_number};

/// What stands for the name of a node at a relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(pub [u8; 16]);

/// What a node asks of tags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TagRequest {
    /// The node carries these from now on and no others: 1 to [`TAGS_MAX`].
    Carry(Vec<Tag>),
    /// Who carries this?
    Who(Tag),
    /// The node wants to be told of those who carry this.
    Watch(Tag),
    /// It does not want that any more.
    Unwatch(Tag),
    /// It asks for the adverts of so many members, drawn at random.
    Sample(u64),
    /// It asks for the next page of all adverts: from the start (0), or where the page before it
    /// ended.
    Page(u64),
}

/// What a relay answers, after the adverts that it has handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TagAnswer {
    /// So many who carry this were handed over.
    Found(Tag, u64),
    /// So many were drawn.
    Sampled(u64),
    /// Where the next page begins; 0 if this was the last.
    Paged(u64),
}

fn tag(text: &[u8]) -> Result<Tag, Malformed> {
    bytes(text).map(Tag)
}

impl TagRequest {
    /// Reads the arguments of a verb, if it is one of these.
    pub(super) fn read(spoken: &mut Spoken<'_>) -> Result<Option<TagRequest>, Malformed> {
        Ok(Some(match spoken.verb {
            b"tags" => {
                let mut tags = vec![tag(spoken.argument()?)?];
                while let Some(text) = spoken.next() {
                    if tags.len() == TAGS_MAX {
                        return Err(Malformed);
                    }
                    tags.push(tag(text)?);
                }
                TagRequest::Carry(tags)
            }
            b"who" => TagRequest::Who(tag(spoken.argument()?)?),
            b"watch" => TagRequest::Watch(tag(spoken.argument()?)?),
            b"unwatch" => TagRequest::Unwatch(tag(spoken.argument()?)?),
            b"sample" => TagRequest::Sample(number(spoken.argument()?)?),
            b"page" => TagRequest::Page(number(spoken.argument()?)?),
            _ => return Ok(None),
        }))
    }

    /// The verb.
    pub fn verb(&self) -> &'static str {
        match self {
            TagRequest::Carry(_) => "tags",
            TagRequest::Who(_) => "who",
            TagRequest::Watch(_) => "watch",
            TagRequest::Unwatch(_) => "unwatch",
            TagRequest::Sample(_) => "sample",
            TagRequest::Page(_) => "page",
        }
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.verb().as_bytes());
        match self {
            TagRequest::Carry(tags) => {
                for Tag(tag) in tags {
                    out.push(b'.');
                    put_bytes(tag, out);
                }
            }
            TagRequest::Who(Tag(tag))
            | TagRequest::Watch(Tag(tag))
            | TagRequest::Unwatch(Tag(tag)) => {
                out.push(b'.');
                put_bytes(tag, out);
            }
            TagRequest::Sample(number) | TagRequest::Page(number) => {
                out.push(b'.');
                put_number(*number, out);
            }
        }
    }
}

impl TagAnswer {
    /// Reads the arguments of a verb, if it is one of these.
    pub(super) fn read(spoken: &mut Spoken<'_>) -> Result<Option<TagAnswer>, Malformed> {
        Ok(Some(match spoken.verb {
            b"found" => TagAnswer::Found(tag(spoken.argument()?)?, number(spoken.argument()?)?),
            b"sampled" => TagAnswer::Sampled(number(spoken.argument()?)?),
            b"paged" => TagAnswer::Paged(number(spoken.argument()?)?),
            _ => return Ok(None),
        }))
    }

    pub(super) fn encode(self, out: &mut Vec<u8>) {
        let number = match self {
            TagAnswer::Found(Tag(tag), count) => {
                out.extend_from_slice(b"found.");
                put_bytes(&tag, out);
                count
            }
            TagAnswer::Sampled(count) => {
                out.extend_from_slice(b"sampled");
                count
            }
            TagAnswer::Paged(next) => {
                out.extend_from_slice(b"paged");
                next
            }
        };
        out.push(b'.');
        put_number(number, out);
    }
}
