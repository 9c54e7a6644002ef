//! What a node is to be, and the three ways to start it.

use super::command::{Call, CommandTree, Message, MessageHandler};
use super::{Node, shared};
use crate::driver::Settings;
use crate::engine;
use crate::error::Error;
use crate::fernet::{Key, Keyring};
use crate::limits::Limits;
use crate::name::{NetworkName, NodeName};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// The UDP port that nodes advertise on, unless another is set.
pub const ADVERTISE_PORT: u16 = 3334;
/// Between two adverts, unless another interval is set.
pub const ADVERTISE_INTERVAL: Duration = Duration::from_secs(1);
/// Shortest and longest interval: below, adverts are a storm; above, peers take minutes to be missed.
const INTERVALS: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(300));

/// A node to be. Nothing is opened or sent before it is started.
#[derive(Clone)]
pub struct Builder {
    name: Result<NodeName, Error>,
    network: Result<NetworkName, Error>,
    keys: Vec<Key>,
    listen: Option<SocketAddr>,
    advertise_port: u16,
    advertise_address: Option<SocketAddr>,
    interval: Duration,
    loopback: bool,
    limits: Box<Limits>,
    commands: Result<CommandTree, Error>,
    message: Option<MessageHandler>,
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("name", &self.name)
            .field("network", &self.network)
            .finish_non_exhaustive()
    }
}

impl Builder {
    pub(super) fn new(name: &str, network: &str, key: Key) -> Builder {
        Builder {
            name: NodeName::new(name),
            network: NetworkName::new(network),
            keys: vec![key],
            listen: None,
            advertise_port: ADVERTISE_PORT,
            advertise_address: None,
            interval: ADVERTISE_INTERVAL,
            loopback: false,
            limits: Box::default(),
            commands: Ok(CommandTree::new()),
            message: None,
        }
    }

    /// Another key that is understood, while the network's key is being rotated. Only the first one
    /// seals.
    #[must_use]
    pub fn also_key(mut self, key: Key) -> Self {
        self.keys.push(key);
        self
    }

    /// Where to listen for links; every address and any free port unless set.
    #[must_use]
    pub fn listen(mut self, address: SocketAddr) -> Self {
        self.listen = Some(address);
        self
    }

    /// The UDP port that the nodes of the network advertise on; [`ADVERTISE_PORT`] unless set.
    #[must_use]
    pub fn advertise_port(mut self, port: u16) -> Self {
        self.advertise_port = port;
        self
    }

    /// Where others are to dial this node, if not where its adverts come from. Port 0 is the port it
    /// listens on.
    #[must_use]
    pub fn advertise_address(mut self, address: SocketAddr) -> Self {
        self.advertise_address = Some(address);
        self
    }

    /// Between two adverts, 50 ms to 300 s; [`ADVERTISE_INTERVAL`] unless set. A peer is missed
    /// after three and a half of its intervals.
    #[must_use]
    pub fn advertise_interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// Keeps all traffic on this host, on 127.0.0.0/8.
    #[must_use]
    pub fn loopback(mut self, only: bool) -> Self {
        self.loopback = only;
        self
    }

    /// Other bounds than the defaults.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        *self.limits = limits;
        self
    }

    /// Registers a command. The handler runs on the loop's thread, and may answer later from
    /// another.
    #[must_use]
    pub fn command<R>(
        mut self,
        path: &str,
        handler: impl Fn(Call) -> R + Send + Sync + 'static,
    ) -> Self {
        self.commands = self.commands.and_then(|tree| tree.command(path, handler));
        self
    }

    /// Registers every command of a tree below a path.
    #[must_use]
    pub fn commands(mut self, path: &str, tree: CommandTree) -> Self {
        self.commands = self.commands.and_then(|all| all.subtree(path, tree));
        self
    }

    /// What answers messages of bytes.
    #[must_use]
    pub fn on_message<R>(mut self, handler: impl Fn(Message) -> R + Send + Sync + 'static) -> Self {
        self.message = Some(Arc::new(move |message| {
            handler(message);
        }));
        self
    }

    pub(crate) fn handler(
        mut self,
        path: &str,
        handler: super::command::Handler,
    ) -> Result<Self, Error> {
        self.commands = Ok(self.commands?.with(path, handler)?);
        Ok(self)
    }

    pub(crate) fn message_handler(mut self, handler: MessageHandler) -> Self {
        self.message = Some(handler);
        self
    }

    /// Checks everything that can be checked without opening anything.
    pub(crate) fn check(&self) -> Result<(), Error> {
        self.name.clone()?;
        self.network.clone()?;
        self.commands.as_ref().map_err(Clone::clone)?;
        Keyring::new(self.keys.clone())?;
        if self.interval < INTERVALS.0 || self.interval > INTERVALS.1 {
            return Err(Error::Argument(
                "the advertise interval must be 50 ms to 300 s",
            ));
        }
        if self.advertise_port == 0 {
            return Err(Error::Argument(
                "the advertise port must not be 0: nodes meet there",
            ));
        }
        if self.loopback && self.listen.is_some_and(|a| !a.ip().is_loopback()) {
            return Err(Error::Argument(
                "a loopback node cannot listen on another address",
            ));
        }
        Ok(())
    }

    fn open_shared(self) -> Result<shared::Opened, Error> {
        self.check()?;
        let settings = Settings {
            listen: self.listen,
            advertise_port: self.advertise_port,
            loopback: self.loopback,
        };
        let (name, network) = (self.name?, self.network?);
        let (interval, limits, advertised) = (self.interval, self.limits, self.advertise_address);
        let keys = Keyring::new(self.keys)?;
        shared::open(&settings, self.commands?, self.message, |port| {
            engine::Config {
                network,
                name,
                keys,
                port: advertised
                    .map(|a| a.port())
                    .filter(|p| *p != 0)
                    .unwrap_or(port),
                address: advertised.map(|a| -> IpAddr { a.ip() }),
                interval,
                limits: *limits,
            }
        })
    }

    /// Starts the node on a thread of its own, named `peerbase`. Waits for the quarter of a second in
    /// which the network is asked whether the name is taken.
    pub fn start(self) -> Result<Node, Error> {
        Node::start(self.open_shared()?)
    }

    /// Opens the node for the caller's own event loop: poll [`Node::fd`] for at most
    /// [`Node::timeout`], then call [`Node::process`]. A blocking call drives the loop itself. Waits
    /// as [`Builder::start`] does.
    pub fn open(self) -> Result<Node, Error> {
        Node::open(self.open_shared()?)
    }

    /// Runs the node on this thread until it is stopped. `ready` is given the node once it takes
    /// part; keep a clone of it to call or stop it from elsewhere.
    pub fn run(self, ready: impl FnOnce(&Node)) -> Result<(), Error> {
        let node = self.open()?;
        ready(&node);
        node.run()
    }
}
