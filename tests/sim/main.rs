//! The protocol under a virtual clock. A failing seed is printed, and given back in
//! `PEERBASE_SIM_SEED` it replays exactly.

mod attacks;
#[path = "../common/mod.rs"]
mod common;
mod compat;
mod compat_attacks;
mod compat_peers;
mod compat_world;
mod faults;
mod forged;
mod gossip;
mod hubs;
mod large_values;
mod mailboxes;
mod mesh;
mod names;
mod pairs;
mod relay_attacks;
mod relays;
mod stream_attacks;
mod streams;
mod trust;
mod world;

/// The seed to begin with: fixed, or the one in the environment.
fn first_seed() -> u64 {
    std::env::var("PEERBASE_SIM_SEED")
        .ok()
        .and_then(|s| s.parse().ok())
        .unwrap_or(1)
}

/// Runs `test` under a few seeds, and says which one failed.
fn seeds(count: u64, test: impl Fn(u64)) {
    for seed in first_seed()..first_seed() + count {
        if let Err(panic) = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| test(seed))) {
            eprintln!("failed with PEERBASE_SIM_SEED={seed}");
            std::panic::resume_unwind(panic);
        }
    }
}
