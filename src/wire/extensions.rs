//! Extension fields: what a later version may add to the end of a structure.
//!
//! ```text
//! each: type u16 | length u16 | value
//! ```
//!
//! The highest bit of the type says that a receiver that does not know the field must refuse the
//! structure. The other 15 bits are the number of the field. The numbers ascend, so each field is
//! there once at most. No number is assigned yet.

use super::{Malformed, Reader};
use crate::limits::EXTENSIONS_MAX;

/// The bit of a type that says "refuse if unknown".
const CRITICAL: u16 = 0x8000;

/// The extension fields of one structure. Fields that are unknown are kept, so that what was
/// decoded encodes back to the same bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extensions(Vec<u8>);

impl Extensions {
    /// Reads the fields, which take all of `bytes`: at most [`EXTENSIONS_MAX`] of them.
    pub fn decode(bytes: &[u8]) -> Result<Extensions, Malformed> {
        check(bytes)?;
        Ok(Extensions(bytes.to_vec()))
    }

    /// Appends the encoding.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.0);
    }
}

/// Checks fields that take all of `bytes`.
pub(super) fn check(bytes: &[u8]) -> Result<(), Malformed> {
    if bytes.len() > EXTENSIONS_MAX {
        return Err(Malformed);
    }
    let mut r = Reader(bytes);
    let mut last = None;
    while !r.0.is_empty() {
        let kind = r.u16()?;
        let length = r.u16()?;
        r.bytes(usize::from(length))?;
        let number = kind & !CRITICAL;
        let is_critical = kind & CRITICAL != 0;
        if is_critical || last.is_some_and(|last| number <= last) {
            return Err(Malformed);
        }
        last = Some(number);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A field of this type.
    fn field(kind: u16, value: &[u8]) -> Vec<u8> {
        let mut field = kind.to_be_bytes().to_vec();
        field.extend_from_slice(&(value.len() as u16).to_be_bytes());
        field.extend_from_slice(value);
        field
    }

    #[test]
    fn unknown_fields_are_kept_and_critical_ones_are_refused() {
        let two = [field(1, b"one"), field(7, b"")].concat();
        let decoded = Extensions::decode(&two).unwrap();
        let mut again = Vec::new();
        decoded.encode(&mut again);
        assert_eq!(again, two);
        assert_eq!(Extensions::decode(&[]), Ok(Extensions::default()));
        assert_eq!(Extensions::decode(&field(0x8001, b"one")), Err(Malformed));
    }

    #[test]
    fn fields_ascend_and_each_is_there_once() {
        for (first, second) in [(2, 1), (2, 2)] {
            let two = [field(first, b"a"), field(second, b"b")].concat();
            assert_eq!(Extensions::decode(&two), Err(Malformed));
        }
    }

    #[test]
    fn there_is_a_bound_on_what_is_kept() {
        let value = vec![0; EXTENSIONS_MAX - 4];
        assert!(Extensions::decode(&field(1, &value)).is_ok());
        let larger = vec![0; EXTENSIONS_MAX - 3];
        assert_eq!(Extensions::decode(&field(1, &larger)), Err(Malformed));
    }

    proptest! {
        #[test]
        fn what_decodes_encodes_to_the_same_bytes(
            bytes in proptest::collection::vec(0_u8..4, 0..40),
        ) {
            if let Ok(decoded) = Extensions::decode(&bytes) {
                let mut again = Vec::new();
                decoded.encode(&mut again);
                prop_assert_eq!(again, bytes);
            }
        }
    }
}
