//! As much of HTTP/1 as PeerBase 0.7.1 speaks: one request, one answer, and the connection is
//! closed.
//!
//! Read strictly ([RFC 9112](https://www.rfc-editor.org/rfc/rfc9112), sections 2.2, 3.2, 5 and 6),
//! because what two readers of one request could read differently is how requests are smuggled:
//! lines end with CR LF, a body has exactly one `Content-Length`, nothing is transfer-encoded, and
//! nothing may follow it. The head is read by `httparse`; where the body ends is decided here.

use crate::limits::{HTTP_FIELDS_MAX, HTTP_HEAD_MAX, NAME_MAX};
use std::fmt::Write;

/// Digits of a `Content-Length`: more would be no length that a program means.
const LENGTH_DIGITS: usize = 10;

/// Why a message is not taken: the status that says so, and words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// An HTTP status, 4xx or 5xx.
    pub status: u16,
    /// Words for a person.
    pub why: &'static str,
}

impl Fault {
    pub(crate) const fn new(status: u16, why: &'static str) -> Fault {
        Fault { status, why }
    }
}

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Asks for something to be read.
    Get,
    /// Brings a body.
    Post,
}

/// A request's head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestHead {
    /// What it is for.
    pub method: Method,
    /// The path, as it was sent.
    pub path: String,
    /// Seconds that the client is content to wait for the answer (`Prefer: wait`, RFC 7240).
    pub wait: Option<u32>,
    /// Bytes of the head.
    pub size: usize,
    /// Bytes of the body.
    pub length: usize,
}

/// An answer's head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnswerHead {
    /// The HTTP status.
    pub status: u16,
    /// Where to ask instead.
    pub location: Option<String>,
    /// Whether the wait that was asked for is kept to (`Preference-Applied: wait`).
    pub waits: bool,
    /// Bytes of the head.
    pub size: usize,
    /// Bytes of the body, or all until the end of the connection.
    pub length: Option<usize>,
}

/// Whether the first bytes of a connection are a request's and no frame's; `None` while that is
/// open. A frame has a `|` before any `.` or line's end, a request the dot of its version.
pub fn is_request(bytes: &[u8]) -> Option<bool> {
    let methods: [&[u8]; 3] = [b"POST /", b"GET /", b"HEAD /"];
    let n = |method: &[u8]| method.len().min(bytes.len());
    if !methods.iter().any(|m| bytes[..n(m)] == m[..n(m)]) {
        return Some(false);
    }
    let decides = |b: &&u8| matches!(**b, b'|' | b'.' | b'\r' | b'\n');
    match bytes.iter().find(decides) {
        Some(b) => Some(*b != b'|'),
        // Longer than any network's name.
        None => (bytes.len() > NAME_MAX).then_some(true),
    }
}

/// The end of the head, its blank line included.
fn head_end(bytes: &[u8]) -> Result<Option<usize>, Fault> {
    let searched = &bytes[..bytes.len().min(HTTP_HEAD_MAX)];
    let ends = |at: &usize| searched[..=*at].ends_with(b"\r\n\r\n");
    match memchr::memchr_iter(b'\n', searched).find(ends) {
        Some(at) => Ok(Some(at + 1)),
        None if bytes.len() >= HTTP_HEAD_MAX => Err(Fault::new(431, "the head is too large")),
        None => Ok(None),
    }
}

/// Lines end with CR LF and nothing else: a reader that takes a lone one for an end sees other
/// fields.
fn has_plain_lines(head: &[u8]) -> bool {
    memchr::memchr2_iter(b'\r', b'\n', head).all(|at| match head[at] {
        // What follows the last may still come.
        b'\r' => head.get(at + 1).is_none_or(|next| *next == b'\n'),
        _ => at > 0 && head[at - 1] == b'\r',
    })
}

/// The value of a field that may be there once.
fn once<'a>(fields: &[httparse::Header<'a>], name: &str) -> Result<Option<&'a [u8]>, Fault> {
    let mut found = fields
        .iter()
        .filter(|f| f.name.eq_ignore_ascii_case(name))
        .map(|f| f.value);
    match (found.next(), found.next()) {
        (value, None) => Ok(value),
        _ => Err(Fault::new(
            400,
            "a field is repeated that may be there once",
        )),
    }
}

fn length(fields: &[httparse::Header<'_>]) -> Result<Option<usize>, Fault> {
    let wrong = Fault::new(400, "the content-length is no number");
    if once(fields, "transfer-encoding")?.is_some() {
        let both = once(fields, "content-length")?.is_some();
        return Err(match both {
            true => Fault::new(400, "both a content-length and a transfer-encoding"),
            false => Fault::new(411, "transfer encodings are not taken"),
        });
    }
    let Some(value) = once(fields, "content-length")? else {
        return Ok(None);
    };
    if value.is_empty() || value.len() > LENGTH_DIGITS || !value.iter().all(u8::is_ascii_digit) {
        return Err(wrong);
    }
    let text = std::str::from_utf8(value).map_err(|_| wrong)?;
    text.parse().map(Some).map_err(|_| wrong)
}

/// Reads the head of a request whose body may have `body_max` bytes; `None` while it is not all
/// there.
pub fn request(bytes: &[u8], body_max: usize) -> Result<Option<RequestHead>, Fault> {
    let end = head_end(bytes)?;
    let head = &bytes[..end.unwrap_or(bytes.len())];
    if !has_plain_lines(head) {
        return Err(Fault::new(
            400,
            "a line ends with something else than CR LF",
        ));
    }
    let Some(size) = end else {
        return Ok(None);
    };
    let mut fields = [httparse::EMPTY_HEADER; HTTP_FIELDS_MAX];
    let mut read = httparse::Request::new(&mut fields);
    match read.parse(head) {
        Ok(httparse::Status::Complete(n)) if n == size => {}
        Err(httparse::Error::TooManyHeaders) => return Err(Fault::new(431, "too many fields")),
        _ => return Err(Fault::new(400, "no request of HTTP/1")),
    }
    let method = match read.method {
        Some("GET") => Method::Get,
        Some("POST") => Method::Post,
        _ => return Err(Fault::new(405, "only GET and POST are taken")),
    };
    let fields = &*read.headers;
    let host = once(fields, "host")?;
    if host.is_none() && read.version == Some(1) {
        return Err(Fault::new(400, "no host"));
    }
    // A browser sends it with whatever a page makes it post; no PeerBase does.
    if once(fields, "origin")?.is_some() {
        return Err(Fault::new(403, "browsers are not served"));
    }
    let length = match (length(fields)?, method) {
        (None, Method::Post) => return Err(Fault::new(411, "no content-length")),
        (Some(1..), Method::Get) => return Err(Fault::new(400, "a body where none belongs")),
        (length, _) => length.unwrap_or(0),
    };
    if length > body_max {
        return Err(Fault::new(413, "the body is too large"));
    }
    Ok(Some(RequestHead {
        method,
        path: read.path.unwrap_or("/").to_owned(),
        wait: once(fields, "prefer")?.and_then(wait),
        size,
        length,
    }))
}

/// The seconds of `wait=N`.
fn wait(value: &[u8]) -> Option<u32> {
    let text = std::str::from_utf8(value).ok()?;
    text.strip_prefix("wait=")?.parse().ok()
}

/// Reads the head of an answer whose body may have `body_max` bytes; `None` while it is not all
/// there.
pub fn answer(bytes: &[u8], body_max: usize) -> Result<Option<AnswerHead>, Fault> {
    let Some(size) = head_end(bytes)? else {
        return Ok(None);
    };
    let mut fields = [httparse::EMPTY_HEADER; HTTP_FIELDS_MAX];
    let mut read = httparse::Response::new(&mut fields);
    match read.parse(&bytes[..size]) {
        Ok(httparse::Status::Complete(n)) if n == size => {}
        _ => return Err(Fault::new(502, "no answer of HTTP/1")),
    }
    let fields = &*read.headers;
    let length = length(fields)?;
    if length.is_some_and(|n| n > body_max) {
        return Err(Fault::new(413, "the body is too large"));
    }
    let location = once(fields, "location")?.and_then(|v| std::str::from_utf8(v).ok());
    Ok(Some(AnswerHead {
        status: read.code.unwrap_or(0),
        location: location.map(str::to_owned),
        waits: once(fields, "preference-applied")? == Some(b"wait"),
        size,
        length,
    }))
}

/// Writes a request. Of HTTP/1.0, so that the answer is not transfer-encoded, also by a proxy.
pub fn write_post(host: &str, path: &str, body: &[u8], wait: Option<u32>, out: &mut Vec<u8>) {
    let mut head = format!(
        "POST {path} HTTP/1.0\r\nHost: {host}\r\nContent-Length: {}\r\nContent-Type: application/json\r\n",
        body.len()
    );
    if let Some(seconds) = wait {
        let _ = write!(head, "Prefer: wait={seconds}\r\n");
    }
    head.push_str("\r\n");
    out.extend_from_slice(head.as_bytes());
    out.extend_from_slice(body);
}

/// Writes an answer.
pub fn write_answer(status: u16, kind: &str, extra: &str, body: &[u8], out: &mut Vec<u8>) {
    let head = format!(
        "HTTP/1.0 {status} {}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n{extra}Connection: close\r\n\r\n",
        phrase(status),
        body.len()
    );
    out.extend_from_slice(head.as_bytes());
    out.extend_from_slice(body);
}

/// Writes what is wrong, as the relay of PeerBase 0.7.1 does.
pub fn write_fault(fault: Fault, out: &mut Vec<u8>) {
    let body = format!("{{\"detail\":{}}}", crate::json::quoted(fault.why));
    write_answer(fault.status, "application/json", "", body.as_bytes(), out);
}

fn phrase(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        411 => "Length Required",
        413 => "Content Too Large",
        422 => "Unprocessable Content",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        _ => "Error",
    }
}

/// Bytes of memory that `held` takes when `more` bytes are added: if more are needed at least twice
/// as many, but no more than the `whole` has, if that is known.
pub fn room_for(held: &Vec<u8>, more: usize, whole: Option<usize>) -> usize {
    let (needed, room) = (held.len() + more, held.capacity());
    if needed <= room {
        return room;
    }
    let twice = needed.max(2 * room);
    whole.map_or(twice, |whole| twice.min(whole).max(needed))
}

/// A request as it comes in: bytes are held as they arrive, never for what is only claimed.
#[derive(Debug, Default)]
pub struct Reader {
    bytes: Vec<u8>,
    head: Option<RequestHead>,
}

impl Reader {
    /// Bytes of memory that taking in `more` bytes would add.
    pub fn growth(&self, more: usize) -> usize {
        self.room_for(more) - self.bytes.capacity()
    }

    /// Bytes of memory that there are when `more` bytes are taken in.
    fn room_for(&self, more: usize) -> usize {
        let whole = self.head.as_ref().map(|head| head.size + head.length);
        room_for(&self.bytes, more, whole)
    }

    /// Takes in bytes; whether the request is whole.
    pub fn take(&mut self, bytes: &[u8], body_max: usize) -> Result<bool, Fault> {
        let room = self.room_for(bytes.len());
        self.bytes.reserve_exact(room - self.bytes.len());
        self.bytes.extend_from_slice(bytes);
        if self.head.is_none() {
            self.head = request(&self.bytes, body_max)?;
        }
        let Some(head) = &self.head else {
            return Ok(false);
        };
        let whole = head.size + head.length;
        if self.bytes.len() > whole {
            return Err(Fault::new(400, "something follows the request"));
        }
        Ok(self.bytes.len() == whole)
    }

    /// The head, once it is there.
    pub fn head(&self) -> Option<&RequestHead> {
        self.head.as_ref()
    }

    /// What there is of the body.
    pub fn body(&self) -> &[u8] {
        self.head
            .as_ref()
            .map_or(&[], |head| &self.bytes[head.size..])
    }

    /// Bytes of memory held.
    pub fn held(&self) -> usize {
        self.bytes.capacity()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MAX: usize = 100;

    fn post(fields: &str) -> String {
        format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n")
    }

    fn status(text: &str) -> u16 {
        match request(text.as_bytes(), MAX) {
            Ok(Some(_)) => 200,
            Ok(None) => 0,
            Err(fault) => fault.status,
        }
    }

    #[test]
    fn what_the_python_client_sends() {
        let text = "POST /ping/ HTTP/1.1\r\nHost: 10.9.0.1:7000\r\nUser-Agent: python-requests/2.34.2\r\n\
            Accept-Encoding: gzip, deflate\r\nAccept: */*\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\
            Content-Type: application/json\r\n\r\n{}";
        let head = request(text.as_bytes(), MAX).unwrap().unwrap();
        assert_eq!((head.method, head.path.as_str()), (Method::Post, "/ping/"));
        assert_eq!((head.length, &text[head.size..]), (2, "{}"));
    }

    #[test]
    fn where_a_body_ends_is_never_in_doubt() {
        for (fields, expected) in [
            ("Content-Length: 5\r\n", 200),
            ("content-length: 0\r\n", 200),
            ("", 411),
            ("Transfer-Encoding: chunked\r\n", 411),
            ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", 400),
            ("Transfer-Encoding: identity\r\nContent-Length: 5\r\n", 400),
            ("Content-Length: 5\r\nContent-Length: 6\r\n", 400),
            ("Content-Length: 5\r\nContent-Length: 5\r\n", 400),
            ("Content-Length: 5, 5\r\n", 400),
            ("Content-Length: +5\r\n", 400),
            ("Content-Length: -5\r\n", 400),
            ("Content-Length: 0x5\r\n", 400),
            ("Content-Length:\r\n", 400),
            ("Content-Length : 5\r\n", 400),
            ("Content-Length: 99999999999999999999\r\n", 400),
            ("Content-Length: 101\r\n", 413),
            ("Content-Length: 5\r\nX: a\r\n b\r\n", 400),
            ("Content-Length: 5\r\nX: a\nY: b\r\n", 400),
            ("Content-Length: 5\r\nX: a\rY: b\r\n", 400),
            ("Content-Length: 5\r\nX: a\0\r\n", 400),
            ("Content-Length: 5\r\nHost: b\r\n", 400),
            ("Content-Length: 5\r\nOrigin: http://evil.example\r\n", 403),
        ] {
            assert_eq!(status(&post(fields)), expected, "{fields:?}");
        }
        assert_eq!(status("POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\n"), 400);
        assert_eq!(status("POST / HTTP/1.0\r\nContent-Length: 5\r\n\r\n"), 200);
        assert_eq!(status("PUT / HTTP/1.0\r\nContent-Length: 5\r\n\r\n"), 405);
        assert_eq!(status("GET / HTTP/1.0\r\nContent-Length: 5\r\n\r\n"), 400);
        assert_eq!(status("POST / HTTP/2.0\r\nContent-Length: 5\r\n\r\n"), 400);
        assert_eq!(status("GET / HTTP/1.0\r\n\r\n"), 200);
    }

    #[test]
    fn a_head_is_bounded_before_it_is_whole() {
        assert_eq!(
            status(&post(&format!("X: {}\r\n", "a".repeat(1 << 20)))),
            431
        );
        assert_eq!(status(&format!("POST /{}", "a".repeat(HTTP_HEAD_MAX))), 431);
        assert_eq!(status(&post(&"X: 1\r\n".repeat(65))), 431);
        assert_eq!(status("POST / HTTP/1.1\r\nHost"), 0);
    }

    #[test]
    fn a_second_request_behind_the_first_is_a_fault() {
        let mut reader = Reader::default();
        assert_eq!(
            reader.take(post("Content-Length: 2\r\n").as_bytes(), MAX),
            Ok(false)
        );
        assert_eq!(reader.take(b"{", MAX), Ok(false));
        assert_eq!(reader.take(b"}POST", MAX).unwrap_err().status, 400);
    }

    #[test]
    fn a_request_takes_the_memory_that_was_foretold_and_no_more_than_it_has_bytes() {
        let mut reader = Reader::default();
        let head = post("Content-Length: 90\r\n");
        let mut take = |bytes: &[u8]| {
            let foretold = reader.held() + reader.growth(bytes.len());
            reader.take(bytes, MAX).unwrap();
            assert_eq!(reader.held(), foretold);
            foretold
        };
        assert_eq!(take(head.as_bytes()), head.len());
        assert_eq!(take(&[b'x'; 10]), 2 * head.len());
        assert_eq!(take(&[b'x'; 60]), head.len() + 90);
        assert_eq!(take(&[b'x'; 20]), head.len() + 90);
    }

    #[test]
    fn requests_are_told_from_frames() {
        assert_eq!(is_request(b"POST /ping/ HTTP/1.1"), Some(true));
        assert_eq!(is_request(b"GET / HTTP/1.0"), Some(true));
        assert_eq!(is_request(b"plant|reg|"), Some(false));
        assert_eq!(
            is_request(b"POST /ping/|reg|"),
            Some(false),
            "a network may be called so"
        );
        assert_eq!(is_request(b"POS"), None);
        assert_eq!(is_request(b"POST /ping/ HTTP/1"), None);
        assert_eq!(
            is_request(format!("GET /{}", "a".repeat(64)).as_bytes()),
            Some(true)
        );
    }

    #[test]
    fn answers_with_a_length_and_without() {
        let mut text = Vec::new();
        write_answer(
            200,
            "text/plain",
            "Preference-Applied: wait\r\n",
            b"hi",
            &mut text,
        );
        let head = answer(&text, MAX).unwrap().unwrap();
        assert_eq!((head.status, head.length, head.waits), (200, Some(2), true));
        assert_eq!(&text[head.size..], b"hi");
        let old = b"HTTP/1.0 404 Not Found\r\nServer: BaseHTTP/0.6\r\n\r\nabc";
        let head = answer(old, MAX).unwrap().unwrap();
        assert_eq!((head.status, head.length), (404, None));
        for bad in [
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 101\r\n\r\n",
            "plant|err|frame|END\r\n\r\n",
        ] {
            assert!(answer(bad.as_bytes(), MAX).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn it_matters_not_how_a_request_is_cut(body in prop::collection::vec(any::<u8>(), 0..MAX), cuts in prop::collection::vec(1usize..40, 0..20)) {
            let mut text = Vec::new();
            write_post("a:1", "/send/", &body, Some(3), &mut text);
            let mut reader = Reader::default();
            let mut rest = &text[..];
            for cut in cuts {
                if cut < rest.len() {
                    let (now, later) = rest.split_at(cut);
                    prop_assert_eq!(reader.take(now, MAX), Ok(false));
                    rest = later;
                }
            }
            prop_assert_eq!(reader.take(rest, MAX), Ok(true));
            prop_assert_eq!(reader.body(), &body[..]);
            let head = reader.head().unwrap();
            prop_assert_eq!((head.path.as_str(), head.wait), ("/send/", Some(3)));
        }

        #[test]
        fn anything_is_an_answer_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = request(&bytes, MAX);
            let _ = answer(&bytes, MAX);
            let _ = is_request(&bytes);
        }
    }
}
