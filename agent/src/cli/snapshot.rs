//! `pharos snapshot SERVER`

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;

use super::terminal::print;
use crate::agent::Servers;
use crate::clock::Clock;
use crate::config;
use crate::lifecycle::Lifecycle;

pub(super) async fn record(server: String, named: Option<PathBuf>) -> anyhow::Result<ExitCode> {
    let config = config::load(&config::find(named.as_deref())?)?;
    let servers = Servers::of(&config, &Lifecycle::default());
    let known: Vec<String> = servers.subjects().into_iter().map(|subject| subject.id).collect();
    let change = servers.record(&server, Clock::start()).await;
    let change = change.with_context(|| format!("no server or database is named \"{server}\"; configured are: {}", known.join(", ")))?;
    print(serde_json::to_string_pretty(&change)?);
    Ok(ExitCode::SUCCESS)
}
