//! What calls are compared with: bytes back and forth with nothing around them.

use crate::Outcome;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use std::io::{ErrorKind, Read, Write};

/// A stream in an event loop of its own, with nothing around it.
pub(super) struct Raw {
    stream: TcpStream,
    poll: Poll,
    events: Events,
}

impl Raw {
    /// Takes over a stream that is connected.
    pub(super) fn new(stream: std::net::TcpStream) -> Outcome<Raw> {
        stream.set_nonblocking(true)?;
        let mut stream = TcpStream::from_std(stream);
        stream.set_nodelay(true)?;
        let poll = Poll::new()?;
        poll.registry()
            .register(&mut stream, Token(0), Interest::READABLE)?;
        Ok(Raw {
            stream,
            poll,
            events: Events::with_capacity(16),
        })
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> Outcome {
        // 64 bytes always fit an empty socket.
        self.stream.write_all(bytes)?;
        Ok(())
    }

    /// Fills the buffer; false when the other side is gone.
    pub(super) fn read(&mut self, buf: &mut [u8]) -> Outcome<bool> {
        let mut got = 0;
        while got < buf.len() {
            self.poll.poll(&mut self.events, None)?;
            match self.stream.read(&mut buf[got..]) {
                Ok(0) => return Ok(false),
                Ok(n) => got += n,
                Err(e) if e.kind() == ErrorKind::WouldBlock => {}
                Err(e) => return Err(e.into()),
            }
        }
        Ok(true)
    }
}
