//! Plugins and options with which every agent of this binary starts.

use crate::agent::Options;
use crate::plugin::{Shipped, embedded};

/// Options with which `pharos run` and `pharos demo` start the agent.
pub fn options() -> anyhow::Result<Options> {
    Ok(Options { compile_helper: std::env::current_exe()?, shipped: shipped() })
}

/// The plugins inside this binary.
pub fn shipped() -> Shipped {
    embedded::SHIPPED.iter().map(|(id, bytes)| ((*id).to_owned(), (*bytes).into())).collect()
}
