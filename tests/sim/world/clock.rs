//! The clock of a world: what happens when, and to whom.

use super::{World, ms, secs};
use peerbase::engine::{Input, LinkId, RequestId};
use peerbase::wire::record::Status;
use std::cmp::Ordering;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

pub(crate) enum Happening {
    Connected {
        wire: usize,
    },
    Refused {
        node: usize,
        link: LinkId,
    },
    Bytes {
        wire: usize,
        end: usize,
        bytes: Vec<u8>,
    },
    Closed {
        wire: usize,
        end: usize,
    },
    Datagram {
        node: usize,
        from: SocketAddr,
        bytes: Rc<[u8]>,
    },
    Answer {
        node: usize,
        id: RequestId,
        value: Vec<u8>,
    },
    Wake {
        node: usize,
    },
    HubWake {
        hub: usize,
    },
}

/// What happens when; of two at one time, what was begun first.
pub(super) struct Due {
    at: Duration,
    order: u64,
    what: Happening,
}

impl Ord for Due {
    fn cmp(&self, other: &Due) -> Ordering {
        (other.at, other.order).cmp(&(self.at, self.order))
    }
}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Due) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Due {
    fn eq(&self, other: &Due) -> bool {
        self.order == other.order
    }
}

impl Eq for Due {}

impl World {
    pub(crate) fn after(&mut self, delay: Duration, what: Happening) {
        self.at(self.now + delay, what);
    }

    pub(crate) fn at(&mut self, at: Duration, what: Happening) {
        self.order += 1;
        self.queue.push(Due {
            at,
            order: self.order,
            what,
        });
    }

    fn happen(&mut self, what: Happening) {
        match what {
            Happening::Wake { node } => self.hand(node, Input::Tick),
            Happening::Datagram { node, from, bytes } => {
                let bytes = &bytes;
                self.hand(node, Input::Datagram { from, bytes });
            }
            Happening::Refused { node, link } => self.hand(node, Input::Closed(link)),
            Happening::HubWake { hub } => self.wake_hub(hub),
            Happening::Connected { wire } => self.connected(wire),
            Happening::Bytes { wire, end, bytes } => self.arrived(wire, end, &bytes),
            Happening::Closed { wire, end } => self.closed(wire, end),
            Happening::Answer { node, id, value } => {
                let now = self.clock_of(node);
                self.nodes[node].engine.reply(now, id, Status::Value, value);
                self.drain(node);
            }
        }
    }

    /// Feeds a node's engine, and carries out what it puts out.
    fn hand(&mut self, node: usize, input: Input<'_>) {
        self.feed(node, input);
        self.drain(node);
    }

    /// A dialled node is there, and accepts the link or does not.
    fn connected(&mut self, wire: usize) {
        let [a, b] = self.wires[wire].ends;
        if b.hub.is_some() {
            return self.hub_connected(wire);
        }
        let (Some(from), Some(to)) = (a.node, b.node) else {
            return;
        };
        if !a.open || self.nodes[from].links.get(&a.link) != Some(&wire) {
            return;
        }
        let address = SocketAddr::new(self.nodes[from].address, 40_000);
        let now = self.clock_of(to);
        let accepted = if self.nodes[to].up {
            self.nodes[to].engine.accept(now, address)
        } else {
            None
        };
        match accepted {
            Some(link) => {
                self.wires[wire].ends[1].link = link;
                self.wires[wire].ends[1].open = true;
                self.nodes[to].links.insert(link, wire);
                self.feed(from, Input::Connected(a.link));
                self.drain(to);
            }
            None => {
                self.nodes[from].links.remove(&a.link);
                self.feed(from, Input::Closed(a.link));
            }
        }
        self.drain(from);
    }

    fn arrived(&mut self, wire: usize, end: usize, bytes: &[u8]) {
        let e = self.wires[wire].ends[end];
        if let Some(hub) = e.hub {
            return self.hub_received(hub, wire, bytes);
        }
        let Some(node) = e.node else {
            self.raw.entry(wire).or_default().extend_from_slice(bytes);
            return;
        };
        if e.open && !self.wires[wire].silent && self.nodes[node].up {
            self.hand(node, Input::Received(e.link, bytes));
        }
    }

    fn closed(&mut self, wire: usize, end: usize) {
        let e = self.wires[wire].ends[end];
        if let Some(hub) = e.hub {
            return self.hub_closed(hub, wire);
        }
        let Some(node) = e.node else {
            self.closed_raw.insert(wire);
            return;
        };
        // A machine that sleeps hears of it when it wakes.
        if e.open && !self.nodes[node].up {
            return self.after(secs(1), Happening::Closed { wire, end });
        }
        if e.open {
            self.wires[wire].ends[end].open = false;
            self.nodes[node].links.remove(&e.link);
            self.hand(node, Input::Closed(e.link));
        }
    }

    /// Lets time pass.
    pub(crate) fn run(&mut self, duration: Duration) {
        let end = self.now + duration;
        let mut at_once = 0;
        while self.queue.peek().is_some_and(|due| due.at <= end) {
            let Due { at, what, .. } = self.queue.pop().unwrap();
            at_once = if at == self.now { at_once + 1 } else { 0 };
            assert!(at_once < 20_000_000, "time stands still at {at:?}");
            self.now = at;
            let dead = match &what {
                Happening::Wake { node }
                | Happening::Datagram { node, .. }
                | Happening::Refused { node, .. }
                | Happening::Answer { node, .. } => !self.nodes[*node].up,
                _ => false,
            };
            if !dead {
                self.happen(what);
            }
        }
        self.now = end;
    }

    /// Lets less than so many milliseconds pass.
    pub(crate) fn pause(&mut self, most: u64) {
        let pause = self.rng.below(most);
        self.run(ms(pause));
    }

    /// Lets time pass until `done`, at most `limit`; how long it took.
    pub(crate) fn run_until(
        &mut self,
        limit: Duration,
        mut done: impl FnMut(&World) -> bool,
    ) -> Duration {
        let start = self.now;
        while !done(self) {
            assert!(self.now - start < limit, "not within {limit:?}");
            self.run(Duration::from_micros(500));
        }
        self.now - start
    }
}
