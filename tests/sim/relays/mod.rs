//! Nodes whose networks cannot see each other, joined by relays that come and go.

mod calls;
mod joining;
mod paths;
mod peers;

use crate::hubs::relay;
use crate::world::World;
use peerbase::engine::Path;

fn path(w: &World, node: usize, other: &str) -> Option<Path> {
    let peers = w.nodes[node].engine.peers(w.clock_of(node));
    peers.into_iter().find(|p| p.name.as_str() == other)?.path
}

fn through(hub: usize) -> Option<Path> {
    Some(Path::Relay(relay(hub)))
}
