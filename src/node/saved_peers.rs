//! What a node knows of its network, kept in a file.
//!
//! ```json
//! {"peerbase_state": 1, "network": "plant",
//!  "peers": [{"name": "roof", "address": "10.0.0.7:4711"}]}
//! ```

use crate::atomic_file;
use crate::error::Error;
use crate::json;
use crate::json_object::{Object, list};
use crate::limits::SEEDS_MAX;
use crate::name::{NetworkName, NodeName};
use crate::wire::peers::Acquaintance;
use std::net::SocketAddr;
use std::path::Path;

const VERSION: u64 = 1;
/// Bytes of the largest file that is read: many times what is ever written.
const LARGEST: u64 = 1024 * 1024;

/// What is kept, as a JSON text.
fn state(network: &NetworkName, peers: &[Acquaintance]) -> String {
    let peer = |peer: &Acquaintance| {
        let mut object = Object::new();
        object.text("name", peer.name.as_str());
        object.text("address", &peer.address.to_string());
        object.into_text()
    };
    let mut state = Object::new();
    state.plain("peerbase_state", VERSION);
    state.text("network", network.as_str());
    state.plain("peers", list(peers.iter().take(SEEDS_MAX).map(peer)));
    state.into_text()
}

/// Replaces the file as a whole.
pub(super) fn save(
    file: &Path,
    network: &NetworkName,
    peers: &[Acquaintance],
) -> Result<(), Error> {
    let state = state(network, peers) + "\n";
    let saved = atomic_file::replace(file, state.as_bytes());
    saved.map_err(|e| Error::io("saving the state", &e))
}

/// The addresses in a file; none, if there is no file. One that is damaged is kept aside.
pub(super) fn load(file: &Path, network: &NetworkName) -> Result<Vec<SocketAddr>, Error> {
    let failed = |e: std::io::Error| Error::io("loading the state", &e);
    let Some(text) = atomic_file::read(file, LARGEST).map_err(failed)? else {
        return Ok(Vec::new());
    };
    let why = match read(&text, network) {
        Ok(addresses) => return Ok(addresses),
        Err(why) => why,
    };
    let aside = atomic_file::set_aside(file).map_err(failed)?;
    let aside = aside.display();
    Err(Error::Damaged(format!(
        "{why}; the file is kept as {aside}"
    )))
}

fn read(text: &[u8], network: &NetworkName) -> Result<Vec<SocketAddr>, String> {
    let state = json::parse(text, usize::MAX).map_err(|e| e.to_string())?;
    if state["peerbase_state"].as_u64() != Some(VERSION) {
        return Err("not a state of this version".into());
    }
    if state["network"].as_str() != Some(network.as_str()) {
        return Err("the state of another network".into());
    }
    let peers = state["peers"].as_array().ok_or("no peers in the state")?;
    let mut addresses = Vec::new();
    for peer in peers.iter().take(SEEDS_MAX) {
        let named = peer["name"]
            .as_str()
            .is_some_and(|n| NodeName::new(n).is_ok());
        let address = peer["address"].as_str().and_then(|a| a.parse().ok());
        match address {
            Some(address) if named => addresses.push(address),
            _ => return Err("a peer that is none".into()),
        }
    }
    Ok(addresses)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::atomic_file::beside;
    use crate::wire::Instance;
    use std::fs;

    #[test]
    fn what_was_saved_is_loaded_and_what_was_not_is_kept_aside() {
        let folder = std::env::temp_dir().join(format!("peerbase-state-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let (file, network) = (folder.join("state"), NetworkName::new("plant").unwrap());
        let address: SocketAddr = "[fe80::1]:4711".parse().unwrap();
        let peer = Acquaintance {
            instance: Instance([1; 16]),
            name: NodeName::new("ro\"of").unwrap(),
            address,
        };
        assert_eq!(load(&file, &network), Ok(Vec::new()), "none yet");
        save(&file, &network, &[peer]).unwrap();
        let written = concat!(
            r#"{"peerbase_state":1,"network":"plant","peers":["#,
            r#"{"name":"ro\"of","address":"[fe80::1]:4711"}]}"#,
            "\n"
        );
        assert_eq!(fs::read_to_string(&file).unwrap(), written);
        assert_eq!(load(&file, &network), Ok(vec![address]));
        let whole = fs::read(&file).unwrap();
        let cut = &whole[..whole.len() / 2];
        for bad in [
            cut,
            b"",
            b"{}",
            b"\xff",
            b"{\"peerbase_state\":2}",
            &b"[".repeat(99_999),
        ] {
            fs::write(&file, bad).unwrap();
            assert!(matches!(load(&file, &network), Err(Error::Damaged(_))));
            assert_eq!(fs::read(beside(&file, ".damaged")).unwrap(), bad);
            assert_eq!(load(&file, &network), Ok(Vec::new()), "and begins anew");
        }
        let none = save(&folder.join("no/such/folder"), &network, &[]);
        assert!(matches!(none, Err(Error::Io { .. })));
        fs::remove_dir_all(folder).unwrap();
    }
}
