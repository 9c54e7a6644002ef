//! Somebody on the way to a relay, who forwards everything and keeps a copy.

use crate::Outcome;
use peerbase::fernet::Keyring;
use peerbase::frame::{Frame, FrameType, Parsed, parse};
use peerbase::limits::FRAME_MAX;
use peerbase::wire::relay::Forward;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// The bytes of one direction of one connection.
type Recording = Arc<Mutex<Vec<u8>>>;

/// Listens on a port of its own, and forwards each connection to the relay. Its threads end with
/// the connections, and the last one with the process.
pub(super) struct Recorder {
    address: SocketAddr,
    recordings: Arc<Mutex<Vec<Recording>>>,
}

/// How many tokens of a kind were recorded, and how many of them some keys open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) recorded: usize,
    pub(super) opened: usize,
}

impl Recorder {
    pub(super) fn start(relay: String) -> Outcome<Recorder> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let recordings = Arc::new(Mutex::new(Vec::new()));
        let kept = recordings.clone();
        thread::spawn(move || {
            for near in listener.incoming().flatten() {
                if let Ok(far) = TcpStream::connect(&relay) {
                    let _ = record_both(&near, &far, &kept);
                }
            }
        });
        Ok(Recorder {
            address,
            recordings,
        })
    }

    /// Where to connect in place of the relay.
    pub(super) fn address(&self) -> String {
        self.address.to_string()
    }

    /// Tries keys on all tokens of these types that were recorded inside `fwd` frames, from the
    /// `skip`th byte of their payload on.
    pub(super) fn tally(&self, kinds: &[FrameType], skip: usize, keys: &[&Keyring]) -> Tally {
        let mut tally = Tally::default();
        let mut buf = Vec::new();
        self.each_frame(|frame| {
            let Ok(forward) = Forward::decode(frame.payload) else {
                return;
            };
            if frame.kind != FrameType::FORWARD || !kinds.contains(&forward.kind) {
                return;
            }
            let token = forward.payload.get(skip..).unwrap_or_default();
            tally.recorded += 1;
            let opened = keys.iter().any(|ring| ring.open(token, &mut buf).is_ok());
            tally.opened += usize::from(opened);
        });
        tally
    }

    /// Whether these bytes were seen anywhere.
    pub(super) fn has_seen(&self, bytes: &[u8]) -> bool {
        let recordings = lock(&self.recordings);
        let mut all = recordings.iter();
        all.any(|one| lock(one).windows(bytes.len()).any(|w| w == bytes))
    }

    fn each_frame(&self, mut visit: impl FnMut(&Frame<'_>)) {
        for recording in lock(&self.recordings).iter() {
            let bytes = lock(recording);
            let mut rest = &bytes[..];
            while let Ok(Parsed::Complete(frame, used)) = parse(rest, FRAME_MAX) {
                visit(&frame);
                rest = &rest[used..];
            }
        }
    }
}

fn lock<T>(of: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

fn record_both(
    near: &TcpStream,
    far: &TcpStream,
    recordings: &Mutex<Vec<Recording>>,
) -> std::io::Result<()> {
    for (from, to) in [(near, far), (far, near)] {
        let (from, to) = (from.try_clone()?, to.try_clone()?);
        to.set_nodelay(true)?;
        let recording = Recording::default();
        lock(recordings).push(recording.clone());
        thread::spawn(move || forward(from, to, &recording));
    }
    Ok(())
}

fn forward(mut from: TcpStream, mut to: TcpStream, recording: &Mutex<Vec<u8>>) {
    let mut buf = [0; 16 * 1024];
    while let Ok(n @ 1..) = from.read(&mut buf) {
        lock(recording).extend_from_slice(&buf[..n]);
        if to.write_all(&buf[..n]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}
