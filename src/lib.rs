//! Programs find each other by name and call each other's commands, encrypted end to end.
//!
//! ```
//! use peerbase::{Key, Node, OsEntropy};
//! use std::time::Duration;
//!
//! let key = Key::generate(&mut OsEntropy::new()?);
//! # let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
//! # let port = socket.local_addr().unwrap().port();
//! # drop(socket);
//! let sensor = Node::builder("sensor", "plant", key.clone())
//!     .loopback(true) // this host only; leave it out for the LAN
//! #   .advertise_port(port)
//!     .command("read", |call| call.reply(21.5))
//!     .start()?;
//! let reader = Node::builder("reader", "plant", key)
//!     .loopback(true)
//! #   .advertise_port(port)
//!     .start()?;
//! let celsius = reader.call("read").to("sensor").timeout(Duration::from_secs(5)).send()?;
//! assert_eq!(celsius, 21.5);
//! # Ok::<(), peerbase::Error>(())
//! ```
//!
//! Most programs use a [`Node`] only. Each layer below it is a public module, for programs that drive
//! the protocol themselves, test it or fuzz it: [`frame`] and [`fernet`] are the codecs, [`wire`]
//! says what travels, [`engine`] and [`relay::hub`] are the protocol without IO. A [`RelayServer`]
//! joins networks that cannot see each other.
//!
//! # Guarantees
//!
//! * Without the network key nobody can read, forge, replay or reorder anything in a session.
//! * A command runs at most once per call, whatever happens to the network.
//! * A stream arrives whole, or ends with an error that says how much of it arrived.
//! * What other nodes can make this node hold or do is bounded: see [`limits::Limits`].
//!
//! With the feature `compat`, and if the program asks for it, a node also speaks the protocol of
//! PeerBase 0.7.1, which has none of the first three.
//!
//! # Features
//!
//! All are on by default. A program with little room turns them off and names those it needs.
//!
//! | feature | what it brings |
//! | --- | --- |
//! | `files` | files by their SHA-256: `Node::add_file`, `Node::request_file` and what belongs to them |
//! | `relay-server` | `RelayServer`, and the module `relay` |
//! | `compat` | the protocol of PeerBase 0.7.1 |
//! | `tool` | the command line program; a library does without |

pub mod address;
#[cfg(feature = "compat")]
pub mod compat;
pub mod engine;
pub mod entropy;
pub mod error;
pub mod fernet;
pub mod frame;
pub mod limits;
pub mod name;
pub mod protocol;
#[cfg(feature = "relay-server")]
pub mod relay;
pub mod wire;

mod backoff;
mod buffer;
mod driver;
mod due;
pub mod ffi;
#[cfg(feature = "files")]
mod files;
mod hkdf;
mod inbox;
mod json;
mod json_object;
mod logging;
mod node;
mod rate;
mod reach;
mod signals;
#[cfg(feature = "relay-server")]
mod site_share;
mod spinning;
mod stats;
mod sync;
mod table;

pub use address::RelayAddress;
pub use engine::{Event, Path, PeerInfo, Ping, RelayFault, Stats};
pub use entropy::{Entropy, OsEntropy};
pub use error::{Code, Error};
pub use fernet::Key;
#[cfg(feature = "files")]
pub use files::{Fetched, Progress, Refreshed};
pub use limits::{Limit, Limits, RelayLimits};
pub use name::{CommandPath, NetworkName, NodeName};
#[cfg(feature = "compat")]
pub use node::Compat;
pub use node::{
    ADVERTISE_INTERVAL, ADVERTISE_PORT, Builder, Call, CallBuilder, CallId, CallStream,
    CommandTree, Events, FanOut, MAX_IN_FLIGHT, MAX_REMOTES, Message, Node, RELAY_KEEPALIVE,
    StreamReader, StreamValue, StreamWriter, TIMEOUT, TargetResult,
};
#[cfg(feature = "relay-server")]
pub use relay::hub::RelayStats;
#[cfg(feature = "relay-server")]
pub use relay::{RelayBuilder, RelayServer};
pub use wire::membership::RelayKey;
pub use wire::relay::Refusal;
pub use wire::report::Report;
