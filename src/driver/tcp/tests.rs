//! Writing to links of sockets on loopback.

use super::*;
use crate::protocol::LinkWriter;
use std::net::TcpListener as Listener;

const LINK: LinkId = LinkId(1);
/// More than the kernel takes for a socket that nobody reads.
const MUCH: usize = 32 * 1024 * 1024;
const PATIENCE: Duration = Duration::from_secs(60);

/// A protocol that has bytes to write to one link.
#[derive(Debug, Default)]
struct Feeder {
    waits: Vec<u8>,
    /// What waits once all of that is written.
    next: Vec<u8>,
    visits: usize,
    closed: usize,
}

impl Protocol for Feeder {
    fn accept(&mut self, _: Now, _: SocketAddr) -> Option<LinkId> {
        None
    }

    fn link(&mut self, _: Now, id: LinkId, event: LinkEvent<'_>) {
        assert_eq!(id, LINK);
        self.closed += usize::from(matches!(event, LinkEvent::Closed));
    }

    fn transmit(&mut self, _: Now, id: LinkId, write: &mut LinkWriter<'_>) -> bool {
        assert_eq!(id, LINK);
        self.visits += 1;
        if self.waits.is_empty() {
            return false;
        }
        let taken = write(&self.waits);
        self.waits.drain(..taken);
        if self.waits.is_empty() {
            self.waits = std::mem::take(&mut self.next);
        }
        !self.waits.is_empty()
    }
}

/// A link, the other end of its socket, and what watches it.
struct World {
    _poller: Poller,
    tcp: Tcp,
    other: std::net::TcpStream,
}

impl World {
    fn new() -> World {
        let (poller, _, registry) = Poller::open().unwrap();
        let listener = Listener::bind("127.0.0.1:0").unwrap();
        let socket = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        socket.set_nonblocking(true).unwrap();
        let (other, _) = listener.accept().unwrap();
        other.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut tcp = Tcp::new(registry, Lane::NATIVE);
        assert!(tcp.add(LINK, TcpStream::from_std(socket), true));
        World {
            _poller: poller,
            tcp,
            other,
        }
    }

    /// Writes what waits for the link; whether the protocol was told something.
    fn flush(&mut self, feeder: &mut Feeder) -> bool {
        self.tcp.mark_writable(LINK);
        self.tcp.flush(feeder, Now::default())
    }

    fn read(&mut self, n: usize) -> Vec<u8> {
        let mut bytes = vec![0; n];
        self.other.read_exact(&mut bytes).unwrap();
        bytes
    }
}

#[test]
fn what_waits_is_written_in_one_visit() {
    let (mut world, mut feeder) = (World::new(), Feeder::default());
    feeder.waits = b"hello".to_vec();
    assert!(world.flush(&mut feeder));
    assert_eq!((world.read(5), feeder.visits), (b"hello".to_vec(), 1));
    assert!(!world.tcp.flush(&mut feeder, Now::default()));
    assert_eq!(feeder.visits, 1, "nothing is marked");
}

#[test]
fn what_had_to_wait_for_room_is_written_as_well() {
    let (mut world, mut feeder) = (World::new(), Feeder::default());
    (feeder.waits, feeder.next) = (b"one ".to_vec(), b"two".to_vec());
    assert!(world.flush(&mut feeder));
    assert_eq!((world.read(7), feeder.visits), (b"one two".to_vec(), 2));
}

#[test]
fn a_link_that_is_full_is_left_until_it_takes_more() {
    let (mut world, mut feeder) = (World::new(), Feeder::default());
    let all: Vec<u8> = (0..MUCH).map(|at| (at / 1_000) as u8).collect();
    feeder.waits = all.clone();
    let mut read = Vec::new();
    while read.len() < MUCH {
        let (before, visits) = (feeder.waits.len(), feeder.visits);
        let told = world.flush(&mut feeder);
        assert_eq!(told, feeder.waits.len() < before);
        assert_eq!(feeder.visits, visits + 1, "it is not tried again at once");
        let written = MUCH - feeder.waits.len();
        let next = world.read(written - read.len());
        read.extend(next);
    }
    assert!(read == all, "each byte once and in order");
}

#[test]
fn a_link_that_breaks_while_it_is_written_is_said_to_have_ended() {
    let (mut world, mut feeder) = (World::new(), Feeder::default());
    feeder.waits = b"unread".to_vec();
    assert!(world.flush(&mut feeder));
    world.other = World::new().other;
    let began = std::time::Instant::now();
    while feeder.closed == 0 {
        assert!(began.elapsed() < PATIENCE, "it never breaks");
        feeder.waits = b"more".to_vec();
        world.flush(&mut feeder);
    }
    assert!(!world.flush(&mut feeder), "the link is gone");
    assert_eq!(feeder.closed, 1);
}

#[test]
fn a_link_that_is_not_connected_yet_is_not_written() {
    let (mut world, mut feeder) = (World::new(), Feeder::default());
    feeder.waits = b"early".to_vec();
    world.tcp.connections.get_mut(&LINK).unwrap().connected = false;
    assert!(!world.flush(&mut feeder));
    assert_eq!(feeder.visits, 0);
    world.tcp.connections.get_mut(&LINK).unwrap().connected = true;
    assert!(world.flush(&mut feeder), "it can be marked again");
    assert_eq!(world.read(5), b"early");
}
