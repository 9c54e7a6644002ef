//! Values that are too large for one record, of calls along which programs stream as well.

use crate::pairs::two;
use crate::seeds;
use crate::streams::Streaming;
use crate::world::{World, ms, secs};
use peerbase::wire::record::Status;
use std::time::Duration;

/// Bytes of a value, of which its sender learns on the way that a part has come.
const LARGE: usize = 1_000_000;

/// Bytes that the command streams: less than two windows, and more than are granted to it when the
/// caller has read enough to let it write all of them.
const STREAMED: usize = 500_000;

/// Has the command write all that it streams, of which the last waits for the caller to read more.
fn stream_until_it_waits(w: &mut World, s: &mut Streaming) {
    let end = w.now + secs(60);
    while !s.down.finished {
        assert!(w.now < end, "not all is written");
        let before = s.down.written;
        s.down.write(w);
        w.run(ms(10));
        if s.down.written == before {
            s.down.read(w);
            w.run(ms(10));
        }
    }
}

/// Has the command answer with a large value, which comes before what it streamed has ended.
fn answer_and_wait(w: &mut World, s: &Streaming, value: &[u8]) {
    let came = |w: &World| w.nodes[s.caller].engine.stats().stream_bytes_in;
    let (call, all) = (s.call, came(w) + value.len() as u64);
    w.with(s.callee, |e, now| {
        e.reply(now, call, Status::Value, value.to_vec());
    });
    w.run_until(secs(10), |w| came(w) == all);
    w.run(ms(10));
    assert!(
        w.result(s.caller, s.number).is_none(),
        "the rest is to come"
    );
}

#[test]
fn a_large_value_that_came_before_its_link_was_lost_need_not_come_again() {
    seeds(10, |seed| {
        let mut w = World::new(seed);
        let (a, b) = two(&mut w);
        let mut s = Streaming::begin(&mut w, a, b, (Vec::new(), vec![8; STREAMED]));
        stream_until_it_waits(&mut w, &mut s);
        let value: Vec<u8> = (0..LARGE).map(|i| i as u8).collect();
        answer_and_wait(&mut w, &s, &value);
        let sent = w.nodes[b].engine.stats().stream_bytes_out;
        for _ in 0..3 {
            let broken = if w.rng.chance(50) { a } else { b };
            w.break_links(broken);
            w.run(secs(2));
            assert_eq!(w.nodes[b].engine.stats().refused_stream, 0);
        }
        s.down.read_to_end(&mut w, Duration::from_micros(100));
        assert!(s.down.read.len() == STREAMED && s.down.end == Some(Ok(())));
        w.run(ms(100));
        assert!(w.result(a, s.number) == Some(&Ok(value)));
        let again = w.nodes[b].engine.stats().stream_bytes_out - sent;
        assert!(again < LARGE as u64, "{again} bytes were sent again");
        assert_eq!(w.nodes[a].engine.stats().refused_stream, 0);
        s.close(&mut w);
        w.check_closed();
    });
}

#[test]
fn a_caller_that_stops_reading_while_its_link_is_lost_has_the_large_value_that_came_before() {
    seeds(5, |seed| {
        let mut w = World::new(seed);
        let (a, b) = two(&mut w);
        let mut s = Streaming::begin(&mut w, a, b, (Vec::new(), vec![8; STREAMED]));
        stream_until_it_waits(&mut w, &mut s);
        let value = vec![9; LARGE];
        answer_and_wait(&mut w, &s, &value);
        w.nodes[b].group = 1;
        w.break_links(a);
        w.run(ms(100));
        assert!(!w.reaches(a, "b"));
        s.close(&mut w);
        w.nodes[b].group = 0;
        w.run(secs(15));
        assert!(w.result(a, s.number) == Some(&Ok(value)));
        for node in [a, b] {
            assert_eq!(w.nodes[node].engine.stats().refused_stream, 0);
        }
        w.check_closed();
    });
}

#[test]
fn bytes_stay_bytes_there_and_back_whatever_links_are_lost_meanwhile() {
    seeds(10, |seed| {
        let mut w = World::new(seed);
        let (a, b) = two(&mut w);
        for size in [0, 1_000, LARGE] {
            let data: Vec<u8> = (0..size).map(|i| (i * 7) as u8).collect();
            let call = w.call_with_data(a, "b", secs(60), data.clone()).unwrap();
            for _ in 0..3 {
                let wait = ms(w.rng.below(30));
                w.run(wait);
                let broken = if w.rng.chance(50) { a } else { b };
                w.break_links(broken);
            }
            w.run_until(secs(60), |w| w.result(a, call).is_some());
            assert!(w.result(a, call) == Some(&Ok(data)), "{size} bytes");
            assert!(w.is_data(a, call), "{size} bytes");
        }
        // JSON is none.
        let call = w.call_with(a, "b", secs(60), b"[1]").unwrap();
        w.run_until(secs(60), |w| w.result(a, call).is_some());
        assert!(!w.is_data(a, call));
        w.check_closed();
    });
}
