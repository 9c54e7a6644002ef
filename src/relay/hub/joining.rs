//! From a link's first word to its joining.

use super::Config;
use super::context::Ctx;
use super::stage::Stage;
use crate::name::NetworkName;
use crate::wire::membership::{Challenge, RelayKey};
use crate::wire::relay::{Refusal, ToRelay};

/// What follows from a word of a link that has not joined.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// It is asked for a proof.
    Prove(Challenge),
    /// It may join.
    Join,
    Refuse(Refusal),
}

/// A network as it is served.
enum Served<'a> {
    Open,
    Keyed(&'a RelayKey),
    Not,
}

fn served<'a>(config: &'a Config, network: &NetworkName) -> Served<'a> {
    let listed = config.networks.iter().find(|(name, _)| name == network);
    match listed {
        Some((_, Some(key))) => Served::Keyed(key),
        Some((_, None)) => Served::Open,
        None if config.networks.is_empty() => Served::Open,
        None => Served::Not,
    }
}

/// Takes in a link's word about a network, and moves its stage on to where it is asked for a proof.
pub(super) fn step(
    ctx: &mut Ctx<'_>,
    stage: &mut Stage,
    network: &NetworkName,
    word: &ToRelay,
) -> Step {
    let key = match served(ctx.config, network) {
        Served::Not => return Step::Refuse(Refusal::Network),
        Served::Open => None,
        Served::Keyed(key) => Some(key),
    };
    match (&*stage, word) {
        (Stage::New, ToRelay::Join(_)) if key.is_none() => Step::Join,
        (Stage::New, ToRelay::Join(challenge)) => {
            let mut relay = [0; 32];
            ctx.entropy.fill(&mut relay);
            *stage = Stage::Challenged {
                network: network.clone(),
                member: *challenge,
                relay,
            };
            Step::Prove(relay)
        }
        (
            Stage::Challenged {
                network: asked,
                member,
                relay,
            },
            ToRelay::Prove(proofs),
        ) if asked == network => {
            let is_good = |key: &RelayKey| {
                let mut proofs = proofs.iter();
                proofs.any(|proof| key.verify(network, member, relay, proof))
            };
            match key.is_some_and(is_good) {
                true => Step::Join,
                false => Step::Refuse(Refusal::Key),
            }
        }
        _ => Step::Refuse(Refusal::Frame),
    }
}

#[cfg(test)]
mod tests {
    use super::super::context::Core;
    use super::super::context::tests::{at, core};
    use super::*;
    use crate::fernet::Key;
    use crate::limits::RelayLimits;

    fn net(text: &str) -> NetworkName {
        NetworkName::new(text).unwrap()
    }

    fn key() -> RelayKey {
        RelayKey::derive(&Key::from_bytes([7; 32]), &net("plant"))
    }

    /// A relay that serves `plant` with a key and `hall` without one.
    fn listed() -> Core {
        let mut core = core(RelayLimits::default());
        core.config.networks = vec![(net("plant"), Some(key())), (net("hall"), None)];
        core
    }

    fn next(core: &mut Core, stage: &mut Stage, network: &str, word: &ToRelay) -> Step {
        step(&mut core.at(at(1)), stage, &net(network), word)
    }

    const JOIN: ToRelay = ToRelay::Join([3; 32]);

    #[test]
    fn any_network_is_open_where_none_is_listed_and_no_other_where_some_are() {
        let mut open = core(RelayLimits::default());
        assert_eq!(next(&mut open, &mut Stage::New, "any", &JOIN), Step::Join);
        let mut listed = listed();
        assert_eq!(
            next(&mut listed, &mut Stage::New, "hall", &JOIN),
            Step::Join
        );
        let refused = next(&mut listed, &mut Stage::New, "any", &JOIN);
        assert_eq!(refused, Step::Refuse(Refusal::Network));
    }

    #[test]
    fn a_network_with_a_key_is_joined_with_a_proof_of_it() {
        let (mut core, mut stage) = (listed(), Stage::New);
        let asked = next(&mut core, &mut stage, "plant", &JOIN);
        let Step::Prove(relay) = asked else {
            panic!("{asked:?}");
        };
        let good = key().prove(&net("plant"), &[3; 32], &relay);
        let wrong = ToRelay::Prove(vec![[1; 32]]);
        let refused = next(&mut core, &mut stage, "plant", &wrong);
        assert_eq!(refused, Step::Refuse(Refusal::Key));
        let proofs = ToRelay::Prove(vec![[1; 32], good]);
        assert_eq!(next(&mut core, &mut stage, "plant", &proofs), Step::Join);
        let elsewhere = next(&mut core, &mut stage, "hall", &proofs);
        assert_eq!(
            elsewhere,
            Step::Refuse(Refusal::Frame),
            "it is for the other network"
        );
    }

    #[test]
    fn words_out_of_place_are_refused() {
        let mut core = listed();
        let proof = ToRelay::Prove(vec![[1; 32]]);
        let refused = next(&mut core, &mut Stage::New, "plant", &proof);
        assert_eq!(refused, Step::Refuse(Refusal::Frame));
        let mut stage = Stage::New;
        next(&mut core, &mut stage, "plant", &JOIN);
        let again = next(&mut core, &mut stage, "plant", &JOIN);
        assert_eq!(again, Step::Refuse(Refusal::Frame));
    }
}
