//! Tests of the network as a whole, with a [`Ctx`] and nothing else.

use super::*;
use crate::address::RelayAddress;
use crate::engine::fixture::{Side, address, at, linked, name};
use crate::engine::peers::{Origin, Standing};
use crate::engine::{Event, Output};
use crate::entropy::Counting;
use crate::frame::{FrameType, encode_with};
use crate::wire::Instance;
use crate::wire::advert::{Advert, Phase as AdvertPhase};
use crate::wire::relay::{FromRelay, Route, encode_forward};

/// The first node has a lower instance than the fifth, so that the fifth waits to be dialled.
const LOWER: Instance = Instance([1; 16]);

fn advert(phase: AdvertPhase, instance: Instance) -> Advert {
    Advert {
        phase,
        instance,
        sequence: 1,
        interval_ms: 1_000,
        port: 7,
        name: name("p1"),
        address: None,
        relays: Vec::new(),
        vouched: 0,
        extensions: crate::wire::extensions::Extensions::default(),
    }
}

fn hear(side: &mut Side, advert: &Advert, is_wanted: bool) -> Option<AdvertOutcome> {
    let (from, ctx) = (Origin::Lan(address(1)), &mut side.fixture.ctx());
    side.network.advert(ctx, from, advert, &|_| is_wanted)
}

/// Whether a peer is dialled that is due now.
fn dials(side: &mut Side) -> bool {
    let due = side.network.take_due_peers(side.fixture.now);
    let ctx = &mut side.fixture.ctx();
    side.network.dial_peers(ctx, due, &|_| false);
    let outputs = &side.fixture.core.outputs;
    outputs
        .iter()
        .any(|o| matches!(o, Output::Dial(_, to) if *to == address(1)))
}

#[test]
fn a_peer_that_is_to_dial_us_is_dialled_at_once_if_a_call_waits_for_it() {
    for is_wanted in [false, true] {
        let mut side = Side::new(5);
        let outcome = hear(&mut side, &advert(AdvertPhase::Present, LOWER), is_wanted);
        assert!(outcome.is_none());
        assert_eq!(side.network.resolve(&name("p1")), Some(LOWER));
        assert_eq!(dials(&mut side), is_wanted);
    }
}

#[test]
fn the_goodbye_of_a_peer_that_is_in_no_session_is_for_others_to_act_on() {
    let mut side = Side::new(5);
    hear(&mut side, &advert(AdvertPhase::Present, LOWER), false);
    let goodbye = Advert {
        sequence: 2,
        ..advert(AdvertPhase::Leaving, LOWER)
    };
    let outcome = hear(&mut side, &goodbye, false);
    let Some(AdvertOutcome::Left { instance, leaver }) = outcome else {
        panic!("{outcome:?}");
    };
    assert_eq!(instance, LOWER);
    assert!(side.network.remove_peer(&instance).is_some());
    side.network
        .remember_left(&side.fixture.ctx(), instance, leaver);
    hear(&mut side, &advert(AdvertPhase::Present, LOWER), true);
    assert!(!dials(&mut side), "what it said before it left is no news");
}

#[test]
fn the_end_of_a_session_is_for_others_to_act_on_and_its_peer_is_dialled_again() {
    let (mut one, other) = linked();
    let (link, peer) = (one.link, other.fixture.core.instance);
    assert_eq!(one.network.best_session(peer), Some(link));
    let over = one.network.remove(&mut one.fixture.ctx(), link);
    assert!(
        matches!(over, Some(LinkEnd::Session { link: l, peer: p }) if (l, p) == (link, peer)),
        "{over:?}"
    );
    assert!(one.network.session_ended(link, &peer));
    assert!(one.network.may_come_back(&peer));
    let standing = one.network.standing(&mut one.fixture.ctx(), peer);
    assert_eq!(standing, Some(Standing::Stays));
    one.network.redial_seed(&mut one.fixture.ctx(), peer);
    one.fixture.now = at(2_000);
    let due = one.network.take_due_peers(one.fixture.now);
    assert_eq!(due.straight, [peer]);
}

#[test]
fn when_the_node_has_stopped_the_end_of_a_session_means_nothing_any_more() {
    let (mut one, _) = linked();
    one.fixture.core.phase = Phase::Stopped;
    let over = one.network.cut(&mut one.fixture.ctx(), one.link);
    assert!(over.is_none(), "{over:?}");
    let closed = one.fixture.core.outputs.pop_front();
    assert!(matches!(closed, Some(Output::Close(link, _)) if link == one.link));
}

/// Two nodes of one name: the fifth, which is in this phase, and the ninth.
fn namesakes(phase: Phase) -> (Side, Option<Proved>) {
    let (mut one, mut other) = (Side::new(5), Side::new(9));
    other.fixture.core.config.name = one.fixture.core.config.name.clone();
    one.dial(address(9));
    one.fixture.core.phase = phase;
    other.link = other.network.accept(&mut other.fixture.ctx(), address(5));
    other.take(&mut one, |_, _, _, _| {});
    one.fixture.core.outputs.clear();
    let mut opened = Vec::new();
    let answer = other.network.pending(other.link).to_vec();
    let (ctx, network) = (&mut one.fixture.ctx(), &mut one.network);
    let came = network.next(ctx, one.link, &mut &answer[..], &mut opened);
    let Some((link, Came::Answer(answer))) = came else {
        panic!("{came:?}");
    };
    let greeted = network.answered(&mut one.fixture.ctx(), link, answer);
    assert!(matches!(greeted, Greeted::Session), "{greeted:?}");
    let proved = network.proved(&mut one.fixture.ctx(), link);
    (one, proved)
}

#[test]
fn a_node_that_asks_for_a_name_loses_it_to_one_that_has_it() {
    let (until, last) = (at(100), at(100));
    let (_, proved) = namesakes(Phase::Probing { until, last });
    assert!(matches!(proved, Some(Proved::NameTaken)), "{proved:?}");
}

#[test]
fn of_two_that_have_a_name_each_is_told_and_none_gives_way() {
    let (mut one, proved) = namesakes(Phase::Running);
    assert!(matches!(proved, Some(Proved::Namesake)), "{proved:?}");
    let wins = true;
    assert_eq!(one.fixture.events(), [Event::NameConflict { wins }]);
}

/// The link to a relay, and the route that the relay has drawn for it.
#[derive(Clone, Copy)]
struct Joined {
    link: LinkId,
    route: Route,
}

/// Joins the relay that is dialled next.
fn join(side: &mut Side, drawn: u8) -> Joined {
    side.fixture.core.outputs.clear();
    side.network.tick_relays(&mut side.fixture.ctx());
    let mut outputs = side.fixture.core.outputs.drain(..);
    let link = outputs.find_map(|output| match output {
        Output::DialRelay(link, _) => Some(link),
        _ => None,
    });
    drop(outputs);
    let (link, route) = (link.unwrap(), Route::draw(&mut Counting(drawn)));
    side.network.connected(&mut side.fixture.ctx(), link);
    let mut bytes = Vec::new();
    for word in [FromRelay::Prove([0; 32], None), FromRelay::Joined(route)] {
        encode_with("net", FrameType::REGISTER, &mut bytes, |out| {
            word.encode(out)
        });
    }
    let (ctx, network) = (&mut side.fixture.ctx(), &mut side.network);
    let (mut rest, mut opened) = (&bytes[..], Vec::new());
    let came = network.next(ctx, link, &mut rest, &mut opened);
    assert!(matches!(came, Some((_, Came::Nothing))), "{came:?}");
    let came = network.next(ctx, link, &mut rest, &mut opened);
    let Some((_, Came::Joined { is_proven: false })) = came else {
        panic!("{came:?}");
    };
    network.relay_joined(ctx, link, false);
    Joined { link, route }
}

/// A node that has joined the relay that it was given, and then one that a peer told of.
fn at_two_relays() -> (Side, [Joined; 2]) {
    let relay = |n: u8| RelayAddress::new(&format!("relay{n}.example:1")).unwrap();
    let mut side = Side::new(5);
    side.fixture.core.config.relays = vec![relay(0)];
    side.network = Network::new(&side.fixture.core.config, side.fixture.now);
    let given = join(&mut side, 1);
    let tells = Advert {
        relays: vec![relay(1)],
        vouched: 1,
        ..advert(AdvertPhase::Present, LOWER)
    };
    hear(&mut side, &tells, false);
    let learnt = join(&mut side, 2);
    (side, [given, learnt])
}

/// What our own advert leads to, which came over this relay from this route.
fn own_advert(side: &mut Side, relay: Joined, route: Route) -> Option<AdvertOutcome> {
    let own = advert(AdvertPhase::Present, side.fixture.core.instance);
    let (from, ctx) = (Origin::Relay(relay.link, route), &mut side.fixture.ctx());
    side.network.advert(ctx, from, &own, &|_| false)
}

#[test]
fn a_learnt_relay_that_hands_us_our_advert_from_our_route_is_the_given_one() {
    let (mut side, [given, learnt]) = at_two_relays();
    let outcome = own_advert(&mut side, learnt, given.route);
    assert!(
        matches!(outcome, Some(AdvertOutcome::Alias { link, .. }) if link == learnt.link),
        "{outcome:?}"
    );
    let outcome = own_advert(&mut side, given, learnt.route);
    assert!(outcome.is_none(), "the given one is kept: {outcome:?}");
}

#[test]
fn a_stranger_that_shows_our_advert_at_a_learnt_relay_does_not_make_us_leave_it() {
    let (mut side, [_, learnt]) = at_two_relays();
    let stranger = Route::draw(&mut Counting(7));
    for route in [stranger, learnt.route] {
        let outcome = own_advert(&mut side, learnt, route);
        assert!(outcome.is_none(), "{outcome:?}");
    }
}

#[test]
fn a_relay_that_hands_on_more_adverts_than_are_opened_is_not_left() {
    let (mut side, [relay, _]) = at_two_relays();
    let limits = &mut side.fixture.core.config.limits;
    (limits.peers, limits.adverts_per_second) = (4, 2);
    let mut bytes = Vec::new();
    for _ in 0..6 {
        encode_forward("net", &relay.route, FrameType::ADVERT, &mut bytes, |out| {
            out.extend_from_slice(b"gAAA");
        });
    }
    let (mut rest, mut opened, mut read) = (&bytes[..], Vec::new(), 0);
    let ctx = &mut side.fixture.ctx();
    while let Some((_, came)) = side.network.next(ctx, relay.link, &mut rest, &mut opened) {
        assert!(matches!(came, Came::Advert(..) | Came::Nothing), "{came:?}");
        read += u32::from(matches!(came, Came::Advert(..)));
    }
    assert_eq!(read, 4, "as many as there may be peers");
    assert_eq!(side.fixture.core.stats.adverts_throttled, 2);
}
