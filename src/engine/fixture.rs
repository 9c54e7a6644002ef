//! What the unit tests of parts stand on: a core of its own for each test, chance that repeats, and
//! two nodes whose networks are in a session.

use super::context::{Core, Ctx, Phase, Secrets};
use super::links::Came;
use super::network::{Greeted, Network, Proved};
use super::{Config, Event, LinkId, Mode, Now, Output, Stats, Time};
use crate::entropy::Counting;
use crate::fernet::{Key, Keyring};
use crate::handshake::Credentials;
use crate::identity::Identity;
use crate::limits::Limits;
use crate::name::{NetworkName, NodeName};
use crate::network_keys::NetworkKeys;
use crate::rules::Rules;
use crate::wire::peers::Acquaintance;
use crate::wire::record::Body;
use crate::wire::{Instance, instance};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

/// A moment, in milliseconds.
pub(crate) fn at(ms: u64) -> Time {
    Time(Duration::from_millis(ms))
}

pub(crate) fn name(name: &str) -> NodeName {
    NodeName::new(name).unwrap()
}

/// Those of the `n`th node, whose instance begins with `n`, so that instances are in the order of
/// these numbers.
pub(crate) fn credentials(n: u8) -> Credentials {
    let identity = Identity::from_seed([n; 32]);
    let key = identity.public_key();
    let starts = (0..).map(|start: u128| start.to_be_bytes());
    let mut fitting = starts.filter(|start| instance(&key, start).0[0] == n);
    Credentials::new(&identity, false, fitting.next().unwrap())
}

/// A node called "us", on a LAN of the network "net".
pub(crate) fn config() -> Config {
    Config {
        network: NetworkName::new("net").unwrap(),
        name: name("us"),
        keys: Keyring::from(Key::from_bytes([1; 32])),
        identity: Identity::from_seed([1; 32]),
        keeps_identity: false,
        mode: Mode::default(),
        port: 7,
        address: None,
        interval: Duration::from_secs(1),
        lan: true,
        relays: Vec::new(),
        max_remotes: 3,
        relay_keepalive: Duration::from_secs(10),
        limits: Limits::default(),
        rules: Rules::default(),
    }
}

/// The address of the `n`th peer.
pub(crate) fn address(n: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, n], 7))
}

/// The `n`th peer, as another peer tells of it.
pub(crate) fn acquaintance(n: u8) -> Acquaintance {
    Acquaintance {
        instance: Instance([n; 16]),
        name: name(&format!("p{n}")),
        address: address(n),
    }
}

/// The core of that node, the 5th, which has its name.
pub(crate) fn core() -> Core {
    let (config, credentials) = (config(), credentials(5));
    Core {
        instance: credentials.instance(),
        secrets: Secrets {
            keys: NetworkKeys::new(&config.keys, &config.network),
            credentials,
        },
        config,
        phase: Phase::Running,
        entropy: Box::new(Counting(0)),
        outputs: VecDeque::new(),
        stats: Stats::default(),
    }
}

/// A core, and the time.
pub(crate) struct Fixture {
    pub(crate) core: Core,
    pub(crate) now: Time,
}

impl Default for Fixture {
    fn default() -> Fixture {
        Fixture {
            core: core(),
            now: Time::default(),
        }
    }
}

impl Fixture {
    pub(crate) fn ctx(&mut self) -> Ctx<'_> {
        self.core.at(Now {
            at: self.now,
            unix: 1,
        })
    }

    /// The events that were told since the last time.
    pub(crate) fn events(&mut self) -> Vec<Event> {
        let outputs = self.core.outputs.drain(..);
        let events = outputs.filter_map(|output| match output {
            Output::Event(event) => Some(event),
            _ => None,
        });
        events.collect()
    }
}

/// One node of two that have a link to each other, as far as the network.
pub(crate) struct Side {
    pub(crate) fixture: Fixture,
    pub(crate) network: Network,
    pub(crate) link: LinkId,
    opened: Vec<u8>,
}

impl Side {
    /// The `n`th node.
    pub(crate) fn new(n: u8) -> Side {
        let mut fixture = Fixture::default();
        fixture.core.config.name = name(&format!("p{n}"));
        fixture.core.config.identity = Identity::from_seed([n; 32]);
        fixture.core.secrets.credentials = credentials(n);
        fixture.core.instance = fixture.core.secrets.credentials.instance();
        fixture.core.entropy = Box::new(Counting(n));
        Side {
            network: Network::new(&fixture.core.config, fixture.now),
            fixture,
            link: LinkId(0),
            opened: Vec::new(),
        }
    }

    /// Dials the node at an address that a program has given.
    pub(crate) fn dial(&mut self, to: SocketAddr) {
        let seed = self.network.seed(&self.fixture.ctx(), to).unwrap();
        self.network.keep_seed(&self.fixture.ctx(), seed);
        self.network.tick_mesh(&mut self.fixture.ctx());
        let dialled = self.fixture.core.outputs.pop_front();
        let Some(Output::Dial(link, _)) = dialled else {
            panic!("{dialled:?}");
        };
        self.link = link;
        self.network.connected(&mut self.fixture.ctx(), link);
    }

    /// Takes in the bytes that wait for its link at the other side; `record` is handed each record.
    pub(crate) fn take(
        &mut self,
        other: &mut Side,
        mut record: impl FnMut(&mut Ctx<'_>, &mut Network, Instance, Body<'_>),
    ) {
        let mut bytes = Vec::new();
        let mut write = |pending: &[u8]| {
            bytes.extend_from_slice(pending);
            pending.len()
        };
        let ctx = &mut other.fixture.ctx();
        let _ = other.network.transmit(ctx, other.link, &mut write);
        let (fixture, network, mut rest) = (&mut self.fixture, &mut self.network, &bytes[..]);
        while let Some((link, came)) =
            network.next(&mut fixture.ctx(), self.link, &mut rest, &mut self.opened)
        {
            let ctx = &mut fixture.ctx();
            match came {
                Came::Record { peer, body } => record(ctx, network, peer, body),
                Came::Question(question) => {
                    let greeted = network.question(ctx, link, question);
                    assert!(matches!(greeted, Greeted::Nothing), "{greeted:?}");
                }
                Came::Answer(answer) => {
                    let greeted = network.answered(ctx, link, answer);
                    assert!(matches!(greeted, Greeted::Session), "{greeted:?}");
                    meet(ctx, network, link);
                }
                Came::Opened => meet(ctx, network, link),
                _ => {}
            }
        }
    }
}

fn meet(ctx: &mut Ctx<'_>, network: &mut Network, link: LinkId) {
    let Some(Proved::Welcome(met)) = network.proved(ctx, link) else {
        panic!("it is not welcome");
    };
    network.meet(ctx, &met);
    network.add_session(ctx, link, &met);
    network.plan_for_session(ctx, link, met.instance);
}

/// The nodes 5 and 9, of which the first has dialled the other and is in a session with it.
pub(crate) fn linked() -> (Side, Side) {
    let (mut one, mut other) = (Side::new(5), Side::new(9));
    one.dial(address(9));
    other.link = other.network.accept(&mut other.fixture.ctx(), address(5));
    other.take(&mut one, |_, _, _, _| {});
    one.take(&mut other, |_, _, _, _| {});
    other.take(&mut one, |_, _, _, _| {});
    for side in [&mut one, &mut other] {
        assert!(side.network.is_open(side.link));
        side.fixture.core.outputs.clear();
    }
    (one, other)
}
