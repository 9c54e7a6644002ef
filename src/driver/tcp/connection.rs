//! The connection of one link: its socket, and what the loop knows of it.

use crate::protocol::Time;
use mio::net::TcpStream;
use std::io::{self, Write};

#[derive(Debug)]
pub(super) struct Connection {
    pub(super) socket: TcpStream,
    pub(super) connected: bool,
    /// The kernel said that the other side will send no more; read up to that.
    pub(super) closing: bool,
    /// Waits its turn to be read.
    pub(super) queued: bool,
    /// Waits its turn to be written.
    pub(super) dirty: bool,
    /// Not to be read for now.
    pub(super) held: bool,
    /// When something was last written.
    pub(super) wrote: Option<Time>,
}

/// How a write to a socket went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    /// The socket took nothing, or nothing was to be written.
    Nothing,
    /// The socket took all bytes, which were so many.
    All(usize),
    /// The socket took so many bytes of more, and is full.
    Part(usize),
    /// The socket is of no use any more.
    Failed,
}

impl Written {
    /// How many bytes the socket took.
    pub(super) fn bytes(self) -> usize {
        match self {
            Written::All(n) | Written::Part(n) => n,
            Written::Nothing | Written::Failed => 0,
        }
    }
}

impl Connection {
    pub(super) fn new(socket: TcpStream, connected: bool) -> Connection {
        Connection {
            socket,
            connected,
            closing: false,
            queued: false,
            dirty: false,
            held: false,
            wrote: None,
        }
    }

    /// Writes as many bytes as the socket takes now.
    pub(super) fn write(&mut self, bytes: &[u8], now: Time) -> Written {
        loop {
            match self.socket.write(bytes) {
                Ok(n) => {
                    self.wrote = Some(now);
                    return match n < bytes.len() {
                        true => Written::Part(n),
                        false => Written::All(n),
                    };
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Written::Nothing,
                Err(_) => return Written::Failed,
            }
        }
    }
}
