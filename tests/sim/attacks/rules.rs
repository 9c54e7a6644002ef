//! A member that no rule names: what it asks does not run, and the node keeps nothing of it.

use super::{FIRST, Member};
use crate::pairs::{met_with, unharmed};
use crate::world::{World, ms};
use peerbase::wire::ask::{AskKind, AskRef};
use peerbase::wire::record::{self, Body, Channel, Form, Status};

/// What it says is coming.
const LENGTH: u64 = 4_000_000;

/// Two nodes whose rules let only others call all but `echo`, and a member that is let into
/// nothing else.
fn closed() -> (World, usize, usize, Member) {
    let (mut w, a, b) = met_with(|w| {
        for pattern in ["valve.**", "__message__"] {
            w.rules.allow(pattern, "name:operator").unwrap();
        }
    });
    let m = Member::join(&mut w, a, "m");
    (w, a, b, m)
}

fn call(w: &mut World, m: &mut Member, number: u64, form: Form, ask: &AskRef<'_>) {
    m.send(w, |s, out| {
        record::encode_call(s, (number, form), 60_000, &[], ask, out)
    });
    w.run(ms(20));
}

/// Sends a piece of what a call asks, which begins there.
fn piece(w: &mut World, m: &mut Member, number: u64, offset: u64, bytes: &[u8]) {
    m.send(w, |s, out| {
        record::encode_data(s, (Channel::Ask, number), offset, bytes, out)
    });
    w.run(ms(20));
}

/// What the node has said since the last time: how calls ended, and for how many streams it has
/// given credit.
fn said(w: &World, m: &mut Member) -> (Vec<Status>, usize) {
    let (mut statuses, mut credits) = (Vec::new(), 0);
    m.hear(w, |body| match body {
        Body::Reply { status, .. } => statuses.push(*status),
        Body::Credit { .. } => credits += 1,
        _ => {}
    });
    (statuses, credits)
}

fn command(path: &str) -> AskRef<'_> {
    AskRef::Command {
        path,
        args: b"[]",
        kwargs: b"{}",
    }
}

#[test]
fn what_a_rule_forbids_is_refused_before_anything_of_it_is_kept() {
    let (mut w, a, b, mut m) = closed();
    let streams = Form {
        again: false,
        streams: true,
    };
    let message = AskRef::Large {
        kind: AskKind::Message,
        length: LENGTH,
    };
    let again = Form {
        again: true,
        streams: false,
    };
    for (number, form, ask) in [
        (1, FIRST, command("valve.open")),
        (2, streams, command("valve.flow")),
        (3, FIRST, AskRef::Message(b"hello")),
        (4, FIRST, message),
        (5, again, command("valve.open")),
    ] {
        call(&mut w, &mut m, number, form, &ask);
        let refused = (vec![Status::NotAllowed], 0);
        assert_eq!(said(&w, &mut m), refused, "{number}");
        let stats = w.nodes[a].engine.stats();
        assert_eq!((stats.serving, stats.streams), (0, 0), "{number}");
        assert_eq!(stats.calls_denied, number);
    }
    assert!(w.nodes[a].held.is_empty());
    call(&mut w, &mut m, 6, FIRST, &command("echo"));
    assert_eq!(said(&w, &mut m).0, [Status::Value]);
    unharmed(&mut w, a, b);
}

#[test]
fn a_large_command_is_refused_once_its_path_is_there() {
    let (mut w, a, b, mut m) = closed();
    let large = AskRef::Large {
        kind: AskKind::Command,
        length: LENGTH,
    };
    let mut whole = Vec::new();
    command("valve.open").encode(&mut whole);
    let rest = vec![b' '; 40_000];
    // In one piece with what follows, or byte by byte.
    for (number, first) in [(1, whole.len()), (2, 1)] {
        call(&mut w, &mut m, number, FIRST, &large);
        let mut offset = 0;
        for bytes in whole.chunks(first) {
            let ended = offset > "valve.open".len() as u64;
            let expected = if ended { 0 } else { 1 };
            assert_eq!(w.nodes[a].engine.stats().streams, expected, "{offset}");
            piece(&mut w, &mut m, number, offset, bytes);
            offset += bytes.len() as u64;
        }
        assert_eq!(said(&w, &mut m).0, [Status::NotAllowed], "{number}");
        assert_eq!(w.nodes[a].engine.stats().calls_denied, number);
        // What was on its way is not kept, and breaks no rule.
        piece(&mut w, &mut m, number, offset, &rest);
        assert_eq!(w.nodes[a].engine.stats().streams, 0);
    }
    // A path that is no text is refused as early.
    call(&mut w, &mut m, 3, FIRST, &large);
    piece(&mut w, &mut m, 3, 0, b"\x01\xff");
    assert_eq!(said(&w, &mut m).0, [Status::Refused]);
    assert_eq!(w.nodes[a].engine.stats().streams, 0);
    // One that is open goes on, however it is cut.
    call(&mut w, &mut m, 4, FIRST, &large);
    piece(&mut w, &mut m, 4, 0, b"\x04ec");
    piece(&mut w, &mut m, 4, 3, b"ho");
    piece(&mut w, &mut m, 4, 5, &rest);
    let stats = w.nodes[a].engine.stats();
    assert_eq!((stats.streams, stats.calls_denied), (1, 2));
    assert!(!m.is_closed(&w) && w.nodes[a].held.is_empty());
    m.part(&mut w);
    w.run(ms(70_000));
    unharmed(&mut w, a, b);
}
