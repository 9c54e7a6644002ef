//! What a stranger at an open relay can do with the sealed adverts of others, which it is handed
//! and can show as its own.

use super::raw::{Raw, address};
use crate::hubs::relay;
use crate::pairs::with_hub;
use crate::world::{World, secs};
use peerbase::engine::Event;
use peerbase::frame::FrameType;
use peerbase::limits::RelayLimits;
use peerbase::wire::relay::Forward;

/// Joins as a stranger, and is handed the sealed adverts of the members.
fn steal(w: &mut World, hub: usize) -> Vec<Vec<u8>> {
    let (mut thief, _) = Raw::join(w, hub, address(99));
    thief.read = 0;
    let frames = thief.frames(w);
    let adverts = frames.iter().filter_map(|(_, p)| Forward::decode(p).ok());
    let stolen = adverts.map(|advert| advert.payload.to_vec()).collect();
    w.close_other(thief.wire, 0);
    stolen
}

/// Joins as the `n`th stranger, and shows a stolen advert.
fn show(w: &mut World, hub: usize, n: usize, stolen: &[u8]) {
    let (thief, _) = Raw::join(w, hub, address(n));
    thief.send(w, FrameType::ADVERT, stolen);
    w.settle();
}

#[test]
fn a_stranger_that_shows_a_nodes_own_advert_does_not_make_it_leave_a_learnt_relay() {
    let (mut w, hub) = with_hub(RelayLimits::default());
    w.relays = vec![relay(hub)];
    w.add("given");
    w.relays = Vec::new();
    w.max_remotes = Some(1);
    let learner = w.add("learner");
    w.run(secs(4));
    assert_eq!(w.joined_hub(learner), 1);
    let stolen = steal(&mut w, hub);
    assert_eq!(stolen.len(), 2, "of both");
    for (n, advert) in stolen.iter().enumerate() {
        show(&mut w, hub, n, advert);
    }
    w.run(secs(5));
    assert_eq!(w.joined_hub(learner), 1);
    let events = &w.nodes[learner].events;
    let is_down = |event: &Event| matches!(event, Event::RelayDown { .. });
    assert!(!events.iter().any(is_down), "{events:?}");
    w.check_closed();
}
