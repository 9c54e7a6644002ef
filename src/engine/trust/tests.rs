//! Nodes that show who they are, and lists that come, without a link.

use super::*;
use crate::authority::{Authority, CertificateHash};
use crate::engine::fixture::{Fixture, at, config, name};
use crate::identity::Identity;
use crate::name::NetworkName;

const LINK: LinkId = LinkId(1);

fn key(n: u8) -> PublicKey {
    Identity::from_seed([n; 32]).public_key()
}

fn kept() -> Shown {
    Shown {
        kept: true,
        ..Shown::default()
    }
}

fn authority() -> Authority {
    Authority::from_seed([9; 32])
}

fn network() -> NetworkName {
    NetworkName::new("net").unwrap()
}

/// The certificate of the node of this name with the `n`th key, signed when the newest list was
/// `list`.
fn certificate(of: &str, n: u8, list: u64) -> Certificate {
    let role = Role::new("reader").unwrap();
    let signed = authority().sign(&network(), &name(of), &key(n), &[role], list);
    signed.unwrap()
}

fn shown(certificate: &Certificate, list: u64) -> Shown {
    Shown {
        kept: true,
        certificate: certificate.to_text().into_bytes(),
        list,
    }
}

/// The list of this version, which names these certificates.
fn list(version: u64, revoked: &[CertificateHash]) -> RevocationList {
    let mut list = authority().revoke(&network(), None, revoked).unwrap();
    while list.version() < version {
        list = authority().revoke(&network(), Some(&list), &[]).unwrap();
    }
    list
}

/// What a node of a certified network knows whose certificate was signed at list 1, which it has.
fn certified() -> (Fixture, Trust) {
    let mut config = config();
    config.mode = Mode::Certified(Box::new(Certified {
        authorities: vec![authority().key()],
        certificate: certificate("us", 1, 1),
        list: Some(list(1, &[])),
    }));
    (Fixture::default(), Trust::new(&config))
}

fn open() -> (Fixture, Trust) {
    (Fixture::default(), Trust::new(&config()))
}

/// What becomes of a node of this name that shows this in a new session.
fn admit(
    (fixture, trust): (&mut Fixture, &mut Trust),
    of: &str,
    n: u8,
    shown: &Shown,
) -> Result<(), Distrust> {
    trust.admit(
        &mut fixture.ctx(),
        LINK,
        (&name(of), &key(n)),
        (shown, false),
    )
}

#[test]
fn in_an_open_network_a_name_belongs_to_the_first_kept_identity() {
    let (mut fixture, mut trust) = open();
    let both = (&mut fixture, &mut trust);
    let (fixture, trust) = both;
    let not_kept = Shown::default();
    assert_eq!(admit((fixture, trust), "a", 2, &not_kept), Ok(()));
    assert_eq!(
        admit((fixture, trust), "a", 3, &kept()),
        Ok(()),
        "the first"
    );
    let pinned = (name("a"), key(3));
    assert_eq!(trust.pins(), [pinned]);
    fixture.core.outputs.clear();
    for shown in [kept(), not_kept] {
        let other = admit((fixture, trust), "a", 2, &shown);
        assert_eq!(other, Err(Distrust::OtherKey));
    }
    let told = Event::Distrusted {
        peer: name("a"),
        key: key(2),
        why: Distrust::OtherKey,
    };
    assert_eq!(fixture.events(), [told], "once");
    assert_eq!(fixture.core.stats.distrusted, 2);
    assert_eq!(admit((fixture, trust), "b", 2, &kept()), Ok(()));
    trust
        .accept(&mut fixture.ctx(), &name("a"), &key(2))
        .unwrap();
    assert_eq!(admit((fixture, trust), "a", 2, &kept()), Ok(()));
    assert!(admit((fixture, trust), "a", 3, &kept()).is_err());
}

#[test]
fn a_name_that_is_only_asked_for_is_not_pinned() {
    let (mut fixture, mut trust) = open();
    let asks = (&kept(), true);
    let admitted = trust.admit(&mut fixture.ctx(), LINK, (&name("a"), &key(2)), asks);
    assert_eq!((admitted, trust.pins()), (Ok(()), Vec::new()));
}

#[test]
fn the_name_of_this_node_is_pinned_if_it_keeps_its_identity() {
    let (mut fixture, mut trust) = open();
    trust.pin_own(&mut fixture.ctx());
    assert!(trust.pins().is_empty());
    fixture.core.config.keeps_identity = true;
    trust.pin_own(&mut fixture.ctx());
    let own = (name("us"), *fixture.core.secrets.credentials.key());
    assert_eq!(trust.pins(), [own]);
    let other = admit((&mut fixture, &mut trust), "us", 2, &kept());
    assert_eq!(other, Err(Distrust::OtherKey));
}

#[test]
fn that_no_more_names_are_pinned_is_told_once() {
    let mut config = config();
    let of = |n: usize| (name(&format!("n{n}")), key(1));
    config.mode = Mode::Open {
        pins: (0..crate::limits::PINS_MAX).map(of).collect(),
    };
    let (mut fixture, mut trust) = (Fixture::default(), Trust::new(&config));
    for other in ["x", "y"] {
        assert_eq!(admit((&mut fixture, &mut trust), other, 2, &kept()), Ok(()));
    }
    assert_eq!(fixture.events(), [Event::PinsFull]);
    let full = trust.accept(&mut fixture.ctx(), &name("x"), &key(2));
    assert!(matches!(full, Err(Error::Overloaded(_))));
}

#[test]
fn in_a_certified_network_a_node_shows_a_certificate_that_is_its_own() {
    let good = certificate("a", 2, 1);
    let other_authority = Authority::from_seed([8; 32]);
    let foreign = other_authority.sign(&network(), &name("a"), &key(2), &[], 1);
    let astray = authority().sign(
        &NetworkName::new("field").unwrap(),
        &name("a"),
        &key(2),
        &[],
        1,
    );
    let mut cut = shown(&good, 1);
    cut.certificate.pop();
    for (shown, why) in [
        (Shown::default(), Distrust::NoCertificate),
        (
            shown(&certificate("b", 2, 1), 1),
            Distrust::WrongCertificate,
        ),
        (
            shown(&certificate("a", 3, 1), 1),
            Distrust::WrongCertificate,
        ),
        (shown(&foreign.unwrap(), 1), Distrust::WrongCertificate),
        (shown(&astray.unwrap(), 1), Distrust::WrongCertificate),
        (cut, Distrust::WrongCertificate),
    ] {
        let (mut fixture, mut trust) = certified();
        let admitted = admit((&mut fixture, &mut trust), "a", 2, &shown);
        assert_eq!(admitted, Err(why));
        assert!(trust.roles(LINK).is_empty());
    }
    let (mut fixture, mut trust) = certified();
    let admitted = admit((&mut fixture, &mut trust), "a", 2, &shown(&good, 1));
    assert_eq!(admitted, Ok(()));
    assert_eq!(*trust.roles(LINK), [Role::new("reader").unwrap()]);
    assert!(!trust.waits_for_list(LINK) && trust.list_for(LINK).is_none());
    trust.session_ended(LINK);
    assert!(trust.roles(LINK).is_empty());
}

#[test]
fn a_revoked_node_is_refused_and_its_session_is_to_end() {
    let (mut fixture, mut trust) = certified();
    let revoked = certificate("a", 2, 1);
    let again = shown(&revoked, 1);
    assert_eq!(admit((&mut fixture, &mut trust), "a", 2, &again), Ok(()));
    assert!(trust.revoked().is_empty());
    let newer = list(2, &[revoked.hash()]);
    assert_eq!(trust.take(&mut fixture.ctx(), newer.clone()), Ok(true));
    assert_eq!(trust.take(&mut fixture.ctx(), newer), Ok(false), "no news");
    let older = trust.take(&mut fixture.ctx(), list(1, &[]));
    assert_eq!((older, trust.list_version()), (Ok(false), 2));
    assert_eq!(trust.revoked(), [LINK]);
    let refused = admit((&mut fixture, &mut trust), "a", 2, &again);
    assert_eq!(refused, Err(Distrust::Revoked));
    assert!(!trust.vouches_for(&name("a"), &key(2), &again.certificate));
    let anew = shown(&certificate("a", 2, 2), 1);
    assert!(trust.vouches_for(&name("a"), &key(2), &anew.certificate));
    assert!(!trust.vouches_for(&name("a"), &key(3), &anew.certificate));
    let admitted = admit((&mut fixture, &mut trust), "a", 2, &anew);
    assert_eq!(admitted, Ok(()), "it may come back");
    let taken = fixture.events().remove(0);
    let (version, is_own) = (2, false);
    assert_eq!(taken, Event::ListTaken { version, is_own });
}

#[test]
fn a_list_of_another_authority_or_network_is_not_taken() {
    let (mut fixture, mut trust) = certified();
    let other = Authority::from_seed([8; 32]);
    let foreign = other.revoke(&network(), Some(&list(1, &[])), &[]);
    let field = NetworkName::new("field").unwrap();
    let astray = authority().revoke(&field, None, &[]).unwrap();
    let astray = authority().revoke(&field, Some(&astray), &[]);
    for bad in [foreign, astray] {
        let taken = trust.take(&mut fixture.ctx(), bad.unwrap());
        assert!(matches!(taken, Err(Error::Refused(_))));
    }
    assert_eq!(trust.list_version(), 1);
    assert!(fixture.core.outputs.is_empty());
}

#[test]
fn a_node_waits_for_the_list_that_a_certificate_or_its_peer_names() {
    let (mut fixture, mut trust) = certified();
    // Neither has it.
    let signed_later = certificate("a", 2, 3);
    let refused = admit((&mut fixture, &mut trust), "a", 2, &shown(&signed_later, 2));
    assert_eq!(refused, Err(Distrust::OldList));
    // That was no reason to think less of the others.
    let fine = shown(&certificate("b", 3, 0), 1);
    assert_eq!(admit((&mut fixture, &mut trust), "b", 3, &fine), Ok(()));
    assert!(!trust.waits_for_list(LINK));
    // The peer says that it has it.
    assert_eq!(
        admit((&mut fixture, &mut trust), "a", 2, &shown(&signed_later, 3)),
        Ok(())
    );
    assert!(trust.waits_for_list(LINK));
    assert_eq!(trust.take(&mut fixture.ctx(), list(2, &[])), Ok(true));
    assert!(trust.waits_for_list(LINK), "still too old");
    assert_eq!(trust.take(&mut fixture.ctx(), list(3, &[])), Ok(true));
    assert!(!trust.waits_for_list(LINK));
    // What it names keeps nobody else out before it is there.
    let mut fresh = certified();
    let admitted = admit(
        (&mut fresh.0, &mut fresh.1),
        "a",
        2,
        &shown(&signed_later, 3),
    );
    assert_eq!(admitted, Ok(()));
    assert_eq!(admit((&mut fresh.0, &mut fresh.1), "b", 3, &fine), Ok(()));
}

#[test]
fn a_freshly_flashed_node_takes_no_list_that_is_older_than_its_certificate() {
    let mut config = config();
    config.mode = Mode::Certified(Box::new(Certified {
        authorities: vec![authority().key()],
        certificate: certificate("us", 1, 4),
        list: None,
    }));
    let (mut fixture, mut trust) = (Fixture::default(), Trust::new(&config));
    let revoked = certificate("a", 2, 1);
    // It was revoked with list 4, and hands on the list before.
    let refused = admit((&mut fixture, &mut trust), "a", 2, &shown(&revoked, 3));
    assert_eq!(refused, Err(Distrust::OldList));
    // It lies about what it has, and is not served before it hands that on.
    assert_eq!(
        admit((&mut fixture, &mut trust), "a", 2, &shown(&revoked, 4)),
        Ok(())
    );
    hand_on(&mut fixture, &mut trust, &list(3, &[]));
    assert!(trust.waits_for_list(LINK));
    hand_on(&mut fixture, &mut trust, &list(4, &[revoked.hash()]));
    assert_eq!(trust.revoked(), [LINK]);
}

fn hand_on(fixture: &mut Fixture, trust: &mut Trust, list: &RevocationList) {
    let bytes = list.to_bytes();
    let place = (0, bytes.len() as u32);
    assert_eq!(
        trust.piece(&mut fixture.ctx(), LINK, place, &bytes),
        Ok(true)
    );
}

#[test]
fn members_are_handed_the_newest_list_once_each() {
    let (mut fixture, mut trust) = certified();
    let member = certificate("a", 2, 1);
    assert_eq!(
        admit((&mut fixture, &mut trust), "a", 2, &shown(&member, 0)),
        Ok(())
    );
    let (handed, so_far) = trust.list_for(LINK).unwrap();
    assert_eq!((&*handed, so_far), (&*list(1, &[]).to_bytes(), 0));
    trust.list_handed(LINK, 7);
    assert_eq!(trust.list_for(LINK), Some((handed.clone(), 7)));
    trust.list_handed(LINK, handed.len());
    assert_eq!(trust.list_for(LINK), None);
    let newer = list(2, &[]);
    trust.take(&mut fixture.ctx(), newer.clone()).unwrap();
    trust.list_handed(LINK, 7);
    assert_eq!(trust.list_for(LINK).unwrap().1, 7);
    let newest = list(3, &[]);
    trust.take(&mut fixture.ctx(), newest.clone()).unwrap();
    let (handed, so_far) = trust.list_for(LINK).unwrap();
    assert_eq!(
        (&*handed, so_far),
        (&*newest.to_bytes(), 0),
        "it begins anew"
    );
    let newer = newest;
    // It has come by it elsewhere.
    let bytes = newer.to_bytes();
    let place = (0, bytes.len() as u32);
    assert_eq!(
        trust.piece(&mut fixture.ctx(), LINK, place, &bytes),
        Ok(false)
    );
    assert_eq!(trust.list_for(LINK), None);
}

#[test]
fn a_list_comes_in_pieces_and_anything_else_is_an_offence() {
    let (mut fixture, mut trust) = certified();
    let member = shown(&certificate("a", 2, 1), 2);
    admit((&mut fixture, &mut trust), "a", 2, &member).unwrap();
    let bytes = list(2, &[certificate("b", 3, 0).hash()]).to_bytes();
    let length = bytes.len() as u32;
    let mut piece = |at: u32, length: u32, bytes: &[u8]| {
        trust.piece(&mut fixture.ctx(), LINK, (at, length), bytes)
    };
    assert_eq!(piece(0, length, &bytes[..50]), Ok(false));
    assert_eq!(piece(50, length, &bytes[50..]), Ok(true));
    for (at, length, bytes) in [
        (1, length, &bytes[1..]),
        (0, length, &[][..]),
        (0, length - 1, &bytes[..]),
        (0, REVOCATION_RECORD_MAX as u32 + 1, &bytes[..10]),
        (0, 10, &bytes[..10]),
        (u32::MAX, u32::MAX, &bytes[..10]),
    ] {
        assert_eq!(piece(at, length, bytes), Err(BadList), "{at} {length}");
    }
    let mut altered = list(3, &[]).to_bytes();
    altered[7] += 1;
    let length = altered.len() as u32;
    assert_eq!(piece(0, length, &altered), Err(BadList), "not signed");
}

#[test]
fn an_open_network_has_no_lists() {
    let (mut fixture, mut trust) = open();
    let taken = trust.take(&mut fixture.ctx(), list(1, &[]));
    assert!(matches!(taken, Err(Error::Argument(_))));
    let certificate = shown(&certificate("a", 2, 9), 9);
    let bytes = list(1, &[]).to_bytes();
    assert_eq!(
        admit((&mut fixture, &mut trust), "a", 2, &certificate),
        Ok(())
    );
    let piece = trust.piece(&mut fixture.ctx(), LINK, (0, bytes.len() as u32), &bytes);
    assert_eq!(piece, Ok(false));
    assert!(!trust.waits_for_list(LINK));
    assert_eq!((trust.list_version(), trust.list_for(LINK)), (0, None));
}

#[test]
fn of_one_reason_a_peer_is_told_once_and_one_peer_in_a_minute() {
    let (mut fixture, mut trust) = open();
    let told = |fixture: &mut Fixture, trust: &mut Trust, ms, peer: &str, why| {
        fixture.now = at(ms);
        trust.distrusted_by(&mut fixture.ctx(), &name(peer), why);
        fixture.events().len()
    };
    assert_eq!(told(&mut fixture, &mut trust, 1, "a", Distrust::Revoked), 1);
    assert_eq!(told(&mut fixture, &mut trust, 2, "b", Distrust::Revoked), 0);
    assert_eq!(
        told(&mut fixture, &mut trust, 2, "a", Distrust::OtherKey),
        1
    );
    assert_eq!(
        told(&mut fixture, &mut trust, 70_000, "a", Distrust::Revoked),
        0
    );
    assert_eq!(
        told(&mut fixture, &mut trust, 70_000, "b", Distrust::Revoked),
        1
    );
}
