//! Lists of calls that the caller has settled: `count u8 | that many numbers u64`.

use super::{Malformed, Reader};

/// The most call numbers that one list of settled calls can hold: its count is one byte.
pub const SETTLED_MAX: usize = 255;

/// Numbers of calls that the caller has settled, and that the callee may forget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settled<'a>(&'a [[u8; 8]]);

impl<'a> Settled<'a> {
    /// The numbers.
    pub fn iter(&self) -> impl Iterator<Item = u64> + 'a {
        self.0.iter().map(|n| u64::from_be_bytes(*n))
    }

    pub(super) fn decode(r: &mut Reader<'a>) -> Result<Self, Malformed> {
        let count = r.u8()?;
        Ok(Settled(r.bytes(usize::from(count) * 8)?.as_chunks().0))
    }
}

pub(super) fn put_settled(numbers: &[u64], out: &mut Vec<u8>) {
    debug_assert!(numbers.len() <= SETTLED_MAX);
    out.push(numbers.len() as u8);
    for n in numbers {
        out.extend_from_slice(&n.to_be_bytes());
    }
}
