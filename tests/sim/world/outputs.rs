//! What the engines of a world put out, carried out.

use super::clock::Happening;
use super::node::Behaviour;
use super::wires::End;
use super::{PORT, World, ms};
use peerbase::engine::{Ask, Input, LinkId, Output, Payload, Request};
use peerbase::wire::record::Status;
use std::net::SocketAddr;
use std::rc::Rc;

impl World {
    pub(crate) fn drain(&mut self, node: usize) {
        while let Some(output) = self.nodes[node].engine.poll() {
            self.output(node, output);
        }
        if let Some(at) = self.nodes[node].engine.deadline() {
            let at = (at.0 + self.nodes[node].lag).max(self.now);
            // One wake-up is enough, unless an earlier one is wanted.
            if self.nodes[node]
                .wake
                .is_none_or(|wake| at < wake || wake <= self.now)
            {
                self.nodes[node].wake = Some(at);
                self.at(at, Happening::Wake { node });
            }
        }
    }

    pub(crate) fn output(&mut self, node: usize, output: Output) {
        match output {
            Output::Broadcast(bytes) => self.broadcast_on_lan(node, bytes),
            Output::Dial(link, to) => self.dial(node, link, to),
            Output::CompatCall { .. } | Output::CompatForget(_) | Output::CompatReply(..) => {
                self.nodes[node].compat.push(output);
            }
            Output::DialRelay(link, relay) => self.dial_hub(node, link, &relay),
            Output::Writable(link) => self.write(node, link),
            Output::Close(link, last) => self.close(node, link, last),
            Output::Request(incoming) => self.serve(node, incoming),
            Output::Ended(number, result) => {
                let id = (self.nodes[node].engine.instance(), number);
                if matches!(result, Ok(Payload::Data(_))) {
                    self.data_ends.insert(id);
                }
                let result = result.map(Payload::into_bytes);
                assert!(self.ends.insert(id, result).is_none(), "{id:?} ended twice");
            }
            Output::Message(said) => self.nodes[node].told.push((said.sender, said.data)),
            Output::Stream(_) => {}
            Output::Running => self.nodes[node].running = true,
            Output::Failed(error) => self.nodes[node].failed = Some(error),
            Output::Keys(_) => {}
            Output::Keep(what) => self.nodes[node].kept.push(what),
            Output::Event(event) => self.nodes[node].events.push(event),
        }
    }

    fn broadcast_on_lan(&mut self, node: usize, bytes: Vec<u8>) {
        self.nodes[node].broadcasts += 1;
        if let Some(recorded) = &mut self.recorded {
            recorded.push(bytes.clone());
        }
        let bytes: Rc<[u8]> = bytes.into();
        let from = SocketAddr::new(self.nodes[node].address, 3334);
        for to in 0..self.nodes.len() {
            if self.connected_groups(node, to) && !self.rng.chance(self.loss) {
                let delay = self.some_delay();
                let (node, bytes) = (to, bytes.clone());
                self.after(delay, Happening::Datagram { node, from, bytes });
            }
        }
    }

    fn dial(&mut self, node: usize, link: LinkId, to: SocketAddr) {
        self.nodes[node].dialled.push(to);
        let delay = self.some_delay() * 2;
        let target = self
            .nodes
            .iter()
            .position(|n| n.up && n.address == to.ip() && to.port() == PORT);
        match target {
            Some(target) if self.connected_groups(node, target) => {
                let wire = self.add_wire([
                    End::new(Some(node), None, link, true),
                    End::new(Some(target), None, LinkId(u64::MAX), false),
                ]);
                self.nodes[node].links.insert(link, wire);
                self.after(delay, Happening::Connected { wire });
            }
            Some(_) => {}
            None => self.after(delay, Happening::Refused { node, link }),
        }
    }

    fn write(&mut self, node: usize, link: LinkId) {
        let bytes = self.nodes[node].engine.pending(link).to_vec();
        let stalled = self.nodes[node]
            .links
            .get(&link)
            .is_some_and(|w| self.wires[*w].stalled && self.wires[*w].ends[0].node != Some(node));
        if bytes.is_empty() || stalled {
            return;
        }
        self.feed(node, Input::Sent(link, bytes.len()));
        self.send_cut(node, link, bytes);
    }

    fn close(&mut self, node: usize, link: LinkId, last: Vec<u8>) {
        let Some(wire) = self.nodes[node].links.get(&link).copied() else {
            return;
        };
        if !last.is_empty() {
            self.send_cut(node, link, last);
        }
        self.nodes[node].links.remove(&link);
        let end = self.end_of(wire, node, link);
        self.wires[wire].ends[end].open = false;
        self.close_other(wire, end);
    }

    /// Does with a request what the node's handler does.
    fn serve(&mut self, node: usize, incoming: Request) {
        if incoming.streams {
            self.nodes[node].streamed.push(incoming.id);
        }
        let id = incoming.id;
        assert!(self.ran.insert(id), "a handler ran twice for {id:?}");
        let value = match incoming.ask {
            Ask::Command { args, .. } => args,
            Ask::Data { data, .. } => {
                let now = self.clock_of(node);
                let engine = &mut self.nodes[node].engine;
                return engine.reply(now, id, Status::Data, data);
            }
            _ => return,
        };
        if incoming.streams {
            return;
        }
        let delay = match self.nodes[node].behaviour {
            Behaviour::Echo => ms(0),
            Behaviour::Erratic if self.rng.chance(15) => return,
            Behaviour::Erratic => ms(self.rng.below(3_000)),
            Behaviour::Hold => return self.nodes[node].held.push((id, value)),
        };
        self.after(delay, Happening::Answer { node, id, value });
    }
}
