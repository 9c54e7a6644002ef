//! Keys: who may join, who may read, and what a relay sees.

use super::raw::{CHALLENGE, Raw, address};
use crate::hubs::{relay, relay_key};
use crate::pairs::{both_unharmed, relayed, with_hub};
use crate::world::{World, key, secs};
use peerbase::fernet::{Key, Keyring};
use peerbase::frame::FrameType;
use peerbase::limits::RelayLimits;
use peerbase::relay::hub::Config;
use peerbase::wire::relay::{Forward, FromRelay, ToRelay};
use peerbase::{NetworkName, Refusal, RelayKey};

#[test]
fn nobody_can_send_from_a_route_that_is_not_its_own_nor_across_networks() {
    let (mut w, hub) = with_hub(RelayLimits::default());
    let (mut victim, route) = Raw::join(&mut w, hub, address(1));
    let (other, own) = Raw::join(&mut w, hub, address(2));
    let mut outside = Raw::connect(&mut w, hub, address(3));
    outside.net = "elsewhere";
    outside.say(&mut w, &ToRelay::Join(CHALLENGE));
    w.settle();
    let _ = (victim.frames(&w), outside.frames(&w));
    other.forward(&mut w, route.unwrap(), FrameType::MESSAGE, b"gAAA");
    outside.forward(&mut w, route.unwrap(), FrameType::MESSAGE, b"gAAA");
    w.settle();
    let got = victim.frames(&w);
    assert_eq!(
        got.len(),
        1,
        "the right route of another network is no route"
    );
    assert_eq!(
        Forward::decode(&got[0].1).unwrap().route,
        own.unwrap(),
        "the relay says from whom"
    );
    assert_eq!(outside.words(&w), [FromRelay::Gone(route.unwrap())]);
    // Presence is the relay's to tell: an advert cannot be sent to one alone.
    other.forward(&mut w, route.unwrap(), FrameType::ADVERT, b"gAAA");
    w.settle();
    assert!(
        victim
            .frames(&w)
            .iter()
            .all(|(kind, _)| *kind != FrameType::FORWARD)
    );
}

#[test]
fn a_proof_is_good_once_for_its_network_and_its_key() {
    let mut w = World::new(crate::first_seed());
    let net = |s| NetworkName::new(s).unwrap();
    let key = relay_key();
    let networks = vec![
        (net("sim"), Some(key.clone())),
        (net("other"), Some(key.clone())),
    ];
    let hub = w.add_hub(Config {
        networks,
        ..Config::default()
    });
    let challenged = |w: &mut World, n: usize| {
        let mut raw = Raw::connect(w, hub, address(n));
        raw.say(w, &ToRelay::Join(CHALLENGE));
        w.settle();
        let [FromRelay::Prove(relay)] = raw.words(w)[..] else {
            panic!("no challenge")
        };
        (raw, relay)
    };
    let (mut good, relay) = challenged(&mut w, 1);
    let proof = key.prove(&net("sim"), &CHALLENGE, &relay);
    // One of several keys, as while a key is being rotated.
    good.say(&mut w, &ToRelay::Prove(vec![[0; 32], proof]));
    w.settle();
    assert!(matches!(good.words(&w)[..], [FromRelay::Joined(_)]));
    let wrong_key = RelayKey::derive(&Key::from_bytes([1; 32]), &net("sim"));
    let (mut a, _) = challenged(&mut w, 2);
    a.say(&mut w, &ToRelay::Prove(vec![proof]));
    let (mut b, relay) = challenged(&mut w, 3);
    b.say(
        &mut w,
        &ToRelay::Prove(vec![key.prove(&net("other"), &CHALLENGE, &relay)]),
    );
    let (mut c, relay) = challenged(&mut w, 4);
    c.say(
        &mut w,
        &ToRelay::Prove(vec![wrong_key.prove(&net("sim"), &CHALLENGE, &relay)]),
    );
    // The challenge of one network answered for another.
    let (mut d, relay) = challenged(&mut w, 5);
    d.net = "other";
    d.say(
        &mut w,
        &ToRelay::Prove(vec![key.prove(&net("other"), &CHALLENGE, &relay)]),
    );
    w.settle();
    for (raw, why) in [
        (&mut a, Refusal::Key),
        (&mut b, Refusal::Key),
        (&mut c, Refusal::Key),
        (&mut d, Refusal::Frame),
    ] {
        assert_eq!(raw.refused(&w), Some(why));
    }
    let mut unproved = Raw::connect(&mut w, hub, address(6));
    unproved.say(&mut w, &ToRelay::Prove(vec![proof]));
    w.settle();
    assert_eq!(unproved.refused(&w), Some(Refusal::Frame));
    assert_eq!(w.hubs[hub].hub.stats().joined, 1);
}

#[test]
fn a_node_with_another_key_or_of_another_network_is_nobody_at_the_relay() {
    let (mut w, _, a, b) = relayed(crate::first_seed());
    let stranger = w.add_with_keys("stranger", Keyring::from(Key::from_bytes([1; 32])));
    w.nodes[stranger].group = 3;
    w.run(secs(10));
    assert!(!w.knows(a, "stranger") && !w.knows(stranger, "a"));
    assert_eq!(w.joined_hub(stranger), 1, "an open relay lets it in");
    assert!(w.nodes[a].engine.stats().adverts_refused > 0);
    assert_eq!(
        w.nodes[a].engine.stats().refused_token,
        0,
        "nobody dials whom it cannot read"
    );
    w.stop(stranger);
    // A key is rotated while they are apart.
    let both = Keyring::new(vec![key(), Key::from_bytes([7; 32])]).unwrap();
    let rotated = w.add_with_keys("rotated", both);
    w.nodes[rotated].group = 4;
    w.run(secs(10));
    let n = w.call(rotated, "a", secs(2)).unwrap();
    w.run(secs(1));
    assert!(w.result(rotated, n).unwrap().is_ok());
    both_unharmed(&mut w, a, b);
}

#[test]
fn nothing_of_names_paths_or_payloads_is_seen_at_a_relay() {
    let (mut w, hub) = with_hub(RelayLimits::default());
    w.hubs[hub].tapped = Some(Default::default());
    w.relays = vec![relay(hub)];
    let a = w.add("secret-caller");
    let b = w.add("secret-callee");
    (w.nodes[a].group, w.nodes[b].group) = (1, 2);
    w.run(secs(4));
    for round in 0..20 {
        let said = "payload ".repeat(round * 40 + 1);
        let n = w
            .call_with(a, "secret-callee", secs(2), said.as_bytes())
            .unwrap();
        w.settle();
        assert_eq!(w.result(a, n), Some(&Ok(said.into_bytes())));
    }
    let tapped = w.hubs[hub].tapped.take().unwrap().concat();
    let secrets = ["secret-caller", "secret-callee", "payload ", "relay0:7700"];
    crate::common::shows_nothing("capture", &tapped, &secrets);
    assert!(tapped.windows(5).any(|w| w == b"|fwd|"));
    let dumped = format!("{:?} {:?}", w.hubs[hub].hub, w.hubs[hub].hub.stats());
    assert!(!dumped.contains("secret"));
    w.check_closed();
}
