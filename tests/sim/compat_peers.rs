//! Compat peers: what the native engine does with names that the compat engine reaches.

use crate::seeds;
use crate::world::{Behaviour, World, ms, name, secs, terms};
use peerbase::engine::{Ask, CallNumber, CompatPlace, Event, Output, Path, RequestId, Terms};
use peerbase::wire::record::Status;
use peerbase::{CommandPath, Error, RelayAddress, RelayFault};

fn place() -> Option<CompatPlace> {
    Some(CompatPlace {
        address: Some("10.0.0.9:5000".parse().unwrap()),
        relay: None,
    })
}

/// A node that runs, and knows a compat peer, `old`.
fn with_compat_peer(seed: u64) -> (World, usize) {
    let mut w = World::new(seed);
    let a = w.add("a");
    w.with(a, |e, _| e.expect_compat());
    w.run(secs(1));
    w.with(a, |e, now| e.compat_peer(now, name("old"), place()));
    w.run(secs(1));
    (w, a)
}

fn handed_out(w: &mut World, node: usize) -> Vec<(CallNumber, Vec<u8>)> {
    let outputs = std::mem::take(&mut w.nodes[node].compat).into_iter();
    let call = |output| match output {
        Output::CompatCall { number, args, .. } => Some((number, args)),
        _ => None,
    };
    outputs.filter_map(call).collect()
}

fn answer(w: &mut World, node: usize, number: CallNumber, value: &[u8]) {
    w.with(node, |e, now| {
        e.compat_answered(now, number, Ok(value.to_vec()))
    });
}

#[test]
fn a_call_is_handed_out_once_and_ends_once() {
    let (mut w, a) = with_compat_peer(crate::first_seed());
    let info = w.nodes[a].engine.peers(w.clock_of(a));
    assert_eq!(
        (info.len(), info[0].reachable),
        (1, false),
        "nothing is proven"
    );
    assert_eq!(info[0].path, Some(Path::Compat(None)));
    assert_eq!(w.nodes[a].events, [Event::PeerJoined(name("old"))]);

    let n = w.call_with(a, "old", secs(5), b"[1]").unwrap();
    assert_eq!(handed_out(&mut w, a), [(n, b"[1]".to_vec())]);
    answer(&mut w, a, n, b"7");
    assert_eq!(w.result(a, n), Some(&Ok(b"7".to_vec())));
    // Late, and again.
    answer(&mut w, a, n, b"8");

    // Given up, and out of time: whoever asks is told to forget it.
    let n = w.call(a, "old", secs(5)).unwrap();
    w.cancel(a, n);
    assert!(matches!(w.nodes[a].compat.pop(), Some(Output::CompatForget(f)) if f == n));
    let n = w.call(a, "old", secs(5)).unwrap();
    w.run(secs(6));
    assert_eq!(w.result(a, n), Some(&Err(Error::Timeout)));
    assert!(matches!(w.nodes[a].compat.pop(), Some(Output::CompatForget(f)) if f == n));

    w.with(a, |e, now| e.compat_peer(now, name("old"), None));
    assert_eq!(
        w.nodes[a].events.last(),
        Some(&Event::PeerLeft(name("old")))
    );
    let n = w.call(a, "old", secs(5)).unwrap();
    w.run(secs(6));
    assert_eq!(w.result(a, n), Some(&Err(Error::Unreachable("old".into()))));
    w.check_closed();
}

#[test]
fn a_call_that_waits_is_handed_out_whole_when_the_peer_is_known() {
    let (mut w, a) = with_compat_peer(crate::first_seed());
    // More than one frame: natively it would go in pieces.
    let args = format!("[\"{}\"]", "x".repeat(300_000));
    let later = w.call_with(a, "later", secs(5), args.as_bytes()).unwrap();
    let now = w.call_with(a, "old", secs(5), args.as_bytes()).unwrap();
    w.run(ms(100));
    assert_eq!(handed_out(&mut w, a), [(now, args.clone().into_bytes())]);
    w.with(a, |e, now| e.compat_peer(now, name("later"), place()));
    // It may yet be met natively.
    w.run(ms(900));
    assert!(handed_out(&mut w, a).is_empty());
    w.run(ms(200));
    assert_eq!(handed_out(&mut w, a), [(later, args.into_bytes())]);
    answer(&mut w, a, later, b"1");
    answer(&mut w, a, now, b"2");
    assert!(w.result(a, later).unwrap().is_ok() && w.result(a, now).unwrap().is_ok());
    w.check_closed();
}

#[test]
fn what_the_older_protocol_has_not_is_refused() {
    let (mut w, a) = with_compat_peer(crate::first_seed());
    let n = w.call_streaming(a, "old", secs(5)).unwrap();
    assert!(matches!(w.result(a, n), Some(Err(Error::Refused(_)))));
    let begin = |w: &mut World, target: &str, ask: Ask, terms: Terms| {
        w.with(a, |e, now| e.call(now, &name(target), ask, terms))
    };
    let message = || Ask::Message(b"hello".to_vec());
    let at_once = Terms {
        wait: false,
        ..terms(secs(5))
    };
    assert!(matches!(
        begin(&mut w, "nobody", message(), at_once),
        Err(Error::Unreachable(_))
    ));
    let n = begin(&mut w, "old", message(), at_once).unwrap();
    let id = (w.nodes[a].engine.instance(), n);
    assert!(matches!(w.ends.get(&id), Some(Err(Error::Refused(_)))));
    assert!(handed_out(&mut w, a).is_empty());
}

#[test]
fn a_name_that_was_met_natively_is_never_called_otherwise() {
    seeds(10, |seed| {
        let (mut w, a) = with_compat_peer(seed);
        let b = w.add("b");
        // It speaks both, and the other is heard first. What is called at once waits for this one.
        w.with(a, |e, now| e.compat_peer(now, name("b"), place()));
        let at_once = w.call(a, "b", secs(5)).unwrap();
        w.run(secs(2));
        assert!(w.result(a, at_once).unwrap().is_ok());
        let joined = |w: &World| {
            let all = w.nodes[a].events.iter();
            all.filter(|e| **e == Event::PeerJoined(name("b"))).count()
        };
        assert_eq!(joined(&w), 1, "told once");
        assert!(w.reaches(a, "b"));
        let n = w.call(a, "b", secs(5)).unwrap();
        w.run(ms(500));
        assert!(w.result(a, n).unwrap().is_ok());
        assert!(handed_out(&mut w, a).is_empty());
        let now = w.clock_of(a);
        assert_eq!(w.nodes[a].engine.peers(now).len(), 2, "b once, and old");

        // It is gone; whoever claims its name now, in clear, is not called.
        w.stop(b);
        w.run(secs(1));
        assert_eq!(w.nodes[a].events.last(), Some(&Event::PeerLeft(name("b"))));
        w.with(a, |e, now| e.compat_peer(now, name("b"), None));
        w.with(a, |e, now| e.compat_peer(now, name("b"), place()));
        let n = w.call(a, "b", secs(2)).unwrap();
        w.run(secs(3));
        assert_eq!(w.result(a, n), Some(&Err(Error::Unreachable("b".into()))));
        assert!(handed_out(&mut w, a).is_empty() && joined(&w) == 1);
        w.check_closed();
    });
}

#[test]
fn a_native_advert_that_nobody_stands_behind_holds_calls_back_only_while_it_lasts() {
    let (mut w, a) = with_compat_peer(crate::first_seed());
    w.recorded = Some(Vec::new());
    let elsewhere = w.add("old");
    w.nodes[elsewhere].group = 7;
    w.run(secs(1));
    w.kill(elsewhere, true);
    for advert in w.recorded.take().unwrap() {
        w.raw_datagram(a, "10.9.9.9:7".parse().unwrap(), &advert);
    }
    w.run(ms(100));
    let n = w.call(a, "old", secs(30)).unwrap();
    w.run(ms(100));
    assert!(handed_out(&mut w, a).is_empty(), "it is tried natively");
    w.run(secs(10));
    assert_eq!(handed_out(&mut w, a), [(n, b"old".to_vec())]);
    answer(&mut w, a, n, b"1");
    w.check_closed();
}

#[test]
fn a_compat_request_is_answered_once_and_not_confused_with_others() {
    let (mut w, a) = with_compat_peer(crate::first_seed());
    w.nodes[a].behaviour = Behaviour::Hold;
    let ask = || Ask::Command {
        path: CommandPath::new("x").unwrap(),
        args: b"[2]".to_vec(),
        kwargs: b"{}".to_vec(),
    };
    for ticket in 0..2 {
        w.with(a, |e, now| {
            e.compat_request(now, ticket, name("old"), ask())
        });
    }
    let ids: Vec<RequestId> = w.nodes[a].held.iter().map(|(id, _)| *id).collect();
    assert_eq!(ids.len(), 2);
    assert!(ids.iter().all(|id| w.nodes[a].engine.is_wanted(*id)));
    w.with(a, |e, _| e.compat_withdrawn(1));
    assert!(!w.nodes[a].engine.is_wanted(ids[1]));
    // A member numbers its calls as it likes.
    let late = w.nodes[a].engine.stats().replies_late;
    let other = RequestId {
        caller: peerbase::wire::Instance([9; 16]),
        number: ids[0].number,
    };
    w.with(a, |e, now| {
        e.reply(now, other, Status::Value, b"0".to_vec())
    });
    assert!(w.nodes[a].compat.is_empty());
    w.answer_all(a);
    w.with(a, |e, now| {
        e.reply(now, ids[0], Status::Value, b"3".to_vec())
    });
    let replies = std::mem::take(&mut w.nodes[a].compat);
    // Of the one that was withdrawn nobody is told the value, only that it counts no more.
    let [
        Output::CompatReply(0, Status::Value, value),
        Output::CompatReply(1, _, withdrawn),
    ] = &replies[..]
    else {
        panic!("{replies:?}");
    };
    assert_eq!((&value[..], &withdrawn[..]), (&b"[2]"[..], &b""[..]));
    assert_eq!(w.nodes[a].engine.stats().replies_late, late + 3);
    assert_eq!(w.nodes[a].engine.stats().serving, 0);
}

#[test]
fn a_compat_request_that_comes_while_the_node_stops_is_refused_and_does_not_run() {
    let (mut w, a) = with_compat_peer(crate::first_seed());
    w.nodes[a].behaviour = Behaviour::Hold;
    w.with(a, |e, now| {
        e.begin_stop(now);
        let ask = Ask::Command {
            path: CommandPath::new("x").unwrap(),
            args: b"[]".to_vec(),
            kwargs: b"{}".to_vec(),
        };
        e.compat_request(now, 7, name("old"), ask);
    });
    assert!(w.nodes[a].held.is_empty());
    let replies = std::mem::take(&mut w.nodes[a].compat);
    assert!(
        matches!(&replies[..], [Output::CompatReply(7, Status::Refused, _)]),
        "{replies:?}"
    );
}

#[test]
fn a_relay_of_theirs_is_told_of_and_one_that_is_ours_too_speaks_for_itself() {
    let (mut w, a) = with_compat_peer(crate::first_seed());
    let relay = RelayAddress::new("r:1").unwrap();
    w.nodes[a].events.clear();
    w.with(a, |e, _| e.compat_relay(relay.clone(), Ok(())));
    w.with(a, |e, _| {
        e.compat_relay(relay.clone(), Err(RelayFault::Unreachable))
    });
    let down = Event::RelayDown {
        relay: relay.clone(),
        why: RelayFault::Unreachable,
    };
    assert_eq!(w.nodes[a].events, [Event::RelayUp(relay), down]);
}

#[test]
fn a_large_call_that_was_kept_whole_goes_in_pieces_when_the_peer_is_met_natively() {
    let (mut w, a) = with_compat_peer(crate::first_seed());
    let b = w.add("b");
    w.with(a, |e, now| e.compat_peer(now, name("b"), place()));
    let args = format!("[\"{}\"]", "x".repeat(300_000)).into_bytes();
    let n = w.call_with(a, "b", secs(20), &args).unwrap();
    w.run(secs(2));
    assert!(w.reaches(a, "b") && w.reaches(b, "a"));
    assert_eq!(w.result(a, n), Some(&Ok(args)));
    assert!(handed_out(&mut w, a).is_empty());
    w.check_closed();
}
