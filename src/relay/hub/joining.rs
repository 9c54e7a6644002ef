//! From a link's first word to its joining.

use super::Config;
use super::context::Ctx;
use super::stage::{Challenged, Stage};
use crate::name::NetworkName;
use crate::wire::relay::{FromRelay, Refusal, ToRelay, Word};
use crate::wire::relay_key::{Challenge, Joining, RelayKey, Side, WordMacs};

/// What follows from a word of a link that has not joined.
#[derive(Debug)]
pub(super) enum Step {
    /// It is shown the relay's proof, and asked for its own.
    Ask(FromRelay),
    /// It has proved the key, and may join.
    Join(WordMacs),
    /// It may join, once it is told that nothing is proven.
    Enter(FromRelay),
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
    said: &Word<ToRelay>,
) -> Step {
    let key = match served(ctx.config, network) {
        Served::Not => return Step::Refuse(Refusal::Network),
        Served::Open => None,
        Served::Keyed(key) => Some(key),
    };
    match (&*stage, &said.word) {
        (Stage::New, ToRelay::Join(member)) => {
            let mut relay = [0; 32];
            ctx.entropy.fill(&mut relay);
            let Some(key) = key else {
                return Step::Enter(FromRelay::Prove(relay, None));
            };
            let asked = (member, said.fields.as_bytes());
            let (challenged, word) = ask(key, network, asked, &relay);
            *stage = Stage::Challenged(Box::new(challenged));
            Step::Ask(word)
        }
        (Stage::Challenged(challenged), ToRelay::Proof(proof))
            if challenged.network == *network =>
        {
            let joining = &challenged.joining;
            let key = key.filter(|key| key.verify(Side::Member, joining, proof));
            match key {
                Some(key) => Step::Join(key.macs(Side::Relay, joining)),
                None => Step::Refuse(Refusal::Key),
            }
        }
        _ => Step::Refuse(Refusal::Frame),
    }
}

/// The relay proves its key, and asks a link for such a proof.
fn ask(
    key: &RelayKey,
    network: &NetworkName,
    asked: (&Challenge, &[u8]),
    relay: &Challenge,
) -> (Challenged, FromRelay) {
    let joining = Joining::new(network, asked, (relay, b""));
    let proof = key.prove(Side::Relay, &joining);
    let challenged = Challenged {
        network: network.clone(),
        joining,
    };
    (challenged, FromRelay::Prove(*relay, Some(proof)))
}

#[cfg(test)]
mod tests {
    use super::super::context::Core;
    use super::super::context::tests::{at, core};
    use super::*;
    use crate::fernet::Key;
    use crate::limits::RelayLimits;
    use crate::wire::relay::Fields;

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
        let (word, fields) = (word.clone(), Fields::default());
        let said = Word { word, fields };
        step(&mut core.at(at(1)), stage, &net(network), &said)
    }

    const JOIN: ToRelay = ToRelay::Join([3; 32]);

    /// Asks to join `plant`; the joining, once the relay has proved its key for it.
    fn asked(core: &mut Core, stage: &mut Stage) -> Joining {
        let asked = next(core, stage, "plant", &JOIN);
        let Step::Ask(FromRelay::Prove(relay, Some(proof))) = asked else {
            panic!("{asked:?}");
        };
        let joining = Joining::new(&net("plant"), (&[3; 32], b""), (&relay, b""));
        assert!(key().verify(Side::Relay, &joining, &proof));
        joining
    }

    fn is_refused(step: &Step, wanted: Refusal) -> bool {
        matches!(step, Step::Refuse(why) if *why == wanted)
    }

    #[test]
    fn any_network_is_open_where_none_is_listed_and_no_other_where_some_are() {
        let enters = |step: &Step| matches!(step, Step::Enter(FromRelay::Prove(_, None)));
        let mut open = core(RelayLimits::default());
        assert!(enters(&next(&mut open, &mut Stage::New, "any", &JOIN)));
        let mut listed = listed();
        assert!(enters(&next(&mut listed, &mut Stage::New, "hall", &JOIN)));
        let refused = next(&mut listed, &mut Stage::New, "any", &JOIN);
        assert!(is_refused(&refused, Refusal::Network));
    }

    #[test]
    fn a_network_with_a_key_is_joined_with_a_proof_of_it() {
        let (mut core, mut stage) = (listed(), Stage::New);
        let joining = asked(&mut core, &mut stage);
        let wrong = ToRelay::Proof([1; 32]);
        let refused = next(&mut core, &mut stage, "plant", &wrong);
        assert!(is_refused(&refused, Refusal::Key));
        let good = ToRelay::Proof(key().prove(Side::Member, &joining));
        let joins = next(&mut core, &mut stage, "plant", &good);
        assert!(matches!(joins, Step::Join(_)), "{joins:?}");
        let elsewhere = next(&mut core, &mut stage, "hall", &good);
        assert!(
            is_refused(&elsewhere, Refusal::Frame),
            "it is for the other network"
        );
    }

    #[test]
    fn a_proof_that_is_reflected_replayed_or_of_another_joining_is_wrong() {
        let (mut core, mut stage, mut other) = (listed(), Stage::New, Stage::New);
        let joining = asked(&mut core, &mut stage);
        let elsewhere = asked(&mut core, &mut other);
        assert_ne!(joining, elsewhere, "two at once");
        let reflected = ToRelay::Proof(key().prove(Side::Relay, &joining));
        let good = ToRelay::Proof(key().prove(Side::Member, &joining));
        for (stage, proof) in [(&mut stage, &reflected), (&mut other, &good)] {
            let refused = next(&mut core, stage, "plant", proof);
            assert!(is_refused(&refused, Refusal::Key), "{refused:?}");
        }
    }

    #[test]
    fn fields_behind_a_word_that_are_taken_away_spoil_the_proof() {
        let (mut core, mut stage) = (listed(), Stage::New);
        let said = ToRelay::decode(b"join.2.AwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwM=.a=1");
        let asked = step(
            &mut core.at(at(1)),
            &mut stage,
            &net("plant"),
            &said.unwrap(),
        );
        let Step::Ask(FromRelay::Prove(relay, Some(proof))) = asked else {
            panic!("{asked:?}");
        };
        let joining = |fields| Joining::new(&net("plant"), (&[3; 32], fields), (&relay, b""));
        assert!(key().verify(Side::Relay, &joining(b".a=1"), &proof));
        assert!(!key().verify(Side::Relay, &joining(b""), &proof));
    }

    #[test]
    fn words_out_of_place_are_refused() {
        let mut core = listed();
        let proof = ToRelay::Proof([1; 32]);
        let refused = next(&mut core, &mut Stage::New, "plant", &proof);
        assert!(is_refused(&refused, Refusal::Frame));
        let mut stage = Stage::New;
        next(&mut core, &mut stage, "plant", &JOIN);
        let again = next(&mut core, &mut stage, "plant", &JOIN);
        assert!(is_refused(&again, Refusal::Frame));
    }
}
