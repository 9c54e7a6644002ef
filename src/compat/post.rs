//! What nodes and relays of PeerBase 0.7.1 say to each other: `/ping/` and `/send/`.
//!
//! ```text
//! POST /ping/  {"node_name": n, "node_network": n, "known_servers": [address…]}
//!   200        {"peers": [name…], "servers": [address…], "buffer": {id: packet…}}
//! POST /send/  {"target": n, "data": body, "packet_id": id, "originator": n,
//!               "r_type": "request" | "response", "remote_addr": address}
//!   200        {"pid": id}            404, if the target is not there
//! packet     = {"originator": n, "data": body, "type": r_type, "remote": address}
//! ```

use super::fields::{Object, list, members, string};
use crate::address::RelayAddress;
use crate::json::quoted;
use crate::limits::SERVERS_MAX;
use crate::name::{NetworkName, NodeName};
use serde_json::value::RawValue;

/// Bytes of a packet's id: PeerBase 0.7.1 takes the 64 digits of a SHA-256.
const ID_MAX: usize = 128;
/// Peers taken in from one message.
const PEERS_MAX: usize = 4_096;
/// Packets in one message.
const PACKETS_MAX: usize = 4_096;

/// A node tells a relay that it is there, and asks what has come for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ping {
    /// Its name.
    pub name: NodeName,
    /// Its network.
    pub network: NetworkName,
    /// Relays that it knows; those that are no addresses are left out.
    pub servers: Vec<RelayAddress>,
}

/// Whether a packet asks or answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It asks.
    Request,
    /// It answers.
    Response,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Kind::Request => "request",
            Kind::Response => "response",
        }
    }

    fn parse(text: &str) -> Option<Kind> {
        [Kind::Request, Kind::Response]
            .into_iter()
            .find(|kind| kind.as_str() == text)
    }
}

/// A sealed call or answer on its way through a relay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Which it is; an answer has that of its call.
    pub id: String,
    /// Who sends it, as it says.
    pub originator: NodeName,
    /// Whether it asks or answers.
    pub kind: Kind,
    /// The sealed body.
    pub data: String,
    /// The relay's address, as the sender knows it.
    pub remote: String,
}

/// What a relay answers to a ping.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pong {
    /// Who is there.
    pub peers: Vec<NodeName>,
    /// Other relays.
    pub servers: Vec<RelayAddress>,
    /// What has come.
    pub packets: Vec<Packet>,
}

fn object(body: &[u8]) -> Option<Object<'_>> {
    Object::read(std::str::from_utf8(body).ok()?)
}

fn servers(value: Option<&RawValue>) -> Vec<RelayAddress> {
    let items = value.and_then(|value| list(value, SERVERS_MAX));
    let texts = items.into_iter().flatten().filter_map(string);
    texts
        .filter_map(|text| RelayAddress::new(&text).ok())
        .collect()
}

fn is_id(id: &str) -> bool {
    (1..=ID_MAX).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic())
}

/// Joins JSON texts with commas.
fn joined(items: impl Iterator<Item = String>) -> String {
    items.collect::<Vec<_>>().join(",")
}

impl Ping {
    /// Reads a body; `None` if a field is missing or breaks a rule.
    pub fn decode(body: &[u8]) -> Option<Ping> {
        let ping = object(body)?;
        Some(Ping {
            name: NodeName::new(&ping.text("node_name")?).ok()?,
            network: NetworkName::new(&ping.text("node_network")?).ok()?,
            servers: servers(ping.get("known_servers")),
        })
    }

    /// Writes the body.
    pub fn encode(&self) -> Vec<u8> {
        format!(
            "{{\"node_name\":{},\"node_network\":{},\"known_servers\":[{}]}}",
            quoted(self.name.as_str()),
            quoted(self.network.as_str()),
            joined(self.servers.iter().map(|s| quoted(s.as_str())))
        )
        .into_bytes()
    }
}

impl Packet {
    /// Reads the body of a `/send/`, and its target; `None` if a field is missing or breaks a
    /// rule.
    pub fn decode(body: &[u8]) -> Option<(NodeName, Packet)> {
        let sent = object(body)?;
        let target = NodeName::new(&sent.text("target")?).ok()?;
        let packet = Packet::from_fields(sent.text("packet_id")?, &sent, "r_type", "remote_addr")?;
        Some((target, packet))
    }

    fn from_fields(id: String, fields: &Object<'_>, kind: &str, remote: &str) -> Option<Packet> {
        Some(Packet {
            id: Some(id).filter(|id| is_id(id))?,
            originator: NodeName::new(&fields.text("originator")?).ok()?,
            kind: Kind::parse(&fields.text(kind)?)?,
            data: fields.text("data")?,
            remote: fields.text(remote)?,
        })
    }

    /// Writes the body of a `/send/`.
    pub fn encode(&self, target: &NodeName) -> Vec<u8> {
        format!(
            "{{\"target\":{},\"packet_id\":{},\"originator\":{},\"r_type\":\"{}\",\"remote_addr\":{},\"data\":{}}}",
            quoted(target.as_str()),
            quoted(&self.id),
            quoted(self.originator.as_str()),
            self.kind.as_str(),
            quoted(&self.remote),
            quoted(&self.data)
        )
        .into_bytes()
    }

    /// Writes it as it stands in an answer to a ping, without its id.
    #[cfg(any(test, feature = "relay-server"))]
    pub(super) fn entry(&self) -> String {
        format!(
            "{{\"originator\":{},\"data\":{},\"type\":\"{}\",\"remote\":{}}}",
            quoted(self.originator.as_str()),
            quoted(&self.data),
            self.kind.as_str(),
            quoted(&self.remote)
        )
    }
}

impl Pong {
    /// Reads a body; `None` if it is none. Peers and packets that break a rule are left out.
    pub fn decode(body: &[u8]) -> Option<Pong> {
        let pong = object(body)?;
        let peers = list(pong.get("peers")?, PEERS_MAX)?;
        let names = peers.into_iter().filter_map(string);
        let buffer = members(pong.get("buffer")?.get(), PACKETS_MAX)?;
        let packet = |(id, entry): (String, &RawValue)| {
            let entry = Object::read(entry.get())?;
            Packet::from_fields(id, &entry, "type", "remote")
        };
        Some(Pong {
            peers: names.filter_map(|name| NodeName::new(&name).ok()).collect(),
            servers: servers(pong.get("servers")),
            packets: buffer.into_iter().filter_map(packet).collect(),
        })
    }

    /// Writes the body; packets as [`Packet::entry`] made them, with their ids.
    #[cfg(any(test, feature = "relay-server"))]
    pub(super) fn text<'a>(
        peers: impl Iterator<Item = &'a NodeName>,
        servers: &[RelayAddress],
        packets: impl Iterator<Item = (&'a str, &'a str)>,
    ) -> String {
        format!(
            "{{\"peers\":[{}],\"servers\":[{}],\"buffer\":{{{}}}}}",
            joined(peers.map(|name| quoted(name.as_str()))),
            joined(servers.iter().map(|s| quoted(s.as_str()))),
            joined(packets.map(|(id, entry)| format!("{}:{entry}", quoted(id))))
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> NodeName {
        NodeName::new(text).unwrap()
    }

    fn packet() -> Packet {
        Packet {
            id: "p1".into(),
            originator: name("b"),
            kind: Kind::Request,
            data: "Z0FBQUFB".into(),
            remote: "10.9.0.1:7000".into(),
        }
    }

    #[test]
    fn each_reads_what_it_writes() {
        let ping = Ping {
            name: name("a\"é"),
            network: NetworkName::new("n").unwrap(),
            servers: vec![RelayAddress::new("1.2.3.4:5").unwrap()],
        };
        assert_eq!(Ping::decode(&ping.encode()), Some(ping.clone()));
        let packet = packet();
        assert_eq!(
            Packet::decode(&packet.encode(&name("a"))),
            Some((name("a"), packet.clone()))
        );
        let (peers, entry) = ([name("a"), name("b")], packet.entry());
        let text = Pong::text(
            peers.iter(),
            &ping.servers,
            [("p1", entry.as_str())].into_iter(),
        );
        let pong = Pong {
            peers: peers.to_vec(),
            servers: ping.servers,
            packets: vec![packet],
        };
        assert_eq!(Pong::decode(text.as_bytes()), Some(pong));
    }

    #[test]
    fn what_the_python_relay_answered() {
        let text = br#"{"peers":["a"],"servers":["1.2.3.4:5"],"buffer":{"p":{"originator":"b","data":"x","type":"request","remote":"10.9.0.1:7000"}}}"#;
        let pong = Pong::decode(text).unwrap();
        assert_eq!(pong.peers, [name("a")]);
        assert_eq!(pong.servers[0].as_str(), "1.2.3.4:5");
        assert_eq!(
            (pong.packets[0].id.as_str(), pong.packets[0].kind),
            ("p", Kind::Request)
        );
    }

    #[test]
    fn what_breaks_a_rule_is_left_out_or_refused() {
        for bad in [
            &b""[..],
            b"[]",
            br#"{"node_name":"a","known_servers":[]}"#,
            br#"{"node_name":"a.b","node_network":"n","known_servers":[]}"#,
            br#"{"node_name":1,"node_network":"n","known_servers":[]}"#,
            br#"{"node_name":"a","node_name":"b","node_network":"n"}"#,
        ] {
            assert_eq!(Ping::decode(bad), None, "{}", bad.escape_ascii());
        }
        let ping =
            Ping::decode(br#"{"node_name":"a","node_network":"n","known_servers":["x",1,"b:2"]}"#);
        assert_eq!(ping.unwrap().servers.len(), 1);
        let mut wrong = packet();
        wrong.id = "x".repeat(ID_MAX + 1);
        assert_eq!(Packet::decode(&wrong.encode(&name("a"))), None);
        assert_eq!(Pong::decode(br#"{"peers":[],"servers":[]}"#), None);
        let pong = Pong::decode(br#"{"peers":["a.b",2],"servers":0,"buffer":{"p":1,"q":{}}}"#);
        assert_eq!(pong, Some(Pong::default()));
    }

    #[test]
    fn huge_and_deep_json_is_refused() {
        let deep = [&br#"{"node_name":"#[..], &b"[".repeat(100_000)].concat();
        assert_eq!(Ping::decode(&deep), None);
    }
}
