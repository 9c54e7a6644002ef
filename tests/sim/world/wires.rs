//! Connections of a world: bytes arrive in order, late, in pieces, or not at all.

use super::World;
use super::clock::Happening;
use peerbase::engine::LinkId;
use std::net::SocketAddr;
use std::time::Duration;

/// A TCP connection: two ends, bytes in order each way.
pub(crate) struct Wire {
    pub ends: [End; 2],
    /// Bytes vanish: a cable was pulled, or a power cut.
    pub silent: bool,
    /// The first end does not read: nothing can be written towards it.
    pub stalled: bool,
}

#[derive(Clone, Copy)]
pub(crate) struct End {
    pub node: Option<usize>,
    pub hub: Option<usize>,
    pub link: LinkId,
    pub open: bool,
    /// When the last bytes towards this end arrive: none overtake.
    pub arrives: Duration,
}

impl End {
    pub(crate) fn new(node: Option<usize>, hub: Option<usize>, link: LinkId, open: bool) -> End {
        End {
            node,
            hub,
            link,
            open,
            arrives: Duration::ZERO,
        }
    }
}

impl World {
    /// A new connection between these ends.
    pub(crate) fn add_wire(&mut self, ends: [End; 2]) -> usize {
        self.wires.push(Wire {
            ends,
            silent: false,
            stalled: false,
        });
        self.wires.len() - 1
    }

    /// A connection from nobody's engine to a node, as an attacker opens it; gives the wire.
    pub(crate) fn raw_connect(&mut self, to: usize) -> usize {
        let from = SocketAddr::from((self.raw_address, 999));
        let now = self.clock_of(to);
        let link = self.nodes[to].engine.accept(now, from).unwrap();
        let wire = self.add_wire([
            End::new(None, None, LinkId(0), true),
            End::new(Some(to), None, link, true),
        ]);
        self.nodes[to].links.insert(link, wire);
        self.raw.insert(wire, Vec::new());
        self.drain(to);
        wire
    }

    pub(crate) fn raw_send(&mut self, wire: usize, bytes: &[u8]) {
        self.transmit(wire, 0, bytes.to_vec());
    }

    /// From now on the raw end does not read.
    pub(crate) fn stall(&mut self, wire: usize) {
        self.wires[wire].stalled = true;
    }

    /// What waits in the node to be written to a raw end.
    pub(crate) fn pending_on(&self, wire: usize) -> usize {
        let end = self.wires[wire].ends[1];
        end.node
            .map_or(0, |n| self.nodes[n].engine.pending(end.link).len())
    }

    pub(crate) fn raw_datagram(&mut self, to: usize, from: SocketAddr, bytes: &[u8]) {
        self.after(
            Duration::ZERO,
            Happening::Datagram {
                node: to,
                from,
                bytes: bytes.into(),
            },
        );
    }

    pub(super) fn connected_groups(&self, a: usize, b: usize) -> bool {
        self.nodes[a].group == self.nodes[b].group
    }

    pub(crate) fn some_delay(&mut self) -> Duration {
        let (least, most) = self.delay;
        least + Duration::from_nanos(self.rng.below((most - least).as_nanos() as u64 + 1))
    }

    pub(crate) fn transmit(&mut self, wire: usize, from_end: usize, bytes: Vec<u8>) {
        let delay = self.some_delay() + self.hub_delay(wire);
        let pace = self.hub_pace(wire, from_end, bytes.len());
        let to = 1 - from_end;
        let w = &mut self.wires[wire];
        if w.silent || !w.ends[to].open {
            return;
        }
        if let (Some(a), Some(b)) = (w.ends[0].node, w.ends[1].node)
            && self.nodes[a].group != self.nodes[b].group
        {
            // TCP would try again for a while; keepalive gives up first.
            w.silent = true;
            return;
        }
        if let (Some(node), Some(hub)) = (w.ends[0].node, w.ends[1].hub)
            && !self.hubs[hub].reaches(node)
        {
            w.silent = true;
            return;
        }
        let at = (self.now + delay).max(w.ends[to].arrives) + pace;
        w.ends[to].arrives = at;
        self.at(
            at,
            Happening::Bytes {
                wire,
                end: to,
                bytes,
            },
        );
    }

    pub(crate) fn close_other(&mut self, wire: usize, end: usize) {
        let delay = self.some_delay();
        let w = &mut self.wires[wire];
        if w.silent {
            return;
        }
        let at = (self.now + delay).max(w.ends[1 - end].arrives);
        w.ends[1 - end].arrives = at;
        self.at(at, Happening::Closed { wire, end: 1 - end });
    }

    /// Breaks a connection of a node; both sides are told.
    pub(crate) fn break_links(&mut self, node: usize) {
        let mut wires: Vec<usize> = self.nodes[node].links.values().copied().collect();
        wires.sort_unstable();
        for wire in wires {
            self.close_other(wire, 0);
            self.close_other(wire, 1);
        }
    }

    pub(super) fn end_of(&self, wire: usize, node: usize, link: LinkId) -> usize {
        let end = self.wires[wire].ends[1];
        usize::from(end.node == Some(node) && end.link == link)
    }

    /// Sends, now and then in pieces, as networks do.
    pub(super) fn send_cut(&mut self, node: usize, link: LinkId, bytes: Vec<u8>) {
        let Some(wire) = self.nodes[node].links.get(&link).copied() else {
            return;
        };
        let end = self.end_of(wire, node, link);
        if let Some(tapped) = &mut self.tapped {
            tapped.push((wire, end, bytes.clone()));
        }
        if self.rng.chance(10) {
            let cut = self.rng.below(bytes.len() as u64) as usize;
            self.transmit(wire, end, bytes[..cut].to_vec());
            self.transmit(wire, end, bytes[cut..].to_vec());
        } else {
            self.transmit(wire, end, bytes);
        }
    }
}
