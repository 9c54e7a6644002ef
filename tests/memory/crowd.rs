//! Members of a relay over real sockets: senders that use their whole windows, and readers that are
//! steady but slow.

use peerbase::frame::{FrameType, Parsed, parse};
use peerbase::limits::{FRAME_MAX, ROUTE_WINDOW};
use peerbase::wire::relay::{FromRelay, Route, encode_forward};
use socket2::{Domain, Socket, Type};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

const NETWORK: &str = "crowd";
/// Bytes that a slow reader takes at once, and how long it then takes nothing.
const SLOW: usize = 16 * 1024;
const PAUSE: Duration = Duration::from_millis(2);
/// Bytes of a sender's frames.
const FRAME: usize = 30_000;

/// What is on its way to one reader.
#[derive(Default)]
struct Flow {
    sent: u64,
    /// What the relay has said of it last.
    gone: u64,
}

pub(crate) struct Member {
    socket: TcpStream,
    came: Vec<u8>,
    pub route: Option<Route>,
    /// To whom how much is under way.
    under_way: Vec<(Route, Flow)>,
}

impl Member {
    pub(crate) fn join(relay: SocketAddr) -> Member {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        // What waits, waits in the relay and not in the kernel.
        socket.set_recv_buffer_size(8 * 1024).unwrap();
        socket.connect(&relay.into()).unwrap();
        let timeout = Some(Duration::from_secs(60));
        socket.set_read_timeout(timeout).unwrap();
        socket.set_write_timeout(timeout).unwrap();
        let mut member = Member {
            socket: socket.into(),
            came: Vec::new(),
            route: None,
            under_way: Vec::new(),
        };
        let join = "|reg|join.2.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=|END\n";
        write!(member.socket, "{NETWORK}{join}").unwrap();
        while member.route.is_none() {
            assert!(member.hear(SLOW) > 0, "the relay closed the link");
        }
        member
    }

    /// Reads at most so much, and heeds what the relay says; how much that was.
    fn hear(&mut self, most: usize) -> usize {
        let mut buf = vec![0; most];
        let n = self.socket.read(&mut buf).expect("the relay is there");
        self.came.extend_from_slice(&buf[..n]);
        let (mut at, came) = (0, std::mem::take(&mut self.came));
        while let Ok(Parsed::Complete(frame, used)) = parse(&came[at..], FRAME_MAX) {
            at += used;
            if frame.kind != FrameType::REGISTER {
                continue;
            }
            match FromRelay::decode(frame.payload).map(|said| said.word) {
                Ok(FromRelay::Joined(route)) => self.route = Some(route),
                Ok(FromRelay::Credit(route, n) | FromRelay::Busy(route, n)) => {
                    let mut flows = self.under_way.iter_mut();
                    if let Some((_, flow)) = flows.find(|(to, _)| *to == route) {
                        flow.gone = n;
                    }
                }
                _ => {}
            }
        }
        self.came = came[at..].to_vec();
        n
    }

    /// Sends to all of them what the windows let it, until it is over.
    pub(crate) fn send_to(mut self, readers: &[Route], over: &AtomicBool) {
        let flows = readers.iter().map(|route| (*route, Flow::default()));
        self.under_way = flows.collect();
        let mut frame = Vec::new();
        while !over.load(Relaxed) {
            let mut sent = false;
            for (i, reader) in readers.iter().enumerate() {
                frame.clear();
                encode_forward(NETWORK, reader, FrameType::MESSAGE, &mut frame, |out| {
                    out.extend_from_slice(&[b'A'; FRAME]);
                });
                let flow = &mut self.under_way[i].1;
                let n = frame.len() as u64;
                if flow.sent - flow.gone + n <= ROUTE_WINDOW.into() {
                    flow.sent += n;
                    self.socket.write_all(&frame).expect("the relay takes it");
                    sent = true;
                }
            }
            if !sent {
                assert!(self.hear(SLOW) > 0, "the relay closed the link");
            }
        }
    }

    /// Reads steadily, but slowly, until it is over.
    pub(crate) fn read_slowly(mut self, over: &AtomicBool, passed: &AtomicU64) {
        while !over.load(Relaxed) {
            let n = self.hear(SLOW);
            assert!(n > 0, "the relay closed the link");
            passed.fetch_add(n as u64, Relaxed);
            std::thread::sleep(PAUSE);
        }
    }
}
