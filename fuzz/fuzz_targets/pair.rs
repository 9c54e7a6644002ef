//! Two engines and the wire between them, with calls, large messages and streams both ways. The
//! input chooses what the programs do, how much the wire carries, where it cuts, and when it
//! breaks. Each call ends once, with what was answered. A stream arrives in order, and looks whole
//! only if it is. Nothing is left when all is closed.
#![no_main]

mod counter;

use counter::Counter;
use libfuzzer_sys::fuzz_target;
use peerbase::Limits;
use peerbase::engine::{
    Ask, CallNumber, Config, Engine, Input, LinkId, Now, Output, Payload, RequestId, StreamId, Terms, Time,
};
use peerbase::error::Error;
use peerbase::fernet::{Key, Keyring};
use peerbase::name::{CommandPath, NetworkName, NodeName};
use peerbase::wire::record::{Channel, Status};
use std::collections::{HashMap, HashSet, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

const NAMES: [&str; 2] = ["a", "b"];
/// More than fits into one record.
const LARGE: usize = 50_000;

fn name(text: &str) -> NodeName {
    NodeName::new(text).expect("a name")
}

fn address(side: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, side as u8 + 1], 7))
}

fn side_at(to: SocketAddr) -> usize {
    (0..2).find(|side| address(*side) == to).expect("one of the two")
}

/// A byte of a stream's contents. It depends on its place and on the stream.
fn content(id: StreamId, at: u64) -> u8 {
    let channel = u64::from(id.channel == Channel::Response);
    (at.wrapping_mul(31) ^ (at >> 8) ^ id.call.number.wrapping_mul(7) ^ channel) as u8
}

/// What the two programs know about one stream.
#[derive(Default)]
struct Pipe {
    written: u64,
    read: u64,
    /// Whether all of it was written. A stream that was broken off before cannot be finished.
    finished: bool,
    aborted: bool,
    /// Whether the reader saw how it ended, or reads no more.
    over: bool,
}

struct Side {
    engine: Engine,
    links: HashMap<LinkId, usize>,
    begun: Vec<CallNumber>,
    ended: HashSet<CallNumber>,
    requests: Vec<(RequestId, bool)>,
    ran: HashSet<RequestId>,
}

/// A connection. Its first end has dialled.
struct Wire {
    sides: [usize; 2],
    links: [LinkId; 2],
    open: [bool; 2],
    /// The bytes on their way to each end, and whether the connection closes after them.
    coming: [VecDeque<u8>; 2],
    closing: [bool; 2],
    silent: bool,
}

struct World {
    sides: [Side; 2],
    wires: Vec<Wire>,
    now: Now,
    /// The answer that a handler gave to each call.
    answers: HashMap<RequestId, Vec<u8>>,
    pipes: Vec<(StreamId, Pipe)>,
}

fn engine(side: usize) -> Engine {
    let limits = Limits {
        max_message: 120_000,
        message_bytes: 300_000,
        call_bytes: 400_000,
        reply_bytes: 200_000,
        link_queue: 80_000,
        streams: 8,
        stream_window: 100_000,
        dead: Duration::from_secs(6),
        keepalive: Duration::from_secs(2),
        redial: (Duration::from_millis(50), Duration::from_secs(1)),
        ..Limits::default()
    };
    let config = Config {
        network: NetworkName::new("fuzz").expect("a name"),
        name: name(NAMES[side]),
        keys: Keyring::from(Key::from_bytes([7; 32])),
        identity: peerbase::Identity::from_seed([side as u8 + 1; 32]),
        keeps_identity: false,
        mode: Default::default(),
        port: 7,
        address: None,
        interval: Duration::from_secs(4),
        lan: true,
        relays: Vec::new(),
        max_remotes: 0,
        relay_keepalive: Duration::from_secs(10),
        limits,
        rules: Default::default(),
    };
    Engine::new(config, Box::new(Counter(side as u64 * 90)), Now::default())
}

impl World {
    fn new() -> World {
        let side = |n| Side {
            engine: engine(n),
            links: HashMap::new(),
            begun: Vec::new(),
            ended: HashSet::new(),
            requests: Vec::new(),
            ran: HashSet::new(),
        };
        let mut world = World {
            sides: [side(0), side(1)],
            wires: Vec::new(),
            now: Now::default(),
            answers: HashMap::new(),
            pipes: Vec::new(),
        };
        for _ in 0..4 {
            world.pass(Duration::from_millis(500));
            world.flow();
        }
        world
    }

    fn feed(&mut self, side: usize, input: Input<'_>) {
        self.sides[side].engine.handle(self.now, input);
        self.drain();
    }

    fn pass(&mut self, time: Duration) {
        self.now.at = Time(self.now.at.0 + time);
        for side in 0..2 {
            self.feed(side, Input::Tick);
        }
    }

    /// Carries out the outputs of the engines, until neither has any.
    fn drain(&mut self) {
        while let Some((side, output)) =
            (0..2).find_map(|side| Some((side, self.sides[side].engine.poll()?)))
        {
            self.output(side, output);
        }
    }

    fn output(&mut self, side: usize, output: Output) {
        let now = self.now;
        match output {
            Output::Broadcast(bytes) => {
                let from = address(side);
                self.sides[1 - side].engine.handle(now, Input::Datagram { from, bytes: &bytes });
            }
            Output::Dial(link, to) => self.dial(side, link, to),
            Output::Close(link, last) => {
                let Some(wire) = self.sides[side].links.remove(&link) else { return };
                let end = self.end_of(wire, side, link);
                let wire = &mut self.wires[wire];
                wire.open[end] = false;
                wire.coming[1 - end].extend(last);
                wire.closing[1 - end] = true;
            }
            Output::Request(request) => {
                assert!(self.sides[side].ran.insert(request.id), "a handler ran twice");
                if request.streams {
                    for channel in [Channel::Request, Channel::Response] {
                        let id = StreamId { call: request.id, channel };
                        self.pipe(id);
                    }
                }
                self.sides[side].requests.push((request.id, request.streams));
            }
            Output::Ended(number, result) => {
                self.ended(side, number, result.map(Payload::into_bytes));
            }
            _ => {}
        }
    }

    fn ended(&mut self, side: usize, number: CallNumber, result: Result<Vec<u8>, Error>) {
        let side = &mut self.sides[side];
        assert!(side.ended.insert(number), "ended twice");
        let id = RequestId { caller: side.engine.instance(), number: number.0 };
        // A broadcast ends with its report, which no handler gave.
        if let (Ok(value), Some(answer)) = (result, self.answers.get(&id)) {
            assert!(value == *answer, "a value that was not given");
        }
    }

    fn dial(&mut self, side: usize, link: LinkId, to: SocketAddr) {
        let other = side_at(to);
        let from = SocketAddr::new(address(side).ip(), 40_000);
        match self.sides[other].engine.accept(self.now, from) {
            None => self.sides[side].engine.handle(self.now, Input::Closed(link)),
            Some(there) => {
                let index = self.wires.len();
                self.wires.push(Wire {
                    sides: [side, other],
                    links: [link, there],
                    open: [true; 2],
                    coming: Default::default(),
                    closing: [false; 2],
                    silent: false,
                });
                self.sides[side].links.insert(link, index);
                self.sides[other].links.insert(there, index);
                self.sides[side].engine.handle(self.now, Input::Connected(link));
            }
        }
    }

    fn end_of(&self, wire: usize, side: usize, link: LinkId) -> usize {
        let wire = &self.wires[wire];
        usize::from(wire.sides[0] != side || wire.links[0] != link)
    }

    /// Takes at most `most` bytes that wait to be written at an end of a wire. Returns how many.
    fn take(&mut self, wire: usize, end: usize, most: usize) -> usize {
        let w = &mut self.wires[wire];
        if !w.open[end] {
            return 0;
        }
        let (side, link) = (w.sides[end], w.links[end]);
        let pending = self.sides[side].engine.pending(link);
        let n = pending.len().min(most);
        if !w.silent {
            w.coming[1 - end].extend(&pending[..n]);
        }
        if n > 0 {
            self.feed(side, Input::Sent(link, n));
        }
        n
    }

    /// Brings at most `most` bytes to an end of a wire. Returns how many.
    fn bring(&mut self, wire: usize, end: usize, most: usize) -> usize {
        let w = &mut self.wires[wire];
        let n = w.coming[end].len().min(most);
        let bytes: Vec<u8> = w.coming[end].drain(..n).collect();
        if !w.open[end] {
            return 0;
        }
        let (side, link) = (w.sides[end], w.links[end]);
        if n > 0 {
            self.feed(side, Input::Received(link, &bytes));
        }
        let w = &self.wires[wire];
        if w.closing[end] && w.coming[end].is_empty() && w.open[end] {
            self.hang_up(wire, end);
            return n + 1;
        }
        n
    }

    /// Tells an end of a wire that the connection has closed.
    fn hang_up(&mut self, wire: usize, end: usize) {
        let w = &mut self.wires[wire];
        if std::mem::take(&mut w.open[end]) {
            let (side, link) = (w.sides[end], w.links[end]);
            w.closing[1 - end] = true;
            self.sides[side].links.remove(&link);
            self.feed(side, Input::Closed(link));
        }
    }

    /// Lets the wires carry all bytes, until there are no more.
    fn flow(&mut self) {
        for _ in 0..500 {
            let mut moved = 0;
            for wire in 0..self.wires.len() {
                for end in 0..2 {
                    moved += self.take(wire, end, usize::MAX);
                    moved += self.bring(wire, 1 - end, usize::MAX);
                }
            }
            for side in 0..2 {
                let due = self.sides[side].engine.deadline();
                if due.is_some_and(|due| due <= self.now.at) {
                    self.feed(side, Input::Tick);
                }
            }
            if moved == 0 {
                return;
            }
        }
    }

    fn pipe(&mut self, id: StreamId) -> &mut Pipe {
        let at = self.pipes.iter().position(|(i, _)| *i == id).unwrap_or_else(|| {
            self.pipes.push((id, Pipe::default()));
            self.pipes.len() - 1
        });
        &mut self.pipes[at].1
    }

    fn caller_of(&self, id: StreamId) -> usize {
        usize::from(self.sides[1].engine.instance() == id.call.caller)
    }

    /// The side that writes a stream, and the side that reads it.
    fn ends_of(&self, id: StreamId) -> (usize, usize) {
        let caller = self.caller_of(id);
        match id.channel {
            Channel::Request => (caller, 1 - caller),
            _ => (1 - caller, caller),
        }
    }

    fn call(&mut self, side: usize, to: usize, n: usize, streams: bool) {
        let large = if n & 64 == 0 { 0 } else { LARGE };
        let ask = match n & 32 {
            0 => Ask::Command {
                path: CommandPath::new("p").expect("a path"),
                args: vec![n as u8; n + large],
                kwargs: Vec::new(),
            },
            _ => Ask::Message(vec![n as u8; n + large]),
        };
        let timeout = Duration::from_secs(1 + (n % 4) as u64);
        let terms = Terms { timeout, wait: n & 16 == 0, streams };
        if let Ok(number) = self.sides[side].engine.call(self.now, &name(NAMES[to]), ask, terms) {
            self.sides[side].begun.push(number);
        }
        self.drain();
    }

    fn broadcast(&mut self, side: usize, n: usize) {
        let timeout = Duration::from_secs(2);
        if let Ok(number) = self.sides[side].engine.broadcast(self.now, &vec![1; n * 300], timeout) {
            self.sides[side].begun.push(number);
        }
        self.drain();
    }

    fn reply(&mut self, side: usize, n: usize) {
        if self.sides[side].requests.is_empty() {
            return;
        }
        let at = n % self.sides[side].requests.len();
        let (id, streams) = self.sides[side].requests.remove(at);
        let status = if n & 128 == 0 { Status::Value } else { Status::Failed };
        let body = vec![id.number as u8; n + if n & 64 == 0 { 0 } else { LARGE }];
        if status == Status::Value {
            self.answers.insert(id, body.clone());
        }
        if streams {
            let pipe = self.pipe(StreamId { call: id, channel: Channel::Response });
            match status {
                Status::Value => pipe.finished |= !pipe.aborted,
                _ => pipe.aborted |= !pipe.finished,
            }
        }
        self.sides[side].engine.reply(self.now, id, status, body);
        self.drain();
    }

    fn accept(&mut self, side: usize, n: usize) {
        let requests = &self.sides[side].requests;
        if let Some((id, _)) = requests.get(n % requests.len().max(1)).copied() {
            let _ = self.sides[side].engine.accept_streams(self.now, id);
            self.drain();
        }
    }

    fn write(&mut self, at: usize, n: usize) {
        let (id, pipe) = &self.pipes[at];
        let (id, from) = (*id, pipe.written);
        let (writer, _) = self.ends_of(id);
        let bytes: Vec<u8> = (from..from + n as u64).map(|at| content(id, at)).collect();
        if let Ok(taken) = self.sides[writer].engine.stream_write(self.now, id, &bytes) {
            assert!(taken <= n);
            self.pipes[at].1.written += taken as u64;
        }
        self.drain();
    }

    /// Reads from a stream. Returns whether it read something.
    fn read(&mut self, at: usize, n: usize) -> bool {
        let id = self.pipes[at].0;
        let (_, reader) = self.ends_of(id);
        let mut buf = vec![0; n];
        let got = self.sides[reader].engine.stream_read(self.now, id, &mut buf);
        let pipe = &mut self.pipes[at].1;
        match got {
            _ if n == 0 || pipe.over => {}
            Ok(Some(0)) => {
                assert!(pipe.finished, "whole before it was finished");
                assert_eq!(pipe.read, pipe.written, "whole, but it is not");
                pipe.over = true;
            }
            Ok(Some(read)) => {
                let from = pipe.read;
                pipe.read += read as u64;
                assert!(pipe.read <= pipe.written, "more than was written");
                let mut expected = (from..).map(|at| content(id, at));
                assert!(buf[..read].iter().all(|b| Some(*b) == expected.next()), "not in order");
            }
            Ok(None) | Err(_) => {}
        }
        self.drain();
        matches!(got, Ok(Some(1..)))
    }

    fn end_write(&mut self, at: usize, n: usize) {
        let id = self.pipes[at].0;
        let (writer, _) = self.ends_of(id);
        if writer != self.caller_of(id) && !self.sides[writer].ran.contains(&id.call) {
            // The call has not arrived, so no program could write.
            return;
        }
        let (engine, pipe) = (&mut self.sides[writer].engine, &mut self.pipes[at].1);
        match n % 3 {
            0 => {
                pipe.finished |= !pipe.aborted;
                engine.stream_finish(self.now, id);
            }
            1 => {
                pipe.aborted |= !pipe.finished;
                engine.stream_abort(self.now, id, "why");
            }
            // A call that has streamed nothing may still succeed.
            _ => engine.stream_let_go(self.now, id),
        }
        self.drain();
    }

    fn close_read(&mut self, at: usize) {
        let id = self.pipes[at].0;
        let (_, reader) = self.ends_of(id);
        self.pipes[at].1.over = true;
        self.sides[reader].engine.stream_close(self.now, id);
        self.drain();
    }

    fn begin_stream(&mut self, side: usize, n: usize) {
        self.call(side, 1 - side, n, true);
        let begun = self.sides[side].begun.last().copied();
        if let Some(number) = begun.filter(|b| !self.sides[side].ended.contains(b)) {
            let call = RequestId { caller: self.sides[side].engine.instance(), number: number.0 };
            // The caller's program holds both streams, also if the call never arrives.
            self.pipe(StreamId { call, channel: Channel::Request });
            self.pipe(StreamId { call, channel: Channel::Response });
        }
    }

    fn check_bounds(&self) {
        for side in &self.sides {
            let stats = side.engine.stats();
            assert!(stats.streams <= 8 + 2 * stats.serving + 2 * stats.calls_open);
        }
    }

    fn step(&mut self, op: u8, n: usize) {
        let side = usize::from(op & 1);
        let pipes = self.pipes.len();
        let wire = n % self.wires.len().max(1);
        match op >> 1 & 15 {
            0 => self.call(side, n >> 7 & 1, n, false),
            1 => self.begin_stream(side, n),
            2 => self.reply(side, n),
            3 => self.accept(side, n),
            4 if pipes > 0 => self.write(n % pipes, n * 200),
            5 if pipes > 0 => drop(self.read(n % pipes, n * 200)),
            6 if pipes > 0 => self.end_write(n % pipes, n),
            7 if pipes > 0 => self.close_read(n % pipes),
            8 => {
                let begun = &self.sides[side].begun;
                if let Some(number) = begun.get(n % begun.len().max(1)).copied() {
                    self.sides[side].engine.cancel(self.now, number);
                    self.drain();
                }
            }
            9 => self.broadcast(side, n),
            10 if !self.wires.is_empty() => {
                let last = self.wires.len() - 1;
                self.take(last, side, n * 300);
            }
            11 if !self.wires.is_empty() => {
                let last = self.wires.len() - 1;
                self.bring(last, side, n * 300);
            }
            12 if !self.wires.is_empty() => match op >> 5 & 3 {
                0 => self.wires[wire].silent = true,
                _ => self.hang_up(wire, side),
            },
            13 => self.pass(Duration::from_millis(1 << (n % 12))),
            _ => self.flow(),
        }
        self.check_bounds();
    }

    /// The programs end everything that they have begun, and the network works again.
    fn settle(&mut self) {
        for wire in 0..self.wires.len() {
            if self.wires[wire].silent {
                (0..2).for_each(|end| self.hang_up(wire, end));
            }
        }
        for _ in 0..6 {
            self.flow();
            for at in 0..self.pipes.len() {
                while self.read(at, 100_000) {}
            }
            self.pass(Duration::from_millis(700));
        }
        while let Some(side) = (0..2).find(|side| !self.sides[*side].requests.is_empty()) {
            self.reply(side, 0);
        }
        for at in 0..self.pipes.len() {
            self.end_write(at, 2);
            self.close_read(at);
        }
        for _ in 0..10 {
            self.flow();
            self.pass(Duration::from_secs(1));
            while let Some(side) = (0..2).find(|side| !self.sides[*side].requests.is_empty()) {
                self.reply(side, 0);
            }
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let mut world = World::new();
    for step in data.chunks_exact(2).take(300) {
        world.step(step[0], usize::from(step[1]));
    }
    world.settle();
    for side in &world.sides {
        let s = side.engine.stats();
        assert_eq!((s.calls_open, s.serving, s.streams), (0, 0, 0), "of what is over");
    }
    for side in 0..2 {
        world.sides[side].engine.stop(world.now);
        world.flow();
    }
    for side in &world.sides {
        let s = side.engine.stats();
        assert_eq!((s.peers, s.links, s.calls_open, s.serving, s.streams), (0, 0, 0, 0, 0));
        assert!(side.begun.iter().all(|number| side.ended.contains(number)), "never ended");
    }
});
