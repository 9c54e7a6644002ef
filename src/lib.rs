//! doc
pub mod engine;
pub mod entropy;
pub mod error;
pub mod fernet;
pub mod frame;
pub mod limits;
pub mod name;
pub mod wire;
