//! Requests of Python nodes by HTTP: from the bytes of a link to the answer that it is given.

use super::members::Room;
use super::overdue::LINGER;
use super::stage::{Progress, Stage};
use super::{Hub, Output};
use crate::compat::http::{self, Fault, Reader};
use crate::compat::mailbox::{Reply, refusal_text};
use crate::limits::NAME_MAX;
use crate::protocol::{LinkId, Now};
use crate::wire::relay::Refusal;

/// Says that a question is kept until something comes.
const WAITS: &str = "Preference-Applied: wait\r\n";

impl Hub {
    /// Finds out whether a link speaks HTTP: whether these bytes belong to a request, or begin one.
    /// A link that does is no member from then on.
    pub(super) fn detect_http(&mut self, id: LinkId, bytes: &[u8]) -> bool {
        if !self.core.config.compat {
            return false;
        }
        match self.members.stage(id) {
            Some(Stage::Http(_)) => return true,
            Some(Stage::New) => {}
            _ => return false,
        }
        let begun = self.members.begun(id);
        if begun.len() > NAME_MAX {
            return false;
        }
        let start: Vec<u8> = begun
            .iter()
            .chain(bytes.iter().take(2 * NAME_MAX))
            .copied()
            .collect();
        let is_request = http::is_request(&start) == Some(true);
        if is_request && let Some(stage) = self.members.stage_mut(id) {
            *stage = Stage::Http(Progress::Reading(Reader::default()));
        }
        is_request
    }

    /// Bytes of a request came.
    pub(super) fn http_received(&mut self, now: Now, id: LinkId, bytes: &[u8]) {
        // What came before it was known to be a request, if anything, is a part of the head.
        let before = self.members.take_inbox(id);
        let (Some(origin), Some(opened)) = (self.members.origin(id), self.members.opened(id))
        else {
            return;
        };
        let limits = &self.core.config.limits;
        let taken = match self.members.stage_mut(id) {
            Some(Stage::Http(Progress::Reading(reader))) => {
                let bytes = [before.begun(), bytes];
                self.http.read(limits, origin.site, reader, bytes)
            }
            Some(Stage::Http(Progress::Waiting(_))) => {
                Err(Fault::new(400, "something follows the request"))
            }
            // After its answer, what comes is not looked at.
            _ => return,
        };
        match taken {
            Ok(false) => {
                let until = opened + limits.handshake;
                self.core.at(now).look_by(until);
            }
            Ok(true) => self.http_request(now, id),
            Err(fault) => self.http_refuse(now, id, fault),
        }
    }

    /// A request is whole.
    fn http_request(&mut self, now: Now, id: LinkId) {
        let Some(origin) = self.members.origin(id) else {
            return;
        };
        let Some(reader) = self.http_taken(now, id) else {
            return;
        };
        let sites = &mut self.sites;
        let take_join = || sites.take_join(origin.site, now.at);
        let mut ctx = self.core.at(now);
        let Some(outcome) = self.http.request(&mut ctx, id, origin, &reader, take_join) else {
            return;
        };
        match outcome.reply {
            Reply::Now(status, text) => {
                ctx.stats.http_refused += u64::from(status != 200);
                // A node that need not wait is also told that it could have.
                let waits = status == 200 && reader.head().is_some_and(|h| h.wait.is_some());
                let extra = if waits { WAITS } else { "" };
                self.http_answer(now, id, status, extra, &text);
            }
            Reply::Wait(until) => {
                ctx.look_by(until);
                if let Some(stage) = self.members.stage_mut(id) {
                    *stage = Stage::Http(Progress::Waiting(until));
                }
            }
        }
        for waited in outcome.woken {
            self.http_collect(now, waited);
        }
    }

    /// Takes a request off its link, which is then to be answered.
    fn http_taken(&mut self, now: Now, id: LinkId) -> Option<Reader> {
        let site = self.members.origin(id)?.site;
        let Stage::Http(progress) = self.members.stage_mut(id)? else {
            return None;
        };
        let request = self.http.take_request(now, id, site, progress);
        self.members.restart(id, now.at);
        self.newcomers.remove(id);
        request
    }

    /// A question that was kept is answered.
    fn http_collect(&mut self, now: Now, id: LinkId) {
        let text = self.http.collect(now, id);
        self.http_answer(now, id, 200, WAITS, &text);
    }

    /// Says what is wrong with a request, and no more.
    fn http_refuse(&mut self, now: Now, id: LinkId, fault: Fault) {
        self.core.stats.http_refused += 1;
        self.http_taken(now, id);
        self.http_answer(now, id, fault.status, "", &refusal_text(fault.why));
    }

    fn http_answer(&mut self, now: Now, id: LinkId, status: u16, extra: &str, text: &str) {
        let Some(stage) = self.members.stage_mut(id) else {
            return;
        };
        *stage = Stage::Http(Progress::Answering);
        let room = self.members.append(&mut self.core.at(now), id, id, |out| {
            http::write_answer(status, "application/json", extra, text.as_bytes(), out);
        });
        if room == Room::Exceeded {
            self.refuse(now, id, Refusal::Slow);
        }
    }

    /// A link took bytes of its answer, perhaps the last.
    pub(super) fn http_sent(&mut self, now: Now, id: LinkId) {
        let stage = self.members.stage(id);
        let is_answering = matches!(stage, Some(Stage::Http(Progress::Answering)));
        if !is_answering || !self.members.is_idle(id) {
            return;
        }
        if let Some(stage) = self.members.stage_mut(id) {
            *stage = Stage::Http(Progress::Lingering(now.at));
        }
        self.http.delivered(now, id);
        let mut ctx = self.core.at(now);
        ctx.look_by(now.at + LINGER);
        ctx.outputs.push_back(Output::Finish(id));
    }

    /// The link of a request is gone. What it has not taken is for the next that asks.
    pub(super) fn http_closed(&mut self, now: Now, id: LinkId) {
        self.http_taken(now, id);
        let waited = self.http.undelivered(now, id);
        if let Some(waited) = waited.filter(|_| !self.stopped) {
            self.http_collect(now, waited);
        }
    }

    /// The time of a request is over.
    pub(super) fn http_late(&mut self, now: Now, id: LinkId) {
        match self.members.stage(id) {
            Some(Stage::Http(Progress::Reading(_))) => {
                self.http_refuse(now, id, Fault::new(408, "the request took too long"));
            }
            Some(Stage::Http(Progress::Waiting(_))) => self.http_collect(now, id),
            Some(Stage::Http(Progress::Answering | Progress::Lingering(_))) => {
                self.close(now, id, Vec::new());
            }
            _ => {}
        }
    }
}
