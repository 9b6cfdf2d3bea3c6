//! `pharos doctor`: chooses the servers to examine, prints the report and returns the exit code.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::bail;
use clap::Args;

use super::report::Report;
use super::{examine, print};
use crate::agent::Servers;
use crate::cli::exit;
use crate::cli::terminal;
use crate::clock::Clock;
use crate::config;
use crate::config::database::is_named;
use crate::lifecycle::Lifecycle;

#[derive(Debug, Args)]
pub(crate) struct DoctorArguments {
    /// Only the server with this id (host:port)
    #[arg(long)]
    server: Option<String>,
    /// Only the servers of this [[database]] or [[redis]]
    #[arg(long)]
    database: Option<String>,
    /// Config file [default: ./pharos.toml, then /etc/pharos/pharos.toml]
    #[arg(long)]
    config: Option<PathBuf>,
    /// Everything as one JSON object
    #[arg(long)]
    json: bool,
}

impl DoctorArguments {
    fn selects(&self, id: &str, database: &str) -> bool {
        self.server.as_ref().is_none_or(|server| is_named(id, server)) && self.database.as_ref().is_none_or(|name| name == database)
    }
}

pub(crate) async fn run(arguments: DoctorArguments) -> anyhow::Result<ExitCode> {
    let config = config::load(&config::find(arguments.config.as_deref())?)?;
    let lifecycle = Lifecycle::default();
    let all = Servers::of(&config, &lifecycle);
    let known: Vec<String> = all.subjects().into_iter().map(|subject| subject.id).collect();
    let clock = Clock::start();
    let mut servers = Vec::new();
    for source in all.postgres.into_iter().filter(|source| arguments.selects(&source.id(), &source.database)) {
        servers.push(examine::postgres(source, clock).await);
    }
    for source in all.redis.into_iter().filter(|source| arguments.selects(&source.id(), &source.database)) {
        servers.push(examine::redis(source, clock).await);
    }
    // Tasks that hang do not delay the end of the command.
    lifecycle.soft().cancel();
    if servers.is_empty() && !known.is_empty() {
        bail!("no server has this id or belongs to this database; configured are: {}", known.join(", "));
    }
    let report = Report { ok: servers.iter().all(|server| server.ok), servers };
    match arguments.json {
        true => terminal::print(serde_json::to_string_pretty(&report)?),
        false => terminal::print(print::text(&report).trim_end()),
    }
    Ok(if report.ok { ExitCode::SUCCESS } else { ExitCode::from(exit::FAILED) })
}
