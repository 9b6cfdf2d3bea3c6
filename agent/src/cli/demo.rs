//! `pharos demo`
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
pub async fn run(_: Option<Duration>, _: Option<PathBuf>) -> anyhow::Result<ExitCode> {
    Ok(ExitCode::SUCCESS)
}
