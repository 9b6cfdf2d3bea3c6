//! `pharos check`

use std::path::Path;
use std::process::ExitCode;

use super::print;
use crate::config;

pub fn check(named: Option<&Path>) -> anyhow::Result<ExitCode> {
    let path = config::find(named)?;
    config::load(&path)?;
    print(format_args!("{}: ok", path.display()));
    Ok(ExitCode::SUCCESS)
}
