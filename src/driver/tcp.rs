//! TCP: the listener, dials, and connections with their reading and writing.

mod connection;
#[cfg(test)]
mod tests;

use super::poller::{Lane, Poller};
use super::tokens::Tokens;
use crate::error::Error;
use crate::logging::record;
use crate::protocol::{LinkEvent, LinkId, Now, Protocol, Time};
use crate::table::Table;
use connection::{Connection, Written};
use mio::event::Event;
use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Registry};
use socket2::{Domain, Socket, Type};
use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::time::Duration;

/// Bytes read from a link at once.
const READ: usize = 64 * 1024;
/// Links accepted in one round.
const ACCEPTS: usize = 64;
/// How long to leave the listener alone when descriptors or memory have run out.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);
/// A link that wrote nothing for this long has delivered all of it, or never will: TCP would have
/// sent it again several times.
const LINGER_FOR: Duration = Duration::from_secs(2);
/// Reads from a link that lingers at each event.
const LINGERING_READS: usize = 16;
/// Connections the kernel holds for us.
const BACKLOG: i32 = 1_024;

/// A link that was closed here while the other side may not have all of it yet: closed outright
/// with input unread, the kernel would throw away what it has not delivered (RFC 1122, section
/// 4.2.2.13).
#[derive(Debug)]
struct Lingering {
    links: Table<LinkId, TcpStream>,
    /// Links that wrote after this are waited for.
    since: Time,
}

#[derive(Debug)]
pub(crate) struct Tcp {
    registry: Registry,
    lane: Lane,
    tokens: Tokens,
    listener: Option<TcpListener>,
    can_accept: bool,
    retry_at: Option<Time>,
    connections: Table<LinkId, Connection>,
    /// Links with input that was not read yet.
    unread: VecDeque<LinkId>,
    /// How many of them this round serves.
    round: usize,
    /// Links with output that was not written yet.
    unwritten: Vec<LinkId>,
    /// Links whose other side is waited for; only while stopping.
    lingering: Option<Lingering>,
    buf: Box<[u8]>,
}

impl Tcp {
    pub(crate) fn new(registry: Registry, lane: Lane) -> Tcp {
        Tcp {
            registry,
            lane,
            tokens: Tokens::default(),
            listener: None,
            can_accept: false,
            retry_at: None,
            connections: Table::default(),
            unread: VecDeque::new(),
            round: 0,
            unwritten: Vec::new(),
            lingering: None,
            buf: vec![0; READ].into_boxed_slice(),
        }
    }

    /// Listens at an address, or else at the next; where that is.
    pub(crate) fn listen(&mut self, addresses: &[SocketAddr]) -> Result<SocketAddr, Error> {
        let doing = "listening for links";
        let mut bound = Err(Error::Argument("no address to listen at"));
        for address in addresses {
            bound = bind(*address).map_err(|e| match e.kind() {
                io::ErrorKind::AddrInUse => Error::PortInUse(*address),
                _ => Error::io(doing, &e),
            });
            if bound.is_ok() {
                break;
            }
        }
        let mut listener = bound?;
        let address = listener.local_addr().map_err(|e| Error::io(doing, &e))?;
        self.registry
            .register(&mut listener, self.lane.listener(), Interest::READABLE)
            .map_err(|e| Error::io("watching for links", &e))?;
        self.listener = Some(listener);
        Ok(address)
    }

    pub(crate) fn retry_at(&self) -> Option<Time> {
        self.retry_at
    }

    pub(crate) fn has_unread(&self) -> bool {
        !self.unread.is_empty() || (self.can_accept && self.retry_at.is_none())
    }

    /// Takes in what the poller found on this lane, and accepts links, but reads nothing yet. A
    /// round begins, in which links are read that have input now or had some left before.
    pub(crate) fn take_events(&mut self, poller: &Poller, protocol: &mut dyn Protocol, now: Now) {
        self.round = self.unread.len();
        for event in &poller.events {
            let token = event.token();
            if token == self.lane.listener() {
                self.can_accept = true;
            } else if let Some(number) = self.lane.number(token)
                && let Some(id) = self.tokens.link(number)
            {
                self.event(id, event, protocol, now);
            }
        }
        self.accept(protocol, now);
    }

    fn accept(&mut self, protocol: &mut dyn Protocol, now: Now) {
        if !self.can_accept || self.retry_at.is_some_and(|at| now.at < at) {
            return;
        }
        self.retry_at = None;
        for _ in 0..ACCEPTS {
            let Some(listener) = &self.listener else {
                return;
            };
            match listener.accept() {
                Ok((socket, from)) => self.accepted(socket, from, protocol, now),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    self.can_accept = false;
                    return;
                }
                Err(e)
                    if matches!(
                        e.kind(),
                        io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted
                    ) => {}
                Err(e) => {
                    // Out of descriptors or memory: come back instead of spinning.
                    record!(Debug, "accepting a link: {e}");
                    self.retry_at = Some(now.at + ACCEPT_RETRY);
                    return;
                }
            }
        }
    }

    /// Another program has opened a link.
    fn accepted(
        &mut self,
        socket: TcpStream,
        from: SocketAddr,
        protocol: &mut dyn Protocol,
        now: Now,
    ) {
        let from = SocketAddr::new(from.ip().to_canonical(), from.port());
        if let Some(id) = protocol.accept(now, from)
            && !self.add(id, socket, true)
        {
            protocol.link(now, id, LinkEvent::Closed);
        }
    }

    pub(crate) fn dial(&mut self, id: LinkId, to: SocketAddr) -> bool {
        match TcpStream::connect(to) {
            Ok(socket) => self.add(id, socket, false),
            Err(e) => {
                record!(Debug, "dialling {to}: {e}");
                false
            }
        }
    }

    fn add(&mut self, id: LinkId, mut socket: TcpStream, connected: bool) -> bool {
        // Frames are written whole; waiting to fill a segment would only delay them.
        let _ = socket.set_nodelay(true);
        let interests = Interest::READABLE | Interest::WRITABLE;
        let (connections, lingering) = (&self.connections, &self.lingering);
        let is_open = |id| {
            let lingers = |lingering: &Lingering| lingering.links.contains_key(&id);
            connections.contains_key(&id) || lingering.as_ref().is_some_and(lingers)
        };
        let token = self.lane.token(self.tokens.draw(id, is_open));
        if let Err(e) = self.registry.register(&mut socket, token, interests) {
            record!(Debug, "watching a link: {e}");
            return false;
        }
        self.connections
            .insert(id, Connection::new(socket, connected));
        true
    }

    /// An event of the kernel's for a link.
    fn event(&mut self, id: LinkId, event: &Event, protocol: &mut dyn Protocol, now: Now) {
        let Some(connection) = self.connections.get(&id) else {
            return self.read_lingering(id);
        };
        if !connection.connected {
            self.dial_event(id, event, protocol, now);
        }
        let Some(connection) = self.connections.get_mut(&id).filter(|c| c.connected) else {
            return;
        };
        connection.closing |= event.is_read_closed() || event.is_error();
        if (event.is_readable() || connection.closing) && !connection.queued {
            connection.queued = true;
            self.unread.push_back(id);
            self.round += 1;
        }
        if event.is_writable() {
            self.mark_writable(id);
        }
    }

    /// An event of the kernel's for a link that is being dialled. Where it means that the dial is
    /// decided, the protocol is told how.
    fn dial_event(&mut self, id: LinkId, event: &Event, protocol: &mut dyn Protocol, now: Now) {
        if !event.is_writable() && !event.is_error() {
            return;
        }
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        // Connected, or failed with the reason kept on the socket.
        let has_failed = !matches!(connection.socket.take_error(), Ok(None));
        if has_failed || connection.socket.peer_addr().is_err() {
            return self.lost(id, protocol, now);
        }
        connection.connected = true;
        protocol.link(now, id, LinkEvent::Connected);
    }

    /// The next link to read in this round.
    pub(crate) fn next_unread(&mut self) -> Option<LinkId> {
        self.round = self.round.checked_sub(1)?;
        let id = self.unread.pop_front()?;
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.queued = false;
        }
        Some(id)
    }

    /// Reads a link once; it stays in line when there may be more.
    pub(crate) fn read(&mut self, id: LinkId, protocol: &mut dyn Protocol, now: Now) {
        let Some(connection) = self.connections.get_mut(&id).filter(|c| !c.held) else {
            return;
        };
        match connection.socket.read(&mut self.buf) {
            Ok(0) => self.lost(id, protocol, now),
            Ok(n) => {
                // A short read has emptied the socket, so the next bytes will be an event.
                if n == self.buf.len() || connection.closing {
                    connection.queued = true;
                    self.unread.push_back(id);
                }
                protocol.link(now, id, LinkEvent::Received(&self.buf[..n]));
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {
                connection.queued = true;
                self.unread.push_back(id);
            }
            Err(_) => self.lost(id, protocol, now),
        }
    }

    /// Leaves a link unread, so that the other side must wait; or goes on reading it.
    #[cfg(feature = "relay-server")]
    pub(crate) fn hold(&mut self, id: LinkId, held: bool) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        connection.held = held;
        // Whatever came meanwhile was an event that is over.
        if !held && !connection.queued {
            connection.queued = true;
            self.unread.push_back(id);
        }
    }

    /// Closes the listener and every link as they are.
    pub(crate) fn close_all(&mut self) {
        self.listener = None;
        self.can_accept = false;
        self.connections = Table::default();
        self.unread.clear();
        self.unwritten.clear();
        self.lingering = None;
    }

    /// A link has ended, or could not be made.
    fn lost(&mut self, id: LinkId, protocol: &mut dyn Protocol, now: Now) {
        self.connections.remove(&id);
        protocol.link(now, id, LinkEvent::Closed);
    }

    pub(crate) fn mark_writable(&mut self, id: LinkId) {
        if let Some(connection) = self.connections.get_mut(&id)
            && !connection.dirty
        {
            connection.dirty = true;
            self.unwritten.push(id);
        }
    }

    /// Writes what waits; whether the protocol was told something.
    pub(crate) fn flush(&mut self, protocol: &mut dyn Protocol, now: Now) -> bool {
        let mut told = false;
        // Nothing is marked meanwhile: what the protocol puts out is done after this.
        for at in 0..self.unwritten.len() {
            told |= self.write(self.unwritten[at], protocol, now);
        }
        self.unwritten.clear();
        told
    }

    /// Writes what waits for a link, until the link takes no more; whether the protocol was told
    /// something.
    fn write(&mut self, id: LinkId, protocol: &mut dyn Protocol, now: Now) -> bool {
        let mut told = false;
        while let Some(connection) = self.connections.get_mut(&id) {
            connection.dirty = false;
            if !connection.connected {
                break;
            }
            let mut written = Written::Nothing;
            let waits = protocol.transmit(now, id, &mut |bytes| {
                written = connection.write(bytes, now.at);
                written.bytes()
            });
            match written {
                Written::Nothing => break,
                Written::All(_) if waits => told = true,
                Written::All(_) | Written::Part(_) => return true,
                Written::Failed => {
                    self.lost(id, protocol, now);
                    return true;
                }
            }
        }
        told
    }

    /// Says on a link that no more comes, and goes on reading it: closed with input unread, the
    /// other side might lose what was written.
    #[cfg(feature = "compat")]
    pub(crate) fn finish(&mut self, id: LinkId) {
        if let Some(connection) = self.connections.get(&id) {
            // Not connected any more: the next event says so.
            let _ = connection.socket.shutdown(Shutdown::Write);
        }
    }

    /// Writes the last bytes if the kernel takes them at once, and closes.
    pub(crate) fn close(&mut self, id: LinkId, last: &[u8]) {
        let Some(mut connection) = self.connections.remove(&id) else {
            return;
        };
        if !last.is_empty() && connection.socket.write(last).is_ok() {
            let _ = connection.socket.shutdown(Shutdown::Write);
            if let Some(lingering) = &mut self.lingering
                && connection.wrote.is_some_and(|at| at >= lingering.since)
            {
                lingering.links.insert(id, connection.socket);
                return self.read_lingering(id);
            }
        }
        let _ = self.registry.deregister(&mut connection.socket);
    }

    /// From now on links that are closed, and were written to in the last seconds, are kept until
    /// the other side has closed them, too.
    pub(super) fn linger_from(&mut self, now: Time) {
        self.lingering = Some(Lingering {
            links: Table::default(),
            since: Time(now - Time(LINGER_FOR)),
        });
    }

    /// Whether such links are left.
    pub(super) fn is_lingering(&self) -> bool {
        let lingering = self.lingering.as_ref();
        lingering.is_some_and(|lingering| !lingering.links.is_empty())
    }

    /// Reads and drops what comes on a link that lingers; at its end it is closed.
    fn read_lingering(&mut self, id: LinkId) {
        let Some(lingering) = &mut self.lingering else {
            return;
        };
        let Some(socket) = lingering.links.get_mut(&id) else {
            return;
        };
        // A peer that goes on sending is not waited for; what comes later is another event.
        for _ in 0..LINGERING_READS {
            match socket.read(&mut self.buf) {
                Ok(n) if n > 0 => {}
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return,
                _ => {
                    lingering.links.remove(&id);
                    return;
                }
            }
        }
    }
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(socket2::Protocol::TCP),
    )?;
    if address.is_ipv6() && address.ip().is_unspecified() {
        socket.set_only_v6(false)?;
    }
    // A restarted node may listen on its port again while old connections time out.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(TcpListener::from_std(socket.into()))
}
