//! The HTTP side of a relay, for Python nodes: from the bytes of a link to requests, and their answers.
//!
//! ```text
//! link: New --(a request line)--> Reading --> Waiting --> Answering --> Lingering
//! ```
//!
//! One request a link. What mailboxes hold is [`Mailboxes`]' matter.

use super::budget::is_within_share;
use super::member::Stage;
use super::{Hub, Output};
use crate::compat::http::{self, Fault, Reader};
use crate::compat::mailbox::{Asker, Mailboxes, Reply, refusal_text};
use crate::limits::{NAME_MAX, RelayLimits};
use crate::protocol::{LinkId, Now, Time};
use std::time::Duration;

/// How long a link is kept open after its answer for the other side to have read it.
const LINGER: Duration = Duration::from_secs(2);
/// Says that a question is kept until something comes.
const WAITS: &str = "Preference-Applied: wait\r\n";

/// How far a request has come.
#[derive(Debug)]
pub(super) enum Progress {
    /// It is coming.
    Reading(Reader),
    /// It waits for something to come, until then.
    Waiting(Time),
    /// Its answer is being read.
    Answering,
    /// All is said, and was then.
    Lingering(Time),
}

/// What the relay keeps for this side.
#[derive(Debug, Default)]
pub(super) struct Web {
    pub(super) mailboxes: Mailboxes,
    /// Bytes of requests that are coming in.
    reading: usize,
}

impl Progress {
    /// When it is over, if nothing moves.
    pub(super) fn until(&self, opened: Time, moved: Time, limits: &RelayLimits) -> Time {
        match self {
            // The head in the time of a handshake, the body in that of a frame.
            Progress::Reading(reader) if reader.head().is_some() => opened + limits.frame,
            Progress::Reading(_) => opened + limits.handshake,
            Progress::Waiting(until) => *until,
            Progress::Answering => moved + limits.stalled,
            Progress::Lingering(since) => *since + LINGER,
        }
    }
}

impl Hub {
    /// Whether these bytes are, or begin, a request of HTTP.
    pub(super) fn is_http(&mut self, id: LinkId, bytes: &[u8]) -> bool {
        let Some(member) = self.members.get_mut(&id).filter(|_| self.config.compat) else {
            return false;
        };
        match member.stage {
            Stage::Http(_) => return true,
            Stage::New if member.input.len() <= NAME_MAX => {}
            _ => return false,
        }
        let mut begun = std::mem::take(&mut member.input);
        let kept = begun.len();
        begun.extend_from_slice(&bytes[..bytes.len().min(2 * NAME_MAX)]);
        let is_request = http::is_request(&begun) == Some(true);
        begun.truncate(kept);
        member.input = begun;
        if is_request {
            member.unfinished = None;
            member.stage = Stage::Http(Progress::Reading(Reader::default()));
        }
        is_request
    }

    /// Bytes of a request.
    pub(super) fn http_received(&mut self, now: Now, id: LinkId, bytes: &[u8]) {
        let limits = &self.config.limits;
        let Some(member) = self.members.get_mut(&id) else {
            return;
        };
        let begun = std::mem::take(&mut member.input);
        let Stage::Http(Progress::Reading(reader)) = &mut member.stage else {
            // After its answer, what comes is not looked at.
            if let Stage::Http(Progress::Waiting(_)) = member.stage {
                self.http_refuse(now, id, Fault::new(400, "something follows the request"));
            }
            return;
        };
        let size = begun.len() + bytes.len();
        let source = self.sites.get_mut(&member.site);
        let of_source = source.as_ref().map_or(0, |s| s.reading);
        let (all, own) = (self.web.reading + size, of_source + size);
        if !is_within_share(all, own, limits.requests_bytes) {
            return self.http_refuse(now, id, Fault::new(503, "too much is coming in at once"));
        }
        let held = reader.held();
        // What came before it was known to be a request, if anything, is a part of the head.
        let taken = match reader.take(&begun, limits.request_bytes) {
            Ok(_) => reader.take(bytes, limits.request_bytes),
            fault => fault,
        };
        let more = reader.held() - held;
        self.web.reading += more;
        if let Some(source) = source {
            source.reading += more;
        }
        match taken {
            Ok(false) => self.due = self.due.min(member.opened + limits.handshake),
            Ok(true) => self.http_request(now, id),
            Err(fault) => self.http_refuse(now, id, fault),
        }
    }

    /// A request is whole.
    fn http_request(&mut self, now: Now, id: LinkId) {
        let Some(reader) = self.http_taken(now, id) else {
            return;
        };
        let (Some(head), Some(member)) = (reader.head(), self.members.get(&id)) else {
            return;
        };
        let (address, site) = (member.address, member.site);
        let asker = Asker {
            link: id,
            address,
            site,
        };
        let networks = &self.config.networks;
        let source = self.sites.get_mut(&site);
        let outcome = self.web.mailboxes.request(
            (now, asker),
            head,
            reader.body(),
            &self.config.limits,
            |network| {
                // Python nodes cannot prove that they have a key.
                let open = |(n, key): &(_, Option<_>)| n == network && key.is_none();
                networks.is_empty() || networks.iter().any(open)
            },
            || source.is_none_or(|s| s.joins.take(now.at)),
        );
        self.stats.http_requests += 1;
        match outcome.reply {
            Reply::Now(status, text) => {
                self.stats.http_refused += u64::from(status != 200);
                // Also who need not wait is told that it could have.
                let waits = head.wait.is_some() && status == 200;
                let extra = if waits { WAITS } else { "" };
                self.http_answer(now, id, status, extra, &text);
            }
            Reply::Wait(until) => {
                self.due = self.due.min(until);
                if let Some(member) = self.members.get_mut(&id) {
                    member.stage = Stage::Http(Progress::Waiting(until));
                }
            }
        }
        for waited in outcome.woken {
            self.http_collect(now, waited);
        }
    }

    /// Takes a request off its link, which is then to be answered.
    fn http_taken(&mut self, now: Now, id: LinkId) -> Option<Reader> {
        let member = self.members.get_mut(&id)?;
        let Stage::Http(stage) = &mut member.stage else {
            return None;
        };
        let before = std::mem::replace(stage, Progress::Answering);
        member.progress = now.at;
        self.newcomers.remove(id);
        match before {
            Progress::Reading(reader) => {
                self.web.reading -= reader.held();
                if let Some(source) = self.sites.get_mut(&member.site) {
                    source.reading -= reader.held();
                }
                Some(reader)
            }
            Progress::Waiting(_) => {
                self.web.mailboxes.gone(now, id);
                None
            }
            _ => None,
        }
    }

    /// A question that was kept is answered.
    fn http_collect(&mut self, now: Now, id: LinkId) {
        let text = self.web.mailboxes.collect(now, id);
        self.http_answer(now, id, 200, WAITS, &text);
    }

    /// Says what is wrong with a request, and no more.
    fn http_refuse(&mut self, now: Now, id: LinkId, fault: Fault) {
        self.stats.http_refused += 1;
        self.http_taken(now, id);
        self.http_answer(now, id, fault.status, "", &refusal_text(fault.why));
    }

    fn http_answer(&mut self, now: Now, id: LinkId, status: u16, extra: &str, text: &str) {
        if let Some(member) = self.members.get_mut(&id) {
            member.stage = Stage::Http(Progress::Answering);
            self.append(now, id, id, |out| {
                http::write_answer(status, "application/json", extra, text.as_bytes(), out);
            });
        }
    }

    /// A link took bytes of its answer, perhaps the last.
    pub(super) fn http_sent(&mut self, now: Now, id: LinkId) {
        if let Some(member) = self.members.get_mut(&id)
            && member.output.is_empty()
            && let Stage::Http(stage @ Progress::Answering) = &mut member.stage
        {
            *stage = Progress::Lingering(now.at);
            self.web.mailboxes.delivered(now, id);
            self.due = self.due.min(now.at + LINGER);
            self.outputs.push_back(Output::Finish(id));
        }
    }

    /// The link of a request is gone. What it has not taken is for the next that asks.
    pub(super) fn http_closed(&mut self, now: Now, id: LinkId) {
        self.http_taken(now, id);
        let waited = self.web.mailboxes.undelivered(now, id);
        if let Some(waited) = waited.filter(|_| !self.stopped) {
            self.http_collect(now, waited);
        }
    }

    /// Its time is over.
    pub(super) fn http_late(&mut self, now: Now, id: LinkId) {
        let Some(Stage::Http(stage)) = self.members.get(&id).map(|m| &m.stage) else {
            return;
        };
        match stage {
            Progress::Reading(_) => {
                self.http_refuse(now, id, Fault::new(408, "the request took too long"));
            }
            Progress::Waiting(_) => self.http_collect(now, id),
            Progress::Answering | Progress::Lingering(_) => {
                self.outputs.push_back(Output::Close(id, Vec::new()));
                self.closed(now, id);
            }
        }
    }
}
