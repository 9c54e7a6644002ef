//! A malicious member, past the handshake. Whatever it says under the right keys, in order, an
//! engine stays within its limits, ends each of its own calls once, and holds nothing when it is
//! stopped. The input is a script of records and of what the program here does meanwhile.
#![no_main]

mod counter;

use counter::Counter;
use libfuzzer_sys::fuzz_target;
use peerbase::engine::{Ask, Config, Engine, Input, LinkId, Now, Output, RequestId, StreamId, Terms, Time};
use peerbase::fernet::{Key, Keyring, Sealer};
use peerbase::Identity;
use peerbase::frame::{Frame, FrameType, Parsed, encode, parse};
use peerbase::handshake::{Credentials, Initiator, NetworkKeys, Own, SessionKeys};
use peerbase::limits::FRAME_MAX;
use peerbase::name::{CommandPath, NetworkName, NodeName};
use peerbase::wire::handshake::Envelope;
use peerbase::wire::record::{Channel, Status};
use std::collections::HashSet;
use std::sync::OnceLock;
use std::time::Duration;

fn key() -> Key {
    Key::from_bytes([7; 32])
}

fn name(text: &str) -> NodeName {
    NodeName::new(text).expect("a name")
}

fn sealed(kind: FrameType, sealer: &Sealer, plain: &[u8]) -> Vec<u8> {
    let (mut token, mut out) = (Vec::new(), Vec::new());
    sealer.seal(plain, 1, &[1; 16], &mut token);
    encode(&Frame { net: "fuzz", kind, payload: &token }, &mut out);
    out
}

/// The other side of a session, with its keys and the sequence of its next record.
struct Member {
    link: LinkId,
    keys: SessionKeys,
    sequence: u64,
}

/// The next frame that waits for a link, decoded as a message of a handshake.
fn answer(engine: &mut Engine, now: Now, link: LinkId) -> Envelope {
    let pending = engine.pending(link).to_vec();
    let Ok(Parsed::Complete(frame, _)) = parse(&pending, FRAME_MAX) else {
        panic!("no answer")
    };
    let answer = Envelope::decode(frame.payload).expect("a message of a handshake");
    engine.handle(now, Input::Sent(link, pending.len()));
    answer
}

fn say(engine: &mut Engine, now: Now, link: LinkId, envelope: &Envelope) {
    let (mut payload, mut out) = (Vec::new(), Vec::new());
    envelope.encode(&mut payload);
    encode(&Frame { net: "fuzz", kind: FrameType::HELLO, payload: &payload }, &mut out);
    engine.handle(now, Input::Received(link, &out));
}

impl Member {
    /// Makes a session. `entropy` goes on from one to the next, as a question that came before is
    /// not answered.
    fn join(engine: &mut Engine, now: Now, entropy: &mut Counter) -> Member {
        let from = "10.0.0.1:1".parse().expect("an address");
        let link = engine.accept(now, from).expect("room");
        // Made once: a signature takes longer than the rest of a short script.
        static KEYS: OnceLock<(NetworkName, NetworkKeys, Credentials)> = OnceLock::new();
        let (network, keys, credentials) = KEYS.get_or_init(|| {
            let network = NetworkName::new("fuzz").expect("a name");
            let keys = NetworkKeys::new(&Keyring::from(key()), &network);
            let identity = Identity::from_seed([9; 32]);
            (network, keys, Credentials::new(&identity, false, [9; 16]))
        });
        let own = Own {
            keys,
            network,
            credentials,
            name: &name("m"),
            port: 9,
            probing: false,
            list: 0,
        };
        let (mut initiator, first) = Initiator::begin(own, entropy);
        say(engine, now, link, &first);
        let second = answer(engine, now, link);
        let party = initiator.read(&second.message).expect("an answer");
        let (third, keys) = initiator.finish(own, &party.name, entropy).expect("a proof");
        say(engine, now, link, &third);
        Member { link, keys, sequence: 0 }
    }

    fn say(&mut self, engine: &mut Engine, now: Now, record: &[u8]) {
        let plain = [&self.sequence.to_be_bytes(), record].concat();
        self.sequence += 1;
        let frame = sealed(FrameType::MESSAGE, self.keys.outbound.sealer(), &plain);
        engine.handle(now, Input::Received(self.link, &frame));
    }
}

fuzz_target!(|data: &[u8]| {
    let limits = peerbase::Limits {
        max_message: 10_000,
        message_bytes: 40_000,
        streams: 8,
        stream_window: 100_000,
        ..peerbase::Limits::default()
    };
    let config = Config {
        network: NetworkName::new("fuzz").expect("a name"),
        name: name("n"),
        keys: Keyring::from(key()),
        identity: Identity::from_seed([1; 32]),
        keeps_identity: false,
        mode: Default::default(),
        port: 1,
        address: None,
        interval: Duration::from_secs(1),
        lan: false,
        relays: Vec::new(),
        max_remotes: 0,
        relay_keepalive: Duration::from_secs(10),
        limits,
        rules: Default::default(),
    };
    let mut now = Now::default();
    let mut engine = Engine::new(config, Box::new(Counter(0)), now);
    now.at = Time(Duration::from_secs(2));
    engine.handle(now, Input::Tick);
    let mut entropy = Counter(7);
    let mut member = Member::join(&mut engine, now, &mut entropy);
    let (mut begun, mut ended, mut requests) = (HashSet::new(), HashSet::new(), Vec::new());
    let mut rest = data;
    while let Some((&op, tail)) = rest.split_first() {
        let n = usize::from(tail.first().copied().unwrap_or(0)).min(tail.len());
        let (bytes, tail) = tail.split_at(n);
        rest = tail;
        let own = RequestId { caller: engine.instance(), number: 1 };
        let call = match op & 64 {
            0 => requests.last().copied().unwrap_or(own),
            _ => own,
        };
        let stream = |channel| StreamId { call, channel };
        let (request, response) = (stream(Channel::Request), stream(Channel::Response));
        let (read, write) = match call == own {
            true => (response, request),
            false => (request, response),
        };
        match op & 15 {
            0..=5 => {
                // The script chooses the kind and the channel; the rest is as it comes.
                member.say(&mut engine, now, bytes.get(1..).unwrap_or_default());
            }
            6 => {
                let path = CommandPath::new("p").expect("a path");
                let ask = Ask::Command { path, args: bytes.repeat(60), kwargs: Vec::new() };
                let timeout = Duration::from_millis(n as u64 * 10);
                let terms = Terms { timeout, wait: false, streams: op & 16 != 0 };
                if let Ok(number) = engine.call(now, &name("m"), ask, terms) {
                    begun.insert(number);
                }
            }
            7 => {
                if let Ok(number) = engine.broadcast(now, bytes, Duration::from_secs(1)) {
                    begun.insert(number);
                }
            }
            8 => drop(engine.accept_streams(now, call)),
            9 => drop(engine.stream_write(now, write, &bytes.repeat(100))),
            10 => engine.stream_finish(now, write),
            11 => engine.stream_abort(now, write, "why"),
            12 => {
                let mut buf = vec![0; n * 50];
                if let Ok(Some(read)) = engine.stream_read(now, read, &mut buf) {
                    assert!(read <= buf.len());
                }
            }
            13 => engine.stream_close(now, read),
            14 => {
                if let Some(id) = requests.pop() {
                    engine.reply(now, id, Status::Value, bytes.repeat(60));
                }
            }
            _ => {
                now.at = Time(now.at.0 + Duration::from_millis(1 << (n % 14)));
                engine.handle(now, Input::Tick);
            }
        }
        // The member takes what waits for it, unless the script says otherwise.
        let pending = engine.pending(member.link).len();
        if op & 128 == 0 && pending > 0 {
            engine.handle(now, Input::Sent(member.link, pending));
        }
        while let Some(output) = engine.poll() {
            match output {
                Output::Request(request) => requests.push(request.id),
                Output::Ended(number, _) => assert!(ended.insert(number), "ended twice"),
                Output::Close(link, _) if link == member.link => {
                    // The engine answers so many questions a second.
                    now.at = Time(now.at.0 + Duration::from_millis(50));
                    member = Member::join(&mut engine, now, &mut entropy);
                }
                _ => {}
            }
        }
        let stats = engine.stats();
        // There are two more streams for each large message that is under way.
        assert!(stats.streams <= 8 + 2 * stats.serving + 2 * stats.calls_open);
        assert!(engine.pending(member.link).len() <= 1 << 20);
    }
    engine.stop(now);
    while let Some(output) = engine.poll() {
        if let Output::Ended(number, _) = output {
            assert!(ended.insert(number), "ended twice");
        }
    }
    assert_eq!(begun, ended);
    let s = engine.stats();
    assert_eq!((s.peers, s.links, s.calls_open, s.serving, s.streams), (0, 0, 0, 0, 0));
});
