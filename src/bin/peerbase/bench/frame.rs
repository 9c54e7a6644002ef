//! The frame parser.

use super::{Report, throughput};
use peerbase::frame::{self, Frame, FrameType};
use peerbase::limits::FRAME_MAX;
use std::hint::black_box;

pub(super) fn run(report: &mut Report) {
    for size in [128, 1_024, 16 * 1_024] {
        let mut bytes = Vec::new();
        let payload = vec![b'A'; size - "plant|msg||END\n".len()];
        frame::encode(
            &Frame {
                net: "plant",
                kind: FrameType::MESSAGE,
                payload: &payload,
            },
            &mut bytes,
        );
        let rate = throughput(bytes.len(), || {
            let _ = black_box(frame::parse(black_box(&bytes), FRAME_MAX));
        });
        report.add(&format!("frame {size} B parse"), rate / 1e3, "GB/s");
    }
}
