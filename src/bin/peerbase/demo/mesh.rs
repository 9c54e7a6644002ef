//! Nodes that are told an address instead of advertising.

use super::{Network, PATIENCE, expect};
use crate::Outcome;
use peerbase::Node;
use serde_json::json;
use std::net::SocketAddr;

/// Three nodes that do not advertise.
pub(super) fn run(network: &Network) -> Outcome {
    eprintln!("an address is enough where there is no advertising");
    let start = |name: &str| {
        let builder = Node::builder(name, &network.name, network.key.clone()).loopback(true);
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        builder.lan(false).listen(any).start()
    };
    let (a, b, c) = (start("mesh-a")?, start("mesh-b")?, start("mesh-c")?);
    let address = |node: &Node| SocketAddr::from(([127, 0, 0, 1], node.port()));
    b.connect(address(&a), PATIENCE)?;
    let who = c.connect(address(&b), PATIENCE)?;
    expect("who answers says who it is", who.as_str(), &"mesh-b")?;
    let echo = c
        .call("__echo__")
        .arg(1)
        .to("mesh-a")
        .timeout(PATIENCE)
        .send()?;
    expect(
        "and tells of others, who are called",
        echo["args"][0].clone(),
        &json!(1),
    )
}
