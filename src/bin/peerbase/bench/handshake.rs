//! The handshake of two nodes, without a network: what each side computes.

use super::{Report, percentiles};
use crate::{Failure, Outcome};
use peerbase::fernet::Keyring;
use peerbase::handshake::{
    Credentials, Initiator, NetworkKeys, Own, Question, Refused, SessionKeys,
};
use peerbase::{Identity, Key, NetworkName, NodeName, OsEntropy};
use std::time::{Duration, Instant};

/// Handshakes that are measured.
const ROUNDS: usize = 2_000;

/// What one node says of itself.
struct Side {
    network: NetworkName,
    keys: NetworkKeys,
    credentials: Credentials,
    name: NodeName,
    entropy: OsEntropy,
    /// How long it took in each handshake.
    took: Vec<Duration>,
}

impl Side {
    fn new(name: &str, key: &Key) -> Outcome<Side> {
        let mut entropy = OsEntropy::new()?;
        let network = NetworkName::new("bench")?;
        let identity = Identity::generate(&mut entropy);
        Ok(Side {
            keys: NetworkKeys::new(&Keyring::from(key.clone()), &network),
            network,
            credentials: Credentials::new(&identity, false, [7; 16]),
            name: NodeName::new(name)?,
            entropy,
            took: Vec::with_capacity(ROUNDS),
        })
    }

    /// Does a part of the handshake, and adds the time to that of the present round.
    fn timed<R>(&mut self, f: impl FnOnce(Own<'_>, &mut OsEntropy) -> R) -> R {
        let own = Own {
            network: &self.network,
            keys: &self.keys,
            credentials: &self.credentials,
            name: &self.name,
            port: 7,
            probing: false,
            list: 0,
        };
        let start = Instant::now();
        let result = f(own, &mut self.entropy);
        if let Some(took) = self.took.last_mut() {
            *took += start.elapsed();
        }
        result
    }
}

/// One whole handshake.
fn meet(asker: &mut Side, answerer: &mut Side) -> Result<SessionKeys, Refused> {
    asker.took.push(Duration::ZERO);
    answerer.took.push(Duration::ZERO);
    let (mut initiator, first) = asker.timed(|own, entropy| Initiator::begin(own, entropy));
    let answered = answerer.timed(|own, entropy| Question::read(own, &first)?.answer(own, entropy));
    let (responder, second) = answered?;
    let finished = asker.timed(|own, entropy| {
        let party = initiator.read(&second.message)?;
        initiator.finish(own, &party.name, entropy)
    });
    let (third, _) = finished?;
    let (_, keys) = answerer.timed(|own, _| responder.read(own, &third.message))?;
    Ok(keys)
}

pub(super) fn run(report: &mut Report) -> Outcome {
    let key = Key::generate(&mut OsEntropy::new()?);
    let (mut asker, mut answerer) = (Side::new("asker", &key)?, Side::new("answerer", &key)?);
    for _ in 0..ROUNDS {
        meet(&mut asker, &mut answerer)
            .map_err(|why| Failure::Failed(format!("the handshake failed: {why:?}")))?;
    }
    for (who, side) in [("dials", asker), ("is dialled", answerer)] {
        let (half, most) = percentiles(side.took);
        report.add(&format!("handshake, the side that {who}, p50"), half, "us");
        report.add(&format!("handshake, the side that {who}, p99"), most, "us");
    }
    Ok(())
}
