//! Adverts that come: whose datagrams are opened.

use super::{Ctx, Time};
use crate::fernet::token_len;
use crate::frame::{self, FrameType, Parsed};
use crate::limits::DATAGRAM_MAX;
use crate::rate::Shares;
use crate::wire::advert;
use std::net::{IpAddr, SocketAddr};

/// Whose datagrams are opened.
#[derive(Debug, Default)]
pub(crate) struct Presence {
    /// Datagrams opened, by where they say they are from.
    heard: Shares,
}

impl Presence {
    /// The sealed advert that a datagram holds, unless it is none of ours, or one too many.
    pub(crate) fn datagram<'a>(
        &mut self,
        ctx: &mut Ctx<'_>,
        from: SocketAddr,
        bytes: &'a [u8],
    ) -> Option<&'a [u8]> {
        let frame = match frame::parse(bytes, DATAGRAM_MAX) {
            Ok(Parsed::Complete(frame, used))
                if used == bytes.len() && frame.kind == FrameType::ADVERT =>
            {
                frame
            }
            _ => {
                ctx.stats.adverts_malformed += 1;
                return None;
            }
        };
        if frame.net != ctx.config.network.as_str() {
            ctx.stats.foreign += 1;
            return None;
        }
        // What cannot be an advert costs nothing more, and takes nobody else's turn.
        if frame.payload.len() < 1 + token_len(advert::LEN_MIN) {
            ctx.stats.adverts_malformed += 1;
            return None;
        }
        let per_second = ctx.config.limits.adverts_per_second;
        if !self.heard.take(ctx.now.at, from.ip(), per_second) {
            ctx.stats.adverts_throttled += 1;
            return None;
        }
        Some(frame.payload)
    }

    /// A peer has proved to be at this address: its datagrams have a share of their own.
    pub(crate) fn know(&mut self, now: Time, source: IpAddr) {
        self.heard.know(now, source);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::fixture::Fixture;
    use crate::wire::advert::LEN_MIN;

    #[test]
    fn a_datagram_is_opened_if_it_may_be_an_advert_of_ours_and_there_are_not_too_many() {
        let mut fixture = Fixture::default();
        fixture.core.config.limits.adverts_per_second = 4;
        let mut presence = Presence::default();
        let from = "10.0.0.1:5".parse().unwrap();
        let mut opens = |net, kind, len| {
            let mut bytes = Vec::new();
            frame::encode_with(net, kind, &mut bytes, |out| {
                out.resize(out.len() + len, b'a')
            });
            presence
                .datagram(&mut fixture.ctx(), from, &bytes)
                .is_some()
        };
        let (advert, len) = (FrameType::ADVERT, 1 + token_len(LEN_MIN));
        assert!(!opens("other", advert, len));
        assert!(!opens("net", FrameType::HELLO, len));
        assert!(!opens("net", advert, len - 1), "too short");
        let opened = (0..9).filter(|_| opens("net", advert, len));
        assert_eq!(
            opened.count(),
            3,
            "a quarter is kept for those that are known"
        );
        assert_eq!(fixture.core.stats.adverts_throttled, 6);
        assert_eq!(fixture.core.stats.foreign, 1);
        assert_eq!(fixture.core.stats.adverts_malformed, 2);
    }
}
