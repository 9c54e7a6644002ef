//! What a relay keeps of the requests of Python nodes: the bytes that are coming in, and mailboxes.
//!
//! One request a link. What mailboxes hold is [`Mailboxes`]' matter.

use super::context::Ctx;
use super::origin::Origin;
use super::stage::Progress;
use crate::compat::http::{Fault, Reader};
use crate::compat::mailbox::{Asker, Mailboxes, Outcome, Request};
use crate::limits::RelayLimits;
use crate::name::NetworkName;
use crate::protocol::{LinkId, Now, Time};
use crate::site_share::is_within_share;
use crate::table::Table;
use std::net::IpAddr;

/// Bytes of requests that are coming in: of all, and of each site that has some.
#[derive(Debug, Default)]
struct Reading {
    all: usize,
    sites: Table<IpAddr, usize>,
}

impl Reading {
    fn of(&self, site: IpAddr) -> usize {
        self.sites.get(&site).copied().unwrap_or(0)
    }

    fn add(&mut self, site: IpAddr, bytes: usize) {
        if bytes > 0 {
            self.all += bytes;
            *self.sites.or_insert_with(site, || 0) += bytes;
        }
    }

    fn remove(&mut self, site: IpAddr, bytes: usize) {
        let Some(own) = self.sites.get_mut(&site) else {
            return;
        };
        *own -= bytes;
        self.all -= bytes;
        if *own == 0 {
            self.sites.remove(&site);
        }
    }
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Http {
    mailboxes: Mailboxes,
    reading: Reading,
}

impl Http {
    /// No mailbox can be over before this.
    pub(super) fn due(&self) -> Time {
        self.mailboxes.due()
    }

    /// Takes away the mailboxes of nodes that do not ask any more.
    pub(super) fn expire(&mut self, now: Now, limits: &RelayLimits) {
        self.mailboxes.expire(now, limits);
    }

    pub(super) fn mailboxes(&self) -> usize {
        self.mailboxes.len()
    }

    /// Bytes in all mailboxes.
    pub(super) fn mailbox_bytes(&self) -> usize {
        self.mailboxes.bytes()
    }

    /// Networks that have mailboxes.
    pub(super) fn networks(&self) -> impl Iterator<Item = &NetworkName> {
        self.mailboxes.networks()
    }

    /// Takes in bytes of a request, those that came before it was known to be one first; whether it
    /// is whole.
    pub(super) fn read(
        &mut self,
        limits: &RelayLimits,
        site: IpAddr,
        reader: &mut Reader,
        [begun, bytes]: [&[u8]; 2],
    ) -> Result<bool, Fault> {
        let size = begun.len() + bytes.len();
        let (all, own) = (self.reading.all + size, self.reading.of(site) + size);
        if !is_within_share(all, own, limits.requests_bytes) {
            return Err(Fault::new(503, "too much is coming in at once"));
        }
        let held = reader.held();
        let taken = match reader.take(begun, limits.request_bytes) {
            Ok(_) => reader.take(bytes, limits.request_bytes),
            fault => fault,
        };
        self.reading.add(site, reader.held() - held);
        taken
    }

    /// Takes a request off its link, which is then to be answered; none if it had been taken
    /// before.
    pub(super) fn take_request(
        &mut self,
        now: Now,
        id: LinkId,
        site: IpAddr,
        progress: &mut Progress,
    ) -> Option<Reader> {
        match std::mem::replace(progress, Progress::Answering) {
            Progress::Reading(reader) => {
                self.reading.remove(site, reader.held());
                Some(reader)
            }
            Progress::Waiting(_) => {
                self.mailboxes.gone(now, id);
                None
            }
            Progress::Answering | Progress::Lingering(_) => None,
        }
    }

    /// What a whole request is answered with. `take_join` takes one of the joins of its site, for a
    /// mailbox that is to be made, and tells whether there was one.
    pub(super) fn request(
        &mut self,
        ctx: &mut Ctx<'_>,
        id: LinkId,
        origin: Origin,
        reader: &Reader,
        take_join: impl FnOnce() -> bool,
    ) -> Option<Outcome> {
        let networks = &ctx.config.networks;
        // Python nodes cannot prove that they have a key.
        let is_open = |network: &NetworkName| {
            let mut open = networks.iter().filter(|(_, key)| key.is_none());
            networks.is_empty() || open.any(|(name, _)| name == network)
        };
        let request = Request {
            asker: Asker {
                link: id,
                address: origin.address,
                site: origin.site,
            },
            head: reader.head()?,
            body: reader.body(),
        };
        ctx.stats.http_requests += 1;
        let limits = &ctx.config.limits;
        Some(
            self.mailboxes
                .request(ctx.now, request, limits, is_open, take_join),
        )
    }

    /// The answer to a question that was kept.
    pub(super) fn collect(&mut self, now: Now, id: LinkId) -> String {
        self.mailboxes.collect(now, id)
    }

    /// A link has taken its whole answer.
    pub(super) fn delivered(&mut self, now: Now, id: LinkId) {
        self.mailboxes.delivered(now, id);
    }

    /// A link is gone, and what it has not taken is back; the link that waits for that, if one
    /// does.
    pub(super) fn undelivered(&mut self, now: Now, id: LinkId) -> Option<LinkId> {
        self.mailboxes.undelivered(now, id)
    }
}

#[cfg(test)]
mod tests {
    use super::super::context::tests::{at, core};
    use super::*;
    use crate::compat::http::write_post;
    use crate::compat::mailbox::Reply;

    const ID: LinkId = LinkId(1);

    fn site(last: u8) -> IpAddr {
        [10, 0, 0, last].into()
    }

    fn limits() -> RelayLimits {
        RelayLimits {
            requests_bytes: 1_000,
            request_bytes: 10_000,
            ..RelayLimits::default()
        }
    }

    fn ping(network: &str) -> Vec<u8> {
        let body = format!(
            "{{\"node_name\":\"alpha\",\"node_network\":\"{network}\",\"known_servers\":[]}}"
        );
        let mut request = Vec::new();
        write_post("relay", "/ping/", body.as_bytes(), Some(0), &mut request);
        request
    }

    #[test]
    fn a_site_has_half_of_what_may_be_coming_in_and_has_it_back_when_a_request_is_taken() {
        let (limits, mut http, mut reader) = (limits(), Http::default(), Reader::default());
        let request = ping("plant");
        let (begun, rest) = request.split_at(10);
        let read = http.read(&limits, site(1), &mut reader, [begun, &rest[..20]]);
        assert_eq!(read, Ok(false));
        let mut other = Reader::default();
        let read = http.read(&limits, site(1), &mut other, [b"", &[b'A'; 490]]);
        assert_eq!(read.unwrap_err().status, 503);
        let read = http.read(&limits, site(1), &mut reader, [b"", &rest[20..]]);
        assert_eq!(read, Ok(true));
        assert!(http.reading.all >= request.len());
        let mut progress = Progress::Reading(reader);
        assert!(
            http.take_request(at(1), ID, site(1), &mut progress)
                .is_some()
        );
        assert!(matches!(progress, Progress::Answering));
        assert_eq!((http.reading.all, http.reading.of(site(1))), (0, 0));
        assert!(
            http.take_request(at(1), ID, site(1), &mut progress)
                .is_none()
        );
    }

    #[test]
    fn only_networks_without_a_key_have_mailboxes() {
        let mut core = core(RelayLimits::default());
        let net = |text| NetworkName::new(text).unwrap();
        let key = crate::fernet::Key::from_bytes([7; 32]);
        let key = crate::wire::relay_key::RelayKey::derive(&key, &net("plant"));
        core.config.networks = vec![(net("hall"), None), (net("plant"), Some(key))];
        let mut http = Http::default();
        let mut status = |network| {
            let mut reader = Reader::default();
            reader.take(&ping(network), 1_000).unwrap();
            let origin = Origin::of(site(1));
            let outcome = http.request(&mut core.at(at(1)), ID, origin, &reader, || true);
            match outcome.unwrap().reply {
                Reply::Now(status, _) => status,
                reply => panic!("{reply:?}"),
            }
        };
        assert_eq!(
            (status("hall"), status("plant"), status("other")),
            (200, 403, 403)
        );
        assert_eq!(http.mailboxes(), 1);
        assert_eq!(core.stats.http_requests, 3);
    }
}
