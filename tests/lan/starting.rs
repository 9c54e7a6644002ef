//! What makes a start fail.

use crate::common::{Lan, secs};
use peerbase::{Error, Node};

#[test]
fn a_taken_name_fails_to_start() {
    let lan = Lan::new();
    let _a = lan.builder("a").start().unwrap();
    assert_eq!(
        lan.builder("a").start().unwrap_err(),
        Error::NameTaken("a".into())
    );
}

#[test]
fn a_port_in_use_says_which() {
    let lan = Lan::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    assert_eq!(
        lan.builder("a").listen(address).start().unwrap_err(),
        Error::PortInUse(address)
    );
    // Somebody who does not share.
    let greedy = std::net::UdpSocket::bind("127.255.255.255:0").unwrap();
    let port = greedy.local_addr().unwrap().port();
    let e = lan.builder("a").advertise_port(port).start().unwrap_err();
    assert!(matches!(e, Error::PortInUse(a) if a.port() == port), "{e}");
}

#[test]
fn bad_settings_are_named() {
    let lan = Lan::new();
    assert!(matches!(lan.builder("a|b").start(), Err(Error::Name(_))));
    assert!(matches!(
        Node::builder("a", "", lan.key.clone()).start(),
        Err(Error::Network(_))
    ));
    assert!(matches!(
        lan.builder("a").advertise_port(0).start(),
        Err(Error::Argument(_))
    ));
    assert!(matches!(
        lan.builder("a").advertise_interval(secs(0)).start(),
        Err(Error::Argument(_))
    ));
    assert!(matches!(
        lan.builder("a").command("a..b", |c| c.reply(1)).start(),
        Err(Error::Path(_))
    ));
    assert!(matches!(
        lan.builder("a")
            .listen("10.0.0.1:0".parse().unwrap())
            .start(),
        Err(Error::Argument(_))
    ));
}
