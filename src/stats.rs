//! Structs of counters that can list the names of their fields.

macro_rules! stats {
    ($(#[$top:meta])* $name:ident; $($(#[$doc:meta])* $field:ident),* $(,)?) => {
        $(#[$top])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct $name {
            $($(#[$doc])* pub $field: u64,)*
        }

        impl $name {
            /// Every counter with its name.
            pub fn entries(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($field), self.$field)),*]
            }
        }
    };
}

pub(crate) use stats;
