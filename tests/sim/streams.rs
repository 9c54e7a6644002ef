//! Streams and large messages over networks that fail: whole, or an error that says how much
//! arrived.

use crate::hubs::Malice;
use crate::pairs::{met, met_with, two};
use crate::seeds;
use crate::world::{Rng, World, ms, secs};
use peerbase::engine::{CallNumber, RequestId, StreamId};
use peerbase::entropy::Entropy;
use peerbase::error::Error;
use peerbase::wire::record::{Channel, Status};
use std::time::Duration;

/// One program writes, another reads.
pub(crate) struct Pipe {
    from: usize,
    to: usize,
    id: StreamId,
    data: Vec<u8>,
    pub written: usize,
    /// Whether all was written.
    pub finished: bool,
    pub read: Vec<u8>,
    /// How reading ended.
    pub end: Option<Result<(), Error>>,
    /// Why writing did.
    pub refused: Option<Error>,
}

impl Pipe {
    fn new(from: usize, to: usize, call: RequestId, channel: Channel, data: Vec<u8>) -> Pipe {
        Pipe {
            from,
            to,
            id: StreamId { call, channel },
            data,
            written: 0,
            finished: false,
            read: Vec::new(),
            end: None,
            refused: None,
        }
    }

    pub(crate) fn write(&mut self, w: &mut World) {
        let id = self.id;
        let piece = w.rng.below(100_000) as usize;
        let upto = self.data.len().min(self.written + piece);
        let rest = &self.data[self.written..upto];
        if self.refused.is_some() || self.finished {
            return;
        }
        match w.with(self.from, |e, now| e.stream_write(now, id, rest)) {
            Ok(n) => self.written += n,
            Err(e) => self.refused = Some(e),
        }
        if self.written == self.data.len() {
            self.finished = true;
            w.with(self.from, |e, now| e.stream_finish(now, id));
        }
    }

    pub(crate) fn read(&mut self, w: &mut World) {
        let (id, mut buf) = (self.id, vec![0; w.rng.below(100_000) as usize + 1]);
        if self.end.is_some() {
            return;
        }
        match w.with(self.to, |e, now| e.stream_read(now, id, &mut buf)) {
            Ok(Some(0)) => self.end = Some(Ok(())),
            Ok(Some(n)) => self.read.extend_from_slice(&buf[..n]),
            Ok(None) => {}
            Err(e) => self.end = Some(Err(e)),
        }
    }

    /// Reads until the end, and lets that much time pass between.
    pub(crate) fn read_to_end(&mut self, w: &mut World, pause: Duration) {
        for _ in 0..100_000 {
            if self.end.is_some() {
                return;
            }
            self.read(w);
            w.run(pause);
        }
        panic!("no end after {} bytes", self.read.len());
    }

    fn close(&self, w: &mut World) {
        let id = self.id;
        w.with(self.to, |e, now| e.stream_close(now, id));
    }
}

/// A call that streams both ways, with the programs at both of its sides.
pub(crate) struct Streaming {
    pub caller: usize,
    pub callee: usize,
    pub number: CallNumber,
    pub call: RequestId,
    pub up: Pipe,
    pub down: Pipe,
}

impl Streaming {
    /// Calls, and waits until the command was given the call and takes the stream.
    pub(crate) fn begin(
        w: &mut World,
        caller: usize,
        callee: usize,
        data: (Vec<u8>, Vec<u8>),
    ) -> Streaming {
        Streaming::begin_for(w, caller, callee, data, secs(20))
    }

    /// The same for a call that may stand still for so long.
    fn begin_for(
        w: &mut World,
        caller: usize,
        callee: usize,
        data: (Vec<u8>, Vec<u8>),
        timeout: Duration,
    ) -> Streaming {
        let target = w.nodes[callee].engine.name().to_string();
        let number = w.call_streaming(caller, &target, timeout).unwrap();
        w.run_until(secs(10), |w| !w.nodes[callee].streamed.is_empty());
        let call = w.nodes[callee].streamed.remove(0);
        w.with(callee, |e, now| e.accept_streams(now, call))
            .unwrap();
        Streaming {
            caller,
            callee,
            number,
            call,
            up: Pipe::new(caller, callee, call, Channel::Request, data.0),
            down: Pipe::new(callee, caller, call, Channel::Response, data.1),
        }
    }

    pub(crate) fn step(&mut self, w: &mut World) {
        for pipe in [&mut self.up, &mut self.down] {
            pipe.write(w);
            pipe.read(w);
        }
        w.run(ms(1));
    }

    /// The command is done.
    fn answer(&self, w: &mut World) {
        let call = self.call;
        w.with(self.callee, |e, now| {
            e.reply(now, call, Status::Value, b"7".to_vec());
        });
    }

    pub(crate) fn close(&self, w: &mut World) {
        self.up.close(w);
        self.down.close(w);
    }

    fn is_over(&self) -> bool {
        self.up.end.is_some() && self.down.end.is_some()
    }
}

pub(crate) fn random(w: &mut World, most: u64) -> Vec<u8> {
    let mut data = vec![0; w.rng.below(most) as usize];
    Rng(w.rng.next()).fill(&mut data);
    data
}

/// Both ways are whole, and the call has its value.
fn check_whole(w: &mut World, mut s: Streaming) {
    let end = w.now + secs(300);
    while !s.is_over() {
        assert!(
            w.now < end,
            "not over: {} {}",
            s.up.read.len(),
            s.down.read.len()
        );
        s.step(w);
    }
    s.answer(w);
    w.run_until(secs(60), |w| w.result(s.caller, s.number).is_some());
    assert_eq!(w.result(s.caller, s.number), Some(&Ok(b"7".to_vec())));
    assert_eq!((&s.up.end, &s.down.end), (&Some(Ok(())), &Some(Ok(()))));
    assert!(s.up.read == s.up.data && s.down.read == s.down.data);
    s.close(w);
    w.check_closed();
}

#[test]
fn both_sides_stream_at_once_each_while_the_other_reads() {
    seeds(10, |seed| {
        let mut w = World::new(seed);
        let (a, b) = two(&mut w);
        let data = (random(&mut w, 3_000_000), random(&mut w, 3_000_000));
        let s = Streaming::begin(&mut w, a, b, data);
        check_whole(&mut w, s);
    });
}

#[test]
fn streams_flow_between_nodes_whose_windows_are_of_any_two_sizes() {
    let windows = [97_280, 262_144, 4_000_000];
    for (of_a, of_b) in windows.iter().flat_map(|a| windows.map(|b| (*a, b))) {
        let mut w = World::new(crate::first_seed());
        w.limits.stream_window = of_a;
        let a = w.add("a");
        w.limits.stream_window = of_b;
        let b = w.add("b");
        w.run(secs(2));
        let data = (vec![1; 600_000], vec![2; 600_000]);
        let s = Streaming::begin(&mut w, a, b, data);
        check_whole(&mut w, s);
    }
}

#[test]
fn single_bytes_that_are_written_one_by_one_all_come() {
    let (mut w, a, b) = met();
    let mut s = Streaming::begin(&mut w, a, b, (vec![7; 20_000], Vec::new()));
    let (id, data) = (s.up.id, s.up.data.clone());
    // Once the reader lets it, each byte leaves at once, as a piece of its own.
    w.run(ms(10));
    let mut rest = &data[..];
    while !rest.is_empty() {
        let wrote = w.with(a, |e, now| e.stream_write(now, id, &rest[..1]));
        let n = wrote.unwrap();
        rest = &rest[n..];
        if n == 0 {
            assert!(data.len() - rest.len() > 1_000, "a window is full");
            w.run(ms(10));
            s.up.read(&mut w);
            w.run(ms(10));
        }
    }
    s.up.finished = true;
    w.with(a, |e, now| e.stream_finish(now, id));
    check_whole(&mut w, s);
}

#[test]
fn a_stream_goes_on_over_the_next_session_from_what_was_acknowledged() {
    seeds(20, |seed| {
        let mut w = World::new(seed);
        let (a, b) = two(&mut w);
        let data = (random(&mut w, 2_000_000), random(&mut w, 2_000_000));
        let total = (data.0.len() + data.1.len()) as u64;
        let mut s = Streaming::begin(&mut w, a, b, data);
        for _ in 0..6 {
            for _ in 0..w.rng.below(8) {
                s.step(&mut w);
            }
            let broken = if w.rng.chance(50) { a } else { b };
            w.break_links(broken);
            w.pause(300);
        }
        let window = w.limits.stream_window as u64;
        check_whole(&mut w, s);
        let sent = |n: usize| w.nodes[n].engine.stats().stream_bytes_out;
        let sent = sent(a) + sent(b);
        assert!(
            sent <= total + 6 * 2 * window,
            "{sent} for {total}: at most a window was sent again each time"
        );
    });
}

#[test]
fn streams_survive_relays_that_die_and_change_to_the_direct_path() {
    seeds(10, |seed| {
        let mut w = World::new(seed);
        let (a, b) = w.two_lans(2);
        w.run_until(secs(5), |w| w.reaches(a, "b") && w.reaches(b, "a"));
        let data = (random(&mut w, 1_500_000), random(&mut w, 1_500_000));
        let mut s = Streaming::begin(&mut w, a, b, data);
        for _ in 0..5 {
            s.step(&mut w);
        }
        let dies = w.joined_hub(a).min(1);
        w.kill_hub(dies, true);
        for _ in 0..50 {
            s.step(&mut w);
        }
        // The two networks become one.
        w.nodes[b].group = w.nodes[a].group;
        for _ in 0..50 {
            s.step(&mut w);
        }
        check_whole(&mut w, s);
    });
}

#[test]
fn through_relays_that_do_everything_wrong_a_stream_is_right_or_an_error() {
    seeds(20, |seed| {
        let mut w = World::new(seed);
        let (a, b) = w.two_lans(2);
        w.run_until(secs(5), |w| w.reaches(a, "b") && w.reaches(b, "a"));
        let data = (random(&mut w, 300_000), random(&mut w, 300_000));
        let mut s = Streaming::begin(&mut w, a, b, data);
        w.hubs[0].malice = Malice::everything(2);
        let end = w.now + secs(120);
        while !s.is_over() && w.now < end {
            s.step(&mut w);
        }
        for pipe in [&s.up, &s.down] {
            assert!(pipe.data.starts_with(&pipe.read), "never a wrong byte");
            match &pipe.end {
                Some(Ok(())) => assert_eq!(pipe.read.len(), pipe.data.len()),
                Some(Err(Error::Broken { .. })) | None => {}
                Some(Err(e)) => panic!("{e}"),
            }
        }
        s.close(&mut w);
        w.cancel(s.caller, s.number);
        w.check_closed();
    });
}

#[test]
fn a_reader_that_does_not_read_stops_its_sender_and_nobody_else() {
    let (mut w, a, b) = met();
    let mut s = Streaming::begin(&mut w, a, b, (vec![5; 10_000_000], Vec::new()));
    for _ in 0..200 {
        s.up.write(&mut w);
        w.run(ms(1));
    }
    // Pieces that were sent before they were full count for a little more than their bytes.
    let (window, written) = (w.limits.stream_window, s.up.written);
    assert!(written <= window && window - written < 1_024, "{written}");
    assert_eq!(w.nodes[b].engine.stats().stream_bytes_in, written as u64);
    let n = w.call(a, "b", secs(1)).unwrap();
    w.run(ms(20));
    assert!(w.result(a, n).unwrap().is_ok());
    // Nothing moves for as long as the call allows: an error on both sides that says how much
    // arrived.
    w.run(secs(21));
    assert_eq!(w.result(a, s.number), Some(&Err(Error::Timeout)));
    s.up.read_to_end(&mut w, Duration::ZERO);
    assert_eq!(s.up.read.len(), written);
    let why = "the caller's time is over".into();
    let arrived = written as u64;
    assert_eq!(s.up.end, Some(Err(Error::Broken { arrived, why })));
    s.close(&mut w);
    w.check_closed();
}

#[test]
fn either_side_can_give_up() {
    let (mut w, a, b) = met();
    let data = || (vec![1; 5_000_000], vec![2; 5_000_000]);
    // The reader of either stream.
    for down in [false, true] {
        let mut s = Streaming::begin(&mut w, a, b, data());
        for _ in 0..5 {
            s.step(&mut w);
        }
        let pipe = if down { &s.down } else { &s.up };
        pipe.close(&mut w);
        w.run(ms(10));
        let pipe = if down { &mut s.down } else { &mut s.up };
        pipe.write(&mut w);
        assert!(
            matches!(&pipe.refused, Some(Error::Broken { why, .. }) if why.contains("takes no more")),
            "{:?}",
            pipe.refused
        );
        s.answer(&mut w);
        s.down.read_to_end(&mut w, ms(1));
        w.run(ms(50));
        assert!(w.result(a, s.number).is_some());
        s.close(&mut w);
    }
    // The caller.
    let mut s = Streaming::begin(&mut w, a, b, data());
    s.step(&mut w);
    w.cancel(a, s.number);
    w.run(ms(10));
    s.up.read_to_end(&mut w, Duration::ZERO);
    assert!(
        matches!(&s.up.end, Some(Err(Error::Broken { why, .. })) if why == "the caller gave up")
    );
    s.down.write(&mut w);
    assert!(matches!(s.down.refused, Some(Error::Broken { .. })));
    s.close(&mut w);
    // The command.
    let mut s = Streaming::begin(&mut w, a, b, data());
    s.step(&mut w);
    let call = s.call;
    w.with(b, |e, now| {
        e.reply(now, call, Status::Failed, b"no more paper".to_vec());
    });
    w.run(ms(10));
    let failed = Error::CommandFailed("no more paper".into());
    assert_eq!(w.result(a, s.number), Some(&Err(failed)));
    s.down.read_to_end(&mut w, Duration::ZERO);
    assert!(
        matches!(&s.down.end, Some(Err(Error::Broken { why, .. })) if why.contains("no more paper"))
    );
    s.close(&mut w);
    w.check_closed();
}

#[test]
fn a_reader_that_gave_up_between_two_sessions_says_so_in_the_next() {
    seeds(5, |seed| {
        let mut w = World::new(seed);
        let (a, b) = two(&mut w);
        for down in [false, true] {
            let data = (vec![1; 5_000_000], vec![2; 5_000_000]);
            let mut s = Streaming::begin(&mut w, a, b, data);
            for _ in 0..5 {
                s.step(&mut w);
            }
            w.nodes[b].group = 1;
            w.break_links(a);
            w.run(ms(100));
            assert!(!w.reaches(a, "b") && !w.reaches(b, "a"));
            let pipe = if down { &s.down } else { &s.up };
            pipe.close(&mut w);
            w.nodes[b].group = 0;
            w.run_until(secs(15), |w| w.reaches(a, "b") && w.reaches(b, "a"));
            w.run(ms(100));
            let pipe = if down { &mut s.down } else { &mut s.up };
            pipe.write(&mut w);
            assert!(
                matches!(&pipe.refused, Some(Error::Broken { why, .. }) if why.contains("takes no more")),
                "{down}: {:?}",
                pipe.refused
            );
            w.cancel(a, s.number);
            s.close(&mut w);
        }
        w.check_closed();
    });
}

#[test]
fn a_peer_that_dies_breaks_its_streams_once_it_is_known_to_be_dead() {
    let (mut w, a, b) = met();
    let mut s = Streaming::begin(&mut w, a, b, (Vec::new(), vec![3; 5_000_000]));
    for _ in 0..10 {
        s.step(&mut w);
    }
    w.kill(b, true);
    w.run(secs(25));
    for _ in 0..20 {
        s.down.read(&mut w);
    }
    let arrived = s.down.read.len() as u64;
    assert!(
        matches!(&s.down.end, Some(Err(Error::Broken { arrived: n, .. })) if *n == arrived),
        "{:?}",
        s.down.end
    );
    assert!(matches!(w.result(a, s.number), Some(Err(_))));
    let id = s.down.id;
    w.with(a, |e, now| e.stream_close(now, id));
    w.check_closed();
}

#[test]
fn a_caller_that_dies_breaks_what_it_streamed_long_before_the_call_runs_out() {
    let (mut w, a, b) = met();
    let data = (vec![3; 5_000_000], Vec::new());
    let mut s = Streaming::begin_for(&mut w, a, b, data, secs(3_600));
    for _ in 0..10 {
        s.step(&mut w);
    }
    w.kill(a, true);
    w.run(secs(25));
    for _ in 0..20 {
        s.up.read(&mut w);
    }
    let arrived = s.up.read.len() as u64;
    let why = "the caller is gone".into();
    assert_eq!(s.up.end, Some(Err(Error::Broken { arrived, why })));
    let id = s.up.id;
    w.with(b, |e, now| e.stream_close(now, id));
    s.answer(&mut w);
    w.check_closed();
}

#[test]
fn an_answer_does_not_overtake_what_was_streamed_before_it() {
    seeds(20, |seed| {
        let mut w = World::new(seed);
        let (a, b) = two(&mut w);
        let mut s = Streaming::begin(&mut w, a, b, (Vec::new(), vec![8; 450_000]));
        // All is written, and the last of it waits for credit.
        let end = w.now + secs(60);
        while !s.down.finished {
            assert!(w.now < end, "not all is written");
            let before = s.down.written;
            s.down.write(&mut w);
            w.run(ms(1));
            if s.down.written == before {
                s.down.read(&mut w);
            }
        }
        s.answer(&mut w);
        s.down.read_to_end(&mut w, Duration::from_micros(100));
        assert_eq!(s.down.end, Some(Ok(())));
        assert!(s.down.read == s.down.data);
        w.run(ms(50));
        assert_eq!(w.result(a, s.number), Some(&Ok(b"7".to_vec())));
        s.close(&mut w);
        w.check_closed();
    });
}

#[test]
fn streams_are_bounded_and_one_peer_cannot_have_them_all() {
    let (mut w, a, b) = met_with(|w| w.limits.streams = 16);
    let c = w.add("c");
    w.run(secs(2));
    let begin = |w: &mut World, node| {
        (0..9)
            .map(|_| w.call_streaming(node, "a", secs(5)))
            .collect::<Vec<_>>()
    };
    let of_b = begin(&mut w, b);
    assert!(
        matches!(of_b[8], Err(Error::Overloaded(_))),
        "its own bound"
    );
    w.run(ms(50));
    let turned_away = |w: &World, node, calls: &[Result<CallNumber, Error>]| {
        let ended = calls.iter().flatten().filter_map(|n| w.result(node, *n));
        ended
            .filter(|r| matches!(r, Err(Error::Overloaded(_))))
            .count()
    };
    assert_eq!(
        turned_away(&w, b, &of_b),
        5,
        "nearly half of them for one peer"
    );
    let of_c = begin(&mut w, c);
    w.run(ms(50));
    assert_eq!(
        turned_away(&w, c, &of_c),
        6,
        "and half of the rest for the next"
    );
    w.run(secs(10));
    assert_eq!(w.nodes[a].engine.stats().streams, 0);
    for (node, calls) in [(b, of_b), (c, of_c)] {
        for number in calls.into_iter().flatten() {
            let caller = w.nodes[node].engine.instance();
            let call = RequestId {
                caller,
                number: number.0,
            };
            let id = StreamId {
                call,
                channel: Channel::Response,
            };
            w.with(node, |e, now| e.stream_close(now, id));
        }
    }
    w.check_closed();
}

#[test]
fn large_args_and_values_arrive_as_small_ones_do_and_run_once() {
    seeds(10, |seed| {
        let mut w = World::new(seed);
        let (a, b) = two(&mut w);
        let mut calls = Vec::new();
        for _ in 0..6 {
            let args = random(&mut w, 1_500_000);
            let n = w.call_with(a, "b", secs(60), &args).unwrap();
            calls.push((n, args));
        }
        for _ in 0..6 {
            w.pause(40);
            w.break_links(b);
            w.pause(400);
        }
        w.run(secs(10));
        for (n, args) in calls {
            assert!(
                w.result(a, n) == Some(&Ok(args)),
                "{:?}",
                w.result(a, n).map(|r| r.as_ref().map(Vec::len))
            );
        }
        w.check_closed();
    });
}

#[test]
fn what_is_larger_than_the_other_side_takes_is_an_error_that_says_so() {
    let mut w = World::new(crate::first_seed());
    let a = w.add("a");
    w.limits.max_message = 100_000;
    let b = w.add("b");
    w.run(secs(2));
    let n = w.call_with(a, "b", secs(5), &vec![b'1'; 200_000]).unwrap();
    let large = w.call_with(b, "a", secs(5), &vec![b'1'; 100_000 - 4]);
    assert_eq!(w.call_with(b, "a", secs(5), &vec![b'1'; 200_000]), None);
    w.run(secs(1));
    let (size, limit) = (200_000 + 6, 100_000);
    assert_eq!(w.result(a, n), Some(&Err(Error::TooLarge { size, limit })));
    assert_eq!(large, None, "path and kwargs count as well");
    assert_eq!(w.nodes[b].engine.stats().served, 0);
    // An answer that is too large for the caller, who hears of it before it comes.
    let ask = w.call_with(b, "a", secs(5), b"1").unwrap();
    w.run(ms(50));
    assert!(w.result(b, ask).unwrap().is_ok());
    w.nodes[a].behaviour = crate::world::Behaviour::Hold;
    let ask = w.call_with(b, "a", secs(5), b"1").unwrap();
    w.run(ms(50));
    w.nodes[a].held[0].1 = vec![b'1'; 200_000];
    w.answer_all(a);
    w.run(ms(50));
    // The command ran, which the other error would deny.
    let lost = Error::AnswerLost("it is larger than max_message");
    assert_eq!(w.result(b, ask), Some(&Err(lost)));
    w.check_closed();
}
