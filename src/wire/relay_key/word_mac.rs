//! The authentication of the words that a link carries after both sides have proved the relay key.
//!
//! An authenticated word is `WORD.COUNTER.MAC`: the number of the word, from 1 on, and the first 16
//! bytes of HMAC-SHA256 over all before the last dot. A word that was altered, is missing, comes
//! twice or before another is not the next one.

use crate::hkdf::{mac, mac_begins_with};
use crate::wire::Malformed;
use crate::wire::text::{bytes, number, put_bytes, put_number};
use std::fmt;
use zeroize::Zeroize;

/// Bytes of the MAC: whoever guesses has one attempt for each joining.
const MAC: usize = 16;

/// Numbers and authenticates the words of one side, or checks them, in order. Its key is wiped when
/// it is dropped.
pub(super) struct WordMac {
    key: [u8; 32],
    /// Words that were authenticated or checked.
    count: u64,
}

impl WordMac {
    /// `fill` writes the key.
    pub(super) fn new(fill: impl FnOnce(&mut [u8; 32])) -> WordMac {
        let mut mac = WordMac {
            key: [0; 32],
            count: 0,
        };
        fill(&mut mac.key);
        mac
    }

    /// Appends number and MAC to the next word, which stands in `out` from `from` on.
    pub(super) fn append(&mut self, from: usize, out: &mut Vec<u8>) {
        self.count += 1;
        out.push(b'.');
        put_number(self.count, out);
        let mac = mac(&self.key, &[&out[from..]]);
        out.push(b'.');
        put_bytes(&mac[..MAC], out);
    }

    /// The word in a payload, if its number is the next one and its MAC is right.
    fn check<'a>(&mut self, payload: &'a [u8]) -> Result<&'a [u8], Malformed> {
        let (numbered, mac) = split_last(payload)?;
        let (word, count) = split_last(numbered)?;
        let next = self.count.checked_add(1).ok_or(Malformed)?;
        let mac = bytes::<MAC>(mac)?;
        if number(count)? != next || !mac_begins_with(&self.key, &[numbered], &mac) {
            return Err(Malformed);
        }
        self.count = next;
        Ok(word)
    }
}

/// The authentication of both directions of one link, as one of its sides uses it.
#[derive(Debug)]
pub struct WordMacs {
    own: WordMac,
    other: WordMac,
}

impl WordMacs {
    pub(super) fn new(own: WordMac, other: WordMac) -> WordMacs {
        WordMacs { own, other }
    }

    /// Appends number and MAC to the next word of the own side, which stands in `out` from `from`
    /// on.
    pub fn append(&mut self, from: usize, out: &mut Vec<u8>) {
        self.own.append(from, out);
    }

    /// The word in a payload, if it is the next one of the other side. The link must end if it is
    /// not.
    pub fn check<'a>(&mut self, payload: &'a [u8]) -> Result<&'a [u8], Malformed> {
        self.other.check(payload)
    }
}

/// What stands before and behind the last dot.
fn split_last(payload: &[u8]) -> Result<(&[u8], &[u8]), Malformed> {
    let dot = memchr::memrchr(b'.', payload).ok_or(Malformed)?;
    Ok((&payload[..dot], &payload[dot + 1..]))
}

impl Drop for WordMac {
    fn drop(&mut self) {
        self.key.zeroize();
    }
}

impl fmt::Debug for WordMac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WordMac")
            .field("count", &self.count)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn with_key() -> WordMac {
        WordMac::new(|key| *key = [5; 32])
    }

    fn authenticated(words: &[&str]) -> Vec<Vec<u8>> {
        let mut mac = with_key();
        let all = words.iter().map(|word| {
            let mut out = [b"before", word.as_bytes()].concat();
            mac.append(6, &mut out);
            out.split_off(6)
        });
        all.collect()
    }

    proptest! {
        #[test]
        fn words_open_in_their_order_and_altered_ones_never(
            words in prop::collection::vec("[a-z]{1,9}(\\.[A-Za-z0-9=_-]{1,9}){0,3}", 1..5),
            (at, flip) in (any::<prop::sample::Index>(), 1u8..=255),
        ) {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            let mut mac = with_key();
            for (word, payload) in words.iter().zip(authenticated(&words)) {
                let mut altered = payload.clone();
                altered[at.index(payload.len())] ^= flip;
                prop_assert_eq!(mac.check(&altered), Err(Malformed));
                prop_assert_eq!(mac.check(&payload), Ok(word.as_bytes()));
            }
        }

        #[test]
        fn arbitrary_bytes_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..90)) {
            prop_assert_eq!(with_key().check(&bytes), Err(Malformed));
        }
    }

    #[test]
    fn a_word_opens_once_after_the_one_before_it_and_with_its_own_key() {
        let words = authenticated(&["gone.a", "gone.b"]);
        assert_eq!(
            with_key().check(&words[1]),
            Err(Malformed),
            "one is skipped"
        );
        let mut other = WordMac::new(|key| *key = [6; 32]);
        assert_eq!(other.check(&words[0]), Err(Malformed), "another's");
        let mut mac = with_key();
        assert_eq!(mac.check(b"gone.a"), Err(Malformed), "no MAC");
        assert_eq!(mac.check(&words[0]), Ok(&b"gone.a"[..]));
        assert_eq!(mac.check(&words[0]), Err(Malformed), "it comes twice");
        assert_eq!(mac.check(&words[1]), Ok(&b"gone.b"[..]));
    }

    #[test]
    fn what_a_side_authenticates_the_other_accepts_and_not_itself() {
        let key = |fill: u8| WordMac::new(|key| *key = [fill; 32]);
        let mut one = WordMacs::new(key(1), key(2));
        let mut other = WordMacs::new(key(2), key(1));
        let mut word = b"block.a".to_vec();
        one.append(0, &mut word);
        assert_eq!(one.check(&word), Err(Malformed), "reflected");
        assert_eq!(other.check(&word), Ok(&b"block.a"[..]));
        let shown = format!("{one:?}");
        assert!(
            shown.contains("count: 1") && !shown.contains("key"),
            "{shown}"
        );
    }

    #[test]
    fn a_counter_of_another_text_is_refused() {
        // As if whoever holds the key wrote the number in another way.
        let key = [5; 32];
        let numbered = b"gone.a.01";
        let mut out = [&numbered[..], b"."].concat();
        put_bytes(&mac(&key, &[numbered])[..MAC], &mut out);
        assert_eq!(with_key().check(&out), Err(Malformed));
    }
}
