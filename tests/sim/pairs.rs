//! Worlds to begin with: two nodes that have met, on a LAN or through a relay; and what must hold
//! when something was tried on them.

use crate::hubs::relay;
use crate::world::{World, secs};
use peerbase::limits::RelayLimits;
use peerbase::relay::hub::Config;

/// A world, under the first seed, in which `a` and `b` have met on a LAN.
pub(crate) fn met() -> (World, usize, usize) {
    met_with(|_| {})
}

/// The same in a world that was changed before they came.
pub(crate) fn met_with(change: impl FnOnce(&mut World)) -> (World, usize, usize) {
    let mut w = World::new(crate::first_seed());
    change(&mut w);
    let (a, b) = two(&mut w);
    (w, a, b)
}

/// Adds `a` and `b`, and lets them meet.
pub(crate) fn two(w: &mut World) -> (usize, usize) {
    let pair = (w.add("a"), w.add("b"));
    w.run(secs(2));
    pair
}

/// A world, under the first seed, with a hub of these bounds.
pub(crate) fn with_hub(limits: RelayLimits) -> (World, usize) {
    let mut w = World::new(crate::first_seed());
    let hub = add_hub(&mut w, limits);
    (w, hub)
}

fn add_hub(w: &mut World, limits: RelayLimits) -> usize {
    w.add_hub(Config {
        limits,
        ..Config::default()
    })
}

/// A world with a hub, and `a` and `b` far apart, which reach each other through it.
pub(crate) fn relayed(seed: u64) -> (World, usize, usize, usize) {
    let mut w = World::new(seed);
    let hub = add_hub(&mut w, RelayLimits::default());
    let (a, b) = pair(&mut w, hub);
    (w, hub, a, b)
}

/// Adds `a` and `b`, far apart, and lets them meet through a hub.
pub(crate) fn pair(w: &mut World, hub: usize) -> (usize, usize) {
    w.relays = vec![relay(hub)];
    let (a, b) = (w.add("a"), w.add("b"));
    w.nodes[a].group = 1;
    w.nodes[b].group = 2;
    w.run(secs(4));
    assert!(w.reaches(a, "b") && w.reaches(b, "a"));
    (a, b)
}

/// The node serves others as if nothing had happened, and keeps nothing of the attack.
pub(crate) fn unharmed(w: &mut World, a: usize, b: usize) {
    w.assert_answered(b, "a");
    assert!(w.nodes[a].engine.stats().links <= 2);
    w.check_closed();
}

/// Nodes that meet through a relay serve each other as if nothing had happened.
pub(crate) fn both_unharmed(w: &mut World, a: usize, b: usize) {
    w.assert_answered(a, "b");
    w.assert_answered(b, "a");
    w.check_closed();
}
