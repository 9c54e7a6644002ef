//! What members of a network, and a relay itself, can make its nodes believe.

use super::raw::{Raw, address};
use crate::forged::{Actor, advert, frame, frames, sealed_advert};
use crate::hubs::relay;
use crate::pairs::{both_unharmed, pair, relayed, with_hub};
use crate::seeds;
use crate::world::{Behaviour, PORT, Rng, ms, secs};
use peerbase::engine::{Event, RelayFault};
use peerbase::entropy::Entropy;
use peerbase::error::Error;
use peerbase::frame::FrameType;
use peerbase::limits::RelayLimits;
use peerbase::wire::Instance;
use peerbase::wire::advert::Advert;
use peerbase::wire::relay::{Forward, FromRelay, Route, encode_forward};

/// The question of an instance drawn at random.
pub(crate) fn a_question(rng: &mut Rng) -> Vec<u8> {
    Actor::new(rng.next(), "x").ask().1
}

fn advert_of(own: &str, instance: Instance, relays: &[String]) -> Vec<u8> {
    sealed_advert(&Advert {
        sequence: u64::from(instance.0[0]) + 1,
        port: PORT,
        relays: relays.iter().map(|r| r.parse().unwrap()).collect(),
        vouched: relays.len() as u8,
        ..advert(own, instance)
    })
}

#[test]
fn invented_relays_cost_a_few_dials_a_second_and_no_more_links_than_are_allowed() {
    let (mut w, hub) = with_hub(RelayLimits::default());
    w.max_remotes = Some(3);
    let (a, b) = pair(&mut w, hub);
    let mut rng = Rng(3);
    let before = w.nodes[a].engine.stats();
    for i in 0..3_000 {
        let relays: Vec<String> = (0..8).map(|k| format!("invented-{i}-{k}:9")).collect();
        let token = advert_of(&format!("x{}", i % 50), Instance(rng.array()), &relays);
        let bytes = frame(FrameType::ADVERT, &token);
        w.raw_datagram(a, "10.8.8.8:1".parse().unwrap(), &bytes);
        w.run(ms(10));
        assert!(
            w.nodes[a].engine.stats().links <= 1 + 2 + 40,
            "{:?}",
            w.nodes[a].engine.stats()
        );
    }
    let after = w.nodes[a].engine.stats();
    let dials = after.relay_dials - before.relay_dials;
    assert!(
        (10..=2 * 31).contains(&dials),
        "{dials} relays dialled in 30 s"
    );
    assert_eq!(w.joined_hub(a), 1, "the one that was given is kept");
    w.run(secs(60));
    both_unharmed(&mut w, a, b);
}

#[test]
fn invented_members_and_routes_fill_bounded_tables() {
    let (mut w, hub) = with_hub(RelayLimits::default());
    w.limits.peers = 200;
    let (a, b) = pair(&mut w, hub);
    // A relay gone bad says that thousands are there, and shows adverts sealed under the right key.
    w.hubs[hub].malice.deaf = true;
    let wire = w.wire_to_hub(a, hub);
    let mut rng = Rng(9);
    for i in 0..2_000 {
        let token = advert_of(&format!("x{i}"), Instance(rng.array()), &[]);
        let mut bytes = Vec::new();
        encode_forward(
            "sim",
            &Route::draw(&mut rng),
            FrameType::ADVERT,
            &mut bytes,
            |out| out.extend_from_slice(&token),
        );
        // And questions from as many places.
        let hello = a_question(&mut rng);
        encode_forward(
            "sim",
            &Route::draw(&mut rng),
            FrameType::HELLO,
            &mut bytes,
            |out| out.extend_from_slice(&hello),
        );
        w.transmit(wire, 1, bytes);
        w.run(ms(1));
        let s = w.nodes[a].engine.stats();
        let most = (w.limits.half_open + w.limits.dials + 4) as u64;
        assert!(
            s.peers <= 200 && s.links <= most && s.routes <= 200 + most,
            "{s:?}"
        );
    }
    w.hubs[hub].malice.deaf = false;
    // Others give way, or are not answered, since a source has so many a second.
    let stats = w.nodes[a].engine.stats();
    assert!(
        stats.half_open_evicted + stats.overloaded > 100,
        "{stats:?}"
    );
    assert!(w.reaches(a, "b"), "the living are not displaced");
    assert!(
        w.nodes[a]
            .events
            .iter()
            .all(|e| !matches!(e, Event::PeerJoined(n) if n.as_str() != "b"))
    );
    w.run(secs(90));
    both_unharmed(&mut w, a, b);
}

#[test]
fn hellos_replayed_reflected_and_misdirected_make_no_session() {
    let (mut w, hub) = with_hub(RelayLimits::default());
    w.hubs[hub].tapped = Some(Default::default());
    let (a, b) = pair(&mut w, hub);
    let [_, tapped] = w.hubs[hub].tapped.take().unwrap();
    let forwards = frames(&tapped);
    let forwards = forwards.iter().filter_map(|(_, p)| Forward::decode(p).ok());
    let hellos = forwards.filter(|f| f.kind == FrameType::HELLO);
    let hellos: Vec<Vec<u8>> = hellos.map(|f| f.payload.to_vec()).collect();
    assert!(hellos.len() >= 2, "both ways");
    let sessions = [a, b].map(|n| w.nodes[n].engine.stats().sessions);
    let (raw, _) = Raw::join(&mut w, hub, address(1));
    let mut others = raw;
    let routes = others.routes(&w);
    for route in &routes {
        for token in &hellos {
            others.forward(&mut w, *route, FrameType::HELLO, token);
            w.settle();
        }
    }
    w.run(secs(20));
    assert_eq!(sessions, [a, b].map(|n| w.nodes[n].engine.stats().sessions));
    assert!(w.nodes[a].engine.stats().links <= 2 && w.nodes[b].engine.stats().links <= 2);
    both_unharmed(&mut w, a, b);
}

#[test]
fn a_relay_that_says_who_is_gone_when_nobody_is_does_no_lasting_harm() {
    seeds(10, |seed| {
        let (mut w, hub, a, b) = relayed(seed);
        w.nodes[b].behaviour = Behaviour::Hold;
        let n = w.call(a, "b", secs(60)).unwrap();
        w.settle();
        // Its own words, and words it has no right to.
        w.hubs[hub].tapped = Some(Default::default());
        let m = w.call(a, "b", secs(60)).unwrap();
        w.settle();
        let [tapped, _] = w.hubs[hub].tapped.take().unwrap();
        let (_, sent) = &frames(&tapped)[0];
        let route = Forward::decode(sent).unwrap().route;
        let wire = w.wire_to_hub(a, hub);
        for word in [
            FromRelay::Credit(route, u64::MAX / 4),
            FromRelay::Settled(route, 9),
            FromRelay::Window(route, u64::MAX),
            FromRelay::Busy(route, 7),
            FromRelay::Gone(route),
        ] {
            let mut payload = Vec::new();
            word.encode(&mut payload);
            w.transmit(wire, 1, frame(FrameType::REGISTER, &payload));
            w.run(secs(2));
        }
        w.answer_all(b);
        w.nodes[b].behaviour = Behaviour::Echo;
        w.run(secs(60));
        for n in [n, m] {
            assert!(
                matches!(
                    w.result(a, n),
                    Some(Ok(_) | Err(Error::Unreachable(_) | Error::Timeout))
                ),
                "{:?}",
                w.result(a, n)
            );
        }
        // Nonsense ends the link, which is made anew.
        let wire = w.wire_to_hub(a, hub);
        w.transmit(wire, 1, b"sim|reg|gone.there|END\n".to_vec());
        w.run(secs(5));
        let protocol = Event::RelayDown {
            relay: relay(hub),
            why: RelayFault::Protocol,
        };
        assert!(w.nodes[a].events.contains(&protocol));
        w.run(secs(5));
        both_unharmed(&mut w, a, b);
    });
}

#[test]
fn who_shows_the_advert_of_another_at_a_relay_does_not_take_its_place() {
    seeds(10, |seed| {
        let (mut w, hub, a, b) = relayed(seed);
        // Anybody at an open relay is handed the sealed adverts of all, and can say them again.
        let thieves: Vec<Raw> = (1..3)
            .map(|i| {
                let (mut thief, _) = Raw::join(&mut w, hub, address(i));
                thief.read = 0;
                let adverts: Vec<Vec<u8>> = thief
                    .frames(&w)
                    .iter()
                    .filter_map(|(_, p)| Some(Forward::decode(p).ok()?.payload.to_vec()))
                    .collect();
                for advert in adverts {
                    thief.send(&mut w, FrameType::ADVERT, &advert);
                    w.run(secs(2));
                }
                thief
            })
            .collect();
        let n = w.call(a, "b", secs(5)).unwrap();
        w.settle();
        assert!(
            w.result(a, n).unwrap().is_ok(),
            "a session is not disturbed"
        );
        // Nor is the way back to one that has ended.
        for round in 0..5 {
            let carriers = [w.wire_to_hub(a, hub), w.wire_to_hub(b, hub)];
            w.close_other(carriers[round % 2], 0);
            w.close_other(carriers[round % 2], 1);
            w.run(ms(400));
            let n = w.call(a, "b", ms(300)).unwrap();
            w.run(secs(12));
            assert!(w.result(a, n).unwrap().is_ok(), "round {round}");
        }
        drop(thieves);
        both_unharmed(&mut w, a, b);
    });
}
