//! Certificates, revocation, pins, and keys that are replaced, with real nodes.

use crate::common::{Folder, Lan, secs, until, wait_for_event};
use peerbase::{
    Authority, Builder, Certificate, Distrust, Error, Event, Identity, Key, NetworkName, Node,
    NodeName, OsEntropy, RevocationList, Role,
};

fn identity(n: u8) -> Identity {
    Identity::from_seed([n; 32])
}

fn authority() -> Authority {
    Authority::from_seed([9; 32])
}

fn network() -> NetworkName {
    NetworkName::new("test").unwrap()
}

fn certificate(name: &str, n: u8, list: u64) -> Certificate {
    let (name, roles) = (NodeName::new(name).unwrap(), [Role::new("reader").unwrap()]);
    let key = identity(n).public_key();
    authority()
        .sign(&network(), &name, &key, &roles, list)
        .unwrap()
}

/// A node that answers with the roles of its caller.
fn builder(lan: &Lan, name: &str, n: u8) -> Builder {
    let builder = lan.builder(name).identity(identity(n));
    builder.command("roles", |call| {
        let roles: Vec<String> = call.caller_roles().iter().map(Role::to_string).collect();
        call.reply(roles)
    })
}

/// A node of a certified network.
fn certified(lan: &Lan, name: &str, n: u8) -> Builder {
    let builder = builder(lan, name, n).authority(authority().key());
    builder.certificate(certificate(name, n, 0))
}

fn calls(from: &Node, to: &str) -> Result<serde_json::Value, Error> {
    from.call("roles").to(to).timeout(secs(20)).send()
}

#[test]
fn a_revoked_node_is_out_also_after_a_restart_and_the_others_go_on() {
    let (lan, folder) = (Lan::new(), Folder::new("revoked"));
    let keeps = |name, n| certified(&lan, name, n).state_dir(folder.0.join(name));
    let (a, b) = (
        keeps("a", 1).start().unwrap(),
        keeps("b", 2).start().unwrap(),
    );
    let bad = certified(&lan, "bad", 3).start().unwrap();
    assert_eq!(calls(&bad, "a").unwrap(), serde_json::json!(["reader"]));
    assert!(calls(&bad, "b").is_ok() && calls(&a, "b").is_ok());
    let (of_b, of_bad) = (b.events(), bad.events());
    let list = authority().revoke(&network(), None, &[certificate("bad", 3, 0).hash()]);
    let list = list.unwrap();
    assert_eq!(a.revoke(&list), Ok(true));
    assert_eq!(a.revoke(&list), Ok(false));
    let taken = Event::ListTaken {
        version: 1,
        is_own: false,
    };
    wait_for_event(&of_b, "the list", |event| *event == taken);
    let told = |event: &Event| {
        matches!(
            event,
            Event::DistrustedBy {
                why: Distrust::Revoked,
                ..
            }
        )
    };
    wait_for_event(&of_bad, "the reason", told);
    let soon = |target| bad.call("roles").to(target).timeout(secs(1)).send();
    assert!(soon("a").is_err() && soon("b").is_err());
    // Both come again, and know the list before they meet anybody.
    drop((a, b));
    let kept = std::fs::read_to_string(folder.0.join("b/revocations")).unwrap();
    assert_eq!(RevocationList::parse(&kept).unwrap(), list);
    let (a, b) = (
        keeps("a", 1).start().unwrap(),
        keeps("b", 2).start().unwrap(),
    );
    assert!(calls(&a, "b").is_ok());
    assert!(soon("a").is_err() && soon("b").is_err());
    assert_eq!((a.stats().served, b.stats().served), (0, 1));
    // With a new certificate it is in again.
    let anew = certificate("bad", 3, 1);
    bad.set_certificate(&anew).unwrap();
    assert!(calls(&bad, "a").is_ok());
}

#[test]
fn what_does_not_fit_together_does_not_start() {
    let lan = Lan::new();
    let refused = |builder: Builder, what: &str| match builder.start() {
        Err(Error::Refused(why)) => assert!(why.contains(what), "{why}"),
        other => panic!("{what}: {other:?}"),
    };
    let of = |name, n, shows: Certificate| {
        builder(&lan, name, n)
            .authority(authority().key())
            .certificate(shows)
    };
    refused(of("a", 1, certificate("b", 1, 0)), "the node b");
    refused(of("a", 1, certificate("a", 2, 0)), "the key");
    let other = Authority::from_seed([8; 32]);
    refused(
        builder(&lan, "a", 1)
            .authority(other.key())
            .certificate(certificate("a", 1, 0)),
        "",
    );
    let own = certificate("a", 1, 0);
    let list = authority().revoke(&network(), None, &[own.hash()]).unwrap();
    refused(
        of("a", 1, own.clone()).revocation_list(list.clone()),
        "revoked",
    );
    for builder in [
        builder(&lan, "a", 1).authority(authority().key()),
        builder(&lan, "a", 1).certificate(own.clone()),
        builder(&lan, "a", 1).revocation_list(list),
        of("a", 1, own.clone())
            .authority(other.key())
            .authority(other.key()),
    ] {
        let failed = builder.start().unwrap_err();
        assert!(matches!(failed, Error::Argument(_)), "{failed}");
    }
    #[cfg(feature = "compat")]
    {
        let compat = peerbase::Compat::default();
        let failed = of("a", 1, own).compat(compat).start().unwrap_err();
        assert!(matches!(failed, Error::Argument(_)), "{failed}");
    }
}

#[test]
fn a_pinned_name_stays_with_its_key_over_restarts_until_another_is_accepted() {
    let (lan, folder) = (Lan::new(), Folder::new("pinned"));
    let keeper = || lan.builder("b").state_dir(&folder.0).start().unwrap();
    let a = builder(&lan, "a", 1).start().unwrap();
    let b = keeper();
    assert!(calls(&b, "a").is_ok());
    let name = NodeName::new("a").unwrap();
    assert_eq!(b.pins(), Ok(vec![(name.clone(), identity(1).public_key())]));
    drop((a, b));
    let other = builder(&lan, "a", 2).start().unwrap();
    let b = keeper();
    let events = b.events();
    let told = Event::Distrusted {
        peer: name,
        key: identity(2).public_key(),
        why: Distrust::OtherKey,
    };
    wait_for_event(&events, "the other key", |event| *event == told);
    assert!(b.call("roles").to("a").timeout(secs(1)).send().is_err());
    assert_eq!(other.stats().served, 0);
    b.accept_key("a", &identity(2).public_key()).unwrap();
    assert!(calls(&b, "a").is_ok());
}

#[test]
fn keys_and_identities_are_replaced_while_nodes_run() {
    let lan = Lan::new();
    let (a, b) = (
        certified(&lan, "a", 1).start().unwrap(),
        certified(&lan, "b", 2).start().unwrap(),
    );
    assert!(calls(&a, "b").is_ok());
    let new = Key::generate(&mut OsEntropy::new().unwrap());
    for keys in [
        vec![lan.key.clone(), new.clone()],
        vec![new.clone(), lan.key.clone()],
    ] {
        for node in [&a, &b] {
            node.set_keys(&keys).unwrap();
            assert!(calls(&a, "b").is_ok() && calls(&b, "a").is_ok());
        }
    }
    a.set_keys(std::slice::from_ref(&new)).unwrap();
    b.set_keys(&[new]).unwrap();
    b.set_identity(&identity(3), Some(&certificate("b", 3, 0)))
        .unwrap();
    until("the new key to be seen", || {
        let peers = a.peers();
        let b = peers.iter().find(|p| p.name.as_str() == "b");
        b.is_some_and(|b| b.reachable && b.key == Some(identity(3).public_key()))
    });
    assert!(calls(&a, "b").is_ok() && calls(&b, "a").is_ok());
    // Its streams are those of its new instance.
    let call = b.call("__echo__").to("a").timeout(secs(60));
    let mut stream = call.stream().unwrap();
    stream.write_all(b"streamed").unwrap();
    assert!(stream.value().is_ok());
    assert!(matches!(
        a.set_keys(&[]),
        Err(Error::Argument(_) | Error::Key(_))
    ));
}
use std::io::Write;
