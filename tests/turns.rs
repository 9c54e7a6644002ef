//! How the threads of a node take turns, what runs on which of them, and how a node stops.

mod common;

use common::{Lan, join, next, secs, until, wait_for_event};
use peerbase::{Error, Event, Node};
use serde_json::json;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::ThreadId;
use std::time::Duration;

fn reaches(node: &Node, name: &str) -> bool {
    let peers = node.peers();
    peers.iter().any(|p| p.name.as_str() == name && p.reachable)
}

#[test]
fn events_before_anybody_asks_are_kept_for_the_first_who_does() {
    let lan = Lan::new();
    let a = lan.builder("a").start().unwrap();
    let b = lan.builder("b").start().unwrap();
    until("b at a", || reaches(&a, "b"));
    let events = a.events();
    assert_eq!(
        events.next_timeout(secs(10)),
        Some(Event::PeerJoined(b.name().clone()))
    );
    assert_eq!(a.events().next_timeout(Duration::ZERO), None);
}

#[test]
fn an_event_handler_set_before_the_start_misses_nothing() {
    let lan = Lan::new();
    let b = lan.builder("b").start().unwrap();
    let (tell, told) = mpsc::channel();
    let a = lan.builder("a").on_event(move |event| {
        // The receiver is gone once the test is over.
        let _ = tell.send(event.clone());
    });
    let _a = a.start().unwrap();
    assert_eq!(
        told.recv_timeout(secs(30)),
        Ok(Event::PeerJoined(b.name().clone()))
    );
}

#[test]
fn a_reply_then_a_stop_in_the_handler_reaches_the_caller() {
    let lan = Lan::new();
    let b = lan.builder("b").start().unwrap();
    for (round, size) in [1, 60_000, 1_000_000]
        .into_iter()
        .cycle()
        .take(12)
        .enumerate()
    {
        let a = lan.builder("a").command("last", move |call| {
            let node = call.node().unwrap();
            call.reply("x".repeat(size)).unwrap();
            node.stop();
        });
        let a = a.start().unwrap();
        let answer = b.call("last").to("a").timeout(secs(30)).send();
        let answer = answer.unwrap_or_else(|e| panic!("round {round}: {e}"));
        assert_eq!(answer.as_str().map(str::len), Some(size));
        drop(a);
        until("a to be gone", || !reaches(&b, "a"));
    }
}

#[test]
fn an_answer_given_before_the_node_is_dropped_elsewhere_reaches_the_caller() {
    let lan = Lan::new();
    let b = lan.builder("b").start().unwrap();
    for _ in 0..12 {
        let (keep, kept) = mpsc::channel();
        let a = lan
            .builder("a")
            .command("last", move |call| keep.send(call).unwrap());
        let a = a.start().unwrap();
        std::thread::scope(|s| {
            let answer = s.spawn(|| b.call("last").to("a").timeout(secs(30)).send());
            let call = kept.recv_timeout(secs(30)).unwrap();
            call.reply(7).unwrap();
            drop(a);
            assert_eq!(answer.join().unwrap(), Ok(json!(7)));
        });
        until("a to be gone", || !reaches(&b, "a"));
    }
}

#[test]
fn in_a_foreign_loop_a_reply_then_a_stop_reaches_the_caller() {
    let lan = Lan::new();
    let b = lan.builder("b").start().unwrap();
    let a = lan.builder("a").command("last", |call| {
        let node = call.node().unwrap();
        call.reply("x".repeat(500_000)).unwrap();
        node.stop();
    });
    let a = a.open().unwrap();
    std::thread::scope(|s| {
        let answer = s.spawn(|| b.call("last").to("a").timeout(secs(30)).send());
        while a.process(Some(secs(30))).is_ok() {}
        assert!(answer.join().unwrap().is_ok());
    });
}

/// A node that pings often, and takes a silent peer for dead soon.
fn quick_to_judge(lan: &Lan, name: &str) -> peerbase::Builder {
    lan.builder(name)
        .ping(Duration::from_millis(100), Duration::from_millis(400))
}

#[test]
fn pings_are_answered_and_calls_go_on_while_a_handler_takes_its_time() {
    let lan = Lan::new();
    let (begun, begins) = mpsc::channel();
    let (end, ends) = mpsc::channel::<()>();
    let ends = Mutex::new(ends);
    let order = Arc::new(Mutex::new(Vec::new()));
    let (first, second) = (order.clone(), order.clone());
    let a = lan
        .builder("a")
        .command("slow", move |call| {
            begun.send(()).unwrap();
            ends.lock().unwrap().recv_timeout(secs(60)).unwrap();
            first.lock().unwrap().push("slow");
            call.reply("at last")
        })
        .command("quick", move |call| {
            second.lock().unwrap().push("quick");
            call.reply("at once")
        });
    let a = a.start().unwrap();
    let b = quick_to_judge(&lan, "b").start().unwrap();
    let events = b.events();
    let joined = |e: &Event| matches!(e, Event::PeerJoined(name) if name.as_str() == "a");
    wait_for_event(&events, "a at b", joined);
    std::thread::scope(|s| {
        let slow = s.spawn(|| b.call("slow").to("a").timeout(secs(60)).send());
        begins.recv_timeout(secs(30)).unwrap();
        let quick = s.spawn(|| b.call("quick").to("a").timeout(secs(60)).send());
        // Our own calls go on: one, and all.
        let echo = a.call("__echo__").arg(1).to("b").timeout(secs(30)).send();
        assert_eq!(echo, Ok(json!({"args": [1], "kwargs": {}})));
        let all = a.call("__echo__").to_all().timeout(secs(30)).send_all();
        assert!(all.unwrap().iter().all(|answer| answer.result.is_ok()));
        // Pings are answered for longer than a silent peer would live.
        let mut answered = 0;
        let mut last = Duration::ZERO;
        until("ten pings to be answered", || {
            let peers = b.peers();
            let a = peers.iter().find(|p| p.name.as_str() == "a");
            let ago = a.and_then(|p| p.ping).map_or(Duration::ZERO, |p| p.ago);
            // A new answer is younger than the one before.
            answered += usize::from(ago < last);
            last = ago;
            answered >= 10
        });
        end.send(()).unwrap();
        assert_eq!(slow.join().unwrap(), Ok(json!("at last")));
        assert_eq!(quick.join().unwrap(), Ok(json!("at once")));
    });
    assert_eq!(*order.lock().unwrap(), ["slow", "quick"], "one at a time");
    assert_eq!(events.next_timeout(Duration::ZERO), None, "a never left");
}

#[test]
fn what_a_handler_answers_before_it_goes_on_working_is_sent_at_once() {
    let lan = Lan::new();
    // No advert and no ping wakes the thread that leads, which therefore must write by itself.
    let quiet = |name| {
        let node = lan.builder(name).advertise_interval(secs(60));
        node.ping(secs(600), secs(1_800))
    };
    let (end, ends) = mpsc::channel::<()>();
    let ends = Mutex::new(ends);
    let a = quiet("a").command("early", move |call| {
        call.reply("early").unwrap();
        ends.lock().unwrap().recv_timeout(secs(60)).unwrap();
    });
    let _a = a.start().unwrap();
    let b = quiet("b").start().unwrap();
    until("a at b", || reaches(&b, "a"));
    let answer = b.call("early").to("a").timeout(secs(30)).send();
    end.send(()).unwrap();
    assert_eq!(answer, Ok(json!("early")));
}

#[test]
fn what_waits_for_a_slow_handler_is_bounded_and_each_call_has_its_end() {
    let lan = Lan::new();
    let (begun, begins) = mpsc::channel();
    let (end, ends) = mpsc::channel::<()>();
    let ends = Mutex::new(ends);
    let limits = peerbase::Limits {
        waiting_bytes: 100_000,
        ..peerbase::Limits::default()
    };
    let ran = Arc::new(AtomicUsize::new(0));
    let runs = ran.clone();
    let a = lan
        .builder("a")
        .limits(limits)
        .command("slow", move |call| {
            begun.send(()).unwrap();
            ends.lock().unwrap().recv_timeout(secs(60)).unwrap();
            call.reply(())
        })
        .command("count", move |call| {
            runs.fetch_add(1, Ordering::Relaxed);
            call.reply(())
        });
    let _a = a.start().unwrap();
    let b = lan.builder("b").start().unwrap();
    let (tell, told) = mpsc::channel();
    let begin = |path: &str| {
        let tell = tell.clone();
        let call = b.call(path).arg("x".repeat(20_000)).to("a");
        call.timeout(secs(60))
            .send_async(move |outcome| tell.send(outcome).unwrap())
            .unwrap();
    };
    begin("slow");
    begins.recv_timeout(secs(30)).unwrap();
    (0..20).for_each(|_| begin("count"));
    // Those for which there was no room are told while the handler still runs.
    let mut overloaded = 0;
    while overloaded < 16 {
        let outcome = told.recv_timeout(secs(30)).unwrap();
        assert!(matches!(outcome, Err(Error::Overloaded(_))), "{outcome:?}");
        overloaded += 1;
    }
    end.send(()).unwrap();
    for _ in 0..5 {
        assert!(told.recv_timeout(secs(30)).unwrap().is_ok());
    }
    assert_eq!(ran.load(Ordering::Relaxed), 4);
}

#[test]
fn in_a_foreign_loop_handlers_run_on_the_loops_thread_only() {
    let lan = Lan::new();
    let threads = Arc::new(Mutex::new(Vec::<ThreadId>::new()));
    let seen = threads.clone();
    let a = lan.builder("a").command("where", move |call| {
        seen.lock().unwrap().push(std::thread::current().id());
        call.reply(())
    });
    let a = a.open().unwrap();
    let b = lan.builder("b").start().unwrap();
    let over = AtomicBool::new(false);
    std::thread::scope(|s| {
        let calls = s.spawn(|| {
            let one = s.spawn(|| {
                for i in 0..200 {
                    let echo = a.call("__echo__").arg(i).to("b").send();
                    assert_eq!(echo.unwrap()["args"], json!([i]));
                }
            });
            for _ in 0..200 {
                b.call("where").to("a").send().unwrap();
            }
            one.join().unwrap();
            over.store(true, Ordering::Relaxed);
        });
        while !over.load(Ordering::Relaxed) && !calls.is_finished() {
            a.process(Some(Duration::from_millis(10))).unwrap();
        }
        calls.join().unwrap();
    });
    let threads = threads.lock().unwrap();
    let here = std::thread::current().id();
    assert_eq!(threads.len(), 200);
    assert!(threads.iter().all(|thread| *thread == here));
}

#[test]
fn a_call_on_another_thread_ends_in_time_though_nobody_runs_the_loop() {
    let lan = Lan::new();
    let a = lan.builder("a").open().unwrap();
    std::thread::scope(|s| {
        let call = s.spawn(|| {
            let call = a.call("x").to("nobody");
            call.timeout(Duration::from_millis(50)).send()
        });
        assert_eq!(
            call.join().unwrap(),
            Err(Error::Unreachable("nobody".into()))
        );
    });
}

#[test]
fn a_call_on_another_thread_is_answered_though_callbacks_wait_for_the_loop() {
    let lan = Lan::new();
    let _a = lan.builder("a").start().unwrap();
    // Nobody runs the loop, so the event that `a` has joined waits for ever.
    let b = lan.builder("b").on_event(|_| {}).open().unwrap();
    let call = std::thread::spawn(move || {
        for i in 0..3 {
            let echo = b.call("__echo__").arg(i).to("a").timeout(secs(30)).send();
            assert_eq!(echo.map(|echo| echo["args"].clone()), Ok(json!([i])));
        }
    });
    join(call, "the calls beside the loop");
}

/// Calls the node itself again and again until it is told to stop: a callback always waits.
fn call_itself(node: Node, stop: Arc<AtomicBool>) {
    if stop.load(Ordering::Relaxed) {
        return;
    }
    let next = node.clone();
    let name = node.name().to_string();
    let call = node.call("__echo__").to(&name);
    call.send_async(move |_| call_itself(next, stop)).unwrap();
}

#[test]
fn what_others_send_is_read_though_callbacks_never_run_out() {
    let lan = Lan::new();
    let a = lan.builder("a").start().unwrap();
    let b = lan.builder("b").start().unwrap();
    until("b knows a", || reaches(&b, "a"));
    let stop = Arc::new(AtomicBool::new(false));
    call_itself(a.clone(), stop.clone());
    let answer = b.call("__echo__").to("a").timeout(secs(60)).send();
    stop.store(true, Ordering::Relaxed);
    assert!(answer.is_ok(), "{answer:?}");
}

#[test]
fn a_started_node_cannot_be_run_or_processed_as_well() {
    let lan = Lan::new();
    let a = lan.builder("a").start().unwrap();
    assert!(matches!(a.run(), Err(Error::Argument(_))));
    assert!(matches!(a.process(None), Err(Error::Argument(_))));
}

/// The names of the library's threads in this process, all of which block all signals.
#[test]
fn a_node_that_is_stopped_before_it_is_run_has_run_without_an_error() {
    let lan = Lan::new();
    let _a = lan.builder("a").start().unwrap();
    let ran = lan.builder("b").run(|node| {
        // As a thread does that is faster than this one.
        let echo = node.call("__echo__").to("a").timeout(secs(60)).send();
        assert!(echo.is_ok(), "{echo:?}");
        node.stop();
    });
    assert_eq!(ran, Ok(()));
}

fn threads() -> Vec<String> {
    let mut names = Vec::new();
    for task in std::fs::read_dir("/proc/self/task").unwrap() {
        // A thread of another test may end meanwhile.
        let Ok(status) = std::fs::read_to_string(task.unwrap().path().join("status")) else {
            continue;
        };
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap_or_default().trim().to_owned()
        };
        let name = field("Name:");
        if !name.starts_with("peerbase") {
            continue;
        }
        let blocked = u64::from_str_radix(&field("SigBlk:"), 16).unwrap();
        for signal in [1, 2, 10, 12, 13, 14, 15] {
            assert!(blocked & (1 << (signal - 1)) != 0, "{name}: {signal}");
        }
        names.push(name);
    }
    names
}

#[test]
fn the_librarys_threads_block_all_signals() {
    let lan = Lan::new();
    let _a = lan.builder("a").start().unwrap();
    // A thread gives itself its name, once it runs.
    until("both threads of a node", || {
        let names = threads();
        ["peerbase", "peerbase-io"]
            .iter()
            .all(|name| names.iter().any(|n| n == name))
    });
}

#[test]
fn a_stop_ends_the_thread_that_drives_an_opened_node_and_says_goodbye() {
    let lan = Lan::new();
    let b = lan.builder("b").start().unwrap();
    let events = b.events();
    let a = lan.builder("a").open().unwrap();
    std::thread::scope(|s| {
        let waits = s.spawn(|| {
            let call = a.call("x").to("nobody");
            call.timeout(secs(600)).send()
        });
        let joined = |e: &Event| matches!(e, Event::PeerJoined(name) if name.as_str() == "a");
        wait_for_event(&events, "a at b", joined);
        until("the call to be under way", || a.stats().calls_open == 1);
        a.stop();
        assert_eq!(waits.join().unwrap(), Err(Error::Stopped));
    });
    let left = |e: &Event| matches!(e, Event::PeerLeft(name) if name.as_str() == "a");
    wait_for_event(&events, "the goodbye of a", left);
}

#[test]
fn in_a_foreign_loop_an_answer_given_while_the_node_stops_reaches_its_caller() {
    let lan = Lan::new();
    let b = lan.builder("b").start().unwrap();
    let kept = Arc::new(Mutex::new(None));
    let (keeps, gives) = (kept.clone(), kept.clone());
    let a = lan
        .builder("a")
        .command("first", move |call| *keeps.lock().unwrap() = Some(call))
        .command("last", move |call| {
            let node = call.node().unwrap();
            call.reply("last").unwrap();
            // What was answered has not arrived yet, so that the goodbye is not said before this
            // has returned.
            node.stop();
            let first = gives.lock().unwrap().take().unwrap();
            assert_eq!(first.reply("first"), Ok(()));
        });
    let a = a.open().unwrap();
    std::thread::scope(|s| {
        let call = |path: &'static str| {
            let b = &b;
            s.spawn(move || b.call(path).to("a").timeout(secs(30)).send())
        };
        let first = call("first");
        until("the first call", || {
            a.process(Some(Duration::from_millis(10))).unwrap();
            kept.lock().unwrap().is_some()
        });
        let last = call("last");
        while a.process(Some(secs(30))).is_ok() {}
        assert_eq!(first.join().unwrap(), Ok(json!("first")));
        assert_eq!(last.join().unwrap(), Ok(json!("last")));
    });
}

#[test]
fn a_call_of_several_that_fails_as_it_begins_gives_up_those_that_were_begun() {
    let lan = Lan::new();
    let (keep, kept) = mpsc::channel();
    let a = lan
        .builder("a")
        .command("keep", move |call| keep.send(call).unwrap());
    let _a = a.start().unwrap();
    let b = lan.builder("b").start().unwrap();
    until("a at b", || reaches(&b, "a"));
    let call = std::thread::spawn(move || {
        let call = b.call("keep").to_each(["a", "nobody"]).wait(false);
        let answers = call.raise_errors(true).timeout(secs(600)).send_all();
        // The node goes on, so that its end does not end the call.
        (b, answers)
    });
    let (b, answers) = join(call, "the call of several to end");
    assert_eq!(answers, Err(Error::Unreachable("nobody".into())));
    until("the call that was begun to be given up", || {
        b.stats().calls_open == 0
    });
    // It may have been given up before it ran. If it ran, its handler is told.
    if let Ok(call) = kept.try_recv() {
        until("the handler to be told", || !call.is_wanted());
    }
}

#[test]
fn a_call_of_several_waits_for_room_at_this_node() {
    let lan = Lan::new();
    let names = ["a", "c", "d", "e", "f"];
    let _others = names.map(|name| lan.builder(name).start().unwrap());
    // Room for the argument of one call, and a half.
    let limits = peerbase::Limits {
        call_bytes: 6_000,
        ..Default::default()
    };
    let b = lan.builder("b").limits(limits).start().unwrap();
    let call = b.call("__echo__").arg("x".repeat(4_000)).to_each(names);
    let answers = call.timeout(secs(60)).send_all().unwrap();
    assert_eq!(answers.len(), names.len());
    for answer in answers {
        assert!(answer.result.is_ok(), "{answer:?}");
    }
}

#[test]
fn a_request_that_is_kept_does_not_keep_the_port_of_a_node_that_has_ended() {
    let lan = Lan::new();
    let (keep, kept) = mpsc::channel();
    // An address that no other test uses: nobody takes the port meanwhile.
    let address = "127.43.7.1:0".parse().unwrap();
    let a = lan.builder("a").listen(address);
    let a = a.command("keep", move |call| keep.send(call).unwrap());
    let a = a.start().unwrap();
    let b = lan.builder("b").start().unwrap();
    let call = b.call("keep").to("a").timeout(secs(60));
    call.send_async(|_| {}).unwrap();
    let call = next(&kept, "the call");
    let address = (address.ip(), a.port());
    assert!(std::net::TcpListener::bind(address).is_err());
    drop(a);
    let taken = std::net::TcpListener::bind(address);
    assert!(taken.is_ok(), "{taken:?}");
    assert_eq!(call.reply(1), Err(Error::Stopped));
}
