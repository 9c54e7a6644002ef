//! Handshakes: hellos that are replayed or not meant for their reader, links that stay half open,
//! and names that belong to others.

use super::member::Member;
use crate::forged::{Actor, frame, frames, keys_of, network_keys, payload, question_frame};
use crate::pairs::{met, met_with, unharmed};
use crate::seeds;
use crate::world::{World, ms, secs};
use peerbase::engine::Event;
use peerbase::error::Error;
use peerbase::fernet::{Key, Keyring};
use peerbase::frame::FrameType;
use peerbase::wire::handshake::{Envelope, Step};
use peerbase::wire::record::Status;
use std::time::Duration;

/// What is refused on a link of its own, without a word that says why.
fn assert_refused(w: &mut World, node: usize, what: &str, said: &[u8]) {
    let refused = |w: &World| {
        let stats = w.nodes[node].engine.stats();
        stats.refused_hello + stats.refused_token
    };
    let before = refused(w);
    let wire = w.raw_connect(node);
    w.raw_send(wire, said);
    w.run(ms(50));
    assert!(w.closed_raw.contains(&wire), "{what}");
    assert_eq!(refused(w), before + 1, "{what}");
    let answers = frames(&w.raw[&wire]);
    let last = answers.last().cloned();
    assert_eq!(
        last,
        Some((FrameType::ERROR, b"refused".to_vec())),
        "{what}"
    );
}

#[test]
fn handshakes_replayed_reflected_or_out_of_turn_are_refused() {
    let (mut w, a, b) = met_with(|w| w.tapped = Some(Vec::new()));
    let tapped = w.tapped.take().unwrap();
    // Everything either side has ever said, replayed on a link of its own.
    for (_, _, bytes) in &tapped {
        let sessions = w.nodes[a].engine.stats().sessions;
        let wire = w.raw_connect(a);
        w.raw_send(wire, bytes);
        w.run(secs(10));
        assert!(w.closed_raw.contains(&wire));
        assert_eq!(w.nodes[a].engine.stats().sessions, sessions);
    }
    let question = |change: &dyn Fn(&mut Envelope)| {
        let (_, asked) = Actor::new(9, "x").ask();
        let mut envelope = Envelope::decode(&asked).unwrap();
        change(&mut envelope);
        frame(FrameType::HELLO, &payload(&envelope))
    };
    for (what, said) in [
        ("of an old version", question(&|e| e.version = 1)),
        ("of a later version", question(&|e| e.version = 3)),
        (
            "an answer nobody asked for",
            question(&|e| e.step = Step::Second),
        ),
        ("a proof of nobody", question(&|e| e.step = Step::Third)),
        ("under another id", question(&|e| e.id[0] ^= 1)),
        ("without its end", question(&|e| e.message.truncate(60))),
    ] {
        assert_refused(&mut w, a, what, &said);
    }
    unharmed(&mut w, a, b);
}

#[test]
fn a_recorded_question_is_answered_once_and_tells_a_stranger_nothing() {
    let (mut w, a, b) = met();
    let question = question_frame(9);
    let wire = w.raw_connect(a);
    w.raw_send(wire, &question);
    w.run(ms(50));
    let answer = frames(&w.raw[&wire]).remove(0);
    assert_eq!(answer.0, FrameType::HELLO);
    let name = w.nodes[a].engine.name().to_string();
    let shown = Envelope::decode(&answer.1).unwrap().message;
    let shows_name = shown
        .windows(name.len() + 1)
        .any(|part| usize::from(part[0]) == name.len() && &part[1..] == name.as_bytes());
    assert!(!shows_name, "the answer is sealed");
    for _ in 0..1_000 {
        assert_refused(&mut w, a, "a recording", &question);
    }
    w.run(secs(10));
    unharmed(&mut w, a, b);
}

#[test]
fn a_node_that_is_asked_by_itself_or_for_another_refuses() {
    let (mut w, a, b) = met();
    // A member that means another node than the one that it speaks to.
    let mut misled = Member::ask(&mut w, a, "x", 9);
    misled.means("b");
    misled.prove(&mut w);
    assert!(misled.is_closed(&w));
    // One whose proof is of another instance than its question.
    let mut other = Member::ask(&mut w, a, "x", 9);
    other.becomes(10);
    other.prove(&mut w);
    assert!(other.is_closed(&w));
    assert_eq!(w.nodes[a].engine.stats().refused_hello, 2);
    assert_eq!(w.nodes[a].engine.stats().sessions, 1);
    unharmed(&mut w, a, b);
}

#[test]
fn ten_thousand_half_open_links_are_bounded_and_an_honest_peer_still_gets_in() {
    let (mut w, a, b) = met();
    for i in 0..10_000 {
        w.raw_connect(a);
        if i % 50 == 0 {
            w.run(ms(1));
            // And the sessions with b and, later, with the honest one.
            assert!(w.nodes[a].engine.stats().links <= w.limits.half_open as u64 + 2);
        }
        if i == 5_000 {
            let mut member = Member::join(&mut w, a, "honest");
            member.call(&mut w, 1);
            w.run(ms(20));
            assert_eq!(member.statuses(&w), [Status::Value]);
        }
    }
    w.run(secs(30));
    assert!(w.nodes[a].engine.stats().timed_out_handshake > 0);
    unharmed(&mut w, a, b);
}

#[test]
fn a_thousand_questions_a_second_keep_nobody_out() {
    let strangers = keys_of("sim", Keyring::from(Key::from_bytes([7; 32])));
    for keys in [strangers, network_keys()] {
        let (mut w, a, b) = met();
        let mut asker = Actor::within("sim", keys, 9, "x");
        let mut late = None;
        for n in 0..3_000 {
            let (_, question) = asker.ask();
            let wire = w.raw_connect(a);
            w.raw_send(wire, &frame(FrameType::HELLO, &question));
            w.run(ms(1));
            if n == 1_000 {
                late = Some(w.add("late"));
            }
        }
        let late = late.unwrap();
        assert!(w.reaches(late, "a") && w.reaches(late, "b"));
        w.assert_answered(late, "a");
        // It has answered a hundred in a second at most, and only those of members.
        assert!(w.nodes[a].engine.stats().links <= w.limits.half_open as u64 + 2);
        w.run(secs(10));
        unharmed(&mut w, a, b);
    }
}

/// Has an attacker connect to a node's port 640 times a second, for so long.
fn connect_again_and_again(
    w: &mut World,
    to: usize,
    seconds: u64,
    done: impl Fn(&World) -> bool,
) -> bool {
    for _ in 0..seconds * 640 {
        if done(w) {
            return true;
        }
        w.raw_connect(to);
        w.run(Duration::from_micros(1_000_000 / 640));
    }
    false
}

#[test]
fn connects_at_a_port_do_not_displace_the_slow_handshake_of_somebody_else() {
    seeds(3, |seed| {
        let mut w = World::new(seed);
        // Connected, the hello, the answer, and the proof: half open for three times this.
        w.delay = (ms(50), ms(50));
        // This one dials nobody, so that it can only be met at its port.
        let dials = std::mem::take(&mut w.limits.dials);
        let a = w.add("a");
        w.limits.dials = dials;
        w.run(secs(2));
        connect_again_and_again(&mut w, a, 1, |_| false);
        w.add("b");
        let met = connect_again_and_again(&mut w, a, 5, |w| w.reaches(a, "b"));
        assert!(met, "an honest one gets in");
        assert!(w.nodes[a].engine.stats().half_open_evicted > 600);
        w.run(secs(10));
        w.check_closed();
    });
}

#[test]
fn connects_at_a_port_do_not_displace_a_handshake_through_a_relay() {
    seeds(3, |seed| {
        let mut w = World::new(seed);
        // From the asker to the relay and on, and back, and again.
        w.delay = (ms(25), ms(25));
        let (a, b) = w.two_lans(1);
        w.run_until(secs(3), |w| w.joined_hub(a) == 1);
        connect_again_and_again(&mut w, a, 1, |_| false);
        let met = connect_again_and_again(&mut w, a, 5, |w| w.reaches(a, "b") && w.reaches(b, "a"));
        assert!(met, "they meet through the relay");
        let n = w.call(b, "a", secs(5)).unwrap();
        connect_again_and_again(&mut w, a, 1, |_| false);
        assert!(w.result(b, n).unwrap().is_ok());
        w.run(secs(10));
        w.check_closed();
    });
}

#[test]
fn the_answering_side_says_nothing_before_the_asker_has_proved_its_keys() {
    let (mut w, a, b) = met();
    let wire = w.raw_connect(a);
    w.raw_send(wire, &question_frame(9));
    w.run(ms(50));
    // A call of a's to x waits: x is not there before it has proved it.
    let n = w.call(a, "x", secs(2)).unwrap();
    w.run(secs(3));
    assert_eq!(
        frames(&w.raw[&wire])
            .iter()
            .filter(|(k, _)| *k == FrameType::RESPONSE)
            .count(),
        0
    );
    assert_eq!(w.result(a, n), Some(&Err(Error::Unreachable("x".into()))));
    w.run(secs(10));
    unharmed(&mut w, a, b);
}

#[test]
fn a_member_that_goes_by_anothers_name_is_a_conflict_and_takes_no_session_over() {
    let (mut w, a, b) = met();
    let _impostor = Member::join(&mut w, b, "a");
    w.run(ms(50));
    // b asks the old one to show that it lives, which it does; calls go to one of the two only.
    w.run(secs(2));
    assert!(w.nodes[b].engine.stats().peers == 2);
    assert!(
        !w.nodes[b]
            .events
            .iter()
            .any(|e| matches!(e, Event::PeerLeft(_)))
    );
    // To a itself it is a conflict, told as one.
    let twin = Member::join(&mut w, a, "a");
    w.run(ms(50));
    assert!(twin.is_closed(&w));
    assert!(
        w.nodes[a]
            .events
            .iter()
            .any(|e| matches!(e, Event::NameConflict { .. }))
    );
    w.run(secs(30));
    w.assert_answered(a, "b");
    w.check_closed();
}
