//! The contract in `wit/` as Rust: its types, its handles, and how types of the model become types of the contract.

pub mod bindings;
pub mod convert;
pub mod handle;
pub mod message;
