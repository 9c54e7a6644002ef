//! The record by which one node hands a revocation list to another. It is the 13th kind of record;
//! `record` reads it.
//!
//! ```text
//! list (13)  offset u32 | length u32 | bytes, the rest
//! ```
//!
//! The list goes in pieces that follow each other without a gap. `length` is that of the whole, and
//! the same in each piece.

use super::header::header;
use crate::limits::BODY_MAX;

/// The kind of this record.
pub(super) const LIST: u8 = 13;

/// Appends the record of a piece of a list, and says how many bytes of the list it has.
pub fn encode_list(sequence: u64, list: &[u8], offset: usize, out: &mut Vec<u8>) -> usize {
    let rest = &list[offset.min(list.len())..];
    let piece = &rest[..rest.len().min(BODY_MAX)];
    encode_piece(sequence, (offset as u32, list.len() as u32), piece, out);
    piece.len()
}

pub(super) fn encode_piece(
    sequence: u64,
    (offset, length): (u32, u32),
    bytes: &[u8],
    out: &mut Vec<u8>,
) {
    header(sequence, LIST, 0, out);
    out.extend_from_slice(&offset.to_be_bytes());
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::record::{Body, Record};

    #[test]
    fn the_pieces_of_a_list_make_the_list() {
        for length in [1, BODY_MAX, BODY_MAX + 1, 3 * BODY_MAX] {
            let list: Vec<u8> = (0..length).map(|n| n as u8).collect();
            let mut whole = Vec::new();
            while whole.len() < list.len() {
                let mut record = Vec::new();
                let piece = encode_list(7, &list, whole.len(), &mut record);
                let Ok(Record {
                    sequence: 7,
                    body:
                        Body::List {
                            offset,
                            length,
                            bytes,
                        },
                    ..
                }) = Record::decode(&record)
                else {
                    panic!("it does not decode");
                };
                assert_eq!(
                    (offset as usize, length as usize),
                    (whole.len(), list.len())
                );
                assert_eq!(bytes.len(), piece);
                whole.extend_from_slice(bytes);
            }
            assert_eq!(whole, list);
        }
    }
}
