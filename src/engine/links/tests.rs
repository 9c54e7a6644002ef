//! Two nodes' links, joined in memory.

use super::*;
use crate::engine::fixture::{Fixture, at, credentials, name};
use crate::wire::record::{Body, CloseReason, encode_cancel};
use crate::wire::relay::FromRelay;

/// One node: its links, and what it has.
struct Side {
    fixture: Fixture,
    links: Links,
    plain: Vec<u8>,
    opened: Vec<u8>,
    link: LinkId,
}

impl Side {
    fn new(instance: u8) -> Side {
        let mut fixture = Fixture::default();
        fixture.core.secrets.credentials = credentials(instance);
        fixture.core.instance = fixture.core.secrets.credentials.instance();
        Side {
            fixture,
            links: Links::default(),
            plain: Vec::new(),
            opened: Vec::new(),
            link: LinkId(0),
        }
    }

    /// What waits to be written.
    fn take_pending(&mut self) -> Vec<u8> {
        let mut taken = Vec::new();
        let ctx = &mut self.fixture.ctx();
        self.links.transmit(ctx, self.link, &mut |bytes| {
            taken = bytes.to_vec();
            bytes.len()
        });
        taken
    }

    /// What comes of these bytes, in words.
    fn take(&mut self, mut bytes: &[u8]) -> Vec<String> {
        let mut came = Vec::new();
        loop {
            let ctx = &mut self.fixture.ctx();
            let next = self
                .links
                .next(ctx, self.link, &mut bytes, &mut self.opened);
            let Some((link, what)) = next else {
                return came;
            };
            assert_eq!(link, self.link);
            let word = match what {
                Came::Question(question) => {
                    assert!(self.links.answer(ctx, link, *question));
                    "question".into()
                }
                Came::Answer(answer) => {
                    assert!(self.links.open(ctx, link, answer.took));
                    "answer".into()
                }
                Came::Record { body, .. } => match body {
                    Body::Cancel { number } => format!("cancel {number}"),
                    Body::Notice(_) => "notice".into(),
                    Body::Close(reason) => format!("{reason:?}"),
                    _ => "record".into(),
                },
                other => format!("{other:?}"),
            };
            came.push(word);
        }
    }

    fn instance(&self) -> Instance {
        self.fixture.core.instance
    }
}

/// A node that dialled another, and that one.
fn dialled() -> (Side, Side) {
    let (mut asker, mut answerer) = (Side::new(1), Side::new(2));
    let target = Target {
        instance: answerer.instance(),
        name: name("us"),
    };
    let to = "10.0.0.2:7".parse().unwrap();
    asker.link = asker.links.dial(&mut asker.fixture.ctx(), Some(target), to);
    let from = "10.0.0.1:40000".parse().unwrap();
    answerer.link = answerer.links.accept(&mut answerer.fixture.ctx(), from);
    (asker, answerer)
}

fn met() -> (Side, Side) {
    let (mut asker, mut answerer) = dialled();
    let ctx = &mut asker.fixture.ctx();
    asker.links.connected(ctx, asker.link);
    assert_eq!(answerer.take(&asker.take_pending()), ["question"]);
    asker.fixture.now = at(30);
    assert_eq!(asker.take(&answerer.take_pending()), ["answer"]);
    assert_eq!(answerer.take(&asker.take_pending()), ["Opened"]);
    (asker, answerer)
}

#[test]
fn two_nodes_that_hold_the_key_open_a_session_and_the_dial_is_measured() {
    let (mut asker, mut answerer) = met();
    let of_asker = asker.links.met(asker.link).unwrap();
    assert_eq!(of_asker.instance, answerer.instance());
    assert_eq!(of_asker.address, "10.0.0.2:7".parse().ok());
    let of_answerer = answerer.links.met(answerer.link).unwrap();
    assert_eq!(of_answerer.instance, asker.instance());
    let listens = "10.0.0.1:7".parse().ok();
    assert_eq!(of_answerer.address, listens, "where it listens");
    assert!(of_asker.dialled && !of_answerer.dialled);
    let measured = asker.links.round_trip(at(40), asker.link);
    let ms = Duration::from_millis;
    assert_eq!(measured, Some((ms(30), ms(10))));
}

#[test]
fn records_come_in_order_and_a_replayed_one_ends_the_session() {
    let (mut asker, mut answerer) = met();
    let mut say = |number| {
        let ctx = &mut asker.fixture.ctx();
        let encode = |sequence, out: &mut Vec<u8>| encode_cancel(sequence, number, out);
        asker
            .links
            .send_record(ctx, &mut asker.plain, asker.link, encode);
        asker.take_pending()
    };
    let (first, second) = (say(1), say(2));
    assert_eq!(answerer.take(&first), ["cancel 1"]);
    // However it is cut.
    let (head, tail) = second.split_at(20);
    assert!(answerer.take(head).is_empty());
    assert_eq!(answerer.take(tail), ["cancel 2"]);
    assert_eq!(answerer.take(&first), ["Refused(Record)"]);
}

#[test]
fn a_keepalive_is_echoed_and_shows_that_a_challenged_peer_lives() {
    let (mut asker, mut answerer) = met();
    let ctx = &mut asker.fixture.ctx();
    asker.links.challenge(ctx, &[asker.link]);
    assert!(asker.links.awaits_echo(asker.link));
    assert_eq!(answerer.take(&asker.take_pending()), ["Nothing"]);
    let lives = format!("Echo(Some({:?}))", answerer.instance());
    assert_eq!(asker.take(&answerer.take_pending()), [lives]);
    assert!(!asker.links.awaits_echo(asker.link));
}

#[test]
fn a_peer_that_does_not_answer_a_challenge_counts_as_silent() {
    let (mut asker, _) = met();
    let ctx = &mut asker.fixture.ctx();
    asker.links.challenge(ctx, &[asker.link]);
    asker.take_pending();
    let config = &asker.fixture.core.config;
    assert!(asker.links.take_due(config, at(1_029)).silent.is_empty());
    let overdue = asker.links.take_due(config, at(1_030));
    assert_eq!(overdue.silent, [asker.link]);
}

#[test]
fn a_link_on_which_nothing_is_proved_is_late() {
    let (_, mut answerer) = dialled();
    let config = &answerer.fixture.core.config;
    let limit = at(0) + config.limits.handshake;
    assert_eq!(answerer.links.due(), limit);
    let overdue = answerer.links.take_due(config, limit);
    assert_eq!(overdue.late, [answerer.link]);
    let ended = answerer
        .links
        .cut(&mut answerer.fixture.ctx(), answerer.link);
    assert!(matches!(ended, Some(Ended::Unproved)));
    assert_eq!(answerer.links.len(), 0);
}

#[test]
fn the_end_of_a_session_says_why_and_names_the_peer() {
    let (mut asker, mut answerer) = met();
    let ctx = &mut asker.fixture.ctx();
    let (plain, link) = (&mut asker.plain, asker.link);
    let ended = asker
        .links
        .close_session(ctx, plain, link, CloseReason::Idle);
    let peer = answerer.instance();
    assert!(matches!(ended, Some(Ended::Session(ended)) if ended == peer));
    let last = asker.fixture.core.outputs.iter().rev();
    let mut closes = last.filter_map(|output| match output {
        Output::Close(_, last) => Some(last.clone()),
        _ => None,
    });
    assert_eq!(answerer.take(&closes.next().unwrap()), ["Idle"]);
}

#[test]
fn a_session_that_ends_confirms_the_answers_that_have_come() {
    let (mut asker, mut answerer) = met();
    let (plain, link) = (&mut asker.plain, asker.link);
    asker.links.session(link).unwrap().add_confirmation(5);
    let ctx = &mut asker.fixture.ctx();
    asker
        .links
        .close_session(ctx, plain, link, CloseReason::Leaving);
    let last = asker.fixture.core.outputs.pop_back();
    let Some(Output::Close(_, last)) = last else {
        panic!("{last:?}")
    };
    assert_eq!(answerer.take(&last), ["notice", "Leaving"]);
}

#[test]
fn a_dial_in_vain_names_its_target() {
    let (mut asker, mut answerer) = dialled();
    assert!(asker.links.is_dialling(&name("us")));
    assert!(asker.links.is_meeting(answerer.instance()));
    let ended = asker.links.remove(&mut asker.fixture.ctx(), asker.link);
    let Some(Ended::Dial { target, relayed }) = ended else {
        panic!("{ended:?}");
    };
    assert_eq!(target.unwrap().instance, answerer.instance());
    assert!(!relayed);
    assert_eq!(asker.fixture.core.stats.dials_failed, 1);
    assert_eq!(answerer.take(b"net|msg|eA|END\n"), ["Refused(Frame)"]);
    assert_eq!(answerer.take(b"other|msg|eA|END\n"), ["Nothing"]);
    assert_eq!(answerer.fixture.core.stats.foreign, 1);
}

#[test]
fn of_two_sessions_the_direct_one_is_kept_and_else_the_lower_instances() {
    let (mut asker, mut answerer) = met();
    let (of_asker, of_answerer) = (
        asker.links.met(asker.link).unwrap(),
        answerer.links.met(answerer.link).unwrap(),
    );
    // The other way round: dialled by the higher instance.
    let by_higher = |met: &Met| Met {
        dialled: !met.dialled,
        ..met.clone()
    };
    let prefers = |side: &mut Side, new: &Met| {
        let (ctx, old) = (&side.fixture.ctx(), side.link);
        side.links.prefers_new(ctx, old, new)
    };
    assert!(!prefers(&mut asker, &by_higher(&of_asker)));
    assert!(!prefers(&mut answerer, &by_higher(&of_answerer)));
    assert!(prefers(&mut asker, &of_asker), "the newer of one side");
    let relayed = Met {
        address: None,
        ..of_asker.clone()
    };
    assert!(!prefers(&mut asker, &relayed));
    asker.fixture.now = at(10_000);
    assert!(prefers(&mut asker, &relayed), "the old one may be dead");
}

/// A link to a relay that has answered, and the bytes of an advert that comes there.
fn joining() -> (Side, Vec<u8>) {
    let mut side = Side::new(1);
    let relay = crate::address::RelayAddress::new("relay.example:1").unwrap();
    side.link = side.links.dial_relay(&mut side.fixture.ctx(), relay, false);
    side.fixture.now = at(3_000);
    let ctx = &mut side.fixture.ctx();
    side.links.connected(ctx, side.link);
    let mut answer = Vec::new();
    let kind = crate::frame::FrameType::REGISTER;
    crate::frame::encode_with("net", kind, &mut answer, |out| {
        FromRelay::Prove([0; 32], None).encode(out);
    });
    assert_eq!(side.take(&answer), ["Nothing"]);
    let mut advert = Vec::new();
    let (route, kind) = (Route::default(), crate::frame::FrameType::ADVERT);
    crate::wire::relay::encode_forward("net", &route, kind, &mut advert, |out| {
        out.extend_from_slice(b"gAAA");
    });
    (side, advert)
}

#[test]
fn joining_a_relay_goes_on_as_long_as_something_comes_and_not_for_ever() {
    let (mut side, advert) = joining();
    let limits = side.fixture.core.config.limits.clone();
    let last = at(0) + limits.frame * 10;
    let mut now = side.fixture.now;
    while now < last {
        let config = &side.fixture.core.config;
        assert!(side.links.take_due(config, now).late.is_empty());
        assert!(side.links.due() <= now + limits.handshake);
        side.fixture.now = now;
        side.take(&advert);
        now = now + limits.handshake / 2;
    }
    let overdue = side.links.take_due(&side.fixture.core.config, last);
    assert_eq!(overdue.late, [side.link]);

    let (mut side, _) = joining();
    let config = &side.fixture.core.config;
    let limit = at(3_000) + limits.handshake;
    let just_before = Time(limit.0 - Duration::from_millis(1));
    assert!(side.links.take_due(config, just_before).late.is_empty());
    assert_eq!(side.links.take_due(config, limit).late, [side.link]);
}

#[test]
fn a_relay_that_hands_over_adverts_is_given_signs_of_life() {
    let (mut side, advert) = joining();
    side.take_pending();
    let keepalive = side.fixture.core.config.relay_keepalive;
    let ticks = |side: &mut Side, now| {
        side.fixture.now = now;
        let overdue = side.links.take_due(&side.fixture.core.config, now);
        side.links.beat(&mut side.fixture.ctx(), &overdue);
        let said = String::from_utf8(side.take_pending()).unwrap();
        said.contains("|png|")
    };
    let asks = at(0) + keepalive;
    assert!(!ticks(&mut side, at(7_000)), "we are no member yet");
    side.take(&advert);
    assert!(ticks(&mut side, asks) && !ticks(&mut side, asks));
    side.fixture.now = asks + keepalive * 3 / 5;
    side.take(&advert);
    let again = asks + keepalive;
    let just_before = Time(again.0 - Duration::from_millis(1));
    assert!(
        !ticks(&mut side, just_before) && ticks(&mut side, again),
        "not echoed yet"
    );
}
