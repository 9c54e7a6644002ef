//! Links that others have opened and that are not proved yet: how many there may be.

use super::{Ctx, LinkId, Links, Source, State, Via};
use std::cmp::Reverse;
use std::net::SocketAddr;

impl Links {
    /// A link that another node opened over a socket.
    pub(crate) fn accept(&mut self, ctx: &mut Ctx<'_>, from: SocketAddr) -> LinkId {
        self.add_listening(ctx, Via::Socket(from))
    }

    /// A link on which another node is to say hello.
    pub(super) fn add_listening(&mut self, ctx: &mut Ctx<'_>, via: Via) -> LinkId {
        if let Some(id) = self.half_open_to_evict(ctx.config.limits.half_open, &via) {
            ctx.stats.half_open_evicted += 1;
            // Nothing was proved on it: no other part knows of it.
            self.cut(ctx, id);
        }
        self.add(ctx, State::Listening, via)
    }

    /// Which half-open link gives way to a new one, if one must, so that there are no more than
    /// `most`. Those through relays have a quarter of the room to themselves, since anybody can
    /// connect to a port. The source that has the most gives way: an address that connects again
    /// and again, or a relay that invents routes, displaces its own. Of those, one that has said
    /// nothing comes first, then the oldest: an honest handshake would be over.
    fn half_open_to_evict(&self, most: usize, via: &Via) -> Option<LinkId> {
        let source = via.source();
        let relayed = most / 4;
        let room = match source.is_relay() {
            true => relayed,
            false => most - relayed,
        };
        let links = self.table.iter().filter_map(|(id, link)| {
            let said_hello = match link.state {
                State::Listening => false,
                State::Answered(_) => true,
                _ => return None,
            };
            let from = link.via.source();
            let rank = (said_hello, link.opened, *id);
            (from.is_relay() == source.is_relay()).then_some((from, rank))
        });
        let pool: Vec<_> = links.collect();
        if pool.len() < room.max(1) {
            return None;
        }
        let links_of = |source: Source| pool.iter().filter(|(s, _)| *s == source).count();
        let first = pool
            .iter()
            .min_by_key(|(source, rank)| (Reverse(links_of(*source)), *rank));
        first.map(|(_, (.., id))| *id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::fixture::{Fixture, at};

    #[test]
    fn an_address_that_connects_again_and_again_displaces_its_own_links() {
        let mut fixture = Fixture::default();
        fixture.core.config.limits.half_open = 8;
        let mut links = Links::default();
        let address = |host: u8| SocketAddr::from(([10, 0, 0, host], 1));
        let honest = links.accept(&mut fixture.ctx(), address(1));
        let first = links.accept(&mut fixture.ctx(), address(2));
        for ms in 0..100 {
            fixture.now = at(ms);
            links.accept(&mut fixture.ctx(), address(2));
            assert!(links.len() <= 6, "a quarter is for those through relays");
        }
        assert!(links.table.contains_key(&honest));
        assert!(
            !links.table.contains_key(&first),
            "the oldest of that address"
        );
        assert_eq!(fixture.core.stats.half_open_evicted, 102 - 6);
    }
}
