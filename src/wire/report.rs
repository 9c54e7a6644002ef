//! The report on a broadcast: the answer of a node that has forwarded it.
//!
//! ```text
//! delivered u32 | failed u32 | cut u8 | count u8 | that many texts
//! ```

use super::{Malformed, Reader, put_text};
use crate::json::quoted;
use crate::json_object::{Object, list};
use crate::name::NodeName;

/// Failed nodes that a report names; it only counts the others.
const NAMED_MAX: usize = 64;

/// What became of a broadcast.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Nodes that have the message, each counted once, without the sender. A node counts whether or
    /// not it has a message handler.
    pub delivered: u32,
    /// How often a node did not answer in time. Such a node may have the message or not, and so may
    /// the nodes behind it.
    pub failed: u32,
    /// The nodes that did not answer in time, as far as there was room for names, which is for 64;
    /// never more than [`Report::failed`]. Nodes that were delivered to are not named.
    pub names: Vec<NodeName>,
    /// Whether a node did not forward the message because it had come through too many nodes.
    pub cut: bool,
}

impl Report {
    /// Whether every node that could be reached has the message.
    pub fn is_complete(&self) -> bool {
        self.failed == 0 && !self.cut
    }

    /// The report as a JSON object.
    pub(crate) fn to_json(&self) -> Vec<u8> {
        let mut object = Object::new();
        object.plain("delivered", self.delivered);
        object.plain("failed", self.failed);
        let names = self.names.iter().map(|name| quoted(name.as_str()));
        object.plain("names", list(names));
        object.plain("cut", self.cut);
        object.end()
    }

    /// Notes that a node did not answer.
    pub(crate) fn add_failed(&mut self, name: NodeName) {
        self.failed = self.failed.saturating_add(1);
        if self.names.len() < NAMED_MAX && !self.names.contains(&name) {
            self.names.push(name);
        }
    }

    /// Adds the report of another node.
    pub(crate) fn add(&mut self, other: Report) {
        self.delivered = self.delivered.saturating_add(other.delivered);
        self.failed = self.failed.saturating_add(other.failed);
        self.cut |= other.cut;
        for name in other.names {
            if self.names.len() < NAMED_MAX && !self.names.contains(&name) {
                self.names.push(name);
            }
        }
    }

    /// Appends the encoding.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.delivered.to_be_bytes());
        out.extend_from_slice(&self.failed.to_be_bytes());
        out.push(u8::from(self.cut));
        out.push(self.names.len() as u8);
        for name in &self.names {
            put_text(name.as_str(), out);
        }
    }
}

/// Reads a report that takes all of `bytes`. Numbers that do not fit together are malformed, so
/// that code that counts with them need not expect more names than failures.
pub fn decode(bytes: &[u8]) -> Result<Report, Malformed> {
    let mut r = Reader(bytes);
    let (delivered, failed) = (r.u32()?, r.u32()?);
    let cut = match r.u8()? {
        0 => false,
        1 => true,
        _ => return Err(Malformed),
    };
    let count = usize::from(r.u8()?);
    // Each node that is named was counted, too.
    if count > NAMED_MAX || count > failed as usize {
        return Err(Malformed);
    }
    let mut names = Vec::with_capacity(count);
    for _ in 0..count {
        let name = NodeName::new(r.text()?).map_err(|_| Malformed)?;
        // A report names no node twice.
        if names.contains(&name) {
            return Err(Malformed);
        }
        names.push(name);
    }
    r.end()?;
    Ok(Report {
        delivered,
        failed,
        names,
        cut,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_add_up_and_round_trip() {
        let mut report = Report {
            delivered: 2,
            ..Report::default()
        };
        for i in 0..100 {
            report.add_failed(NodeName::new(&format!("n{i}")).unwrap());
        }
        let mut sum = report.clone();
        sum.add(report.clone());
        assert_eq!((sum.delivered, sum.failed, sum.names.len()), (4, 200, 64));
        let mut bytes = Vec::new();
        sum.encode(&mut bytes);
        assert_eq!(decode(&bytes), Ok(sum));
        for n in 0..bytes.len() {
            assert!(decode(&bytes[..n]).is_err());
        }
    }

    #[test]
    fn a_report_is_a_json_object() {
        let mut report = Report::default();
        let none = r#"{"delivered":0,"failed":0,"names":[],"cut":false}"#;
        assert_eq!(report.to_json(), none.as_bytes());
        for name in ["a", "b\"c"] {
            report.add_failed(NodeName::new(name).unwrap());
        }
        (report.delivered, report.cut) = (3, true);
        let some = r#"{"delivered":3,"failed":2,"names":["a","b\"c"],"cut":true}"#;
        assert_eq!(report.to_json(), some.as_bytes());
    }

    #[test]
    fn numbers_that_do_not_fit_together_are_malformed() {
        let name = |n: &str| NodeName::new(n).unwrap();
        let read = |failed, names: &[NodeName]| {
            let mut bytes = Vec::new();
            let report = Report {
                failed,
                names: names.to_vec(),
                ..Report::default()
            };
            report.encode(&mut bytes);
            decode(&bytes).map(|_| ())
        };
        assert_eq!(read(2, &[name("a"), name("b")]), Ok(()));
        assert_eq!(read(u32::MAX, &[name("a")]), Ok(()));
        assert_eq!(read(0, &[name("a")]), Err(Malformed), "a name, no failure");
        assert_eq!(read(1, &[name("a"), name("b")]), Err(Malformed));
        assert_eq!(read(2, &[name("a"), name("a")]), Err(Malformed), "twice");
    }

    #[test]
    fn sums_stop_at_the_largest_number() {
        let most = Report {
            delivered: u32::MAX,
            failed: u32::MAX,
            ..Report::default()
        };
        let mut sum = most.clone();
        sum.add(most.clone());
        sum.add_failed(NodeName::new("n").unwrap());
        assert_eq!((sum.delivered, sum.failed), (u32::MAX, u32::MAX));
    }
}
