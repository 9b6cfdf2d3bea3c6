//! The contract in `wit/` as Rust: its types, and how those of the model become them.

pub mod bindings;
pub mod convert;
