//! A relay's bounds on memory, and that members who keep within theirs do not suffer from those who
//! do not. Every byte that the hub allocates is counted.

mod adverts;
mod heap;
mod hub;
mod memory;
mod newcomers;
mod readers;
