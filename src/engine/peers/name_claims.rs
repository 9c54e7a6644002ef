//! Claims of others to this node's own name, and which of them are looked into.

use super::Time;
use crate::engine::event_throttle::EventThrottle;
use crate::limits::DISTRUSTED_MAX;
use crate::table::Table;
use crate::wire::Instance;
use std::time::Duration;

/// Claims that are looked into at a time.
const CLAIMS_MAX: usize = 8;
/// How long a claim is left alone after it was looked into.
const CLAIM_REST: Duration = Duration::from_secs(30);

/// The claims that were looked into, and are left alone for a while.
#[derive(Debug, Default)]
pub(crate) struct NameClaims {
    /// The instances that claim the name, whether through a relay, and until when they are left
    /// alone.
    left_alone: Table<(Instance, bool), Time>,
    /// The namesakes that the program was told of.
    told: EventThrottle<Instance>,
}

impl NameClaims {
    /// Whether a claim may be looked into now; `relayed` is whether it came through a relay.
    pub(crate) fn may_look_into(&self, now: Time, claimant: Instance, relayed: bool) -> bool {
        let is_left_alone = |until: &&Time| **until > now;
        let claims = self.left_alone.values().filter(is_left_alone).count();
        let this = self.left_alone.get(&(claimant, relayed));
        this.filter(is_left_alone).is_none() && claims < CLAIMS_MAX
    }

    /// A claim is being looked into; it is left alone for a while.
    pub(crate) fn note_look(&mut self, now: Time, claimant: Instance, relayed: bool) {
        self.left_alone.retain(|_, until| *until > now);
        self.left_alone
            .insert((claimant, relayed), now + CLAIM_REST);
    }

    /// Whether the program is to be told now that another instance goes by our name: once for each,
    /// and one in a minute, however often they come.
    pub(crate) fn is_news(&mut self, now: Time, namesake: Instance) -> bool {
        self.told.is_news(now, namesake, DISTRUSTED_MAX)
    }

    /// A claim could not be looked into; the next advert may try again.
    pub(crate) fn unresolved(&mut self, claimant: &Instance) {
        self.left_alone.retain(|(i, _), _| i != claimant);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::fixture::at;

    #[test]
    fn a_namesake_that_comes_again_and_again_is_told_once() {
        let mut claims = NameClaims::default();
        let namesake = |n| Instance([n; 16]);
        assert!(claims.is_news(at(0), namesake(1)));
        assert!(!claims.is_news(at(1), namesake(1)) && !claims.is_news(at(1), namesake(2)));
        assert!(!claims.is_news(at(60_000), namesake(1)));
        assert!(claims.is_news(at(60_000), namesake(2)), "a minute later");
    }

    #[test]
    fn a_claim_to_our_name_is_looked_into_once_in_a_while_and_few_at_a_time() {
        let mut claims = NameClaims::default();
        let claimant = |n| Instance([n; 16]);
        assert!(claims.may_look_into(at(0), claimant(0), false));
        claims.note_look(at(0), claimant(0), false);
        assert!(!claims.may_look_into(at(1), claimant(0), false));
        assert!(
            claims.may_look_into(at(1), claimant(0), true),
            "another way"
        );
        claims.unresolved(&claimant(0));
        assert!(claims.may_look_into(at(1), claimant(0), false));
        for n in 0..CLAIMS_MAX as u8 {
            claims.note_look(at(1), claimant(n), false);
        }
        assert!(!claims.may_look_into(at(1), claimant(200), false));
        assert!(claims.may_look_into(at(30_001), claimant(200), false));
        claims.note_look(at(30_001), claimant(200), false);
        assert_eq!(claims.left_alone.len(), 1, "those of before are forgotten");
    }
}
