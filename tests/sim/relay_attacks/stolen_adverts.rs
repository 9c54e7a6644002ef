//! What a stranger at an open relay can do with the sealed adverts of others, which it is handed
//! and can show as its own.

use super::raw::{Raw, address};
use crate::hubs::relay;
use crate::pairs::{both_unharmed, with_hub};
use crate::seeds;
use crate::world::{World, ms, secs};
use peerbase::engine::Event;
use peerbase::frame::FrameType;
use peerbase::limits::RelayLimits;
use peerbase::relay::hub::Config;
use peerbase::wire::relay::Forward;

/// Strangers that have joined.
struct Thieves(Vec<Raw>);

impl Thieves {
    fn join(w: &mut World, hub: usize, count: usize) -> Thieves {
        let join = |n| Raw::join(w, hub, address(n)).0;
        let mut thieves: Vec<Raw> = (0..count).map(join).collect();
        thieves[0].read = 0;
        Thieves(thieves)
    }

    /// The sealed adverts that came since the last time.
    fn steal(&mut self, w: &World) -> Vec<Vec<u8>> {
        let frames = self.0[0].frames(w);
        let adverts = frames.iter().filter_map(|(_, p)| Forward::decode(p).ok());
        adverts.map(|advert| advert.payload.to_vec()).collect()
    }

    /// All of them say that this is their own.
    fn show(&self, w: &mut World, stolen: &[u8]) {
        for thief in &self.0 {
            thief.send(w, FrameType::ADVERT, stolen);
        }
    }
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
    let mut thieves = Thieves::join(&mut w, hub, 1);
    let stolen = thieves.steal(&w);
    assert_eq!(stolen.len(), 2, "of both");
    for advert in stolen {
        thieves.show(&mut w, &advert);
        w.run(secs(2));
    }
    assert_eq!(w.joined_hub(learner), 1);
    let events = &w.nodes[learner].events;
    let is_down = |event: &Event| matches!(event, Event::RelayDown { .. });
    assert!(!events.iter().any(is_down), "{events:?}");
    w.check_closed();
}

#[test]
fn strangers_that_show_the_adverts_of_two_nodes_do_not_keep_them_apart() {
    seeds(10, |seed| {
        let mut w = World::new(seed);
        let hub = w.add_hub(Config::default());
        w.relays = vec![relay(hub)];
        let b = w.add("b");
        w.nodes[b].group = 2;
        w.run(secs(3));
        let mut thieves = Thieves::join(&mut w, hub, 8);
        let mut shown = thieves.steal(&w);
        assert_eq!(shown.len(), 1);
        thieves.show(&mut w, &shown[0]);
        w.run(secs(3));
        // It is handed the genuine advert and all copies at once. What it says itself is copied at
        // once as well.
        let a = w.add("a");
        w.nodes[a].group = 1;
        for _ in 0..200 {
            w.run(ms(20));
            for advert in thieves.steal(&w) {
                if !shown.contains(&advert) {
                    thieves.show(&mut w, &advert);
                    shown.push(advert);
                }
            }
        }
        assert!(w.reaches(a, "b") && w.reaches(b, "a"));
        both_unharmed(&mut w, a, b);
    });
}
