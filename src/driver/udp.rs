//! The UDP socket on the advertise port, which all nodes of a host share.

use super::interfaces::LOOPBACK_BROADCAST;
use super::poller::{Lane, Poller};
use crate::error::Error;
use crate::limits::DATAGRAM_MAX;
use crate::logging::record;
use mio::net::UdpSocket;
use mio::{Interest, Registry};
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

/// Datagrams taken in one round: a flood waits while links are served.
const ROUND: usize = 64;

#[derive(Debug)]
pub(crate) struct Udp {
    socket: UdpSocket,
    port: u16,
    lane: Lane,
    /// The kernel may hold more.
    unread: bool,
    /// One byte more than fits, so that what is too long is seen to be.
    buf: [u8; DATAGRAM_MAX + 1],
}

impl Udp {
    pub(crate) fn open(
        port: u16,
        loopback: bool,
        lane: Lane,
        registry: &Registry,
    ) -> Result<Udp, Error> {
        // Bound to the loopback's broadcast address, a socket hears nothing from outside.
        let ip = if loopback {
            LOOPBACK_BROADCAST
        } else {
            Ipv4Addr::UNSPECIFIED
        };
        let address = SocketAddr::from((ip, port));
        let mut socket = bind(address).map_err(|e| match e.kind() {
            io::ErrorKind::AddrInUse => Error::PortInUse(address),
            _ => Error::io("binding the advertise port", &e),
        })?;
        registry
            .register(&mut socket, lane.datagrams(), Interest::READABLE)
            .map_err(|e| Error::io("watching the advertise port", &e))?;
        Ok(Udp {
            socket,
            port,
            lane,
            unread: false,
            buf: [0; DATAGRAM_MAX + 1],
        })
    }

    pub(crate) fn has_unread(&self) -> bool {
        self.unread
    }

    /// Takes in what the poller found, but reads nothing yet.
    pub(crate) fn take_events(&mut self, poller: &Poller) {
        self.unread |= poller.has_found(self.lane.datagrams());
    }

    pub(crate) fn receive(&mut self, take: &mut dyn FnMut(SocketAddr, &[u8])) {
        if !self.unread {
            return;
        }
        for _ in 0..ROUND {
            match self.socket.recv_from(&mut self.buf) {
                Ok((n, from)) => take(from, &self.buf[..n]),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => {
                    self.unread = false;
                    return;
                }
            }
        }
    }

    pub(crate) fn broadcast(&self, bytes: &[u8], target: Ipv4Addr) {
        let to = SocketAddr::V4(SocketAddrV4::new(target, self.port));
        // An interface that is just going down, or a full queue: the next advert comes.
        if let Err(e) = self.socket.send_to(bytes, to) {
            record!(Debug, "advertising to {to}: {e}");
        }
    }
}

fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_reuse_address(true)?;
    socket.set_broadcast(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(UdpSocket::from_std(socket.into()))
}
