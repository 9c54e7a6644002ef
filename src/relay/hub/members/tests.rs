//! All links of a relay, without the hub.

use super::super::context::Core;
use super::super::context::tests::{at, core};
use super::super::stage::Membership;
use super::outbox::AHEAD;
use super::*;
use crate::entropy::Entropy;
use crate::fernet::Key;
use crate::frame::{FrameType, Parsed, parse};
use crate::limits::{FRAME_MAX, ROUTE_WINDOW};
use crate::wire::relay::{Word, encode_forward};
use crate::wire::relay_key::{Joining, RelayKey, Side, WordMacs};

struct World {
    core: Core,
    members: Members,
}

fn plant() -> NetworkName {
    NetworkName::new("plant").unwrap()
}

/// The route of a member.
fn route(id: u64) -> Route {
    struct Fixed(u8);
    impl Entropy for Fixed {
        fn fill(&mut self, out: &mut [u8]) {
            out.fill(self.0);
        }
    }
    Route::draw(&mut Fixed(id as u8))
}

/// Members 1 and 2 of one network, which have all adverts, and a link that has said nothing.
fn world(limits: RelayLimits) -> World {
    let (mut core, mut members) = (core(limits), Members::default());
    for id in 1..=3u8 {
        let origin = Origin::of([10, 0, 0, id].into());
        members.insert(&core.at(at(1)), LinkId(id.into()), origin);
    }
    for id in 1..=2 {
        let membership = Membership::new(plant(), route(id), None);
        *members.stage_mut(LinkId(id)).unwrap() = Stage::Joined(Box::new(membership));
        members.complete(&mut core.at(at(1)), LinkId(id)).within();
    }
    let mut world = World { core, members };
    for id in 1..=2 {
        assert_eq!(world.read(id), [FromRelay::Joined(route(id))]);
    }
    world.core.outputs.clear();
    world
}

impl Room {
    fn within(self) {
        assert_eq!(self, Room::Within);
    }
}

/// A frame of 1 for 2, of about so many bytes.
fn frame(bytes: usize) -> Vec<u8> {
    let mut out = Vec::new();
    encode_forward("plant", &route(2), FrameType::MESSAGE, &mut out, |out| {
        out.resize(out.len() + bytes, b'A');
    });
    out
}

impl World {
    /// Sends all that waits for a link; the payloads of the relay's words in it.
    fn payloads(&mut self, id: u64) -> Vec<Vec<u8>> {
        let mut pending = Vec::new();
        let ctx = &self.core.at(at(1));
        self.members.transmit(ctx, LinkId(id), &mut |bytes| {
            pending = bytes.to_vec();
            bytes.len()
        });
        let (mut rest, mut words) = (&pending[..], Vec::new());
        while let Ok(Parsed::Complete(frame, used)) = parse(rest, FRAME_MAX) {
            if frame.kind == FrameType::REGISTER {
                words.push(frame.payload.to_vec());
            }
            rest = &rest[used..];
        }
        words
    }

    /// Sends all that waits for a link; the relay's words in it.
    fn read(&mut self, id: u64) -> Vec<FromRelay> {
        let payloads = self.payloads(id).into_iter();
        let words = payloads.map(|payload| FromRelay::decode(&payload).unwrap());
        words.map(|Word { word, .. }| word).collect()
    }

    /// Lets as much wait for a link as makes it busy.
    fn make_busy(&mut self, id: u64) {
        let mut ctx = self.core.at(at(1));
        let write = |out: &mut Vec<u8>| out.resize(out.len() + AHEAD, b'x');
        let room = self.members.append(&mut ctx, LinkId(id), LinkId(id), write);
        room.within();
    }

    fn parcel(raw: &[u8]) -> Parcel<'_> {
        Parcel {
            from: LinkId(1),
            to: LinkId(2),
            network: "plant",
            raw,
        }
    }

    fn way(&self, raw: &[u8]) -> Way {
        self.members
            .way(&self.core.config.limits, &World::parcel(raw))
    }

    /// Carries a frame as far as its way goes.
    fn carry(&mut self, raw: &[u8]) -> Way {
        let way = self.way(raw);
        if matches!(way, Way::Output | Way::Lane) {
            let route = self
                .members
                .charge(LinkId(1), LinkId(2), raw.len())
                .unwrap();
            let (ctx, parcel) = (&mut self.core.at(at(1)), World::parcel(raw));
            self.members.carry(ctx, &parcel, &route, way).within();
        }
        way
    }
}

#[test]
fn what_a_link_takes_has_left_and_the_rest_waits() {
    let mut world = world(RelayLimits::default());
    assert_eq!(world.carry(&frame(100)), Way::Output);
    let all = world.members.pending(LinkId(2)).to_vec();
    let (ctx, members) = (&world.core.at(at(1)), &mut world.members);
    let mut take = |most| members.transmit(ctx, LinkId(2), &mut |bytes| bytes.len().min(most));
    assert!(!take(0), "it is full");
    assert!(take(7) && take(usize::MAX));
    assert!(!take(usize::MAX), "nothing waits any more");
    let left = std::iter::from_fn(|| world.members.next_drained());
    let left: Vec<_> = left.map(|s| (s.of, s.bytes as usize)).collect();
    assert_eq!(left, [(LinkId(1), 7), (LinkId(1), all.len() - 7)]);
}

#[test]
fn a_link_is_told_to_be_written_when_something_waits_where_nothing_did() {
    let mut world = world(RelayLimits::default());
    for _ in 0..2 {
        let mut ctx = world.core.at(at(5));
        world
            .members
            .append(&mut ctx, LinkId(3), LinkId(3), |out| out.push(b'x'))
            .within();
    }
    assert!(matches!(
        world.core.outputs.pop_front(),
        Some(Output::Writable(LinkId(3)))
    ));
    assert!(world.core.outputs.is_empty());
    assert_eq!(world.members.pending(LinkId(3)), b"xx");
}

#[test]
fn a_link_that_lets_more_wait_than_the_relay_may_tell_is_found_too_slow() {
    let mut world = world(RelayLimits::default());
    let mut ctx = world.core.at(at(5));
    let most = 2 * RelayLimits::default().queue + FRAME_MAX;
    for (bytes, room) in [(most, Room::Within), (1, Room::Exceeded)] {
        let write = |out: &mut Vec<u8>| out.resize(out.len() + bytes, 0);
        assert_eq!(
            world.members.append(&mut ctx, LinkId(3), LinkId(3), write),
            room
        );
    }
}

#[test]
fn a_frame_goes_to_members_of_its_network_that_want_it() {
    let mut world = world(RelayLimits::default());
    let raw = frame(10);
    assert_eq!(world.way(&raw), Way::Output);
    let members = &world.members;
    let to = |to| Parcel {
        to: LinkId(to),
        ..World::parcel(&raw)
    };
    let limits = RelayLimits::default();
    assert_eq!(members.way(&limits, &to(3)), Way::Gone, "it has not joined");
    assert_eq!(members.way(&limits, &to(9)), Way::Gone);
    let elsewhere = Parcel {
        network: "hall",
        ..to(2)
    };
    assert_eq!(members.way(&limits, &elsewhere), Way::Gone);
    world
        .members
        .block(&world.core.at(at(1)), LinkId(2), LinkId(1));
    assert_eq!(world.way(&raw), Way::Blocked);
    world.members.forget(LinkId(2), LinkId(1));
    assert_eq!(world.way(&raw), Way::Output);
}

#[test]
fn frames_wait_in_a_lane_behind_a_full_output_until_the_queue_is_full() {
    let limits = RelayLimits {
        queue: 4 * AHEAD,
        ..RelayLimits::default()
    };
    let mut world = world(limits);
    let raw = frame(60_000);
    let ways: Vec<Way> = (0..8).map(|_| world.carry(&raw)).collect();
    assert_eq!(
        ways[..4],
        [Way::Output, Way::Output, Way::Output, Way::Lane]
    );
    assert_eq!(
        ways[7],
        Way::Busy,
        "it has as much waiting as is left for others"
    );
    assert!(world.members.is_behind(LinkId(2)));
    world.read(2);
    let ctx = world.core.at(at(1));
    while world.members.take_turn(&ctx, LinkId(2)) {}
    assert!(!world.members.is_behind(LinkId(2)));
}

#[test]
fn however_many_links_of_a_site_flood_a_member_a_third_of_its_queue_is_left() {
    let mut world = world(RelayLimits::default());
    let queue = world.core.config.limits.queue;
    let join = |world: &mut World, id: u64, site: [u8; 4]| {
        let ctx = world.core.at(at(1));
        world
            .members
            .insert(&ctx, LinkId(id), Origin::of(site.into()));
        let membership = Membership::new(plant(), route(id), None);
        *world.members.stage_mut(LinkId(id)).unwrap() = Stage::Joined(Box::new(membership));
    };
    let carry = |world: &mut World, from: u64, raw: &[u8]| {
        let parcel = Parcel {
            from: LinkId(from),
            ..World::parcel(raw)
        };
        let way = world.members.way(&world.core.config.limits, &parcel);
        if matches!(way, Way::Output | Way::Lane) {
            let limits = world.core.config.limits.clone();
            let _ = world
                .members
                .make_flow_room(&limits, LinkId(from), LinkId(2));
            let Some(route) = world.members.charge(LinkId(from), LinkId(2), raw.len()) else {
                return Way::Busy;
            };
            let ctx = &mut world.core.at(at(1));
            world.members.carry(ctx, &parcel, &route, way).within();
        }
        way
    };
    // What waits in the output is not counted against the site.
    world.make_busy(2);
    let raw = frame(1_000);
    for from in 10..50 {
        join(&mut world, from, [10, 0, 9, 9]);
        while carry(&mut world, from, &raw) == Way::Lane {}
    }
    let waiting = world
        .members
        .table
        .get(&LinkId(2))
        .unwrap()
        .outbox
        .waiting();
    assert!(
        queue - waiting > (queue - AHEAD) / 3 - 2 * raw.len(),
        "{waiting} of {queue}"
    );
    join(&mut world, 60, [10, 0, 9, 8]);
    assert_eq!(carry(&mut world, 60, &frame(60_000)), Way::Lane);
}

#[test]
fn a_sender_is_told_of_credit_when_half_a_window_has_left() {
    let mut world = world(RelayLimits {
        queue: 1 << 30,
        ..RelayLimits::default()
    });
    let raw = frame(60_000);
    let mut sent = 0;
    while sent < ROUTE_WINDOW / 2 {
        world.carry(&raw);
        sent += raw.len() as u32;
        world.read(2);
        let drained = world.members.next_drained().unwrap();
        let mut ctx = world.core.at(at(1));
        let room = world
            .members
            .give_credit(&mut ctx, LinkId(1), LinkId(2), drained.bytes);
        room.within();
    }
    assert_eq!(world.members.next_drained(), None);
    assert_eq!(world.read(1), [FromRelay::Credit(route(2), sent.into())]);
}

#[test]
fn an_advert_is_handed_to_members_that_lack_none_and_are_not_busy() {
    let mut world = world(RelayLimits::default());
    let hand = |world: &mut World, version| {
        let mut ctx = world.core.at(at(1));
        world
            .members
            .hand(&mut ctx, LinkId(2), version, b"advert\n")
            .within();
    };
    hand(&mut world, 1);
    assert_eq!(world.members.pending(LinkId(2)), b"advert\n");
    world.make_busy(2);
    let before = world.members.pending(LinkId(2)).len();
    hand(&mut world, 2);
    hand(&mut world, 3);
    assert_eq!(world.members.pending(LinkId(2)).len(), before, "it is busy");
    assert_eq!(world.members.first_missing(LinkId(2), usize::MAX), Some(2));
    let end = world.members.adverts_end(LinkId(2));
    assert_eq!(
        world.members.first_missing(LinkId(2), end),
        None,
        "there is no room"
    );
    assert_eq!(world.core.stats.adverts_handed, 1);
}

#[test]
fn a_member_learns_that_another_is_gone_after_what_that_has_sent() {
    let mut world = world(RelayLimits::default());
    let left = route(1);
    let gone = Gone {
        id: LinkId(1),
        route: left,
        version: 1,
        advert: b"advert\n",
    };
    world.make_busy(2);
    assert_eq!(world.carry(&frame(10)), Way::Lane);
    let mut ctx = world.core.at(at(1));
    world.members.tell_gone(&mut ctx, LinkId(2), &gone).within();
    assert!(world.members.tells_gone(LinkId(2), &left));
    assert_eq!(world.members.pending(LinkId(2)).len(), AHEAD);
    world.read(2);
    let ctx = world.core.at(at(1));
    while world.members.take_turn(&ctx, LinkId(2)) {}
    assert_eq!(world.read(2), [FromRelay::Gone(left)]);
    let mut ctx = world.core.at(at(1));
    world.members.tell_gone(&mut ctx, LinkId(2), &gone).within();
    assert_eq!(
        world.read(2),
        [FromRelay::Gone(left)],
        "at once, where nothing waits"
    );
}

/// Makes 2 a member that has proved the relay key; how it checks what the relay says.
fn prove(world: &mut World) -> WordMacs {
    let key = RelayKey::derive(&Key::from_bytes([1; 32]), &plant());
    let joining = Joining::new(&plant(), (&[1; 32], b""), (&[2; 32], b""));
    let macs = Some(key.macs(Side::Relay, &joining));
    let membership = Membership::new(plant(), route(2), macs);
    *world.members.stage_mut(LinkId(2)).unwrap() = Stage::Joined(Box::new(membership));
    let ctx = &mut world.core.at(at(1));
    world.members.complete(ctx, LinkId(2)).within();
    key.macs(Side::Member, &joining)
}

#[test]
fn words_are_numbered_in_the_order_in_which_they_are_written() {
    let mut world = world(RelayLimits::default());
    let mut macs = prove(&mut world);
    let mut read = |world: &mut World| -> Vec<FromRelay> {
        let payloads = world.payloads(2).into_iter();
        let words = payloads.map(|p| FromRelay::decode(macs.check(&p).unwrap()).unwrap());
        words.map(|said| said.word).collect()
    };
    assert_eq!(read(&mut world), [FromRelay::Joined(route(2))]);
    world.make_busy(2);
    assert_eq!(world.carry(&frame(10)), Way::Lane);
    let gone = Gone {
        id: LinkId(1),
        route: route(1),
        version: 0,
        advert: b"",
    };
    let mut ctx = world.core.at(at(1));
    world.members.tell_gone(&mut ctx, LinkId(2), &gone).within();
    // What makes it busy is no frame, so it is taken first.
    assert!(world.payloads(2).is_empty());
    // The word that waits behind the frame is overtaken by one that is told now.
    let credit = FromRelay::Credit(route(3), 7);
    let mut ctx = world.core.at(at(1));
    world.members.tell(&mut ctx, LinkId(2), &credit).within();
    let ctx = world.core.at(at(1));
    while world.members.take_turn(&ctx, LinkId(2)) {}
    assert_eq!(read(&mut world), [credit, FromRelay::Gone(route(1))]);
}

#[test]
fn a_member_that_is_far_behind_is_handed_no_advert_of_one_that_is_gone() {
    let mut world = world(RelayLimits {
        queue: 2 * AHEAD,
        ..RelayLimits::default()
    });
    world.make_busy(2);
    let before = world.members.pending(LinkId(2)).len();
    for id in 10..100 {
        let gone = Gone {
            id: LinkId(id),
            route: route(id),
            version: id,
            advert: &[b'A'; 1_300],
        };
        let mut ctx = world.core.at(at(1));
        world.members.tell_gone(&mut ctx, LinkId(2), &gone).within();
    }
    let word = world.members.pending(LinkId(2)).len() - before;
    assert!(word < 90 * 100, "{word}");
}

#[test]
fn the_largest_link_of_the_site_that_has_most_is_closed_and_its_memory_is_free() {
    let limits = RelayLimits {
        links_bytes: 100_000,
        ..RelayLimits::default()
    };
    let mut world = world(limits);
    let limits = world.core.config.limits.clone();
    assert_eq!(world.members.largest_over(&limits), None);
    let begun = [b"plant|msg|".as_slice(), &[b'A'; 60_000]].concat();
    let mut inbox = Inbox::default();
    assert_eq!(inbox.next(at(1).at, &mut begun.as_slice()), Ok(None));
    let mut ctx = world.core.at(at(1));
    world.members.give_inbox(&mut ctx, LinkId(3), inbox);
    assert_eq!(world.members.largest_over(&limits), Some(LinkId(3)));
    assert!(world.members.remove(LinkId(3)).is_some());
    assert_eq!(world.members.largest_over(&limits), None);
}

#[test]
fn a_buffer_that_was_emptied_is_for_the_next_link() {
    let mut world = world(RelayLimits::default());
    let mut ctx = world.core.at(at(1));
    let write = |out: &mut Vec<u8>| out.resize(50_000, 0);
    world
        .members
        .append(&mut ctx, LinkId(3), LinkId(3), write)
        .within();
    world.read(3);
    let spare = world.members.spare.len();
    world.members.set_aside(LinkId(3));
    assert_eq!(world.members.spare.len(), spare + 1);
    let mut ctx = world.core.at(at(1));
    world
        .members
        .append(&mut ctx, LinkId(3), LinkId(3), |out| out.push(0))
        .within();
    assert_eq!(world.members.spare.len(), spare);
}
