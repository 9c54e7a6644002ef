//! Relays in the world: hubs, honest or not, and the wires to them.

use crate::world::{End, Happening, Rng, World, ms};
use peerbase::engine::{self, Input, LinkId};
use peerbase::frame::{self, Frame, FrameType, Parsed};
use peerbase::limits::FRAME_MAX;
use peerbase::relay::hub::{Config, Hub, Output};
use peerbase::{NetworkName, RelayAddress, RelayKey};
use std::collections::{HashMap, HashSet};
use std::time::Duration;

/// What a hub does with what it should forward, in percent of frames.
#[derive(Clone, Copy, Default)]
pub(crate) struct Malice {
    pub drops: u64,
    pub delays: u64,
    pub duplicates: u64,
    pub replays: u64,
    pub swaps: u64,
    pub truncates: u64,
    /// Flips a character of a token.
    pub alters: u64,
    /// Takes nothing in.
    pub deaf: bool,
    /// Lets handshakes pass as they are.
    pub spares_hellos: bool,
}

impl Malice {
    pub(crate) fn everything(percent: u64) -> Malice {
        Malice {
            drops: percent,
            delays: percent,
            duplicates: percent,
            replays: percent,
            swaps: percent,
            truncates: percent,
            alters: percent,
            deaf: false,
            spares_hellos: false,
        }
    }
}

pub(crate) struct SimHub {
    pub hub: Hub,
    pub config: Config,
    pub address: RelayAddress,
    pub up: bool,
    /// Added to each way, so that one relay is further off than another.
    pub far: Duration,
    /// Bytes a second that a line from it carries, if that is not more than it sends.
    pub bytes_per_second: Option<u32>,
    /// Nodes that cannot reach it, without being told.
    pub cut_off: HashSet<usize>,
    pub malice: Malice,
    /// Everything that came, and everything that went, in the order it did.
    pub tapped: Option<[Vec<u8>; 2]>,
    /// Frames to be sent again some day.
    recorded: Vec<Vec<u8>>,
    /// Frames that wait until others have overtaken them, by wire.
    delayed: HashMap<usize, Vec<u8>>,
    links: HashMap<LinkId, usize>,
    held: HashSet<LinkId>,
    /// What came while a link was not read.
    unread: HashMap<LinkId, Vec<u8>>,
    wake: Option<Duration>,
}

impl SimHub {
    pub(crate) fn reaches(&self, node: usize) -> bool {
        !self.cut_off.contains(&node)
    }
}

/// The hub that is at `relay0:7700` and so on.
pub(crate) fn relay(index: usize) -> RelayAddress {
    RelayAddress::new(&format!("relay{index}:7700")).unwrap()
}

/// The network of the world.
pub(crate) fn network() -> NetworkName {
    NetworkName::new("sim").unwrap()
}

pub(crate) fn relay_key() -> RelayKey {
    RelayKey::derive(&crate::world::key(), &network())
}

impl World {
    pub(crate) fn add_hub(&mut self, config: Config) -> usize {
        let index = self.hubs.len();
        let hub = Hub::new(config.clone(), Box::new(Rng(self.rng.next())));
        self.hubs.push(SimHub {
            hub,
            config,
            address: relay(index),
            up: true,
            far: Duration::ZERO,
            bytes_per_second: None,
            cut_off: HashSet::new(),
            malice: Malice::default(),
            tapped: None,
            recorded: Vec::new(),
            delayed: HashMap::new(),
            links: HashMap::new(),
            held: HashSet::new(),
            unread: HashMap::new(),
            wake: None,
        });
        index
    }

    /// The relay's process dies; its kernel closes its connections, unless the power went.
    pub(crate) fn kill_hub(&mut self, hub: usize, power_cut: bool) {
        self.hubs[hub].up = false;
        let mut links: Vec<usize> = self.hubs[hub].links.drain().map(|(_, w)| w).collect();
        links.sort_unstable();
        for wire in links {
            self.wires[wire].ends[1].open = false;
            if power_cut {
                self.wires[wire].silent = true;
            } else {
                self.close_other(wire, 1);
            }
        }
        let h = &mut self.hubs[hub];
        h.held.clear();
        h.unread.clear();
        h.delayed.clear();
    }

    /// A new process at the same address, which knows nothing of the old one.
    pub(crate) fn restart_hub(&mut self, hub: usize) {
        assert!(!self.hubs[hub].up);
        let seed = Rng(self.rng.next());
        let h = &mut self.hubs[hub];
        h.hub = Hub::new(h.config.clone(), Box::new(seed));
        h.up = true;
        h.wake = None;
    }

    pub(crate) fn stop_hub(&mut self, hub: usize) {
        let now = self.clock_of(usize::MAX);
        self.hubs[hub].hub.stop(now);
        self.drain_hub(hub);
    }

    /// A connection from nobody's engine to a hub; gives the wire.
    pub(crate) fn raw_to_hub(&mut self, hub: usize, from: [u8; 4]) -> usize {
        let now = self.clock_of(usize::MAX);
        let link = self.hubs[hub].hub.accept(now, (from, 999).into()).unwrap();
        let wire = self.add_wire([
            End::new(None, None, LinkId(0), true),
            End::new(None, Some(hub), link, true),
        ]);
        self.hubs[hub].links.insert(link, wire);
        self.raw.insert(wire, Vec::new());
        self.drain_hub(hub);
        wire
    }

    pub(crate) fn hub_delay(&self, wire: usize) -> Duration {
        let hub = self.wires[wire].ends[1].hub;
        hub.map_or(Duration::ZERO, |h| self.hubs[h].far)
    }

    /// How long the line of a hub is busy with so many bytes.
    pub(crate) fn hub_pace(&self, wire: usize, from_end: usize, bytes: usize) -> Duration {
        let hub = self.wires[wire].ends[from_end].hub;
        let pace = hub.and_then(|h| self.hubs[h].bytes_per_second);
        pace.map_or(Duration::ZERO, |pace| {
            Duration::from_secs(bytes as u64) / pace
        })
    }

    pub(crate) fn dial_hub(&mut self, node: usize, link: LinkId, address: &RelayAddress) {
        let delay = self.some_delay() * 2;
        let hub = self.hubs.iter().position(|h| h.address == *address);
        let Some(hub) = hub else {
            return self.feed(node, Input::Unresolved(link));
        };
        if !self.hubs[hub].reaches(node) {
            return;
        }
        if !self.hubs[hub].up {
            return self.after(delay, Happening::Refused { node, link });
        }
        let wire = self.add_wire([
            End::new(Some(node), None, link, true),
            End::new(None, Some(hub), LinkId(u64::MAX), false),
        ]);
        self.nodes[node].links.insert(link, wire);
        self.after(delay, Happening::Connected { wire });
    }

    pub(crate) fn hub_connected(&mut self, wire: usize) {
        let [a, b] = self.wires[wire].ends;
        let (Some(node), Some(hub)) = (a.node, b.hub) else {
            return;
        };
        if !a.open || self.nodes[node].links.get(&a.link) != Some(&wire) || !self.nodes[node].up {
            return;
        }
        if !self.hubs[hub].up {
            self.nodes[node].links.remove(&a.link);
            self.feed(node, Input::Closed(a.link));
            return self.drain(node);
        }
        let now = self.clock_of(usize::MAX);
        let from = (self.nodes[node].address, 40_000).into();
        let Some(link) = self.hubs[hub].hub.accept(now, from) else {
            self.nodes[node].links.remove(&a.link);
            self.feed(node, Input::Closed(a.link));
            return self.drain(node);
        };
        self.wires[wire].ends[1].link = link;
        self.wires[wire].ends[1].open = true;
        self.hubs[hub].links.insert(link, wire);
        self.feed(node, Input::Connected(a.link));
        self.drain_hub(hub);
        self.drain(node);
    }

    pub(crate) fn hub_received(&mut self, hub: usize, wire: usize, bytes: &[u8]) {
        let e = self.wires[wire].ends[1];
        if !e.open || self.wires[wire].silent || !self.hubs[hub].up || self.hubs[hub].malice.deaf {
            return;
        }
        let now = self.clock_of(usize::MAX);
        let h = &mut self.hubs[hub];
        if let Some([came, _]) = &mut h.tapped {
            came.extend_from_slice(bytes);
        }
        if h.held.contains(&e.link) {
            h.unread.entry(e.link).or_default().extend_from_slice(bytes);
            return;
        }
        h.hub.received(now, e.link, bytes);
        self.drain_hub(hub);
    }

    pub(crate) fn hub_closed(&mut self, hub: usize, wire: usize) {
        let e = self.wires[wire].ends[1];
        if !e.open || !self.hubs[hub].up {
            return;
        }
        let now = self.clock_of(usize::MAX);
        self.wires[wire].ends[1].open = false;
        self.hubs[hub].links.remove(&e.link);
        self.hubs[hub].hub.closed(now, e.link);
        self.drain_hub(hub);
    }

    pub(crate) fn wake_hub(&mut self, hub: usize) {
        if self.hubs[hub].up {
            let now = self.clock_of(usize::MAX);
            self.hubs[hub].hub.tick(now);
            self.drain_hub(hub);
        }
    }

    /// Lets a wire's first end read again.
    pub(crate) fn unstall(&mut self, wire: usize) {
        self.wires[wire].stalled = false;
        let e = self.wires[wire].ends[1];
        if let Some(hub) = e.hub {
            self.hub_writable(hub, e.link);
            self.drain_hub(hub);
        }
        if let Some(node) = e.node {
            self.output(node, engine::Output::Writable(e.link));
            self.drain(node);
        }
    }

    pub(crate) fn drain_hub(&mut self, hub: usize) {
        while let Some(output) = self.hubs[hub].hub.poll() {
            match output {
                Output::Writable(link) => self.hub_writable(hub, link),
                Output::Close(link, last) => {
                    let Some(wire) = self.hubs[hub].links.remove(&link) else {
                        continue;
                    };
                    if !self.wires[wire].stalled {
                        self.hub_sends(hub, wire, &last);
                    }
                    self.wires[wire].ends[1].open = false;
                    self.close_other(wire, 1);
                }
                // Only for Python nodes, of which there are none here.
                Output::Finish(_) => {}
                Output::Hold(link) => {
                    self.hubs[hub].held.insert(link);
                }
                Output::Resume(link) => {
                    self.hubs[hub].held.remove(&link);
                    let bytes = self.hubs[hub].unread.remove(&link).unwrap_or_default();
                    // As much at once as a loop reads.
                    for part in bytes.chunks(64 * 1024) {
                        if let Some(wire) = self.hubs[hub].links.get(&link).copied() {
                            self.hub_received(hub, wire, part);
                        }
                    }
                }
            }
        }
        if let Some(at) = self.hubs[hub].hub.deadline() {
            let at = at.0.max(self.now);
            let wake = self.hubs[hub].wake;
            if wake.is_none_or(|wake| at < wake || wake <= self.now) {
                self.hubs[hub].wake = Some(at);
                self.at(at, Happening::HubWake { hub });
            }
        }
    }

    fn hub_writable(&mut self, hub: usize, link: LinkId) {
        let Some(wire) = self.hubs[hub].links.get(&link).copied() else {
            return;
        };
        let bytes = self.hubs[hub].hub.pending(link).to_vec();
        if bytes.is_empty() || self.wires[wire].stalled {
            return;
        }
        let now = self.clock_of(usize::MAX);
        self.hub_sends(hub, wire, &bytes);
        self.hubs[hub].hub.sent(now, link, bytes.len());
    }

    /// What a hub sends, as far as it is honest.
    fn hub_sends(&mut self, hub: usize, wire: usize, bytes: &[u8]) {
        let mut out = Vec::new();
        let mut rest = bytes;
        while let Ok(Parsed::Complete(frame, used)) = frame::parse(rest, FRAME_MAX) {
            if frame.kind == FrameType::FORWARD {
                self.mangle(hub, wire, &frame, &rest[..used], &mut out);
            } else {
                out.extend_from_slice(&rest[..used]);
            }
            rest = &rest[used..];
        }
        out.extend_from_slice(rest);
        if let Some([_, went]) = &mut self.hubs[hub].tapped {
            went.extend_from_slice(&out);
        }
        // A slow line delivers little by little.
        let part = match self.hubs[hub].bytes_per_second {
            Some(_) => 500,
            None => out.len().max(1),
        };
        for part in out.chunks(part) {
            self.transmit(wire, 1, part.to_vec());
        }
    }

    fn mangle(
        &mut self,
        hub: usize,
        wire: usize,
        frame: &Frame<'_>,
        raw: &[u8],
        out: &mut Vec<u8>,
    ) {
        let mut malice = self.hubs[hub].malice;
        if malice.spares_hellos && frame.payload[17..].starts_with(b"hel") {
            malice = Malice::default();
        }
        if malice.replays > 0 && self.hubs[hub].recorded.len() < 400 {
            self.hubs[hub].recorded.push(raw.to_vec());
        }
        // What has waited for others to overtake it.
        let late = self.hubs[hub].delayed.remove(&wire);
        let mut rng = self.rng.clone();
        let n = self.hubs[hub].recorded.len();
        let recorded =
            (n > 0).then(|| self.hubs[hub].recorded[rng.below(n as u64) as usize].clone());
        let forged = |change: &mut dyn FnMut(&mut Vec<u8>)| {
            let mut payload = frame.payload.to_vec();
            change(&mut payload);
            let mut bytes = Vec::new();
            let frame = Frame {
                payload: &payload,
                ..*frame
            };
            frame::encode(&frame, &mut bytes);
            bytes
        };
        const TOKEN: usize = 21;
        if rng.chance(malice.drops) {
            // Gone.
        } else if rng.chance(malice.delays) {
            self.hubs[hub].delayed.insert(wire, raw.to_vec());
        } else if rng.chance(malice.duplicates) {
            out.extend_from_slice(raw);
            out.extend_from_slice(raw);
        } else if rng.chance(malice.truncates) {
            let at = TOKEN + rng.below((frame.payload.len() - TOKEN) as u64) as usize;
            out.extend_from_slice(&forged(&mut |p| p.truncate(at.max(TOKEN + 1))));
        } else if rng.chance(malice.alters) {
            let at = TOKEN + rng.below((frame.payload.len() - TOKEN) as u64) as usize;
            out.extend_from_slice(&forged(&mut |p| {
                p[at] = if p[at] == b'x' { b'y' } else { b'x' }
            }));
        } else if rng.chance(malice.swaps)
            && let Some(Ok(Parsed::Complete(other, _))) =
                recorded.as_deref().map(|r| frame::parse(r, FRAME_MAX))
        {
            // The route of one, the contents of another.
            out.extend_from_slice(&forged(&mut |p| {
                p.truncate(TOKEN - 5);
                p.extend_from_slice(&other.payload[TOKEN - 5..]);
            }));
        } else {
            out.extend_from_slice(raw);
        }
        if rng.chance(malice.replays)
            && let Some(recorded) = recorded
        {
            out.extend_from_slice(&recorded);
        }
        if let Some(late) = late {
            out.extend_from_slice(&late);
        }
        self.rng = rng;
    }

    /// Two nodes on LANs that cannot see each other, with these hubs in between.
    pub(crate) fn two_lans(&mut self, hubs: usize) -> (usize, usize) {
        for _ in 0..hubs {
            self.add_hub(Config::default());
        }
        self.relays = (0..hubs).map(relay).collect();
        let a = self.add("a");
        self.nodes[a].group = 1;
        let b = self.add("b");
        self.nodes[b].group = 2;
        (a, b)
    }

    pub(crate) fn joined_hub(&self, node: usize) -> usize {
        self.nodes[node].engine.stats().relays_up as usize
    }

    /// The wire from a node to a hub.
    pub(crate) fn wire_to_hub(&self, node: usize, hub: usize) -> usize {
        let wires = self.nodes[node].links.values().copied();
        wires
            .filter(|w| self.wires[*w].ends[1].hub == Some(hub))
            .max()
            .unwrap()
    }

    pub(crate) fn settle(&mut self) {
        self.run(ms(50));
    }
}
