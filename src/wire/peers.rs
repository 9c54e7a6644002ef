//! What a node tells its peers about other nodes: their addresses.
//!
//! ```text
//! count u8 | each: instance [16] | name text | address: 4 or 6 u8, its bytes, port u16
//! ```

use super::{Instance, Malformed, Reader, put_text};
use crate::name::NodeName;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Peers that one record may name; further peers go into further records.
pub const PEERS_TOLD_MAX: usize = 64;

/// A node with which the sender has a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acquaintance {
    /// Its current start.
    pub instance: Instance,
    /// Its name.
    pub name: NodeName,
    /// Where it can be dialled.
    pub address: SocketAddr,
}

/// Appends the encoding of at most [`PEERS_TOLD_MAX`] peers.
pub fn encode(peers: &[Acquaintance], out: &mut Vec<u8>) {
    debug_assert!(peers.len() <= PEERS_TOLD_MAX);
    out.push(peers.len() as u8);
    for peer in peers {
        out.extend_from_slice(&peer.instance.0);
        put_text(peer.name.as_str(), out);
        match peer.address.ip() {
            IpAddr::V4(ip) => {
                out.push(4);
                out.extend_from_slice(&ip.octets());
            }
            IpAddr::V6(ip) => {
                out.push(6);
                out.extend_from_slice(&ip.octets());
            }
        }
        out.extend_from_slice(&peer.address.port().to_be_bytes());
    }
}

/// Reads peers that take all of `bytes`.
pub fn decode(bytes: &[u8]) -> Result<Vec<Acquaintance>, Malformed> {
    let mut r = Reader(bytes);
    let count = usize::from(r.u8()?);
    if count > PEERS_TOLD_MAX {
        return Err(Malformed);
    }
    let mut peers = Vec::with_capacity(count);
    for _ in 0..count {
        let instance = Instance(r.array()?);
        let name = NodeName::new(r.text()?).map_err(|_| Malformed)?;
        let ip: IpAddr = match r.u8()? {
            4 => Ipv4Addr::from(r.array::<4>()?).into(),
            6 => Ipv6Addr::from(r.array::<16>()?).into(),
            _ => return Err(Malformed),
        };
        let address = SocketAddr::new(ip, r.u16()?);
        peers.push(Acquaintance {
            instance,
            name,
            address,
        });
    }
    r.end()?;
    Ok(peers)
}
