//! In a certified network a node shows a certificate for its name.

use super::{
    add, answers, authority, certificate, distrusted_by, distrusts, identity, list, mode, network,
};
use crate::seeds;
use crate::world::{World, name, secs};
use peerbase::engine::{Certified, Mode};
use peerbase::name::NetworkName;
use peerbase::{Authority, Certificate, Distrust};

/// What a node has that believes its own authority's certificate to be good.
fn believes(certificate: Certificate, authority: &Authority) -> Mode {
    Mode::Certified(Box::new(Certified {
        authorities: vec![authority.key(), super::authority().key()],
        certificate,
        list: None,
    }))
}

#[test]
fn nodes_with_certificates_meet_and_call_each_other() {
    seeds(5, |seed| {
        let mut w = World::new(seed);
        let (a, b) = (add(&mut w, "a", 1, None), add(&mut w, "b", 2, None));
        w.run(secs(3));
        assert!(answers(&mut w, a, "b") && answers(&mut w, b, "a"));
        assert!(distrusts(&w, a, "b").is_empty() && distrusts(&w, b, "a").is_empty());
        w.check_closed();
    });
}

#[test]
fn a_member_of_the_network_without_a_good_certificate_is_not_served_and_not_called() {
    let imposter = Authority::from_seed([8; 32]);
    let key = identity(2).public_key();
    let of = |network: &str, of: &str, by: &Authority| {
        let network = NetworkName::new(network).unwrap();
        by.sign(&network, &name(of), &key, &[], 0).unwrap()
    };
    for (shows, why) in [
        (Mode::default(), Distrust::NoCertificate),
        (
            believes(of("sim", "b", &imposter), &imposter),
            Distrust::WrongCertificate,
        ),
        (
            believes(of("field", "b", &authority()), &imposter),
            Distrust::WrongCertificate,
        ),
        (
            believes(of("sim", "c", &authority()), &imposter),
            Distrust::WrongCertificate,
        ),
        (
            believes(certificate("b", 3, 0), &imposter),
            Distrust::WrongCertificate,
        ),
    ] {
        let mut w = World::new(crate::first_seed());
        let a = add(&mut w, "a", 1, None);
        w.kept.insert("b".into(), (identity(2), shows));
        let b = w.add("b");
        w.run(secs(5));
        assert!(!answers(&mut w, b, "a") && !answers(&mut w, a, "b"));
        let served = [a, b].map(|n| w.nodes[n].engine.stats().served);
        assert_eq!(served, [0, 0], "{why:?}");
        assert_eq!(distrusts(&w, a, "b"), [why]);
        w.check_closed();
    }
}

#[test]
fn a_node_that_is_refused_is_told_why_and_the_others_go_on() {
    let mut w = World::new(crate::first_seed());
    let (a, b) = (add(&mut w, "a", 1, None), add(&mut w, "b", 2, None));
    let open = w.add("c");
    w.run(secs(5));
    assert!(!answers(&mut w, open, "a"));
    // One such event is told in a minute, and that may have been the one about the other peer.
    w.run(secs(61));
    assert!(!answers(&mut w, open, "a"));
    assert_eq!(distrusted_by(&w, open, "a"), [Distrust::Certificate]);
    assert!(answers(&mut w, a, "b") && answers(&mut w, b, "a"));
    w.check_closed();
}

#[test]
fn while_an_authority_is_replaced_certificates_of_both_are_good() {
    let next = Authority::from_seed([8; 32]);
    let mut w = World::new(crate::first_seed());
    let both = |certificate| {
        Mode::Certified(Box::new(Certified {
            authorities: vec![authority().key(), next.key()],
            certificate,
            list: None,
        }))
    };
    let key = identity(2).public_key();
    let by_next = next.sign(&network(), &name("b"), &key, &[], 0).unwrap();
    w.kept
        .insert("a".into(), (identity(1), both(certificate("a", 1, 0))));
    w.kept.insert("b".into(), (identity(2), both(by_next)));
    let (a, b) = (w.add("a"), w.add("b"));
    w.run(secs(3));
    assert!(answers(&mut w, a, "b") && answers(&mut w, b, "a"));
    w.check_closed();
}

#[test]
fn a_name_goes_to_the_one_that_has_a_certificate_for_it() {
    let mut w = World::new(crate::first_seed());
    // It comes first, and goes by the name until one comes that may.
    let squatter = w.add("a");
    let b = add(&mut w, "b", 2, None);
    w.run(secs(5));
    assert!(!answers(&mut w, b, "a"));
    let a = add(&mut w, "a", 1, None);
    w.run(secs(5));
    assert!(w.nodes[a].running, "{:?}", w.nodes[a].failed);
    assert!(answers(&mut w, b, "a"));
    assert_eq!(w.nodes[squatter].engine.stats().served, 0);
    w.check_closed();
}

#[test]
fn a_certificate_that_names_a_list_that_nobody_has_waits_for_it() {
    let mut w = World::new(crate::first_seed());
    let a = add(&mut w, "a", 1, None);
    let shows = mode(certificate("b", 2, 1), None);
    w.kept.insert("b".into(), (identity(2), shows));
    let b = w.add("b");
    w.run(secs(5));
    assert!(!answers(&mut w, a, "b") && !answers(&mut w, b, "a"));
    assert_eq!(distrusts(&w, a, "b"), [Distrust::OldList]);
    let first = list(1, &[]);
    assert_eq!(w.with(b, |e, now| e.take_list(now, first)), Ok(true));
    w.run(secs(5));
    assert!(answers(&mut w, a, "b") && answers(&mut w, b, "a"));
    w.check_closed();
}
