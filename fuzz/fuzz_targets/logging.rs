//! The log of library files that are compiled into a target: a record there is a finding.

macro_rules! record {
    ($level:ident, $($text:tt)+) => {
        panic!($($text)+)
    };
}
pub(crate) use record;
