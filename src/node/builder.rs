//! What a node is to be, and the three ways to start it.

mod allow;

#[cfg(feature = "compat")]
use super::Compat;
use super::remotes;
use super::trust_settings::TrustSettings;
use super::turns::{EventHandler, Opened};
use super::{Call, CommandTree, Handler, Message, MessageHandler, Node};
use crate::address::RelayAddress;
use crate::driver::{Driver, Settings};
use crate::engine::{self, Event};
use crate::entropy::OsEntropy;
use crate::error::Error;
use crate::fernet::{Key, Keyring};
use crate::fork;
use crate::identity::Identity;
use crate::limits::{BODY_MAX, Limit, Limits, REMOTES_MAX, STREAM_WINDOW_MAX};
use crate::name::{NetworkName, NodeName};
use crate::rules::Rules;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

/// The UDP port that nodes advertise on, unless another is set.
pub const ADVERTISE_PORT: u16 = 3334;
/// Between two adverts, unless another interval is set.
pub const ADVERTISE_INTERVAL: Duration = Duration::from_secs(1);
/// How long a path through a relay may be silent before a sign of life is asked for, unless another
/// time is set.
pub const RELAY_KEEPALIVE: Duration = Duration::from_secs(10);
/// Shortest and longest: below, keepalives are a load; above, a relay takes us for gone.
const KEEPALIVES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(30));
/// Shortest and longest interval: below, adverts are a storm; above, peers take minutes to be
/// missed.
const INTERVALS: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(300));

/// Smallest and largest bound on a message: below, calls hardly fit; above, one call is all a node
/// does.
const MESSAGES: RangeInclusive<usize> = 1024..=1 << 30;
/// Smallest piece of a stream: below, most of what is sent is not the stream.
const CHUNK_MIN: usize = 1024;
/// Shortest and longest pause between pings.
const PINGS: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(3600);

/// A node whose sockets are open, and what the program gave it to run.
pub(super) struct Parts {
    pub(super) opened: Opened,
    pub(super) commands: CommandTree,
    pub(super) on_message: Option<MessageHandler>,
    pub(super) on_event: Option<EventHandler>,
}

/// A node to be. Nothing is opened or sent before it is started.
#[derive(Clone)]
pub struct Builder {
    name: Result<NodeName, Error>,
    network: Result<NetworkName, Error>,
    keys: Vec<Key>,
    identity: Option<Identity>,
    listen: Option<SocketAddr>,
    advertise_port: u16,
    advertise_address: Option<SocketAddr>,
    interval: Duration,
    lan: bool,
    relays: Result<Vec<RelayAddress>, Error>,
    max_remotes: Option<usize>,
    relay_keepalive: Duration,
    loopback: bool,
    limits: Box<Limits>,
    rules: Result<Rules, Error>,
    commands: Result<CommandTree, Error>,
    message: Option<MessageHandler>,
    event: Option<EventHandler>,
    pub(super) trust: TrustSettings,
    #[cfg(feature = "compat")]
    compat: Option<Compat>,
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
            identity: None,
            listen: None,
            advertise_port: ADVERTISE_PORT,
            advertise_address: None,
            interval: ADVERTISE_INTERVAL,
            lan: true,
            relays: Ok(Vec::new()),
            max_remotes: None,
            relay_keepalive: RELAY_KEEPALIVE,
            loopback: false,
            limits: Box::default(),
            rules: Ok(Rules::default()),
            commands: Ok(CommandTree::new()),
            message: None,
            event: None,
            trust: TrustSettings::default(),
            #[cfg(feature = "compat")]
            compat: None,
        }
    }

    /// Another key that is understood, while the network's key is being rotated. Only the first one
    /// seals.
    #[must_use]
    pub fn also_key(mut self, key: Key) -> Self {
        self.keys.push(key);
        self
    }

    /// Who this node is, also after its next start. Unless it is set, the node makes an identity
    /// at its start, and forgets it at its end. Other nodes show the fingerprint of the public key.
    /// Two nodes must not have one identity.
    ///
    /// [`Identity::load_or_create`] keeps an identity in a file.
    #[must_use]
    pub fn identity(mut self, identity: Identity) -> Self {
        self.identity = Some(identity);
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

    /// Where others are to dial this node, if not where its adverts come from. Port 0 is the port
    /// it listens on.
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

    /// Whether to look for peers on the LANs that this host is on; yes unless switched off. With
    /// `lan(false)` a node finds others through [`Builder::relay`] or [`Node::connect`] only. It
    /// then listens only if [`Builder::listen`] or [`Builder::advertise_address`] is set, and
    /// otherwise [`Node::port`] is 0: other nodes reach it through a relay, or over a link that it
    /// made itself.
    #[must_use]
    pub fn lan(mut self, on: bool) -> Self {
        self.lan = on;
        self
    }

    /// A relay to be linked to, as `HOST:PORT`, besides those given before. One that cannot be
    /// reached, or whose name cannot be resolved, is an event and is tried again, for ever. The
    /// node still looks for peers on its LANs, and prefers the direct path to those that it finds;
    /// with [`Builder::lan`]`(false)` it uses relays alone.
    #[must_use]
    pub fn relay(mut self, address: &str) -> Self {
        self.relays = RelayAddress::add_to(self.relays, address);
        self
    }

    /// Relays to be linked to at most, 16 or fewer: those given, and for the rest those that other
    /// nodes tell of. Not less than those given. Unless set, [`MAX_REMOTES`](crate::MAX_REMOTES) or
    /// as many as are given; none, if none is given.
    #[must_use]
    pub fn max_remotes(mut self, count: usize) -> Self {
        self.max_remotes = Some(count);
        self
    }

    /// How long a path through a relay may be silent before a sign of life is asked for, 100 ms to
    /// 30 s; after three times that it is dead. [`RELAY_KEEPALIVE`] unless set.
    #[must_use]
    pub fn relay_keepalive(mut self, interval: Duration) -> Self {
        self.relay_keepalive = interval;
        self
    }

    /// Sets the largest size of what is asked in one call, and of its value, in bytes: 1 KiB to 1
    /// GiB, 4 MiB by default. What does not fit into one frame is sent in pieces, which the program
    /// does not notice. The limits `call_bytes`, `reply_bytes` and `message_bytes` are raised where
    /// one such message would not fit into them. [`Builder::limits`] replaces all of these, so call
    /// it before this function.
    #[must_use]
    pub fn max_message(mut self, bytes: usize) -> Self {
        self.limits.set_max_message(bytes);
        self
    }

    /// Bytes of one piece of a stream, 1 KiB to 47 KiB; 16 KiB unless set.
    #[must_use]
    pub fn chunk_size(mut self, bytes: usize) -> Self {
        self.limits.chunk_size = bytes;
        self
    }

    /// How long a peer may be silent before it is pinged, 100 ms to 1 h, and how long in all before
    /// it is taken for dead, at least twice that; 5 s and 15 s unless set.
    #[must_use]
    pub fn ping(mut self, interval: Duration, dead: Duration) -> Self {
        (self.limits.keepalive, self.limits.dead) = (interval, dead);
        self
    }

    /// What files may cost: bytes of the largest that is fetched, 4 GiB unless set; how many are
    /// read for others at a time, 8 unless set; and bytes per second that are read for others, all
    /// together, 0 for as fast as it goes, which it is unless set.
    #[must_use]
    pub fn file_limits(mut self, max_bytes: u64, uploads: usize, bytes_per_second: u64) -> Self {
        self.limits.file_bytes = max_bytes;
        self.limits.uploads = uploads;
        self.limits.upload_bytes_per_second = bytes_per_second;
        self
    }

    /// Sessions beyond which nobody is dialled only because another peer told of it; 64 unless set,
    /// and 0 for not at all.
    #[must_use]
    pub fn max_peers(mut self, count: usize) -> Self {
        self.limits.max_peers = count;
        self
    }

    /// Keeps all traffic on this host, on 127.0.0.0/8. The node finds the other nodes of this host
    /// that have the same [`Builder::advertise_port`], and dials nothing outside of this host, not
    /// even a relay that it was given.
    #[must_use]
    pub fn loopback(mut self, only: bool) -> Self {
        self.loopback = only;
        self
    }

    /// Also speaks the protocol of PeerBase 0.7.1, so that Python nodes take this one for one of
    /// theirs, on the LAN if [`Builder::lan`] is on, and at the relays it is given. Not unless
    /// asked for: that protocol proves nothing and hides no names, see [`crate::compat`]. To this
    /// node Python nodes are peers like others, which know commands only.
    #[cfg(feature = "compat")]
    #[must_use]
    pub fn compat(mut self, compat: Compat) -> Self {
        self.compat = Some(compat);
        self
    }

    /// Changes how it does, which it does from then on.
    #[cfg(feature = "compat")]
    pub(crate) fn change_compat(mut self, f: impl FnOnce(Compat) -> Compat) -> Self {
        self.compat = Some(f(self.compat.unwrap_or_default()));
        self
    }

    /// Does not, after all.
    #[cfg(feature = "compat")]
    pub(crate) fn without_compat(mut self) -> Self {
        self.compat = None;
        self
    }

    /// Sets one of the bounds, and leaves the others as they are.
    pub(crate) fn limit(mut self, limit: Limit, value: u64) -> Result<Self, Error> {
        self.limits.set(limit, value)?;
        self.check().map(|()| self)
    }

    /// Other bounds than the defaults, in place of all that were set before: also of those that
    /// [`Builder::max_message`], [`Builder::chunk_size`], [`Builder::ping`], [`Builder::max_peers`]
    /// and [`Builder::file_limits`] have set. So call this first. The values are checked when the
    /// node starts: see [`Limits`].
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        *self.limits = limits;
        self
    }

    /// Registers a command. The handler is a [callback](crate#callbacks): it runs on the loop's
    /// thread, and delays all other callbacks while it runs. It may move its [`Call`] to another
    /// thread and return; the call is then answered from there.
    ///
    /// The handler answers with [`Call::reply`], or says why it cannot with [`Call::fail`] or
    /// [`Call::refuse`]. What it returns is dropped, whatever that is, so that a handler may end in
    /// `call.reply(value)`. A handler that returns an `Err` has not answered with it: if it drops
    /// its call unanswered, the caller gets [`Error::CommandFailed`] with the text `the command
    /// gave no answer`; if it panics, with the text `the command panicked`.
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

    /// What answers messages of bytes, a [callback](crate#callbacks). What it returns is dropped;
    /// it answers with [`Message::reply`] or [`Message::fail`]. Of a node without it,
    /// [`Node::send_to`] and [`Node::send_message`] end as [`Error::CommandNotFound`], and a
    /// message to everyone ([`Node::broadcast`]) counts as delivered there.
    #[must_use]
    pub fn on_message<R>(mut self, handler: impl Fn(Message) -> R + Send + Sync + 'static) -> Self {
        self.message = Some(Arc::new(move |message| {
            handler(message);
        }));
        self
    }

    /// What is told of events, from the start on: it misses none, as [`Node::events`] might that is
    /// asked for later. It is a [callback](crate#callbacks), and first runs when the node runs. If
    /// it is slower than its events come, up to [`Limits::events`] of them wait; of the rest it is
    /// told how many it missed ([`Event::Missed`]).
    #[must_use]
    pub fn on_event(self, handler: impl Fn(&Event) + Send + Sync + 'static) -> Self {
        self.event_handler(Some(Arc::new(handler)))
    }

    pub(crate) fn event_handler(mut self, handler: Option<EventHandler>) -> Self {
        self.event = handler;
        self
    }

    /// The node's name, or what is wrong with it.
    pub(crate) fn name(&self) -> Result<NodeName, Error> {
        self.name.clone()
    }

    pub(crate) fn handler(mut self, path: &str, handler: Handler) -> Result<Self, Error> {
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
        self.rules.as_ref().map_err(Clone::clone)?;
        Keyring::new(self.keys.clone())?;
        if self.interval < INTERVALS.0 || self.interval > INTERVALS.1 {
            return Err(Error::Argument(
                "the advertise interval must be 50 ms to 300 s",
            ));
        }
        if self.relays.as_ref().map_err(Clone::clone)?.len() > REMOTES_MAX {
            return Err(Error::Argument("at most 16 relays"));
        }
        if self.relay_keepalive < KEEPALIVES.0 || self.relay_keepalive > KEEPALIVES.1 {
            return Err(Error::Argument(
                "the keepalive of relays must be 100 ms to 30 s",
            ));
        }
        if self.max_remotes.is_some_and(|max| max > REMOTES_MAX) {
            return Err(Error::Argument("at most 16 remotes"));
        }
        self.check_limits()?;
        self.trust.check()?;
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
        #[cfg(feature = "compat")]
        if let Some(compat) = &self.compat {
            compat.check(self.loopback)?;
            if self.trust.is_certified() {
                return Err(Error::Argument(
                    "a certified network refuses nodes of PeerBase 0.7.1",
                ));
            }
        }
        Ok(())
    }

    fn check_limits(&self) -> Result<(), Error> {
        let limits = &self.limits;
        if !MESSAGES.contains(&limits.max_message) {
            return Err(Error::Argument("max_message must be 1 KiB to 1 GiB"));
        }
        if !(CHUNK_MIN..=BODY_MAX).contains(&limits.chunk_size) {
            return Err(Error::Argument("chunk_size must be 1 KiB to 47 KiB"));
        }
        if limits.stream_window < 2 * BODY_MAX || limits.stream_window as u64 > STREAM_WINDOW_MAX {
            return Err(Error::Argument("stream_window must be 95 KiB to 1 GiB"));
        }
        let (ping, dead) = (limits.keepalive, limits.dead);
        if !PINGS.contains(&ping) || dead < ping * 2 {
            return Err(Error::Argument(
                "pings must be 100 ms to 1 h apart, and the dead time twice that",
            ));
        }
        Ok(())
    }

    /// Checks what only the whole can be checked for.
    fn check_whole(&self) -> Result<(), Error> {
        self.check()?;
        let given = self.relays.as_ref().map_or(0, Vec::len);
        if given > self.max_remotes.unwrap_or(REMOTES_MAX) {
            return Err(Error::Argument("more relays than max_remotes allows"));
        }
        Ok(())
    }

    /// Opens the sockets, and begins to ask for the name.
    pub(super) fn open_parts(self) -> Result<Parts, Error> {
        self.check_whole()?;
        #[cfg(feature = "compat")]
        let companion = match &self.compat {
            Some(compat) => Some(compat.opening(self.loopback, self.max_remotes)?),
            None => None,
        };
        #[cfg(not(feature = "compat"))]
        let companion = None;
        let settings = Settings {
            listen: self.listen,
            lan: self.lan,
            advertised: self.advertise_address.is_some(),
            advertise_port: self.advertise_port,
            loopback: self.loopback,
        };
        let (commands, on_message, on_event) = (self.commands?, self.message, self.event);
        let (name, network, keys) = (self.name?, self.network?, Keyring::new(self.keys)?);
        let (advertised, relays, rules) = (self.advertise_address, self.relays?, self.rules?);
        let max_remotes = remotes::most(self.max_remotes, relays.len());
        let keeps_identity = self.identity.is_some();
        let identity = match self.identity {
            Some(identity) => identity,
            None => Identity::generate(&mut OsEntropy::new()?),
        };
        let (folder, mode) = self.trust.open(&network, &name, &identity.public_key())?;
        let make_config = |port| engine::Config {
            network,
            name,
            keys,
            identity,
            keeps_identity,
            mode,
            port: advertised
                .map(|a| a.port())
                .filter(|p| *p != 0)
                .unwrap_or(port),
            address: advertised.map(|a| -> IpAddr { a.ip() }),
            interval: self.interval,
            lan: self.lan,
            relays,
            max_remotes,
            relay_keepalive: self.relay_keepalive,
            limits: *self.limits,
            rules,
        };
        let (mut driver, poller, waker) = Driver::open(&settings, make_config, companion)?;
        driver.keep_in(folder);
        Ok(Parts {
            opened: Opened {
                driver,
                poller,
                waker,
                forks: fork::count(),
            },
            commands,
            on_message,
            on_event,
        })
    }

    /// Starts the node on a thread of its own, named `peerbase`. Waits for the quarter of a second
    /// in which the network is asked whether the name is taken, and for the relays it was given to
    /// be asked as well, or to have failed: two seconds at most. Other nodes may not be known yet
    /// when this returns. A call waits for its target, but [`CallBuilder::to_all`] takes the peers
    /// that are known.
    ///
    /// Everything that was set is checked here.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`], [`Error::Name`], [`Error::Network`], [`Error::Key`], [`Error::Path`],
    /// [`Error::Address`] or [`Error::CommandExists`] if something was set that breaks a rule;
    /// [`Error::NameTaken`] if another node of the network has the name; [`Error::PortInUse`] or
    /// [`Error::Io`] if the system refuses a socket or a thread.
    ///
    /// [`CallBuilder::to_all`]: crate::CallBuilder::to_all
    pub fn start(self) -> Result<Node, Error> {
        Node::start(self.open_parts()?)
    }

    /// Opens the node for the program's own event loop, which no thread of the library runs. The
    /// loop does this again and again:
    ///
    /// 1. It asks [`Node::timeout`] how long it may wait.
    /// 2. It waits for so long at most, for [`Node::fd`] and the program's own descriptors.
    /// 3. It calls [`Node::process`] with a timeout of zero, whatever ended the wait. That runs the
    ///    [callbacks](crate#callbacks) that are due.
    ///
    /// The descriptor is level-triggered. A program may register it edge-triggered, as mio does, if
    /// it calls `process` after each wake as above, and never skips one.
    ///
    /// A blocking call, such as [`CallBuilder::send`](crate::CallBuilder::send), drives the loop
    /// itself while it waits. On the thread that opened the node, or that last processed it, it
    /// runs callbacks meanwhile; on any other thread it runs none, and leaves them to the loop.
    ///
    /// This function blocks as [`Builder::start`] does: for 0.25 s, or until the relays have been
    /// asked, 2 s at most. No callback runs before the first `process` or blocking call.
    ///
    /// # Errors
    ///
    /// Those of [`Builder::start`].
    pub fn open(self) -> Result<Node, Error> {
        Node::open(self.open_parts()?)
    }

    /// Runs the node on this thread until it is stopped. `ready` is given the node once it takes
    /// part; keep a clone of it to call or stop it from elsewhere. If it is stopped before `ready`
    /// returns, that is no error. Callbacks run after `ready` has returned, or while it makes a
    /// blocking call.
    ///
    /// # Errors
    ///
    /// Those of [`Builder::start`] and [`Node::run`].
    pub fn run(self, ready: impl FnOnce(&Node)) -> Result<(), Error> {
        let node = self.open()?;
        ready(&node);
        match node.run() {
            Err(Error::Stopped) => {
                node.0.shared.turns.wait_finished();
                Ok(())
            }
            ran => ran,
        }
    }
}
