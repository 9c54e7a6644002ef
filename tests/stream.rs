//! Streams and large messages between nodes of this process, over real sockets.

mod common;

use common::{Deadline, Lan, join, next, secs, until};
use peerbase::{Call, CommandTree, Error, Limits, Node};
use serde_json::json;
use sha2::{Digest, Sha256};
use std::io::{ErrorKind, Read, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

/// Streams back what is streamed to it, in capitals, and answers with how much it was.
fn capitals(call: Call) {
    let (mut reader, mut writer) = call.streams().unwrap();
    assert!(
        matches!(call.streams(), Err(Error::Argument(_))),
        "taken once"
    );
    thread::spawn(move || {
        let (mut buf, mut sum) = ([0; 10_000], 0);
        loop {
            match reader.read(&mut buf) {
                Ok(0) => break,
                Ok(n) => {
                    sum += n;
                    let text = buf[..n].to_ascii_uppercase();
                    writer.write_all(&text).unwrap();
                }
                Err(e) => return drop(call.fail(&e.to_string())),
            }
        }
        writer.finish();
        let _ = call.reply(sum);
    });
}

/// Takes all that comes, and answers with its digest.
fn digest(call: Call) {
    let (mut reader, _) = call.streams().unwrap();
    thread::spawn(move || {
        let (mut buf, mut hash) = (vec![0; 64 * 1024], Sha256::new());
        loop {
            match reader.read(&mut buf) {
                Ok(0) => break,
                Ok(n) => hash.update(&buf[..n]),
                Err(e) => return drop(call.fail(&e.to_string())),
            }
        }
        let _ = call.reply(hex(&hash.finalize()));
    });
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn commands() -> CommandTree {
    CommandTree::new()
        .command("capitals", capitals)
        .and_then(|t| t.command("digest", digest))
        .and_then(|t| {
            t.command("plain", |call: Call| {
                let streams = call.has_streams();
                call.reply(streams)
            })
        })
        .unwrap()
}

fn pair(lan: &Lan) -> (Node, Node) {
    let b = lan.builder("b").commands("s", commands()).start().unwrap();
    (lan.builder("a").start().unwrap(), b)
}

#[test]
fn both_ways_at_once_of_unknown_length() {
    let lan = Lan::new();
    let (a, _b) = pair(&lan);
    let stream = a.call("s.capitals").to("b").stream().unwrap();
    let (mut reader, mut writer, value) = stream.split();
    let text = b"what is this? ".repeat(100_000);
    let expected = text.to_ascii_uppercase();
    let sender = thread::spawn(move || {
        for piece in text.chunks(7_777) {
            writer.write_all(piece).unwrap();
        }
        writer.finish();
    });
    let mut got = Vec::new();
    reader.read_to_end(&mut got).unwrap();
    join(sender, "all to be written");
    assert!(got == expected);
    assert_eq!(value.wait(), Ok(json!(1_400_000)));
    // One piece after the other, each answered before the next.
    let mut stream = a.call("s.capitals").to("b").stream().unwrap();
    for word in ["one", "two"] {
        stream.write_all(word.as_bytes()).unwrap();
        let mut buf = [0; 3];
        stream.read_exact(&mut buf).unwrap();
        assert_eq!(buf, *word.to_uppercase().as_bytes());
    }
    assert_eq!(stream.value(), Ok(json!(6)));
}

#[test]
fn one_source_streams_to_several_and_one_that_fails_is_left_out() {
    let lan = Lan::new();
    let builder = |name: &str| lan.builder(name).commands("s", commands());
    let _nodes = ["b", "c"].map(|n| builder(n).start().unwrap());
    let _d = lan
        .builder("d")
        .command("s.digest", |call: Call| call.fail("no room"))
        .start()
        .unwrap();
    let a = lan.builder("a").start().unwrap();
    let call = a.call("s.digest").to_each(["b", "c", "d"]);
    let mut all = call.stream_to_all().unwrap();
    let data = vec![7; 3_000_000];
    all.write_all(&data).unwrap();
    let results = all.values().unwrap();
    let whole = json!(hex(&Sha256::digest(&data)));
    assert_eq!(results[0].result, Ok(whole.clone()));
    assert_eq!(results[1].result, Ok(whole));
    assert_eq!(
        results[2].result,
        Err(Error::CommandFailed("no room".into()))
    );
    assert!(a.call("x").stream_to_all().is_err());
}

#[test]
fn a_stream_to_several_may_take_longer_than_a_clock_can_express() {
    let lan = Lan::new();
    let limits = Limits {
        call_timeout: Duration::MAX,
        ..Limits::default()
    };
    let a = lan.builder("a").limits(limits).start().unwrap();
    let _b = lan.builder("b").commands("s", commands()).start().unwrap();
    let call = a.call("s.digest").to_each(["b"]).timeout(Duration::MAX);
    let mut all = call.stream_to_all().unwrap();
    all.write_all(b"x").unwrap();
    let results = all.values().unwrap();
    assert_eq!(results[0].result, Ok(json!(hex(&Sha256::digest(b"x")))));
}

#[test]
fn a_target_that_takes_nothing_is_left_out_and_the_others_get_all() {
    let lan = Lan::new();
    let builder = |name: &str| lan.builder(name).commands("s", commands());
    let _nodes = ["b", "c"].map(|n| builder(n).start().unwrap());
    let held = Arc::new(Mutex::new(Vec::new()));
    let keeps = held.clone();
    let _d = lan
        .builder("d")
        .command("s.digest", move |call: Call| {
            keeps.lock().unwrap().push(call)
        })
        .start()
        .unwrap();
    let a = lan.builder("a").start().unwrap();
    let call = a.call("s.digest").to_each(["d", "b", "c"]);
    let mut all = call.timeout(secs(12)).stream_to_all().unwrap();
    let data = vec![7; 3_000_000];
    all.write_all(&data).unwrap();
    let results = all.values().unwrap();
    assert_eq!(results[0].result, Err(Error::Timeout));
    let whole = json!(hex(&Sha256::digest(&data)));
    assert_eq!(results[1].result, Ok(whole.clone()));
    assert_eq!(results[2].result, Ok(whole));
    assert_eq!(held.lock().unwrap().len(), 1);
}

#[test]
fn who_gives_up_is_told_from_who_is_done() {
    let lan = Lan::new();
    let (a, b) = pair(&lan);
    // A writer that is dropped has not finished.
    let (reader, mut writer, value) = a.call("s.digest").to("b").stream().unwrap().split();
    writer.write_all(b"half of").unwrap();
    drop((writer, reader));
    let failed = value.wait();
    assert!(
        matches!(&failed, Err(Error::CommandFailed(why)) if why.contains("gave it up")),
        "{failed:?}"
    );
    // A command without streams, called with: it answers, and the stream is over.
    let mut stream = a.call("s.plain").to("b").stream().unwrap();
    let mut none = Vec::new();
    assert_eq!(stream.read_to_end(&mut none).unwrap(), 0);
    assert_eq!(stream.value(), Ok(json!(true)));
    // A command that streams, called without.
    let e = a.call("s.digest").to("b").timeout(secs(20)).send();
    assert!(matches!(e, Err(Error::CommandFailed(_))), "{e:?}");
    assert!(matches!(
        a.call("s.digest").to("a").stream(),
        Err(Error::Argument(_))
    ));
    let mut unknown = a.call("s.nothing").to("b").stream().unwrap();
    let e = unknown.read(&mut [0]).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::UnexpectedEof);
    assert!(matches!(unknown.value(), Err(Error::CommandNotFound(_))));
    // Stopped while both sides wait.
    let stream = a.call("s.digest").to("b").stream().unwrap();
    let (mut reader, _writer, value) = stream.split();
    let waiting = thread::spawn(move || (reader.read(&mut [0]).unwrap_err(), value.wait()));
    until("the call is there", || b.stats().serving > 0);
    a.stop();
    let (e, value) = join(waiting, "the read and the call to end");
    assert!(e.to_string().contains("stopped") && value == Err(Error::Stopped));
    until("nothing is left", || b.stats().streams == 0);
}

#[test]
fn a_program_with_a_loop_of_its_own_streams_without_waiting() {
    let lan = Lan::new();
    let _b = lan.builder("b").commands("s", commands()).start().unwrap();
    let a = lan.builder("a").open().unwrap();
    let (mut reader, mut writer, value) = a.call("s.capitals").to("b").stream().unwrap().split();
    let moved = Arc::new(AtomicUsize::new(0));
    let moves = moved.clone();
    reader.on_ready(move || {
        moves.fetch_add(1, Ordering::Relaxed);
    });
    let (data, mut sent, mut got) = (vec![b'x'; 2_000_000], 0, Vec::new());
    let (mut buf, mut over, mut writer) = ([0; 50_000], false, Some(writer.by_ref()));
    let deadline = Deadline::new("all to come back");
    while !over {
        a.process(Some(deadline.left())).unwrap();
        while let Some(open) = &mut writer {
            match open.write_timeout(&data[sent..], Duration::ZERO) {
                Ok(n) => sent += n,
                Err(e) => {
                    assert_eq!(e, Error::WouldBlock);
                    break;
                }
            }
            if sent == data.len() {
                writer = None;
            }
        }
        loop {
            match reader.read_timeout(&mut buf, Duration::ZERO) {
                Ok(0) => over = true,
                Ok(n) => {
                    got.extend_from_slice(&buf[..n]);
                    over = got.len() == data.len();
                    continue;
                }
                Err(e) => assert_eq!(e, Error::WouldBlock),
            }
            break;
        }
    }
    assert!(got == vec![b'X'; 2_000_000]);
    assert!(
        moved.load(Ordering::Relaxed) > 2,
        "it was told when to go on"
    );
    drop(value);
}

#[test]
fn waiting_in_a_callback_is_refused() {
    let lan = Lan::new();
    let (tell, told) = mpsc::channel();
    let tell = Mutex::new(tell);
    let _b = lan
        .builder("b")
        .command("s", move |call: Call| {
            let (mut reader, _writer) = call.streams().unwrap();
            let e = reader.read(&mut [0]).unwrap_err();
            tell.lock().unwrap().send(e.to_string()).unwrap();
            call.reply(1)
        })
        .start()
        .unwrap();
    let a = lan.builder("a").start().unwrap();
    let stream = a.call("s").to("b").stream().unwrap();
    assert_eq!(next(&told, "the handler's error"), "would deadlock");
    assert_eq!(stream.value(), Ok(json!(1)));
}

#[test]
fn large_args_and_values_are_just_args_and_values() {
    let lan = Lan::new();
    let limits = Limits {
        max_message: 8 << 20,
        message_bytes: 64 << 20,
        reply_bytes: 64 << 20,
        ..Limits::default()
    };
    let _b = lan.builder("b").limits(limits.clone()).start().unwrap();
    let a = lan.builder("a").limits(limits).start().unwrap();
    let _small = lan.builder("small").max_message(100_000).start().unwrap();
    let text = "ä".repeat(3_000_000);
    let echo = a
        .call("__echo__")
        .arg(text.as_str())
        .to("b")
        .timeout(secs(60));
    assert!(echo.send().unwrap()["args"][0] == text);
    let call = |_| {
        let (a, text) = (a.clone(), text.clone());
        let echo = move || {
            a.call("__echo__")
                .arg(text)
                .to("b")
                .timeout(secs(60))
                .send()
        };
        thread::spawn(echo)
    };
    let calls: Vec<_> = (0..4).map(call).collect();
    let calls = calls.into_iter();
    let results: Vec<_> = calls.map(|c| join(c, "a call of four")).collect();
    let right = |r: &Result<serde_json::Value, Error>| match r {
        Ok(value) => value["args"][0] == text,
        Err(e) => matches!(e, Error::Overloaded(_)),
    };
    assert!(results.iter().all(right) && results.iter().any(Result::is_ok));
    let e = a
        .call("__echo__")
        .arg("x".repeat(200_000))
        .to("small")
        .send();
    assert!(
        matches!(e, Err(Error::TooLarge { limit: 100_000, .. })),
        "{e:?}"
    );
    let e = a.call("__echo__").arg("x".repeat(9 << 20)).to("b").send();
    assert!(matches!(e, Err(Error::TooLarge { .. })));
}
