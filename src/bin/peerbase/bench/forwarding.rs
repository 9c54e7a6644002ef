//! Forwarding as fast as it goes, against a plain mio forwarder of bytes; and members that only are
//! there. Members here are sockets with nothing behind them: what they send is well-formed, and
//! sealed by nobody.

use super::Report;
use super::process::{NETWORK, Process};
use crate::{Failure, Outcome};
use mio::net::TcpStream as Socket;
use mio::{Events, Interest, Poll, Token};
use peerbase::frame::{Frame, FrameType, Parsed, encode, parse};
use peerbase::limits::FRAME_MAX;
use peerbase::wire::relay::{Forward, FromRelay, ROUTE_WINDOW, Route, ToRelay, encode_forward};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;
use std::time::Instant;

/// Characters of the token of a record of a kibibyte.
const TOKEN: usize = peerbase::fernet::token_len(1_024);
/// Frames written at once.
const BATCH: usize = 32;
const TOTAL: usize = 1024 * 1024 * 1024;
const ROUNDS: usize = 5;
/// Members of one network, each of which is told of all others in it.
const NETWORK_SIZE: usize = 500;
/// Characters of an idle member's advert: a name of usual length and two relays.
const ADVERT: usize = peerbase::fernet::token_len(120);

/// What a member hears.
enum Heard {
    Word(FromRelay),
    From(Route),
    Other,
}

/// A member of a relay.
pub(super) struct Member {
    stream: TcpStream,
    network: String,
    read: Vec<u8>,
}

impl Member {
    /// Joins, and tells of itself.
    fn join(at: &str, network: &str) -> Outcome<Member> {
        let stream = TcpStream::connect(at)?;
        stream.set_nodelay(true)?;
        let mut member = Member {
            stream,
            network: network.to_owned(),
            read: Vec::new(),
        };
        let mut word = Vec::new();
        ToRelay::Join([0; 32]).encode(&mut word);
        member.send(FrameType::REGISTER, &word)?;
        while !matches!(member.hear()?, Heard::Word(FromRelay::Joined(_))) {}
        member.send(FrameType::ADVERT, &[b'A'; ADVERT])?;
        Ok(member)
    }

    fn send(&mut self, kind: FrameType, payload: &[u8]) -> Outcome {
        let mut bytes = Vec::new();
        let net = &self.network;
        encode(&Frame { net, kind, payload }, &mut bytes);
        self.stream.write_all(&bytes)?;
        Ok(())
    }

    /// Waits for the next frame.
    fn hear(&mut self) -> Outcome<Heard> {
        loop {
            if let Ok(Parsed::Complete(frame, used)) = parse(&self.read, FRAME_MAX) {
                let heard = match frame.kind {
                    FrameType::REGISTER => FromRelay::decode(frame.payload)
                        .map(|said| Heard::Word(said.word))
                        .map_err(|e| e.to_string()),
                    FrameType::FORWARD => {
                        let forward = Forward::decode(frame.payload);
                        forward
                            .map(|f| Heard::From(f.route))
                            .map_err(|e| e.to_string())
                    }
                    FrameType::ERROR => {
                        return Err(Failure::Failed("the relay refused a member".into()));
                    }
                    _ => Ok(Heard::Other),
                };
                self.read.drain(..used);
                return heard.map_err(Failure::Failed);
            }
            let mut buf = [0; 16 * 1024];
            let n = self.stream.read(&mut buf)?;
            if n == 0 {
                return Err(Failure::Failed("the relay ended a link".into()));
            }
            self.read.extend_from_slice(&buf[..n]);
        }
    }
}

/// Members that have joined and say nothing more.
pub(super) fn idle_members(at: &str, count: usize) -> Outcome<Vec<Member>> {
    let mut members: Vec<Member> = Vec::with_capacity(count);
    for i in 0..count {
        members.push(Member::join(at, &format!("idle-{}", i / NETWORK_SIZE))?);
        // The others of its network are told of it; they must read that.
        let first = i / NETWORK_SIZE * NETWORK_SIZE;
        for other in &mut members[first..i] {
            while !matches!(other.hear()?, Heard::From(_)) {}
        }
    }
    Ok(members)
}

/// Reads until the other side is done, or `total` bytes have come; how many were there.
fn drain(mut stream: TcpStream, total: usize) -> usize {
    let (mut buf, mut got) = (vec![0; 256 * 1024], 0);
    while got < total {
        match stream.read(&mut buf) {
            Ok(0) | Err(_) => break,
            Ok(n) => got += n,
        }
    }
    got
}

/// MB/s of records through a relay.
fn through_relay(at: &str) -> Outcome<f64> {
    let mut sender = Member::join(at, NETWORK)?;
    let receiver = Member::join(at, NETWORK)?;
    let to = loop {
        if let Heard::From(route) = sender.hear()? {
            break route;
        }
    };
    let mut frame = Vec::new();
    encode_forward(NETWORK, &to, FrameType::MESSAGE, &mut frame, |out| {
        out.extend_from_slice(&[b'A'; TOKEN]);
    });
    let batch = frame.repeat(BATCH);
    let rounds = TOTAL / batch.len();
    let total = rounds * batch.len();
    let start = Instant::now();
    let reading = thread::spawn(move || drain(receiver.stream, total));
    let (mut sent, mut gone) = (0u64, 0);
    for _ in 0..rounds {
        while sent + batch.len() as u64 > gone + u64::from(ROUTE_WINDOW) {
            if let Heard::Word(FromRelay::Credit(_, total)) = sender.hear()? {
                gone = total;
            }
        }
        sender.stream.write_all(&batch)?;
        sent += batch.len() as u64;
    }
    finish(reading, total, start)
}

/// MB/s of the same bytes through a forwarder that knows nothing.
fn through_plain(batch: usize) -> Outcome<f64> {
    let (_forwarder, at) = Process::start("plain-forwarder", &[])?;
    let mut from = TcpStream::connect(&at)?;
    let to = TcpStream::connect(&at)?;
    let batch = vec![b'A'; batch];
    let rounds = TOTAL / batch.len();
    let total = rounds * batch.len();
    let start = Instant::now();
    let reading = thread::spawn(move || drain(to, total));
    for _ in 0..rounds {
        from.write_all(&batch)?;
    }
    from.shutdown(Shutdown::Write)?;
    finish(reading, total, start)
}

fn finish(reading: thread::JoinHandle<usize>, total: usize, start: Instant) -> Outcome<f64> {
    if reading.join().unwrap_or(0) != total {
        return Err(Failure::Failed("bytes were lost on the way".into()));
    }
    Ok(total as f64 / start.elapsed().as_secs_f64() / 1e6)
}

/// Forwards bytes from its first connection to its second, in an event loop like a relay's.
pub(super) fn plain() -> Outcome {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("{}", listener.local_addr()?);
    let accept = || -> Outcome<Socket> {
        let (stream, _) = listener.accept()?;
        stream.set_nonblocking(true)?;
        Ok(Socket::from_std(stream))
    };
    let (mut from, mut to) = (accept()?, accept()?);
    let mut poll = Poll::new()?;
    let both = Interest::READABLE | Interest::WRITABLE;
    poll.registry().register(&mut from, Token(0), both)?;
    poll.registry().register(&mut to, Token(1), both)?;
    let (mut events, mut buf) = (Events::with_capacity(16), vec![0; 64 * 1024]);
    let (mut held, mut written) = (0, 0);
    loop {
        poll.poll(&mut events, None)?;
        loop {
            if written == held {
                match from.read(&mut buf) {
                    Ok(0) => return Ok(()),
                    Ok(n) => (held, written) = (n, 0),
                    Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                    Err(e) => return Err(e.into()),
                }
            }
            match to.write(&buf[written..held]) {
                Ok(n) => written += n,
                Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                Err(e) => return Err(e.into()),
            }
        }
    }
}

pub(super) fn run(
    report: &mut Report,
    start_relay: impl Fn() -> Outcome<(Process, String)>,
) -> Outcome {
    let mut frame = Vec::new();
    encode_forward(
        NETWORK,
        &Route::default(),
        FrameType::MESSAGE,
        &mut frame,
        |out| {
            out.extend_from_slice(&[b'A'; TOKEN]);
        },
    );
    // In turns, each in processes of its own.
    let (mut relay, mut plain) = (0f64, 0f64);
    for _ in 0..ROUNDS {
        let (_process, at) = start_relay()?;
        relay = relay.max(through_relay(&at)?);
        plain = plain.max(through_plain(frame.len() * BATCH)?);
    }
    report.add("relay forwarding records of 1 KiB", relay, "MB/s");
    report.add(
        "relay forwarding records of 1 KiB",
        relay * 1e6 / frame.len() as f64,
        "frames/s",
    );
    report.add("relay plain mio forwarder, the same bytes", plain, "MB/s");
    report.add("relay forwarding / plain forwarder", relay / plain, "ratio");
    Ok(())
}
