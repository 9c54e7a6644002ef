//! What a driver hands to the engine, and what the engine asks of it.

use crate::address::RelayAddress;
use crate::engine::{CallNumber, RelayFault};
use crate::error::Error;
use crate::fernet::Keyring;
use crate::limits::Limits;
use crate::name::{CommandPath, NetworkName, NodeName};
use crate::protocol::LinkId;
use crate::rules::Rules;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::Duration;

/// What the node is.
#[derive(Clone, Debug)]
pub struct Config {
    /// The network.
    pub network: NetworkName,
    /// This node's name.
    pub name: NodeName,
    /// The network's keys.
    pub keys: Keyring,
    /// The TCP port that calls come to; 0 if none come.
    pub port: u16,
    /// Where others reach it, if not at the address of the interface an advert leaves by.
    pub address: Option<Ipv4Addr>,
    /// Keeps all traffic on 127.0.0.0/8.
    pub loopback: bool,
    /// Relays to ask, always.
    pub relays: Vec<RelayAddress>,
    /// Relays to ask at most, with those that relays tell of.
    pub max_remotes: usize,
    /// Between two questions to a relay that does not answer when something comes.
    pub tick: Duration,
    /// Bounds.
    pub limits: Limits,
    /// Who may call what. No rule names a Python node.
    pub rules: Rules,
}

/// Where a peer is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// On the LAN.
    Lan(SocketAddrV4),
    /// At this relay.
    Relay(RelayAddress),
}

/// What to do.
#[derive(Debug)]
pub enum Output {
    /// Broadcast [`Engine::advert`](super::Engine::advert) on every interface.
    Advertise,
    /// Connect to this address.
    Dial(LinkId, SocketAddr),
    /// Find out what this relay's name means, and connect to it. One that was learnt may not be
    /// anywhere.
    DialRelay {
        /// The link it is for.
        link: LinkId,
        /// Its address.
        relay: RelayAddress,
        /// Which to take, if its name means several addresses, round and round.
        nth: usize,
        /// Whether another relay told of it.
        learnt: bool,
    },
    /// A link has [`Engine::pending`](super::Engine::pending) bytes, where it had none.
    Writable(LinkId),
    /// Say on this link that no more comes; go on reading it.
    Finish(LinkId),
    /// Close it.
    Close(LinkId),
    /// Where a peer is now, or that it is gone.
    Peer(NodeName, Option<Place>),
    /// A relay answers now, or does not, and why.
    Relay(RelayAddress, Result<(), RelayFault>),
    /// A command is called here: answer with [`Engine::reply`](super::Engine::reply).
    Request {
        /// What to answer to.
        ticket: u64,
        /// The caller, as it calls itself.
        caller: NodeName,
        /// Which command.
        path: CommandPath,
        /// A JSON array.
        args: Vec<u8>,
        /// A JSON object.
        kwargs: Vec<u8>,
    },
    /// No caller waits for the answer to this any more. The request counts until it is answered
    /// with [`Engine::reply`](super::Engine::reply) all the same.
    Withdrawn(u64),
    /// A call of ours ended.
    Answered(CallNumber, Result<Vec<u8>, Error>),
}
