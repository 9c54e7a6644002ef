//! A node's part in a network of Python nodes, without IO.
//!
//! Driven as [`crate::engine`] is: hand in what happened, drain [`Engine::poll`], write
//! [`Engine::pending`], come back at [`Engine::deadline`]. What it learns and is asked goes to the native
//! engine, to which all this is only another kind of peer; what that asks of such a peer comes back as
//! [`Engine::call`].
//!
//! ```text
//! link: Reading --(a call)--> Serving --(an answer)--> Answering --> Lingering   (they connected)
//!       Asking --(an answer, or the end)                                         (we did)
//! ```
//!
//! `peers` is who is known, `exchange` a request of ours and its answer, `calling` what we ask, `relays`
//! which relays we ask for what has come, `serving` what we are asked.

mod calling;
mod exchange;
mod peers;
mod relays;
mod serving;

use super::http;
use crate::address::RelayAddress;
use crate::engine::{CallNumber, RelayFault};
use crate::entropy::Entropy;
use crate::error::Error;
use crate::fernet::Keyring;
use crate::limits::Limits;
use crate::name::{CommandPath, NetworkName, NodeName};
use crate::protocol::{LinkEvent, LinkId, Now, Protocol, Time};
use crate::table::Table;
use calling::Call;
use exchange::Exchange;
use peers::Peers;
pub use peers::Place;
use relays::Relays;
use serving::Served;
use std::collections::VecDeque;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

/// Between two adverts: PeerBase 0.7.1 looks for 1.5 s at a time.
const ADVERTISE_INTERVAL: Duration = Duration::from_secs(1);
/// How long a connection is kept open after its answer for the other side to have read it.
const LINGER: Duration = Duration::from_secs(2);

/// Who the node is.
#[derive(Clone, Debug)]
pub struct Config {
    /// The network.
    pub network: NetworkName,
    /// This node's name.
    pub name: NodeName,
    /// The network's keys.
    pub keys: Keyring,
    /// The TCP port that calls come to; 0 for nobody's.
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
}

/// What to do.
#[derive(Debug)]
pub enum Output {
    /// Broadcast [`Engine::advert`] on every interface.
    Advertise,
    /// Connect to this address.
    Dial(LinkId, SocketAddr),
    /// Find out what this relay's name means, and connect to it. One that was learnt may not be anywhere.
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
    /// A link has [`Engine::pending`] bytes, where it had none.
    Writable(LinkId),
    /// Say on this link that no more comes; go on reading it.
    Finish(LinkId),
    /// Close it.
    Close(LinkId),
    /// Where a peer is now, or that it is gone.
    Peer(NodeName, Option<Place>),
    /// A relay answers now, or does not, and why.
    Relay(RelayAddress, Result<(), RelayFault>),
    /// A command is called here: answer with [`Engine::reply`].
    Request {
        /// What to answer to.
        ticket: u64,
        /// Who calls, as it says.
        caller: NodeName,
        /// Which command.
        path: CommandPath,
        /// A JSON array.
        args: Vec<u8>,
        /// A JSON object.
        kwargs: Vec<u8>,
    },
    /// Nobody waits for the answer to this any more.
    Withdrawn(u64),
    /// A call of ours ended.
    Answered(CallNumber, Result<Vec<u8>, Error>),
}

#[derive(Debug)]
enum Role {
    /// A request is coming.
    Reading(http::Reader),
    /// It is being answered.
    Serving(u64),
    /// The answer is being read.
    Answering,
    /// All is said.
    Lingering,
    /// We ask.
    Asking(Exchange),
}

#[derive(Debug)]
struct Link {
    role: Role,
    /// Who connected.
    from: Option<IpAddr>,
    deadline: Time,
    output: Vec<u8>,
    written: usize,
}

impl Link {
    /// Bytes that it makes us hold.
    fn held(&self) -> usize {
        self.output.len()
            + match &self.role {
                Role::Reading(reader) => reader.held(),
                Role::Asking(exchange) => exchange.held(),
                _ => 0,
            }
    }
}

/// The state machine. See the module's documentation for how to drive it.
pub struct Engine {
    config: Config,
    entropy: Box<dyn Entropy>,
    running: bool,
    advertise_at: Time,
    peers: Peers,
    relays: Relays,
    links: Table<LinkId, Box<Link>>,
    next_link: u64,
    calls: Table<u64, Call>,
    served: Table<u64, Served>,
    next_ticket: u64,
    /// No link can be late before this.
    links_due: Time,
    outputs: VecDeque<Output>,
    refused: u64,
    /// Where tokens are opened; lent out while one is read.
    opened: Vec<u8>,
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("compat::Engine")
            .field("name", &self.config.name)
            .finish_non_exhaustive()
    }
}

impl Engine {
    /// A node that does nothing before [`Engine::start`].
    pub fn new(config: Config, entropy: Box<dyn Entropy>) -> Engine {
        Engine {
            relays: Relays::new(&config.relays),
            config,
            entropy,
            running: false,
            advertise_at: Time::NEVER,
            peers: Peers::default(),
            links: Table::default(),
            next_link: 0,
            calls: Table::default(),
            served: Table::default(),
            next_ticket: 0,
            links_due: Time::NEVER,
            outputs: VecDeque::new(),
            refused: 0,
            opened: Vec::new(),
        }
    }

    /// The name is ours: takes part.
    pub fn start(&mut self, now: Now) {
        self.running = true;
        if self.config.port != 0 {
            self.advertise_at = now.at;
        }
        self.relays.start(now.at);
        self.tick(now);
    }

    /// Ends everything; the protocol has no goodbye.
    pub fn stop(&mut self) {
        self.running = false;
        self.advertise_at = Time::NEVER;
        for id in self.links.keys() {
            self.outputs.push_back(Output::Close(*id));
        }
        self.links = Table::default();
        self.calls = Table::default();
        self.served = Table::default();
        self.relays = Relays::default();
        self.peers = Peers::default();
        self.links_due = Time::NEVER;
    }

    /// Whether all that was answered has been written.
    pub fn is_flushed(&self) -> bool {
        let answering = |link: &Link| matches!(link.role, Role::Answering);
        !self.links.values().any(|link| answering(link)) && self.relays.held() == 0
    }

    /// What to do next, if anything.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to call [`Engine::tick`] at the latest.
    pub fn deadline(&self) -> Option<Time> {
        let due = [
            self.advertise_at,
            self.peers.due(),
            self.relays.due(),
            self.links_due,
        ];
        due.into_iter().min().filter(|t| *t != Time::NEVER)
    }

    /// Requests and adverts that were turned away.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// Time passed.
    pub fn tick(&mut self, now: Now) {
        if !self.running {
            return;
        }
        if now.at >= self.advertise_at {
            self.advertise_at = now.at + ADVERTISE_INTERVAL;
            self.outputs.push_back(Output::Advertise);
        }
        if now.at >= self.peers.due() {
            self.expire_peers(now);
        }
        if now.at >= self.links_due {
            self.tick_links(now);
        }
        if now.at >= self.relays.due() {
            self.tick_relays(now);
        }
    }

    /// Bytes that wait to be written to a link.
    pub fn pending(&self, id: LinkId) -> &[u8] {
        self.links.get(&id).map_or(&[], |l| &l.output[l.written..])
    }

    fn add_link(&mut self, role: Role, from: Option<IpAddr>, deadline: Time) -> LinkId {
        let id = LinkId(self.next_link);
        self.next_link += 1;
        self.links_due = self.links_due.min(deadline);
        let link = Link {
            role,
            from,
            deadline,
            output: Vec::new(),
            written: 0,
        };
        self.links.insert(id, Box::new(link));
        id
    }

    /// Gives a link until then.
    fn extend(&mut self, id: LinkId, deadline: Time) {
        self.links_due = self.links_due.min(deadline);
        if let Some(link) = self.links.get_mut(&id) {
            link.deadline = deadline;
        }
    }

    /// Bytes that links make us hold: of all, and of those from one address.
    fn held(&self, from: Option<IpAddr>) -> (usize, usize) {
        let of = |wanted: bool| {
            let links = self
                .links
                .values()
                .filter(move |l| !wanted || l.from == from);
            links.map(|l| l.held()).sum::<usize>()
        };
        (of(false) + self.relays.held(), of(true))
    }

    fn close(&mut self, id: LinkId) -> Option<Box<Link>> {
        let link = self.links.remove(&id)?;
        self.outputs.push_back(Output::Close(id));
        Some(link)
    }

    fn tick_links(&mut self, now: Now) {
        let late = self.links.iter().filter(|(_, l)| now.at >= l.deadline);
        for id in late.map(|(id, _)| *id).collect::<Vec<_>>() {
            match self.links.get(&id).map(|l| &l.role) {
                Some(Role::Reading(_)) => self.refuse(now, id, serving::LATE),
                Some(Role::Asking(_)) => self.exchange_over(now, id, true),
                _ => self.drop_link(id),
            }
        }
        let deadlines = self.links.values().map(|l| l.deadline);
        self.links_due = deadlines.min().unwrap_or(Time::NEVER);
    }

    /// Closes a link, on which somebody may have waited.
    fn drop_link(&mut self, id: LinkId) {
        if let Some(link) = self.close(id)
            && let Role::Serving(ticket) = link.role
        {
            self.withdraw(ticket);
        }
    }
}

impl Protocol for Engine {
    fn accept(&mut self, now: Now, from: SocketAddr) -> Option<LinkId> {
        Engine::accept(self, now, from)
    }

    fn link(&mut self, now: Now, id: LinkId, event: LinkEvent<'_>) {
        match event {
            LinkEvent::Connected => self.connected(now, id),
            LinkEvent::Received(bytes) => self.received(now, id, bytes),
            LinkEvent::Sent(n) => self.sent(now, id, n),
            LinkEvent::Closed => self.closed(now, id),
        }
    }

    fn pending(&self, id: LinkId) -> &[u8] {
        Engine::pending(self, id)
    }
}

impl Engine {
    /// Bytes came on a link.
    pub fn received(&mut self, now: Now, id: LinkId, bytes: &[u8]) {
        match self.links.get(&id).map(|link| &link.role) {
            Some(Role::Asking(_)) => self.exchange_received(now, id, bytes),
            Some(_) => self.request_received(now, id, bytes),
            None => {}
        }
    }

    /// A link ended, or could not be made.
    pub fn closed(&mut self, now: Now, id: LinkId) {
        match self.links.get(&id).map(|link| &link.role) {
            Some(Role::Asking(_)) => self.exchange_over(now, id, false),
            _ => self.drop_link(id),
        }
    }

    /// A link took this many of the [`Engine::pending`] bytes.
    pub fn sent(&mut self, now: Now, id: LinkId, n: usize) {
        let patience = self.config.limits.frame;
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        link.written = (link.written + n).min(link.output.len());
        let all = link.written == link.output.len();
        match &mut link.role {
            Role::Asking(exchange) => {
                exchange.sent = true;
                if all {
                    (link.output, link.written) = (Vec::new(), 0);
                }
            }
            Role::Answering if all => {
                link.role = Role::Lingering;
                (link.output, link.written) = (Vec::new(), 0);
                self.outputs.push_back(Output::Finish(id));
                self.extend(id, now.at + LINGER);
            }
            Role::Answering => self.extend(id, now.at + patience),
            _ => {}
        }
    }
}
