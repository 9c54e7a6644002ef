//! How the parts that find and reach other nodes act on each other: what one returns is handed to
//! the next. Nothing is kept here.
//!
//! ```text
//! advert --> directory --> dial --> link --> hello --> session --> calls that wait for it
//!               ^                     |
//!               +---- its end --------+
//! ```
//!
//! `adverts` fill the directory, `dialling` makes links of what it plans. `arrivals` takes in what
//! comes on links, `sessions` begin and end, `links` is what goes out and how a link ends. `relays`
//! are joined, and `mesh` finds peers without advertising.

mod adverts;
mod arrivals;
mod dialling;
mod links;
mod mesh;
mod relays;
mod sessions;
