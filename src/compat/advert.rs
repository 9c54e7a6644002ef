//! The advert of PeerBase 0.7.1: the datagram `network.name|ip:port`, in clear, broadcast every
//! second.

use crate::name::{NetworkName, NodeName};
use std::net::{Ipv4Addr, SocketAddrV4};

/// Bytes of a datagram: PeerBase 0.7.1 reads no more.
const ADVERT_MAX: usize = 1_024;

/// Where a node is, as a datagram says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advert {
    /// Its network.
    pub network: NetworkName,
    /// Its name.
    pub name: NodeName,
    /// Where it takes calls.
    pub address: SocketAddrV4,
}

impl Advert {
    /// Reads a datagram; `None` if it is none of these.
    pub fn decode(bytes: &[u8]) -> Option<Advert> {
        let text = std::str::from_utf8(bytes)
            .ok()
            .filter(|_| bytes.len() <= ADVERT_MAX)?;
        let (node, place) = text.split_once('|')?;
        let (network, name) = node.split_once('.')?;
        let (ip, port) = place.split_once(':')?;
        let port = port
            .parse()
            .ok()
            .filter(|p| *p != 0 && !port.starts_with('+'))?;
        Some(Advert {
            network: NetworkName::new(network).ok()?,
            // Also no further dot, which the rule of names forbids.
            name: NodeName::new(name).ok()?,
            address: SocketAddrV4::new(ip.parse::<Ipv4Addr>().ok()?, port),
        })
    }

    /// Writes the datagram.
    pub fn encode(&self) -> Vec<u8> {
        format!("{}.{}|{}", self.network, self.name, self.address).into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn one_that_a_python_node_sent() {
        let advert = Advert::decode(b"plant.alpha|10.9.0.1:5001").unwrap();
        assert_eq!(advert.network.as_str(), "plant");
        assert_eq!(advert.name.as_str(), "alpha");
        assert_eq!(advert.address, "10.9.0.1:5001".parse().unwrap());
        assert_eq!(advert.encode(), b"plant.alpha|10.9.0.1:5001");
    }

    #[test]
    fn what_is_none() {
        for bad in [
            "",
            "plant.alpha",
            "plant|10.0.0.1:1",
            "plant.a.b|10.0.0.1:1",
            "plant.|10.0.0.1:1",
            "plant.a|host:1",
            "plant.a|10.0.0.1:0",
            "plant.a|10.0.0.1:+1",
            "plant.a|10.0.0.1:65536",
            "plant.a|10.0.0.1:1|",
            "plant.a|10.0.0.1:1\n",
            "plant.a|[::1]:1",
            &format!("plant.{}|10.0.0.1:1", "a".repeat(65)),
            "plant|adv|gAAAAAB|END\n",
        ] {
            assert_eq!(Advert::decode(bad.as_bytes()), None, "{bad:?}");
        }
        assert_eq!(Advert::decode(b"plant.\xff|10.0.0.1:1"), None);
    }

    proptest! {
        #[test]
        fn what_reads_writes_back_the_same(bytes in "[a.|:0-9]{0,12}\\.[a-z]{1,3}\\|[0-9.]{7,15}:[0-9]{1,5}") {
            if let Some(advert) = Advert::decode(bytes.as_bytes()) {
                let again = advert.encode();
                prop_assert_eq!(Advert::decode(&again), Some(advert));
            }
        }
    }
}
