//! Links that have not joined, and how many of one address or site may.

use crate::hub::{Heard, Relay, hear, ms, v4, v6};
use peerbase::fernet::Key;
use peerbase::frame::{Frame, FrameType, encode};
use peerbase::limits::RelayLimits;
use peerbase::relay::hub::Config;
use peerbase::wire::relay::{FromRelay, ToRelay};
use peerbase::wire::relay_key::{Joining, Side};
use peerbase::{NetworkName, RelayKey};
use std::net::IpAddr;

#[test]
fn links_that_say_nothing_give_way_to_members_whoever_opens_how_many() {
    let network = NetworkName::new("sim").unwrap();
    let key = RelayKey::derive(&Key::from_bytes([1; 32]), &network);
    let limits = RelayLimits {
        links: 600,
        newcomers: 100,
        ..RelayLimits::default()
    };
    let mut relay = Relay::with(Config {
        networks: vec![(network.clone(), Some(key.clone()))],
        limits,
        ..Config::default()
    });
    let mut opened = Vec::new();
    for round in 0..40 {
        // One in the middle of its handshake, which takes a tenth of a second.
        let honest = relay.link(v4(1_000 + round));
        relay.ask_to_join(honest);
        let mut read = Vec::new();
        while !relay.hub.pending(honest).is_empty() {
            read.extend(relay.take(honest, usize::MAX));
        }
        for n in 0..100 {
            opened.push(relay.link(v4(n % 4)));
            opened.push(relay.link(v6(n + 100 * round)));
            relay.run(ms(1));
        }
        let mut asked = None;
        hear(&mut read, |heard| {
            if let Heard::Word(FromRelay::Prove(challenge, Some(_))) = heard {
                asked = Some(challenge);
            }
        });
        let joining = Joining::new(&network, (&[7; 32], b""), (&asked.unwrap(), b""));
        let mut word = Vec::new();
        ToRelay::Proof(key.prove(Side::Member, &joining)).encode(&mut word);
        relay.send(honest, FrameType::REGISTER, &word);
        assert!(relay.is_open(honest), "round {round}");
        let s = relay.hub.stats();
        assert_eq!(s.members, round as u64 + 1);
        assert!(s.links <= 100 + s.members, "{s:?}");
    }
    let s = relay.hub.stats();
    // The last one was among a hundred.
    assert_eq!(s.gave_way, 8_000 - 99);
    let open = opened.iter().filter(|id| relay.is_open(**id)).count();
    assert_eq!(open, 99);
}

#[test]
fn joinings_are_counted_by_the_network_that_one_is_given() {
    let limits = RelayLimits {
        links_per_address: 10,
        joins_per_second: 1,
        ..RelayLimits::default()
    };
    let mut relay = Relay::new(limits);
    let joined = (0..100)
        .filter(|n| relay.try_join(v6(*n)).is_some())
        .count();
    assert_eq!(joined, 10);
    assert!(relay.try_join(v4(1)).is_some());
}

#[test]
fn one_ipv6_site_leaves_links_and_networks_for_others() {
    let limits = RelayLimits {
        links: 40,
        networks: 8,
        ..RelayLimits::default()
    };
    let mut relay = Relay::new(limits);
    let joined = (0..100).filter(|n| relay.try_join(v6(*n)).is_some());
    assert_eq!(joined.count(), 20, "half, as long as it is alone");
    for n in 1..10 {
        assert!(relay.try_join(v4(n)).is_some(), "{n}");
    }
    let limits = RelayLimits {
        networks: 8,
        ..RelayLimits::default()
    };
    let mut relay = Relay::new(limits);
    let begin = |relay: &mut Relay, from: IpAddr, net: &str| {
        let id = relay.link(from);
        let (mut word, mut bytes) = (Vec::new(), Vec::new());
        ToRelay::Join([7; 32]).encode(&mut word);
        let (kind, payload) = (FrameType::REGISTER, &word[..]);
        encode(&Frame { net, kind, payload }, &mut bytes);
        relay.say(id, &bytes);
        relay.is_open(id)
    };
    let begun = (0..20).filter(|n| begin(&mut relay, v6(*n), &format!("n{n}")));
    assert_eq!(begun.count(), 4);
    assert!(begin(&mut relay, v6(20), "n0"), "one that is there");
    assert!(begin(&mut relay, v4(1), "other"));
}
