//! The contract in `wit/` as Rust: its types, its handles, and how types of the model become types of the contract.

pub(crate) mod bindings;
pub(crate) mod convert;
pub(crate) mod handle;
pub(crate) mod message;
