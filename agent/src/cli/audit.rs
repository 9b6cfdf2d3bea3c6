//! `pharos audit verify|list`: the audit log, read from the state store whether its agent runs or not.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;

use super::exit;
use super::terminal::print;
use crate::clock::rfc3339;
use crate::config;
use crate::store::{AuditRow, AuditVerdict, StoreReader};

#[derive(Debug, Subcommand)]
pub(super) enum AuditCommand {
    /// Find rows that were edited, removed, moved or inserted
    Verify {
        /// Config file [default: ./pharos.toml, then /etc/pharos/pharos.toml]
        #[arg(long)]
        config: Option<PathBuf>,
    },
    /// Print the newest rows, newest first
    List {
        /// Rows to print
        #[arg(long, default_value_t = 50)]
        limit: u32,
        /// Only rows before the one with this number
        #[arg(long)]
        before: Option<u64>,
        /// Config file [default: ./pharos.toml, then /etc/pharos/pharos.toml]
        #[arg(long)]
        config: Option<PathBuf>,
    },
}

pub(super) fn run(command: AuditCommand) -> anyhow::Result<ExitCode> {
    match command {
        AuditCommand::Verify { config } => verify(config),
        AuditCommand::List { limit, before, config } => {
            reader(config)?.audit(before, limit)?.iter().for_each(|row| print(line(row)));
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn verify(config: Option<PathBuf>) -> anyhow::Result<ExitCode> {
    let AuditVerdict { rows, removed, head, broken } = reader(config)?.verify_audit()?;
    if let Some(broken) = broken {
        print(format_args!("broken at row {}: {}; the {rows} rows before it fit", broken.seq, broken.why));
        return Ok(ExitCode::from(exit::FAILED));
    }
    let removed = if removed > 0 { format!(" (the agent removed the first {removed} and recorded that)") } else { String::new() };
    print(format_args!("ok: {rows} rows, each as it was written{removed}; the last hash is {head}"));
    Ok(ExitCode::SUCCESS)
}

fn reader(named: Option<PathBuf>) -> anyhow::Result<StoreReader> {
    let config = config::load(&config::find(named.as_deref())?)?;
    Ok(StoreReader::open(&config.agent.data_dir)?)
}

fn line(AuditRow { seq, entry, .. }: &AuditRow) -> String {
    let text = format!(
        "{seq:6} {} {} {} {} {}",
        rfc3339(entry.at_ms),
        entry.actor,
        entry.action.name(),
        entry.subject,
        entry.action.stored_detail()
    );
    // Texts from elsewhere must not move the cursor of the terminal.
    text.chars().map(|char| if char.is_control() { char::REPLACEMENT_CHARACTER } else { char }).collect()
}
