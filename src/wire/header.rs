//! What every record begins with: `sequence u64 | kind u8 | channel u32`.

/// Bytes before the body.
pub const HEADER: usize = 13;

/// Appends the header of a record.
pub(super) fn header(sequence: u64, kind: u8, channel: u32, out: &mut Vec<u8>) {
    out.extend_from_slice(&sequence.to_be_bytes());
    out.push(kind);
    out.extend_from_slice(&channel.to_be_bytes());
}
