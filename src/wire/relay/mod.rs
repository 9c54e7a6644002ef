//! What a node and a relay say to each other: the payloads of `reg` and `fwd`, and the words of
//! `err`.
//!
//! ```text
//! reg, to the relay     join.2.CHALLENGE | proof.PROOF | block.ROUTE
//!                       | tags.TAG *( "." TAG ) | who.TAG | watch.TAG | unwatch.TAG
//!                       | sample.COUNT | page.CURSOR
//! reg, from the relay   prove.CHALLENGE [ "." PROOF ] | joined.ROUTE | gone.ROUTE
//!                       | busy.ROUTE.TOTAL | credit.ROUTE.TOTAL | settled.ROUTE.TOTAL
//!                       | window.ROUTE.BYTES | form.full.COUNT | form.tags.COUNT
//!                       | found.TAG.COUNT | sampled.COUNT | paged.CURSOR | unknown.VERB
//! fwd                   ROUTE.TYPE.TOKEN
//!                       ROUTE is the receiver's on the way to the relay, the sender's from it
//! CHALLENGE, PROOF      32 bytes as padded base64url
//! TAG                   16 bytes as padded base64url
//! ROUTE                 12 bytes as base64url, drawn by the relay for one link
//! all else              decimal, without leading zeros
//! ```
//!
//! A node asks to join. A relay with a relay key proves that it has it, and asks the node for such
//! a proof; from then on each word of either side carries a number and a MAC (`relay_key`). A relay
//! without one proves nothing, and goes on at once. The relay then hands over the adverts that it
//! holds as `fwd` frames of type `adv`, and last says `joined`, so that a node that has joined
//! knows the members that are there.
//!
//! `gone` says that a route leads nowhere any more. A node has at most a window of bytes of `fwd`
//! frames under way to one route: [`ROUTE_WINDOW`], unless the relay grants more with `window`.
//! `credit` says how many bytes have left the relay, in all since the route was opened, so that no
//! word which is lost or comes twice makes the window wider or narrower. `busy` says the same, and
//! that a frame was dropped because too much waits. A relay that forgets what it has counted says
//! `settled`. A node that gets nonsense from a route asks the relay to block that route.
//!
//! Any word may be followed by [`Fields`] of a newer version, and there may be words of a newer
//! version. What has `!` before it must be known to whom it is said; what has not is kept and
//! otherwise ignored.
//!
//! These are pure functions over bytes. Which side may say what, and when, is decided in `relay`
//! and `engine`.

mod fields;
mod forward;
mod from_relay;
mod refusal;
mod route;
mod spoken;
mod tags;
mod to_relay;

pub use crate::limits::ROUTE_WINDOW;
pub use fields::Fields;
pub use forward::{Forward, encode_forward, route_range};
pub use from_relay::{Form, FromRelay};
pub use refusal::Refusal;
pub use route::Route;
pub use tags::{Tag, TagAnswer, TagRequest};
pub use to_relay::ToRelay;

use super::Malformed;
use std::fmt;

/// The version of these words that a node asks to speak.
const VERSION: u64 = 2;

/// What one side says, and what a newer version may have added to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word<T> {
    /// What it says.
    pub word: T,
    /// The fields behind it.
    pub fields: Fields,
}

/// Why a payload is no word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WordError {
    /// It is not what the other side may say.
    Malformed,
    /// It must be known to whom it is said, and is not: the other side speaks another version.
    Version,
}

impl fmt::Display for WordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            WordError::Malformed => "malformed word between a node and a relay",
            WordError::Version => "word of another version between a node and a relay",
        })
    }
}

impl std::error::Error for WordError {}

impl From<Malformed> for WordError {
    fn from(_: Malformed) -> WordError {
        WordError::Malformed
    }
}

impl From<WordError> for Refusal {
    fn from(why: WordError) -> Refusal {
        match why {
            WordError::Malformed => Refusal::Frame,
            WordError::Version => Refusal::Version,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::TAGS_MAX;
    use proptest::prelude::*;

    fn routes() -> impl Strategy<Value = Route> {
        "[A-Za-z0-9_-]{16}".prop_map(|s| Route::parse(s.as_bytes()).unwrap())
    }

    fn tags() -> impl Strategy<Value = Tag> {
        any::<[u8; 16]>().prop_map(Tag)
    }

    fn fields() -> impl Strategy<Value = String> {
        prop::collection::btree_map("[a-z0-9_-]{1,16}", "[A-Za-z0-9_=-]{1,9}", 0..4)
            .prop_map(|fields| fields.iter().map(|(n, v)| format!(".{n}={v}")).collect())
    }

    fn to_relay() -> impl Strategy<Value = ToRelay> {
        use TagRequest::*;
        prop_oneof![
            any::<[u8; 32]>().prop_map(ToRelay::Join),
            any::<[u8; 32]>().prop_map(ToRelay::Proof),
            routes().prop_map(ToRelay::Block),
            prop::collection::vec(tags(), 1..=TAGS_MAX).prop_map(|t| ToRelay::Tags(Carry(t))),
            tags().prop_map(|t| ToRelay::Tags(Who(t))),
            tags().prop_map(|t| ToRelay::Tags(Watch(t))),
            tags().prop_map(|t| ToRelay::Tags(Unwatch(t))),
            any::<u64>().prop_map(|n| ToRelay::Tags(Sample(n))),
            any::<u64>().prop_map(|n| ToRelay::Tags(Page(n))),
            "x[a-z]{0,15}(\\.[A-Z]{1,5}){0,3}".prop_map(|w| ToRelay::Newer(w.as_bytes().into())),
        ]
    }

    fn from_relay() -> impl Strategy<Value = FromRelay> {
        let prove = (any::<[u8; 32]>(), any::<Option<[u8; 32]>>());
        let least = u64::from(ROUTE_WINDOW);
        prop_oneof![
            prove.prop_map(|(c, p)| FromRelay::Prove(c, p)),
            routes().prop_map(FromRelay::Joined),
            routes().prop_map(FromRelay::Gone),
            (routes(), any::<u64>()).prop_map(|(r, n)| FromRelay::Busy(r, n)),
            (routes(), any::<u64>()).prop_map(|(r, n)| FromRelay::Credit(r, n)),
            (routes(), any::<u64>()).prop_map(|(r, n)| FromRelay::Settled(r, n)),
            (routes(), least..).prop_map(|(r, n)| FromRelay::Window(r, n)),
            any::<u64>().prop_map(|n| FromRelay::Form(Form::Full, n)),
            any::<u64>().prop_map(|n| FromRelay::Form(Form::Tags, n)),
            (tags(), any::<u64>()).prop_map(|(t, n)| FromRelay::Tags(TagAnswer::Found(t, n))),
            any::<u64>().prop_map(|n| FromRelay::Tags(TagAnswer::Sampled(n))),
            any::<u64>().prop_map(|n| FromRelay::Tags(TagAnswer::Paged(n))),
            "[a-z]{1,16}".prop_map(|v| FromRelay::Unknown(v.as_bytes().into())),
            "x[a-z]{0,15}(\\.[A-Z]{1,5}){0,3}".prop_map(|w| FromRelay::Newer(w.as_bytes().into())),
        ]
    }

    fn text(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut out = Vec::new();
        write(&mut out);
        out
    }

    proptest! {
        #[test]
        fn what_a_node_says_round_trips(word in to_relay(), fields in fields()) {
            let bare = text(|out| word.encode(out));
            prop_assert_eq!(bare.split(|b| *b == b'.').next().unwrap(), word.verb());
            let more = [&bare[..], fields.as_bytes()].concat();
            match ToRelay::decode(&more) {
                Ok(decoded) => {
                    prop_assert_eq!(text(|out| decoded.encode(out)), more);
                    prop_assert_eq!(decoded.fields.as_bytes(), fields.as_bytes());
                    prop_assert_eq!(decoded.word, word);
                }
                Err(why) => {
                    prop_assert_eq!(why, WordError::Malformed);
                    prop_assert!(matches!(word, ToRelay::Proof(_)) && !fields.is_empty());
                }
            }
            let critical = [&bare[..], b".!x=1"].concat();
            prop_assert_eq!(ToRelay::decode(&critical), Err(WordError::Version));
        }

        #[test]
        fn what_a_relay_says_round_trips(word in from_relay(), fields in fields()) {
            let bare = text(|out| word.encode(out));
            let more = [&bare[..], fields.as_bytes()].concat();
            let decoded = FromRelay::decode(&more).unwrap();
            prop_assert_eq!(text(|out| decoded.encode(out)), more);
            prop_assert_eq!(decoded.fields.as_bytes(), fields.as_bytes());
            prop_assert_eq!(decoded.word, word);
            let critical = [&bare[..], b".!x=1"].concat();
            prop_assert_eq!(FromRelay::decode(&critical), Err(WordError::Version));
        }

        #[test]
        fn no_part_of_a_word_is_taken_for_the_whole(word in from_relay()) {
            let bare = text(|out| word.encode(out));
            for cut in 0..bare.len() {
                if let Ok(part) = FromRelay::decode(&bare[..cut]) {
                    prop_assert_ne!(part.word, word.clone());
                }
            }
        }

        #[test]
        fn what_decodes_encodes_back(payload in "!?(join|join\\.2|proof|block|tags|who|watch|sample|page|prove|joined|gone|busy|credit|settled|window|form|form\\.full|found|sampled|paged|unknown|later)(\\.!?[A-Za-z0-9=_-]{0,3}|\\.!?[a-c]=1|\\.[A-Za-z0-9_-]{16}|\\.[A-Za-z0-9_-]{21}[AQgw]==|\\.[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]=|\\.[0-9]{1,7}){0,6}") {
            let payload = payload.as_bytes();
            if let Ok(word) = ToRelay::decode(payload) {
                prop_assert_eq!(text(|out| word.encode(out)), payload);
            }
            if let Ok(word) = FromRelay::decode(payload) {
                prop_assert_eq!(text(|out| word.encode(out)), payload);
            }
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..90)) {
            let _ = (ToRelay::decode(&bytes), FromRelay::decode(&bytes));
        }
    }

    #[test]
    fn words_have_the_form_that_is_documented() {
        let (zeros, route) = ([0; 32], Route::parse(b"abcdefgh-_012345").unwrap());
        let text = |write: &dyn Fn(&mut Vec<u8>)| String::from_utf8(text(write)).unwrap();
        let a43 = "A".repeat(43);
        for (word, wanted) in [
            (ToRelay::Join(zeros), format!("join.2.{a43}=")),
            (ToRelay::Proof(zeros), format!("proof.{a43}=")),
            (ToRelay::Block(route), "block.abcdefgh-_012345".into()),
            (
                ToRelay::Tags(TagRequest::Carry(vec![Tag([0; 16]); 2])),
                "tags.AAAAAAAAAAAAAAAAAAAAAA==.AAAAAAAAAAAAAAAAAAAAAA==".into(),
            ),
            (ToRelay::Tags(TagRequest::Page(0)), "page.0".into()),
        ] {
            assert_eq!(text(&|out| word.encode(out)), wanted);
        }
        for (word, wanted) in [
            (FromRelay::Prove(zeros, None), format!("prove.{a43}=")),
            (
                FromRelay::Prove(zeros, Some(zeros)),
                format!("prove.{a43}=.{a43}="),
            ),
            (
                FromRelay::Credit(route, u64::MAX),
                "credit.abcdefgh-_012345.18446744073709551615".into(),
            ),
            (FromRelay::Form(Form::Full, 3), "form.full.3".into()),
            (FromRelay::Unknown(b"who"[..].into()), "unknown.who".into()),
        ] {
            assert_eq!(text(&|out| word.encode(out)), wanted);
        }
    }

    #[test]
    fn another_version_is_told_from_nonsense() {
        let version = Err(WordError::Version);
        for newer in [
            &b"join.3.AAAA"[..],
            b"join.1.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
            b"!later",
            b"!block.abcdefgh-_012345",
            b"later.!a=1",
        ] {
            let read = ToRelay::decode(newer).map(|_| ());
            assert_eq!(read, version, "{}", newer.escape_ascii());
        }
        for bad in [
            &b"join.2"[..],
            b"join.2.AAAA",
            b"join",
            b"block.abcdefgh-_012345.7",
            b"block.a=1",
            b"later..a",
            b"proof.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=.a=1",
        ] {
            let read = ToRelay::decode(bad).map(|_| ());
            assert_eq!(read, Err(WordError::Malformed), "{}", bad.escape_ascii());
        }
        let narrow = FromRelay::decode(b"window.abcdefgh-_012345.262143").map(|_| ());
        assert_eq!(
            narrow,
            Err(WordError::Malformed),
            "less than each route has"
        );
    }
}
