//! Shipped plugins and start options of every agent that this binary runs.

use crate::agent::Options;
use crate::plugin::{Shipped, embedded};

/// Start options of `pharos run` and `pharos demo`.
pub(super) fn options() -> anyhow::Result<Options> {
    Ok(Options { compile_helper: std::env::current_exe()?, shipped: shipped() })
}

/// The plugins inside this binary.
pub(super) fn shipped() -> Shipped {
    embedded::SHIPPED.iter().map(|(id, bytes)| ((*id).to_owned(), (*bytes).into())).collect()
}
