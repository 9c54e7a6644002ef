//! A request of ours and its answer, on a connection of its own.

use super::super::errand::{Answer, Errand};
use crate::address::RelayAddress;
use crate::compat::http::{self, AnswerHead};
use crate::compat::message::body_len;
use crate::limits::Limits;

/// Bytes that an answer may have besides what is sealed.
const ANSWER_ROOM: usize = 1_024;

/// Times that a relay is dialled for one request: its name may mean several addresses, not all of
/// them good.
const ATTEMPTS: u32 = 3;

/// What is wrong with an answer for which there is no room.
const TOO_LARGE: &str = "the answer is too large";

/// How far an answer has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Received {
    Part,
    Whole,
    /// It is no answer that is taken.
    Malformed(&'static str),
}

/// See the module's documentation.
#[derive(Debug)]
pub(in super::super) struct Exchange {
    errand: Errand,
    request: Vec<u8>,
    /// Bytes of the request that the link took.
    written: usize,
    /// Bytes of the answer's body at most.
    body_max: usize,
    /// Attempts to connect that have failed.
    failed: u32,
    /// Some of the request has left.
    is_sent: bool,
    head: Option<AnswerHead>,
    input: Vec<u8>,
}

impl Exchange {
    pub(in super::super) fn new(errand: Errand, request: Vec<u8>, limits: &Limits) -> Exchange {
        Exchange {
            body_max: match errand {
                Errand::Call(_) => body_len(limits.max_message + ANSWER_ROOM),
                // A mailbox may hold several messages.
                Errand::Ping(_) => limits.message_bytes,
                Errand::Post(..) => ANSWER_ROOM,
            },
            errand,
            request,
            written: 0,
            failed: 0,
            is_sent: false,
            head: None,
            input: Vec::new(),
        }
    }

    pub(in super::super) fn errand(&self) -> &Errand {
        &self.errand
    }

    /// Bytes of the request that are held.
    pub(in super::super) fn request_held(&self) -> usize {
        self.request.len()
    }

    /// Bytes of memory that the answer takes, as far as it has come.
    pub(in super::super) fn held(&self) -> usize {
        self.input.capacity()
    }

    /// Bytes of memory that taking in `more` bytes of the answer would add.
    pub(in super::super) fn growth(&self, more: usize) -> usize {
        self.room_for(more) - self.input.capacity()
    }

    fn room_for(&self, more: usize) -> usize {
        let head = self.head.as_ref();
        let whole = head.map(|head| head.size + head.length.unwrap_or(self.body_max));
        http::room_for(&self.input, more, whole)
    }

    /// Bytes that wait to be written.
    pub(in super::super) fn pending(&self) -> &[u8] {
        &self.request[self.written..]
    }

    /// The link took this many bytes of the request. A request that has left is not kept.
    pub(in super::super) fn sent(&mut self, n: usize) {
        self.is_sent = true;
        self.written = (self.written + n).min(self.request.len());
        if self.written == self.request.len() {
            (self.request, self.written) = (Vec::new(), 0);
        }
    }

    /// Takes in bytes of the answer; `is_full` if there is no room for them.
    pub(in super::super) fn receive(&mut self, bytes: &[u8], is_full: bool) -> Received {
        if is_full {
            return Received::Malformed(TOO_LARGE);
        }
        let room = self.room_for(bytes.len());
        self.input.reserve_exact(room - self.input.len());
        self.input.extend_from_slice(bytes);
        if self.head.is_none() {
            match http::answer(&self.input, self.body_max) {
                Ok(head) => self.head = head,
                Err(fault) => return Received::Malformed(fault.why),
            }
        }
        let Some(head) = &self.head else {
            return Received::Part;
        };
        let body = self.input.len() - head.size;
        if body > head.length.unwrap_or(self.body_max) {
            return Received::Malformed(TOO_LARGE);
        }
        match head.length == Some(body) {
            true => Received::Whole,
            false => Received::Part,
        }
    }

    /// The relay whose next address may be tried, because this one could not be connected to.
    pub(in super::super) fn retries(&self) -> Option<&RelayAddress> {
        let may = !self.is_sent && self.failed + 1 < ATTEMPTS;
        self.errand.relay().filter(|_| may)
    }

    /// The same request, once more.
    pub(in super::super) fn again(self, limits: &Limits) -> Exchange {
        let failed = self.failed + 1;
        let exchange = Exchange::new(self.errand, self.request, limits);
        Exchange { failed, ..exchange }
    }

    /// How it ended, if nothing more comes; `is_late` if its time was over before the connection
    /// was.
    pub(in super::super) fn answer(&self, is_late: bool) -> Answer<'_> {
        let sent = self.is_sent;
        match &self.head {
            Some(head) if !is_late => {
                // An answer without a length ends with its connection.
                let body = &self.input[head.size..];
                match head.length {
                    Some(n) if n != body.len() => Answer::None { sent },
                    _ => Answer::Came(head, body),
                }
            }
            _ => Answer::None { sent },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::errand::Cargo;
    use super::*;

    fn exchange(errand: Errand) -> Exchange {
        Exchange::new(errand, b"request".to_vec(), &Limits::default())
    }

    fn ping() -> Exchange {
        exchange(Errand::Ping(RelayAddress::new("relay:80").unwrap()))
    }

    fn answer(body: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        http::write_answer(200, "text/plain", "", body, &mut out);
        out
    }

    #[test]
    fn an_answer_that_comes_in_parts_is_whole_with_its_last_byte() {
        let mut exchange = ping();
        let answer = answer(b"hello");
        let (last, before) = answer.split_last().unwrap();
        for byte in before {
            assert_eq!(exchange.receive(&[*byte], false), Received::Part);
        }
        assert!(
            matches!(exchange.answer(false), Answer::None { .. }),
            "one byte is missing"
        );
        assert_eq!(exchange.receive(&[*last], false), Received::Whole);
        let Answer::Came(head, body) = exchange.answer(false) else {
            panic!("it came");
        };
        assert_eq!((head.status, body), (200, &b"hello"[..]));
        assert!(
            matches!(exchange.answer(true), Answer::None { .. }),
            "it is too late"
        );
    }

    #[test]
    fn what_is_no_answer_or_too_large_is_malformed() {
        let noise = exchange(Errand::Call(1)).receive(b"\r\n\r\n\r\n", false);
        assert!(matches!(noise, Received::Malformed(_)), "{noise:?}");
        let relay = RelayAddress::new("relay:80").unwrap();
        let mut post = exchange(Errand::Post(relay, Cargo::Notice));
        let large = post.receive(&answer(&[b'x'; ANSWER_ROOM + 1]), false);
        assert!(matches!(large, Received::Malformed(_)), "{large:?}");
        let full = ping().receive(&answer(b"hello"), true);
        assert_eq!(full, Received::Malformed(TOO_LARGE));
    }

    #[test]
    fn the_memory_that_an_answer_takes_is_counted_before_and_after_it_grows() {
        // With a length, and without one, which ends with its connection.
        for head in ["Content-Length: 9000\r\n", ""] {
            let mut exchange = ping();
            let mut bytes = format!("HTTP/1.0 200 OK\r\n{head}\r\n").into_bytes();
            let head_size = bytes.len();
            bytes.resize(head_size + 9_000, b'x');
            for part in bytes.chunks(700) {
                let expected = exchange.held() + exchange.growth(part.len());
                let received = exchange.receive(part, false);
                assert!(!matches!(received, Received::Malformed(_)), "{received:?}");
                assert_eq!(exchange.held(), exchange.input.capacity());
                assert_eq!(exchange.held(), expected);
            }
            let is_exact = exchange.held() == bytes.len();
            assert_eq!(is_exact, !head.is_empty(), "no more than the whole");
        }
    }

    #[test]
    fn a_relay_is_tried_three_times_and_never_after_something_was_sent() {
        let limits = Limits::default();
        let mut exchange = ping();
        for _ in 0..2 {
            assert!(exchange.retries().is_some());
            exchange = exchange.again(&limits);
            assert_eq!(exchange.pending(), b"request");
        }
        assert_eq!(exchange.retries(), None);
        let mut exchange = ping();
        exchange.sent(1);
        assert_eq!(exchange.pending(), b"equest");
        assert_eq!(exchange.retries(), None);
        assert!(matches!(
            exchange.answer(false),
            Answer::None { sent: true }
        ));
        assert_eq!(super::tests::exchange(Errand::Call(1)).retries(), None);
    }

    #[test]
    fn a_request_that_has_left_is_not_kept() {
        let mut exchange = ping();
        exchange.sent(3);
        assert_eq!(exchange.request_held(), 7);
        exchange.sent(4);
        assert_eq!((exchange.request_held(), exchange.pending()), (0, &b""[..]));
    }
}
