//! Keys: who may join, who may read, and what a relay sees.

use super::raw::{CHALLENGE, Raw, address};
use crate::forged::{frame, frames};
use crate::hubs::{network, relay, relay_key};
use crate::pairs::{both_unharmed, relayed, with_hub};
use crate::world::{World, key, secs};
use peerbase::engine::{Event, RelayFault};
use peerbase::fernet::{Key, Keyring};
use peerbase::frame::FrameType;
use peerbase::limits::RelayLimits;
use peerbase::relay::hub::Config;
use peerbase::wire::relay::{Forward, FromRelay, Route, TagRequest, ToRelay};
use peerbase::wire::relay_key::{Joining, Side};
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

fn net(name: &str) -> NetworkName {
    NetworkName::new(name).unwrap()
}

/// A hub that serves two networks with a relay key each.
fn keyed(w: &mut World) -> usize {
    let other = RelayKey::derive(&key(), &net("other"));
    let networks = vec![(network(), Some(relay_key())), (net("other"), Some(other))];
    w.add_hub(Config {
        networks,
        ..Config::default()
    })
}

/// A link that the hub has asked for a proof, and what that is for.
fn challenged(w: &mut World, hub: usize, n: usize) -> (Raw, Joining) {
    let mut raw = Raw::connect(w, hub, address(n));
    raw.say(w, &ToRelay::Join(CHALLENGE));
    w.settle();
    let [FromRelay::Prove(relay, Some(proof))] = raw.words(w)[..] else {
        panic!("no challenge")
    };
    let joining = Joining::new(&network(), (&CHALLENGE, b""), (&relay, b""));
    assert!(relay_key().verify(Side::Relay, &joining, &proof));
    (raw, joining)
}

/// A member that has proved the relay key.
fn proved(w: &mut World, hub: usize, n: usize) -> (Raw, Route) {
    let (mut raw, joining) = challenged(w, hub, n);
    raw.say(
        w,
        &ToRelay::Proof(relay_key().prove(Side::Member, &joining)),
    );
    raw.macs = Some(relay_key().macs(Side::Member, &joining));
    w.settle();
    let [FromRelay::Joined(route)] = raw.words(w)[..] else {
        panic!("not joined")
    };
    (raw, route)
}

#[test]
fn a_proof_is_good_once_for_its_network_and_its_key() {
    let mut w = World::new(crate::first_seed());
    let hub = keyed(&mut w);
    let key = relay_key();
    let (good, joining) = challenged(&mut w, hub, 1);
    let proof = key.prove(Side::Member, &joining);
    good.say(&mut w, &ToRelay::Proof(proof));
    w.settle();
    assert_eq!(w.hubs[hub].hub.stats().joined, 1);
    let wrong_key = RelayKey::derive(&Key::from_bytes([1; 32]), &network());
    let mut refused = Vec::new();
    let mut refuse =
        |w: &mut World, n: usize, net: &'static str, why, prove: &dyn Fn(&Joining) -> _| {
            let (mut raw, joining) = challenged(w, hub, n);
            raw.net = net;
            raw.say(w, &ToRelay::Proof(prove(&joining)));
            refused.push((raw, why));
        };
    let member = Side::Member;
    refuse(&mut w, 2, "sim", Refusal::Key, &|_| proof);
    // The relay's own proof, which anybody is shown.
    refuse(&mut w, 3, "sim", Refusal::Key, &|j| {
        key.prove(Side::Relay, j)
    });
    refuse(&mut w, 4, "sim", Refusal::Key, &|j| {
        wrong_key.prove(member, j)
    });
    // The challenge of one network answered for another.
    refuse(&mut w, 5, "other", Refusal::Frame, &|j| {
        key.prove(member, j)
    });
    w.settle();
    for (raw, why) in &mut refused {
        assert_eq!(raw.refused(&w), Some(*why));
    }
    let mut unproved = Raw::connect(&mut w, hub, address(6));
    unproved.say(&mut w, &ToRelay::Proof(proof));
    w.settle();
    assert_eq!(unproved.refused(&w), Some(Refusal::Frame));
    assert_eq!(w.hubs[hub].hub.stats().joined, 1);
}

#[test]
fn a_members_word_that_is_altered_replayed_skipped_or_not_sealed_ends_its_link() {
    let mut w = World::new(crate::first_seed());
    let hub = keyed(&mut w);
    let (_other, route) = proved(&mut w, hub, 1);
    let block = ToRelay::Block(route);
    let authenticated = |raw: &mut Raw| {
        let mut payload = Vec::new();
        block.encode(&mut payload);
        raw.macs.as_mut().unwrap().append(0, &mut payload);
        payload
    };
    type Change = fn(Vec<u8>, Vec<u8>) -> Vec<Vec<u8>>;
    let changes: [Change; 5] = [
        |mut one, _| {
            one[8] = if one[8] == b'x' { b'y' } else { b'x' };
            vec![one]
        },
        |one, _| vec![one.clone(), one],
        |_, two| vec![two],
        |one, two| vec![two, one],
        |one, _| vec![one[.."block.".len() + 16].to_vec()],
    ];
    for (n, change) in changes.into_iter().enumerate() {
        let (mut raw, _) = proved(&mut w, hub, 2 + n);
        let words = [authenticated(&mut raw), authenticated(&mut raw)];
        let [one, two] = words;
        for payload in change(one, two) {
            raw.send(&mut w, FrameType::REGISTER, &payload);
        }
        w.settle();
        raw.macs = None;
        assert_eq!(raw.refused(&w), Some(Refusal::Frame), "{n}");
    }
    // One that says them in order stays, and words that this relay does not serve are told so.
    let (mut raw, _) = proved(&mut w, hub, 9);
    raw.say_sealed(&mut w, &block);
    raw.say_sealed(&mut w, &ToRelay::Tags(TagRequest::Sample(7)));
    raw.say_sealed(&mut w, &ToRelay::Newer(b"later.7"[..].into()));
    w.settle();
    let unknown = |verb: &[u8]| FromRelay::Unknown(verb.into());
    assert_eq!(raw.words(&w), [unknown(b"sample"), unknown(b"later")]);
    raw.say_sealed(&mut w, &ToRelay::Newer(b"!later.7"[..].into()));
    w.settle();
    assert_eq!(raw.refused(&w), Some(Refusal::Version));
}

#[test]
fn what_others_send_and_that_they_are_gone_comes_sealed_and_in_order() {
    let mut w = World::new(crate::first_seed());
    let hub = keyed(&mut w);
    let (mut hears, to) = proved(&mut w, hub, 1);
    let (tells, from) = proved(&mut w, hub, 2);
    w.stall(hears.wire);
    // More than waits in the output: the last of it waits behind, and the word behind that.
    for _ in 0..4 {
        tells.forward(&mut w, to, FrameType::MESSAGE, &[b'A'; 50_000]);
    }
    w.settle();
    w.close_other(tells.wire, 0);
    w.settle();
    hears.say_sealed(&mut w, &ToRelay::Tags(TagRequest::Page(0)));
    w.settle();
    w.unstall(hears.wire);
    w.run(secs(2));
    let words = hears.words(&w);
    let unknown = FromRelay::Unknown(b"page"[..].into());
    assert_eq!(words, [unknown, FromRelay::Gone(from)]);
}

#[test]
fn a_relays_word_that_somebody_on_the_way_says_again_ends_the_link_and_no_call() {
    let mut w = World::new(crate::first_seed());
    let hub = keyed(&mut w);
    w.relays = vec![relay(hub)];
    w.hubs[hub].tapped = Some(Default::default());
    let a = w.add("a");
    let b = w.add("b");
    (w.nodes[a].group, w.nodes[b].group) = (1, 2);
    w.run(secs(5));
    let [_, went] = w.hubs[hub].tapped.take().unwrap();
    let words = frames(&went).into_iter();
    let words = words.filter(|(kind, _)| *kind == FrameType::REGISTER);
    let joined = words.filter(|(_, payload)| payload.starts_with(b"joined."));
    let joined: Vec<Vec<u8>> = joined.map(|(_, payload)| payload).collect();
    assert_eq!(joined.len(), 2);
    for word in joined {
        let n = w.call(a, "b", secs(20)).unwrap();
        let wire = w.wire_to_hub(a, hub);
        w.transmit(wire, 1, frame(FrameType::REGISTER, &word));
        w.run(secs(20));
        assert!(w.result(a, n).unwrap().is_ok());
    }
    let down = Event::RelayDown {
        relay: relay(hub),
        why: RelayFault::Protocol,
    };
    assert!(w.nodes[a].events.contains(&down));
    both_unharmed(&mut w, a, b);
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
