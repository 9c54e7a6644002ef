//! Bytes that are no frames, or not in time, or under another key.

use super::member::Member;
use crate::forged::{Actor, frame, frame_of, frames, keys_of, network_keys, question_frame};
use crate::pairs::{met, two, unharmed};
use crate::seeds;
use crate::world::{World, key, ms, secs};
use peerbase::engine::Event;
use peerbase::entropy::Entropy;
use peerbase::fernet::{Key, Keyring};
use peerbase::frame::FrameType;
use peerbase::limits::FRAME_MAX;
use peerbase::wire::record;

#[test]
fn a_handshake_over_a_thousand_reads_is_a_handshake() {
    let (mut w, a, b) = met();
    let wire = w.raw_connect(a);
    for byte in question_frame(9) {
        w.raw_send(wire, &[byte]);
        w.run(ms(5));
    }
    assert_eq!(frames(&w.raw[&wire])[0].0, FrameType::HELLO);
    w.run(secs(10));
    assert!(w.closed_raw.contains(&wire), "nothing was proved in time");
    unharmed(&mut w, a, b);
}

#[test]
fn bytes_that_are_no_frame_close_their_link_at_the_bound() {
    let (mut w, a, b) = met();
    let endless = [b'x'; 100];
    let long = [b"sim|hel|".as_slice(), &vec![b'A'; FRAME_MAX]].concat();
    for bytes in [
        &endless[..],
        b"sim|hel||END\n",
        b"sim|hel|\0|END\n",
        b"sim|HEL|A|END\n",
        &long,
        b"\x16\x03\x01\x02\x00|",
    ] {
        let before = w.nodes[a].engine.stats().refused_frame;
        let wire = w.raw_connect(a);
        w.raw_send(wire, bytes);
        w.run(ms(50));
        assert!(
            w.closed_raw.contains(&wire),
            "{}",
            bytes[..20.min(bytes.len())].escape_ascii()
        );
        assert_eq!(w.nodes[a].engine.stats().refused_frame, before + 1);
    }
    unharmed(&mut w, a, b);
}

#[test]
fn another_key_another_network_and_a_rotated_out_key_stay_outside() {
    let (mut w, a, b) = met();
    let stranger = w.add_with_keys("stranger", Keyring::from(Key::from_bytes([1; 32])));
    w.run(secs(5));
    assert!(!w.knows(a, "stranger") && !w.knows(stranger, "a"));
    assert!(w.nodes[a].engine.stats().adverts_refused > 0);
    let told = Event::OtherKey(w.nodes[stranger].address);
    let times = w.nodes[a].events.iter().filter(|e| **e == told).count();
    assert_eq!(
        times, 1,
        "a wrong key is not silent: {:?}",
        w.nodes[a].events
    );
    // On a link: a question under another key, one under the right key that was made for another
    // network, and one of another network.
    let other_key = keys_of("sim", Keyring::from(Key::from_bytes([1; 32])));
    let other_network = keys_of("other", Keyring::from(key()));
    for (i, keys) in [other_key, other_network].into_iter().enumerate() {
        let (_, wrong) = Actor::within("sim", keys, 9, "x").ask();
        let wire = w.raw_connect(a);
        w.raw_send(wire, &frame(FrameType::HELLO, &wrong));
        w.run(ms(50));
        assert!(w.closed_raw.contains(&wire));
        assert_eq!(w.nodes[a].engine.stats().refused_token, i as u64 + 1);
    }
    let (_, foreign) = Actor::within("other", network_keys(), 9, "x").ask();
    let wire = w.raw_connect(a);
    w.raw_send(wire, &frame_of("other", FrameType::HELLO, &foreign));
    w.run(ms(50));
    assert!(w.raw[&wire].is_empty(), "ignored, without a word");
    w.run(secs(6));
    assert!(w.closed_raw.contains(&wire), "and timed out");
    w.stop(stranger);
    // A key is rotated: each step reaches the one before, and rotated out is out.
    let new = Key::from_bytes([7; 32]);
    let steps = [
        vec![key(), new.clone()],
        vec![new.clone(), key()],
        vec![new],
    ];
    let names = ["c", "d", "e"];
    let nodes: Vec<_> = steps
        .into_iter()
        .zip(names)
        .map(|(keys, name)| w.add_with_keys(name, Keyring::new(keys).unwrap()))
        .collect();
    w.run(secs(4));
    assert!(w.reaches(a, "c") && w.reaches(nodes[0], "d") && w.reaches(nodes[1], "e"));
    assert!(!w.knows(a, "e") && !w.knows(nodes[2], "a"));
    nodes.into_iter().for_each(|n| w.stop(n));
    unharmed(&mut w, a, b);
}

#[test]
fn random_bytes_at_every_stage_never_break_a_node() {
    seeds(20, |seed| {
        let mut w = World::new(seed);
        let (a, b) = two(&mut w);
        let mut m = Member::join(&mut w, a, "m");
        let mut bytes = vec![0; 400];
        w.rng.fill(&mut bytes);
        // Mutated but well-formed records, then noise.
        let mut frame = m.frame(|s, out| record::encode_notice(s, &[1, 2], out));
        let at = w.rng.below(frame.len() as u64) as usize;
        frame[at] = bytes[0];
        w.raw_send(m.wire, &frame);
        let wire = w.raw_connect(a);
        w.raw_send(wire, &bytes);
        w.raw_datagram(a, "10.9.9.9:9".parse().unwrap(), &bytes);
        w.run(secs(70));
        unharmed(&mut w, a, b);
    });
}
