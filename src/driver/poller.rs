//! The wait for sockets, and which socket an event is about.
//!
//! One poller can serve two protocols. Each has a lane of its tokens, so that either finds its own
//! events.

use crate::error::Error;
use mio::{Events, Poll, Registry, Token, Waker};
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::time::Duration;

const WAKER: Token = Token(0);
/// Lanes of one poller: native links, and those of another protocol.
const LANES: usize = 2;
/// Tokens of a lane from here on are links.
const FIRST_LINK: usize = 16;
/// Events taken from the kernel at once.
const EVENTS: usize = 256;

/// Which of the poller's tokens are whose: every other one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lane(usize);

impl Lane {
    /// The sockets of the loop's own protocol.
    pub(crate) const NATIVE: Lane = Lane(0);
    /// The sockets of a [`Companion`](super::companion::Companion).
    pub(super) const COMPANION: Lane = Lane(1);

    fn at(self, place: usize) -> Token {
        Token(place * LANES + self.0)
    }

    pub(super) fn listener(self) -> Token {
        self.at(1)
    }

    pub(super) fn datagrams(self) -> Token {
        self.at(2)
    }

    /// The token of a link's number: see [`Tokens`](super::tokens::Tokens).
    pub(super) fn token(self, number: usize) -> Token {
        self.at(FIRST_LINK + number)
    }

    /// The number of the link whose token this is, if it is one of this lane's.
    pub(super) fn number(self, token: Token) -> Option<usize> {
        let number = (token.0 / LANES).checked_sub(FIRST_LINK)?;
        (token.0 % LANES == self.0).then_some(number)
    }
}

/// Waits for something to happen.
#[derive(Debug)]
pub(crate) struct Poller {
    poll: Poll,
    pub(super) events: Events,
}

impl Poller {
    /// One with something that wakes it, and with what watches sockets for it.
    pub(crate) fn open() -> Result<(Poller, Arc<Waker>, Registry), Error> {
        let doing = "making an event queue";
        let poll = Poll::new().map_err(|e| Error::io(doing, &e))?;
        let waker =
            Waker::new(poll.registry(), WAKER).map_err(|e| Error::io("making a waker", &e))?;
        let registry = poll
            .registry()
            .try_clone()
            .map_err(|e| Error::io(doing, &e))?;
        let poller = Poller {
            poll,
            events: Events::with_capacity(EVENTS),
        };
        Ok((poller, Arc::new(waker), registry))
    }

    /// Waits at most `timeout`; whether something happened. A signal ends the wait early, and is no
    /// error.
    pub(crate) fn wait(&mut self, timeout: Option<Duration>) -> Result<bool, Error> {
        match self.poll.poll(&mut self.events, timeout) {
            Err(e) if e.kind() != io::ErrorKind::Interrupted => {
                Err(Error::io("waiting for events", &e))
            }
            _ => Ok(!self.events.is_empty()),
        }
    }

    /// Whether the last wait has found an event of this token.
    pub(super) fn has_found(&self, token: Token) -> bool {
        self.events.iter().any(|event| event.token() == token)
    }

    /// Readable when there is something to do.
    pub(crate) fn fd(&self) -> RawFd {
        self.poll.as_raw_fd()
    }
}
