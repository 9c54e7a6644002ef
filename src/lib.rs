//! Programs find each other by name and call each other's commands, encrypted end to end.
//!
//! ```
//! use peerbase::{Key, Node, OsEntropy};
//! use std::time::Duration;
//!
//! let key = Key::generate(&mut OsEntropy::new()?);
//! # let (port, _held) = { let s = std::net::UdpSocket::bind("127.0.0.1:0").unwrap(); (s.local_addr().unwrap().port(), ()) };
//! let sensor = Node::builder("sensor", "plant", key.clone())
//!     .loopback(true) // this host only; leave it out for the network
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
//! A [`Node`] is the way in. Below it, for those who drive the protocol themselves, test it or fuzz
//! it, each layer is a public module: [`frame`] and [`fernet`] are the codecs, [`wire`] is what
//! travels, [`engine`] and [`relay::hub`] are the protocol without IO. A [`RelayServer`] joins
//! networks that cannot see each other.
//!
//! # Guarantees
//!
//! * Nobody without the network key can read, forge, replay or reorder anything in a session.
//! * A command runs at most once per call, whatever happens to the network.
//! * A stream is whole, or an error that says how much of it arrived.
//! * What others can make this node hold or do is bounded: see [`limits::Limits`].
//!
//! With the feature `compat`, and if it is asked for, a node also speaks the protocol of PeerBase
//! 0.7.1, which has none of the first three.
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
mod share;
mod signals;
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
