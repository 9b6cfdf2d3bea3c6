//! The command line as it is parsed, and as `--help` prints it.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand};

use super::alerts::AlertsCommand;
use super::audit::AuditCommand;
use super::doctor::DoctorArguments;
use super::notify::NotifyCommand;
use super::outbox::OutboxCommand;
use super::plugin::PluginCommand;
use super::rules::RulesCommand;
use super::silence::SilenceCommand;
use crate::plugin::compile;

/// Monitors PostgreSQL and Redis; every judgement is a WebAssembly plugin.
#[derive(Debug, Parser)]
#[command(
    name = "pharos",
    version,
    about,
    after_help = "Exit codes: 0 done, 1 failed, 2 wrong usage, 78 the configuration cannot be used."
)]
pub(super) struct Arguments {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run the agent in the foreground
    Run {
        /// Config file [default: ./pharos.toml, then /etc/pharos/pharos.toml]
        #[arg(long)]
        config: Option<PathBuf>,
    },
    /// Check the config file and print every error as file:line:col
    Check {
        /// Config file [default: ./pharos.toml, then /etc/pharos/pharos.toml]
        #[arg(long)]
        config: Option<PathBuf>,
        /// Leave out the files and variables that the config names: for a machine that is not the agent's
        #[arg(long)]
        no_files: bool,
    },
    /// Show what the agent's role can and cannot read on each server, and the grants that are missing
    Doctor(DoctorArguments),
    /// Open alerts: what is wrong, which receivers were notified, and why others were not
    #[command(subcommand)]
    Alerts(AlertsCommand),
    /// Silences: alerts that match one are sent to no receiver for a while
    #[command(subcommand)]
    Silence(SilenceCommand),
    /// Send a test message to a receiver
    #[command(subcommand)]
    Notify(NotifyCommand),
    /// Notifications that wait, were delivered, or were given up
    #[command(subcommand)]
    Outbox(OutboxCommand),
    /// Inspect and test plugin files
    #[command(subcommand)]
    Plugin(PluginCommand),
    /// Print or verify the audit log in the state store of an agent, running or not
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Test rules on facts written as text
    #[command(subcommand)]
    Rules(RulesCommand),
    /// Record a snapshot of a configured server, for `plugin test`
    Snapshot {
        /// The server's id (host:port), or the name of its [[database]] or [[redis]]
        server: String,
        /// Config file [default: ./pharos.toml, then /etc/pharos/pharos.toml]
        #[arg(long)]
        config: Option<PathBuf>,
    },
    /// Run the agent with temporary servers, an application and its faults
    Demo {
        /// Time after which the demo ends, such as 60s [default: until Ctrl-C]
        #[arg(long = "for", value_parser = humantime::parse_duration)]
        duration: Option<Duration>,
        /// Folder of PostgreSQL's programs [default: found on this machine]
        #[arg(long)]
        postgres_bin: Option<PathBuf>,
    },
    /// Compile a plugin from standard input; only the agent itself runs this command
    #[command(name = compile::HELPER_COMMAND, hide = true)]
    InternalCompile {
        output: PathBuf,
        memory_max: u64,
        /// Compile for an engine that allocates memory on demand instead of from a pool
        #[arg(long)]
        on_demand: bool,
    },
}
