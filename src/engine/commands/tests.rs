//! Tests of the commands as a whole, with a [`Ctx`] and a network to send through.

use super::*;
use crate::engine::calls::ask::Broadcast;
use crate::engine::calls::broadcast::{Parent, Unasked};
use crate::engine::fixture::{Side, address, at, linked, name};
use crate::engine::network::Rival;
use crate::engine::payload::Payload;
use crate::engine::{Ask, Request, Terms};
use crate::error::Error;
use crate::name::CommandPath;
use crate::wire::record::Status;
use crate::wire::report;
use std::time::Duration;

/// A node: its commands, and the network that they send through.
struct Node {
    side: Side,
    commands: Commands,
}

fn terms(wait: bool) -> Terms {
    Terms {
        timeout: Duration::from_secs(1),
        wait,
        streams: false,
    }
}

impl Node {
    fn new(side: Side) -> Node {
        Node {
            side,
            commands: Commands::default(),
        }
    }

    fn call(&mut self, target: &str, terms: Terms) -> Result<CallNumber, Error> {
        let ask = Ask::Command {
            path: CommandPath::new("read").unwrap(),
            args: b"[7]".to_vec(),
            kwargs: b"{}".to_vec(),
        };
        let (ctx, network) = (&mut self.side.fixture.ctx(), &mut self.side.network);
        self.commands.call(ctx, network, &name(target), ask, terms)
    }

    fn take(&mut self, other: &mut Node) {
        let (link, commands) = (self.side.link, &mut self.commands);
        self.side.take(&mut other.side, |ctx, network, peer, body| {
            commands.record(ctx, network, link, peer, body);
        });
    }

    fn answer(&mut self, request: &Request, value: &[u8]) {
        let (ctx, network) = (&mut self.side.fixture.ctx(), &mut self.side.network);
        self.commands
            .reply(ctx, network, request.id, Status::Value, value.to_vec());
    }

    fn outputs(&mut self) -> Vec<Output> {
        self.side.fixture.core.outputs.drain(..).collect()
    }

    fn request(&mut self) -> Option<Request> {
        let requests = self
            .outputs()
            .into_iter()
            .filter_map(|output| match output {
                Output::Request(request) => Some(request),
                _ => None,
            });
        requests.last()
    }

    /// The calls that have ended since the last time.
    fn ended(&mut self) -> Vec<(CallNumber, Result<Vec<u8>, Error>)> {
        let ended = self
            .outputs()
            .into_iter()
            .filter_map(|output| match output {
                Output::Ended(number, result) => Some((number, result.map(Payload::into_bytes))),
                _ => None,
            });
        ended.collect()
    }
}

fn pair() -> (Node, Node) {
    let (one, other) = linked();
    (Node::new(one), Node::new(other))
}

#[test]
fn a_call_goes_over_the_session_with_its_target_and_its_answer_comes_back() {
    let (mut caller, mut callee) = pair();
    let number = caller.call("p9", terms(false)).unwrap();
    callee.take(&mut caller);
    let request = callee.request().unwrap();
    assert_eq!(request.caller, name("p5"));
    callee.answer(&request, b"21.5");
    caller.take(&mut callee);
    assert_eq!(caller.ended(), [(number, Ok(b"21.5".to_vec()))]);
}

impl Node {
    /// Says a message to everyone, which `alter` changes after it was signed.
    fn say(&mut self, alter: impl FnOnce(&mut Broadcast)) {
        let ctx = &mut self.side.fixture.ctx();
        let mut broadcast = self.commands.broadcasts.say(ctx, b"said");
        alter(&mut broadcast);
        let parent = Parent::Own(self.commands.calls.take_number());
        let (network, timeout) = (&mut self.side.network, Duration::from_secs(9));
        self.commands
            .hand_on(ctx, network, parent, broadcast, timeout);
    }
}

#[test]
fn nothing_is_kept_of_a_message_to_all_that_its_origin_has_not_signed() {
    let (mut origin, mut peer) = pair();
    let instance = origin.side.fixture.core.instance;
    for node in [&mut origin, &mut peer] {
        let other = node.side.network.session(node.side.link).unwrap().peer;
        node.side.network.announce(&other);
    }
    let said = |node: &mut Node| {
        let outputs = node.outputs().into_iter();
        outputs.filter(|o| matches!(o, Output::Message(_))).count()
    };
    origin.say(|_| {});
    peer.take(&mut origin);
    assert_eq!(said(&mut peer), 1);
    assert_eq!(peer.commands.serving.calls_of(instance).len(), 1);
    origin.say(|broadcast| broadcast.data = b"forged"[..].into());
    peer.take(&mut origin);
    assert_eq!(said(&mut peer), 0);
    assert_eq!(peer.commands.serving.calls_of(instance).len(), 1);
    assert!(!peer.side.network.is_open(peer.side.link), "a violation");
}

#[test]
fn a_python_node_is_answered_also_if_this_node_is_another_instance_by_then() {
    let mut node = Node::new(Side::new(5));
    let ctx = &mut node.side.fixture.ctx();
    let ask = Ask::Message(b"asked".to_vec());
    node.commands.compat_request(ctx, 7, name("py"), ask);
    let request = node.request().unwrap();
    node.side.fixture.core.instance = Side::new(6).fixture.core.instance;
    node.answer(&request, b"7");
    let outputs = node.outputs();
    assert!(matches!(&outputs[..], [Output::CompatReply(7, Status::Value, body)] if body == b"7"));
}

#[test]
fn peers_that_were_put_off_are_not_asked_once_the_node_ends_its_calls() {
    let (mut node, _) = pair();
    let round = node
        .commands
        .broadcasts
        .begin_round(Parent::Own(CallNumber(1)));
    let (ctx, network) = (&mut node.side.fixture.ctx(), &mut node.side.network);
    let unasked = Unasked {
        peers: vec![name("p9"), name("p9")],
        broadcast: node.commands.broadcasts.say(ctx, b"said"),
        is_own: true,
        deadline: at(60_000),
    };
    node.commands.broadcasts.keep(round, unasked);
    let (commands, why) = (&mut node.commands, &Error::Cancelled);
    commands.end_own_calls(ctx, network, why);
    assert_eq!(commands.calls.len(), 0);
    assert!(commands.broadcasts.take_unasked(round).is_none());
    let ended = node.ended();
    let report = report::decode(ended[0].1.as_ref().unwrap()).unwrap();
    assert_eq!((ended.len(), report.delivered, report.failed), (1, 0, 2));
}

#[test]
fn a_call_to_a_name_that_is_not_known_waits_only_if_it_is_to_and_not_for_ever() {
    let mut node = Node::new(Side::new(5));
    let unreachable = Error::Unreachable("p9".into());
    assert_eq!(node.call("p9", terms(false)), Err(unreachable.clone()));
    let number = node.call("p9", terms(true)).unwrap();
    assert!(node.commands.waits_for(&name("p9")));
    node.side.fixture.now = at(1_000);
    let (ctx, network) = (&mut node.side.fixture.ctx(), &mut node.side.network);
    node.commands.tick_calls(ctx, network);
    assert_eq!(node.ended(), [(number, Err(unreachable))]);
    assert!(!node.commands.waits_for(&name("p9")));
}

#[test]
fn when_its_link_ends_a_call_waits_to_be_sent_again_and_its_peer_is_to_be_dialled() {
    let (mut caller, _) = pair();
    caller.call("p9", terms(false)).unwrap();
    assert!(!caller.commands.waits_for(&name("p9")));
    let (ctx, network) = (&mut caller.side.fixture.ctx(), &mut caller.side.network);
    caller.commands.link_ended(ctx, network, caller.side.link);
    assert!(caller.commands.waits_for(&name("p9")));
    let due = network.take_due_peers(caller.side.fixture.now);
    assert_eq!(due.straight.len(), 1, "without a pause");
    assert!(caller.ended().is_empty());
}

#[test]
#[cfg(feature = "files")]
fn a_call_counts_for_its_source_while_its_caller_has_no_session() {
    let (mut caller, mut callee) = pair();
    caller.call("p9", terms(false)).unwrap();
    callee.take(&mut caller);
    let request = callee.request().unwrap();
    let (ctx, network) = (&mut callee.side.fixture.ctx(), &mut callee.side.network);
    let source = network.source(callee.side.link);
    assert!(source.is_some());
    callee.commands.cut(ctx, network, callee.side.link);
    assert_eq!(network.best_session(request.id.caller), None);
    assert_eq!(callee.commands.source_of_calls(request.id.caller), source);
}

#[test]
fn the_calls_that_a_peer_may_have_end_when_it_is_gone() {
    let (mut caller, _) = pair();
    let number = caller.call("p9", terms(false)).unwrap();
    let (ctx, network) = (&mut caller.side.fixture.ctx(), &mut caller.side.network);
    let peer = network.resolve(&name("p9")).unwrap();
    caller.commands.drop_peer(ctx, network, peer);
    assert!(!network.is_open(caller.side.link));
    let unreachable = Error::Unreachable("p9".into());
    assert_eq!(caller.ended(), [(number, Err(unreachable))]);
}

#[test]
fn a_seed_is_dialled_again_after_a_pause_when_another_instance_has_replaced_its_peer() {
    let (mut node, _) = pair();
    let peer = node.side.network.resolve(&name("p9")).unwrap();
    node.side.fixture.now = at(1_000);
    let (ctx, network) = (&mut node.side.fixture.ctx(), &mut node.side.network);
    // The session of the seed is known by now, and what is new was told.
    network.tick_mesh(ctx);
    let rival = network.supersede(ctx, peer);
    assert!(matches!(rival, Some(Rival::Doubted { .. })), "{rival:?}");
    node.commands.link_ended(ctx, network, node.side.link);
    assert_eq!(network.resolve(&name("p9")), None);
    let (_, longest) = ctx.config.limits.redial;
    let dials = |output: &Output| matches!(output, Output::Dial(_, to) if *to == address(9));
    let mut dialled = false;
    while !dialled {
        let (ctx, network) = (&mut node.side.fixture.ctx(), &mut node.side.network);
        network.tick_mesh(ctx);
        let due = network.timers().mesh;
        dialled = node.outputs().iter().any(dials);
        assert!(!dialled || node.side.fixture.now > at(1_000), "at once");
        assert!(dialled || due <= at(1_000) + longest, "not in time");
        node.side.fixture.now = due;
    }
}

#[test]
fn a_node_that_stops_takes_no_more_calls_and_waits_until_its_answers_have_arrived() {
    let (mut caller, mut callee) = pair();
    caller.call("p9", terms(false)).unwrap();
    callee.take(&mut caller);
    let request = callee.request().unwrap();
    callee.answer(&request, b"21.5");
    let own = callee.side.fixture.core.instance;
    let (ctx, network) = (&mut callee.side.fixture.ctx(), &mut callee.side.network);
    callee.commands.begin_stop(ctx, network);
    assert!(!callee.commands.is_flushed(network, own));
    caller.call("p9", terms(false)).unwrap();
    caller.take(&mut callee);
    assert_eq!(caller.ended().len(), 1);
    callee.take(&mut caller);
    assert!(callee.request().is_none(), "it does not run any more");
    let (ctx, network) = (&mut callee.side.fixture.ctx(), &mut callee.side.network);
    callee.commands.echo_came(ctx, network, callee.side.link);
    assert!(callee.commands.is_flushed(network, own));
}
