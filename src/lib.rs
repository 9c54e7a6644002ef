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
//! Most programs use a [`Node`] only. Each layer below it is a public module, for programs that
//! drive the protocol themselves, test it or fuzz it: [`frame`] and [`fernet`] are the codecs,
//! [`wire`] says what travels, [`engine`] and [`relay::hub`] are the protocol without IO. A
//! [`RelayServer`] joins networks that cannot see each other.
//!
//! A *network* in these documents is a PeerBase network: the nodes that were given the same network
//! name and the same key, wherever they are. Where a network of cables and IP addresses is meant,
//! the text says LAN or IP network. Nodes on one LAN find each other by themselves; nodes on
//! different IP networks need a relay ([`Builder::relay`]) or an address ([`Node::connect`]).
//!
//! # Callbacks
//!
//! A *callback* is a function of the program that a node runs:
//!
//! * the handler of a command ([`Builder::command`]) and of messages ([`Builder::on_message`]);
//! * the event handler ([`Builder::on_event`]);
//! * the end of an asynchronous call ([`CallBuilder::send_async`]);
//! * the function that says that a stream can be tried again ([`StreamReader::on_ready`]).
//!
//! All callbacks of a node run on the *loop's thread*, one at a time, in the order in which their
//! causes came. A handler that takes a second delays every other callback of the node by a second.
//! So a handler that has much to do moves its [`Call`] to a thread of the program, and answers from
//! there. Which thread is the loop's thread depends on how the node was started:
//!
//! * [`Builder::start`] makes one, named `peerbase`.
//! * For [`Builder::run`] and [`Node::run`] it is the thread that calls them.
//! * For [`Builder::open`] it is the thread that called it, or that last called [`Node::process`].
//!
//! In the first two cases a second thread, named `peerbase-io`, takes over the network traffic
//! while a callback takes longer than 10 ms: it answers pings, sends answers, and carries the calls
//! of other threads on. It runs no callback. In the third case the network traffic waits as well,
//! unless another thread of the program waits in a call.
//!
//! A function that has to wait for the network would wait for itself in a callback. It returns
//! [`Error::WouldDeadlock`] there. The functions that do not wait ([`CallBuilder::send_async`],
//! [`Call::reply`], [`Node::cancel`], [`Node::stop`], [`Node::peers`] and the like) may be called
//! anywhere. [`Events`] is the exception: it waits wherever it is called.
//!
//! The threads of the library block all signals. `raise(SIGTERM)` signals the thread that calls it,
//! so in a callback on the thread `peerbase` nothing happens. A program that is to end on SIGTERM
//! waits for the signal on a thread of its own, for example with `signal_hook::iterator::Signals`,
//! and calls [`Node::stop`] there. A callback that wants to end the program tells that thread
//! through a channel, or signals the process with `kill(getpid(), SIGTERM)`.
//!
//! # Arguments and values
//!
//! The arguments of a call and its value are JSON ([`serde_json::Value`]), or bytes, which travel
//! as they are: [`CallBuilder::data`] and [`Call::data`] are for what a command is called with,
//! [`Call::reply_data`] and [`CallBuilder::send_reply`] for its value. Each side can ask which of
//! the two it has. A message ([`Node::send_message`], [`Node::send_to`], [`Node::broadcast`]) is
//! bytes, too, and so is what is streamed along a call ([`CallBuilder::stream`]).
//!
//! # Identities and certificates
//!
//! An [`Identity`] is a key pair of a node's own, which it keeps in a file
//! ([`Builder::identity`]). Every session proves the identities of both nodes: see
//! [`PeerInfo::key`] and [`Call::caller_key`]. An [`Authority`] signs a [`Certificate`] for the
//! identity's [`PublicKey`], with a name and roles, and a [`RevocationList`] of the certificates
//! that count no more. `peerbase identity` and `peerbase authority` do the same at a command line.
//! Nodes show each other their certificates where they are given an authority
//! ([`Builder::authority`]). [`Builder::allow`] limits commands to callers, by their keys, names or
//! roles.
//!
//! # Logging
//!
//! Log records go through the crate [`log`](https://docs.rs/log); a program that installs no logger
//! sees none. Their targets begin with `peerbase`. Errors are bugs, panics of callbacks and
//! failures of the event loop; warnings are about files; all about calls, links and events is at
//! the level `debug`.
//!
//! # Guarantees
//!
//! * Without the network key nobody can read, forge, replay or reorder anything in a session.
//!   Whoever records sessions, and steals the network key and the identities of the nodes later,
//!   can read nothing of what was recorded.
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
//! | `files` | files by their SHA-256: `Node::add_file`, `Node::request_file` and their like |
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

mod authority;
mod backoff;
mod base64url;
mod buffer;
mod driver;
mod due;
pub mod ffi;
#[cfg(feature = "files")]
mod files;
// The one module besides `ffi` that has unsafe code.
mod atomic_file;
#[allow(unsafe_code)]
mod fork;
pub mod handshake;
mod hkdf;
mod identity;
mod inbox;
mod json;
mod json_object;
mod logging;
mod network_keys;
mod node;
mod noise;
mod rate;
mod reach;
mod rules;
mod secret_file;
#[cfg(any(feature = "compat", feature = "files"))]
mod shares;
mod signals;
mod signature;
#[cfg(any(feature = "relay-server", feature = "compat"))]
mod site_share;
mod spinning;
mod stats;
mod sync;
mod table;
#[cfg(test)]
mod unhex;

pub use address::RelayAddress;
pub use authority::{Authority, AuthorityKey, Certificate, CertificateHash, RevocationList};
pub use engine::{Distrust, Event, Path, PeerInfo, Ping, RelayFault, Stats};
pub use entropy::{Entropy, OsEntropy};
pub use error::{Code, Error};
pub use fernet::Key;
#[cfg(feature = "files")]
pub use files::{Fetched, Progress, Refreshed};
pub use identity::{Fingerprint, Identity, PublicKey};
pub use limits::{Limit, Limits, RelayLimits};
pub use name::{CommandPath, NetworkName, NodeName, Role};
#[cfg(feature = "compat")]
pub use node::Compat;
pub use node::{
    ADVERTISE_INTERVAL, ADVERTISE_PORT, Builder, Call, CallBuilder, CallId, CallStream,
    CommandTree, Events, FanOut, MAX_IN_FLIGHT, MAX_REMOTES, Message, Node, RELAY_KEEPALIVE, Reply,
    StreamReader, StreamValue, StreamWriter, TIMEOUT, TargetResult,
};
#[cfg(feature = "relay-server")]
pub use relay::hub::RelayStats;
#[cfg(feature = "relay-server")]
pub use relay::{RelayBuilder, RelayServer};
pub use rules::{Caller, Rules};
pub use wire::relay::Refusal;
pub use wire::relay_key::RelayKey;
pub use wire::report::Report;
