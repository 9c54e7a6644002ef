//! The saved state. Any bytes are either an error, after which the file is kept aside as it was, or
//! a state that is the same when it is written and read again. Memory is bounded by the file's
//! length.
#![no_main]

mod heap;
#[allow(dead_code, unreachable_pub)]
#[path = "../../src/json/mod.rs"]
mod json;
#[allow(dead_code, unreachable_pub)]
#[path = "../../src/json_object.rs"]
mod json_object;
mod logging;
#[allow(dead_code, unreachable_pub)]
#[path = "../../src/node/saved_peers.rs"]
mod state;
#[allow(dead_code, unreachable_pub)]
#[path = "../../src/atomic_file.rs"]
mod atomic_file;

use libfuzzer_sys::fuzz_target;
// The library's own files use these modules by their names in the library.
use peerbase::{error, limits, name, wire};
use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;

/// Bytes of memory for each byte of a file: what its JSON may take, and the text itself.
const EXPANSION: usize = 260;

/// A file in a memory file system, if there is one, because a state is written through to the disk
/// before it counts as saved.
static FILE: LazyLock<PathBuf> = LazyLock::new(|| {
    let memory = PathBuf::from("/dev/shm");
    let root = if memory.is_dir() { memory } else { std::env::temp_dir() };
    let folder = root.join(format!("peerbase-fuzz-state-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder");
    folder.join("state")
});

fuzz_target!(|data: &[u8]| {
    let network = name::NetworkName::new("plant").expect("a name");
    fs::write(&*FILE, data).expect("room for a file");
    let (loaded, peak) = heap::peak(|| state::load(&FILE, &network));
    assert!(peak <= EXPANSION * data.len() + 64 * 1024, "{peak} bytes for {}", data.len());
    let addresses = match loaded {
        Ok(addresses) => addresses,
        Err(e) => {
            assert!(matches!(e, error::Error::Damaged(_)), "{e}");
            let aside = fs::read(FILE.with_extension("damaged")).expect("kept aside");
            assert_eq!(aside, data);
            assert_eq!(state::load(&FILE, &network), Ok(Vec::new()), "and begins anew");
            return;
        }
    };
    assert!(addresses.len() <= limits::SEEDS_MAX);
    let peer = |(i, address): (usize, &std::net::SocketAddr)| wire::peers::Acquaintance {
        instance: wire::Instance([i as u8; 16]),
        name: name::NodeName::new(&format!("\"node\u{e9}{i}")).expect("a name"),
        address: *address,
    };
    let peers: Vec<_> = addresses.iter().enumerate().map(peer).collect();
    state::save(&FILE, &network, &peers).expect("room for a file");
    assert_eq!(state::load(&FILE, &network), Ok(addresses));
});
