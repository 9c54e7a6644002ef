//! Datagrams: adverts that are replayed, invented or forged, and floods of what is none.

use crate::forged::{advert, advert_frame};
use crate::pairs::{met, met_with, unharmed};
use crate::world::{Rng, World, ms, secs};
use peerbase::entropy::Entropy;
use peerbase::wire::Instance;
use peerbase::wire::advert::Advert;
use std::net::SocketAddr;

#[test]
fn replayed_adverts_cost_bounded_dials_and_nothing_else() {
    let (mut w, a, b) = met_with(|w| w.recorded = Some(Vec::new()));
    let gone = w.add("gone");
    w.run(secs(5));
    w.stop(gone);
    w.kill(gone, false);
    let recorded = w.recorded.take().unwrap();
    w.run(secs(3 * 24 * 3600));
    let before = w.nodes[a].engine.stats();
    let events = w.nodes[a].events.len();
    let sent = w.nodes[a].broadcasts;
    for (i, bytes) in recorded.iter().cycle().take(3_000).enumerate() {
        // From everywhere, loopback services included.
        let from = format!(
            "{}:{}",
            ["10.7.7.7", "127.0.0.1", "10.0.0.2"][i % 3],
            1 + i % 9
        )
        .parse()
        .unwrap();
        w.raw_datagram(a, from, bytes);
        w.run(ms(1));
    }
    let after = w.nodes[a].engine.stats();
    assert!(
        w.nodes[a].events.len() == events,
        "nobody has joined: {:?}",
        &w.nodes[a].events[events..]
    );
    assert!(w.reaches(a, "b"), "the living are not displaced");
    assert!(
        after.dials - before.dials < 40,
        "{} dials",
        after.dials - before.dials
    );
    // Nothing is sent to whoever the datagrams say they are from, and no more to everyone.
    let budget = u64::from(w.limits.adverts_per_interval) * 5;
    assert!(w.nodes[a].broadcasts - sent <= budget);
    w.run(secs(30));
    assert_eq!(w.nodes[a].engine.stats().peers, 1, "forgotten again");
    unharmed(&mut w, a, b);
}

fn invented(rng: &mut Rng, i: usize) -> Vec<u8> {
    advert_frame(&Advert {
        interval_ms: u32::MAX,
        address: Some("10.8.8.8".parse().unwrap()),
        ..advert(&format!("invented{i}"), Instance(rng.array()))
    })
}

/// An advert one character of which is wrong.
fn not_quite_sealed() -> Vec<u8> {
    let mut junk = invented(&mut Rng(1), 1);
    let at = junk.len() - 20;
    junk[at] = if junk[at] == b'A' { b'B' } else { b'A' };
    junk
}

#[test]
fn ten_thousand_invented_instances_fill_a_bounded_table() {
    let (mut w, a, b) = met();
    let mut rng = Rng(5);
    for i in 0..10_000 {
        let bytes = invented(&mut rng, i);
        w.raw_datagram(a, "10.8.8.8:1".parse().unwrap(), &bytes);
        if i % 100 == 0 {
            w.run(ms(20));
            let s = w.nodes[a].engine.stats();
            assert!(s.peers <= w.limits.peers as u64 && s.links <= w.limits.dials as u64 + 2);
        }
    }
    assert!(w.reaches(a, "b"));
    let s = w.nodes[a].engine.stats();
    let seconds = w.now.as_secs() + 1;
    assert!(s.dials <= u64::from(w.limits.dials_per_second) * seconds);
    // Whatever interval they claim, they are gone within minutes.
    w.run(secs(1_200));
    assert_eq!(w.nodes[a].engine.stats().peers, 1);
    unharmed(&mut w, a, b);
}

#[test]
fn a_flood_of_datagrams_is_counted_and_dropped_unread_over_the_rate() {
    let (mut w, a, b) = met();
    let junk = not_quite_sealed();
    for _ in 0..100_000 {
        w.raw_datagram(a, "10.8.8.8:1".parse().unwrap(), &junk);
    }
    w.run(ms(500));
    let s = w.nodes[a].engine.stats();
    let rate = u64::from(w.limits.adverts_per_second);
    assert!(
        s.adverts_refused <= rate * 2 && s.adverts_throttled >= 100_000 - rate * 2 - 10,
        "{s:?}"
    );
    for bytes in [
        &b"junk"[..],
        b"",
        b"sim|adv|AAAA|END\nmore",
        b"sim|msg|AAAA|END\n",
    ] {
        let before = w.nodes[a].engine.stats().adverts_malformed;
        w.run(secs(2));
        w.raw_datagram(a, "10.8.8.8:1".parse().unwrap(), bytes);
        w.run(ms(5));
        assert_eq!(
            w.nodes[a].engine.stats().adverts_malformed,
            before + 1,
            "{}",
            bytes.escape_ascii()
        );
    }
    unharmed(&mut w, a, b);
}

#[test]
fn a_flood_of_what_is_too_short_for_an_advert_takes_nobodys_turn() {
    let (mut w, a, b) = met_with(|w| w.limits.adverts_per_second = 100);
    let before = w.nodes[a].engine.stats();
    for i in 0..4_000 {
        for _ in 0..100 {
            w.raw_datagram(a, "10.8.8.8:1".parse().unwrap(), b"sim|adv|x|END\n");
        }
        if i == 2_000 {
            w.add("late");
        }
        w.run(ms(1));
    }
    let after = w.nodes[a].engine.stats();
    assert!(after.adverts_heard - before.adverts_heard >= 3);
    assert_eq!(after.adverts_throttled, before.adverts_throttled);
    assert!(after.adverts_malformed - before.adverts_malformed >= 399_000);
    assert!(w.reaches(a, "late"), "strangers have their turn as well");
    w.stop(2);
    unharmed(&mut w, a, b);
}

#[test]
fn strangers_do_not_take_the_turns_of_those_who_are_known() {
    let (mut w, a, b) = met_with(|w| w.limits.adverts_per_second = 200);
    let junk = not_quite_sealed();
    let before = w.nodes[a].engine.stats();
    for i in 0..20_000u32 {
        for j in 0..4u32 {
            let [c, d] = ((i * 4 + j) as u16).to_be_bytes();
            w.raw_datagram(a, SocketAddr::from(([10, 8, c, d], 3334)), &junk);
        }
        w.run(ms(1));
    }
    let after = w.nodes[a].engine.stats();
    let heard = after.adverts_heard - before.adverts_heard;
    assert!(heard >= 17, "{heard} in 20 intervals");
    let refused = after.adverts_refused - before.adverts_refused;
    assert!(refused <= 200 * 21, "{refused}");
    unharmed(&mut w, a, b);
}

#[test]
fn nobody_is_dialled_on_an_adverts_word_where_nobody_may_be() {
    let (mut w, a, b) = met();
    let mut rng = Rng(5);
    let mut say = |w: &mut World, from: &str, own: &str, address: Option<&str>, port| {
        let advert = Advert {
            port,
            address: address.map(|ip| ip.parse().unwrap()),
            ..advert(own, Instance(rng.array()))
        };
        w.raw_datagram(a, from.parse().unwrap(), &advert_frame(&advert));
        w.run(secs(5));
    };
    let known = w.nodes[a].dialled.clone();
    for own in ["x", "a"] {
        for address in [
            "127.0.0.1",
            "127.0.1.1",
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "169.254.169.254",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "ff02::1",
        ] {
            say(&mut w, "10.9.9.9:3334", own, Some(address), 22);
        }
        say(&mut w, "10.9.9.9:3334", own, Some("10.9.9.9"), 0);
        say(&mut w, "10.9.9.9:3334", own, None, 0);
        // And sources that nobody sends from.
        for from in ["0.0.0.0:1", "224.0.0.1:1", "255.255.255.255:1"] {
            say(&mut w, from, own, None, 22);
        }
    }
    assert_eq!(w.nodes[a].dialled, known);
    assert_eq!(w.nodes[a].engine.stats().addresses_refused, 30);
    // On this host, and of a neighbour, they may be.
    for (from, address) in [
        ("127.0.0.1:3334", "127.0.0.1"),
        ("127.0.0.1:3334", "::1"),
        ("169.254.1.1:3334", "169.254.1.2"),
        ("10.9.9.9:3334", "10.9.9.8"),
    ] {
        say(&mut w, from, "x", Some(address), 22);
        let place = SocketAddr::new(address.parse().unwrap(), 22);
        assert!(w.nodes[a].dialled.contains(&place), "{place}");
    }
    w.run(secs(10));
    unharmed(&mut w, a, b);
}
