//! TCP: the listener, dials, and streams with their reading and writing.

use super::{FIRST_LINK, LISTENER, Settings};
use crate::engine::{Engine, Input, LinkId, Now, Time};
use crate::error::Error;
use crate::table::Table;
use mio::event::Event;
use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Registry, Token};
use socket2::{Domain, Protocol, Socket, Type};
use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr};
use std::time::Duration;

/// Bytes read from a link at once.
const READ: usize = 64 * 1024;
/// Links accepted in one round.
const ACCEPTS: usize = 64;
/// How long to leave the listener alone when descriptors or memory have run out.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);
/// Connections the kernel holds for us.
const BACKLOG: i32 = 128;

#[derive(Debug)]
struct Stream {
    socket: TcpStream,
    connected: bool,
    /// The kernel said that the other side will send no more; read up to that.
    closing: bool,
    /// Waits its turn in `unread`.
    queued: bool,
}

#[derive(Debug)]
pub(super) struct Links {
    registry: Registry,
    listener: TcpListener,
    port: u16,
    can_accept: bool,
    retry_at: Option<Time>,
    streams: Table<LinkId, Stream>,
    /// Links with input that was not read yet.
    unread: VecDeque<LinkId>,
    /// How many of them this round serves.
    round: usize,
    /// Links with output that was not written yet.
    unwritten: Vec<LinkId>,
    buf: Box<[u8]>,
}

impl Links {
    pub(super) fn open(settings: &Settings, registry: Registry) -> Result<Links, Error> {
        let any6 = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0));
        let any4 = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        let local = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let mut listener = match settings.listen {
            Some(address) => bind(address),
            None if settings.loopback => bind(local),
            // One socket for both families, or for one where the kernel knows no IPv6.
            None => bind(any6).or_else(|_| bind(any4)),
        }
        .map_err(|(address, e)| match e.kind() {
            io::ErrorKind::AddrInUse => Error::PortInUse(address),
            _ => Error::io("listening for links", &e),
        })?;
        let port = listener
            .local_addr()
            .map_err(|e| Error::io("listening for links", &e))?
            .port();
        registry
            .register(&mut listener, LISTENER, Interest::READABLE)
            .map_err(|e| Error::io("watching for links", &e))?;
        Ok(Links {
            registry,
            listener,
            port,
            can_accept: false,
            retry_at: None,
            streams: Table::default(),
            unread: VecDeque::new(),
            round: 0,
            unwritten: Vec::new(),
            buf: vec![0; READ].into_boxed_slice(),
        })
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    pub(super) fn retry_at(&self) -> Option<Time> {
        self.retry_at
    }

    pub(super) fn has_unread(&self) -> bool {
        !self.unread.is_empty() || (self.can_accept && self.retry_at.is_none())
    }

    pub(super) fn begin_round(&mut self) {
        self.round = self.unread.len();
    }

    pub(super) fn can_accept(&mut self) {
        self.can_accept = true;
    }

    pub(super) fn accept(&mut self, engine: &mut Engine, now: Now) {
        if !self.can_accept || self.retry_at.is_some_and(|at| now.at < at) {
            return;
        }
        self.retry_at = None;
        for _ in 0..ACCEPTS {
            match self.listener.accept() {
                Ok((socket, from)) => {
                    let from = SocketAddr::new(from.ip().to_canonical(), from.port());
                    if let Some(id) = engine.accept(now, from)
                        && !self.add(id, socket, true)
                    {
                        engine.handle(now, Input::Closed(id));
                    }
                }
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
                    log::debug!("accepting a link: {e}");
                    self.retry_at = Some(now.at + ACCEPT_RETRY);
                    return;
                }
            }
        }
    }

    pub(super) fn dial(&mut self, id: LinkId, to: SocketAddr) -> bool {
        match TcpStream::connect(to) {
            Ok(socket) => self.add(id, socket, false),
            Err(e) => {
                log::debug!("dialling {to}: {e}");
                false
            }
        }
    }

    fn add(&mut self, id: LinkId, mut socket: TcpStream, connected: bool) -> bool {
        // Frames are written whole; waiting to fill a segment would only delay them.
        let _ = socket.set_nodelay(true);
        let token = Token(FIRST_LINK + id.0 as usize);
        if let Err(e) =
            self.registry
                .register(&mut socket, token, Interest::READABLE | Interest::WRITABLE)
        {
            log::debug!("watching a link: {e}");
            return false;
        }
        self.streams.insert(
            id,
            Stream {
                socket,
                connected,
                closing: false,
                queued: false,
            },
        );
        true
    }

    /// An event of the kernel's for a link.
    pub(super) fn event(&mut self, id: LinkId, event: &Event, engine: &mut Engine, now: Now) {
        let Some(stream) = self.streams.get_mut(&id) else {
            return;
        };
        if !stream.connected {
            if !event.is_writable() && !event.is_error() {
                return;
            }
            // Writable means decided: connected, or failed with the reason kept on the socket.
            let failed = !matches!(stream.socket.take_error(), Ok(None))
                || stream.socket.peer_addr().is_err();
            if failed {
                self.streams.remove(&id);
                return engine.handle(now, Input::Closed(id));
            }
            stream.connected = true;
            engine.handle(now, Input::Connected(id));
        }
        let Some(stream) = self.streams.get_mut(&id) else {
            return;
        };
        stream.closing |= event.is_read_closed() || event.is_error();
        if (event.is_readable() || stream.closing) && !stream.queued {
            stream.queued = true;
            self.unread.push_back(id);
            self.round += 1;
        }
        if event.is_writable() {
            self.mark_writable(id);
        }
    }

    /// The next link to read in this round.
    pub(super) fn next_unread(&mut self) -> Option<LinkId> {
        self.round = self.round.checked_sub(1)?;
        let id = self.unread.pop_front()?;
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.queued = false;
        }
        Some(id)
    }

    /// Reads a link once; it stays in line when there may be more.
    pub(super) fn read(&mut self, id: LinkId, engine: &mut Engine, now: Now) {
        let Some(stream) = self.streams.get_mut(&id) else {
            return;
        };
        match stream.socket.read(&mut self.buf) {
            Ok(0) => self.lost(id, engine, now),
            Ok(n) => {
                // A short read has emptied the socket, so the next bytes will be an event.
                if n == self.buf.len() || stream.closing {
                    stream.queued = true;
                    self.unread.push_back(id);
                }
                engine.handle(now, Input::Received(id, &self.buf[..n]));
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {
                stream.queued = true;
                self.unread.push_back(id);
            }
            Err(_) => self.lost(id, engine, now),
        }
    }

    fn lost(&mut self, id: LinkId, engine: &mut Engine, now: Now) {
        self.streams.remove(&id);
        engine.handle(now, Input::Closed(id));
    }

    pub(super) fn mark_writable(&mut self, id: LinkId) {
        if !self.unwritten.contains(&id) {
            self.unwritten.push(id);
        }
    }

    /// Writes what waits; whether the engine was told something.
    pub(super) fn flush(&mut self, engine: &mut Engine, now: Now) -> bool {
        let mut told = false;
        for id in std::mem::take(&mut self.unwritten) {
            while let Some(stream) = self.streams.get_mut(&id).filter(|s| s.connected) {
                let pending = engine.pending(id);
                if pending.is_empty() {
                    break;
                }
                match stream.socket.write(pending) {
                    Ok(n) => {
                        let short = n < pending.len();
                        engine.handle(now, Input::Sent(id, n));
                        told = true;
                        if short {
                            break;
                        }
                    }
                    Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                    Err(_) => {
                        self.lost(id, engine, now);
                        told = true;
                    }
                }
            }
        }
        told
    }

    /// Writes the last bytes if the kernel takes them at once, and closes.
    pub(super) fn close(&mut self, id: LinkId, last: &[u8]) {
        if let Some(mut stream) = self.streams.remove(&id) {
            if !last.is_empty() && stream.socket.write(last).is_ok() {
                let _ = stream.socket.shutdown(Shutdown::Write);
            }
            let _ = self.registry.deregister(&mut stream.socket);
        }
    }
}

fn bind(address: SocketAddr) -> Result<TcpListener, (SocketAddr, io::Error)> {
    let open = || {
        let socket = Socket::new(
            Domain::for_address(address),
            Type::STREAM,
            Some(Protocol::TCP),
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
    };
    open().map_err(|e| (address, e))
}
