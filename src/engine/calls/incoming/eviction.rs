//! How answers give way, where another caller needs room: those of the callers that have most.
//! Calls are not run again for that: they count as forgotten unconfirmed.

use super::Serving;
use super::quotas::Need;
use crate::engine::RequestId;
use crate::engine::context::Ctx;
use crate::engine::ids::CallOver;
use crate::wire::Instance;
use std::cmp::Reverse;

/// How many answers give way at a time, and how many of one caller: the callers are not to be
/// searched with each call.
const EVICTED_AT_ONCE: usize = 256;
const EVICTED_OF_ONE: usize = 64;

/// A caller whose answers may give way.
#[derive(Debug)]
pub(crate) struct Holder {
    pub(crate) caller: Instance,
    /// How much it has of what is needed.
    held: usize,
    /// Whether there is no session with it, so that its answers cannot be sent.
    pub(crate) is_away: bool,
}

impl Serving {
    /// The callers, other than `caller`, that have answers here. None if it is known that no
    /// answers give way. Which of them are away is for the engine to say, before
    /// [`Serving::evict`].
    pub(crate) fn holders(&self, ctx: &Ctx<'_>, caller: Instance, need: Need) -> Vec<Holder> {
        let own = self.held(caller);
        if self.quotas.is_fruitless(ctx.now.at, need, own) {
            return Vec::new();
        }
        let others = self.callers.iter();
        let others = others.filter(|(other, its)| **other != caller && its.held.answered > 0);
        let holder = others.map(|(other, its)| Holder {
            caller: *other,
            held: its.held.of(need),
            is_away: false,
        });
        holder.collect()
    }

    /// Forgets answers of `holders`, to make room for `caller`: of those that are away first, then
    /// of those that have more than it. None if no answers give way.
    pub(crate) fn evict(
        &mut self,
        ctx: &mut Ctx<'_>,
        caller: Instance,
        need: Need,
        mut holders: Vec<Holder>,
    ) -> Vec<CallOver<'static>> {
        let own = self.held(caller);
        if self.quotas.is_fruitless(ctx.now.at, need, own) {
            return Vec::new();
        }
        holders.retain(|holder| holder.is_away || holder.held > own.of(need));
        holders.sort_unstable_by_key(|h| Reverse((h.is_away, h.held, h.caller)));
        let mut evicted = Vec::new();
        for holder in holders {
            if evicted.len() >= EVICTED_AT_ONCE {
                break;
            }
            for number in self.oldest_answered(holder.caller, EVICTED_OF_ONE) {
                let id = RequestId {
                    caller: holder.caller,
                    number,
                };
                evicted.push(self.forget(id, None));
                self.forgotten.mark(ctx.now.at, id, ctx.entropy);
            }
        }
        if evicted.is_empty() {
            self.quotas.note_fruitless(ctx.now.at, need, own);
        }
        evicted
    }

    /// The oldest calls of a caller that are answered.
    fn oldest_answered(&self, caller: Instance, most: usize) -> Vec<u64> {
        let calls = self.callers.get(&caller).map(|c| c.calls.iter());
        let calls = calls.into_iter().flatten();
        let answered = calls.filter(|(_, served)| served.answer().is_some());
        answered.take(most).map(|(number, _)| *number).collect()
    }
}
