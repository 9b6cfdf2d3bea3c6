//! The command line. Only here is anything printed.

mod alerts;
mod audit;
mod check;
mod demo;
mod doctor;
mod explain;
mod notify;
mod outbox;
mod plugin;
mod reach;
mod rules;
mod run;
mod show;
mod silence;
mod snapshot;
mod workbench;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use pharos_model::text;

use crate::agent::Options;
use crate::config::LoadError;
use crate::lifecycle::Ending;
use crate::plugin::engine::Places;
use crate::plugin::{Shipped, compile, compile_helper, embedded};
use crate::telemetry::logs;

/// Exit codes: 0 done, 1 failed, 2 wrong usage (clap), 78 the configuration cannot be used (sysexits' EX_CONFIG).
const EXIT_FAILED: u8 = 1;
const EXIT_CONFIG: u8 = 78;

/// Monitors PostgreSQL and Redis; every judgement is a WebAssembly plugin.
#[derive(Debug, Parser)]
#[command(
    name = "pharos",
    version,
    about,
    after_help = "Exit codes: 0 done, 1 failed, 2 wrong usage, 78 the configuration cannot be used."
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
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
    /// What the agent's role sees of each server, what it does not, and the grants that mend it
    Doctor(doctor::DoctorArguments),
    /// Open alerts: what is wrong, who was told of it, and why not
    #[command(subcommand)]
    Alerts(alerts::AlertsCommand),
    /// Alerts that nobody shall hear of for a while
    #[command(subcommand)]
    Silence(silence::SilenceCommand),
    /// Whether messages arrive
    #[command(subcommand)]
    Notify(notify::NotifyCommand),
    /// Notifications that wait, were delivered, or were given up
    #[command(subcommand)]
    Outbox(outbox::OutboxCommand),
    /// Look at plugin files
    #[command(subcommand)]
    Plugin(plugin::PluginCommand),
    /// Look at the audit log in the state store of an agent, running or not
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    /// Test rules on facts written as text
    #[command(subcommand)]
    Rules(rules::RulesCommand),
    /// Record a snapshot of a configured server, for `plugin test`
    Snapshot {
        /// The server's id (host:port), or the name of its [[database]] or [[redis]]
        server: String,
        /// Config file [default: ./pharos.toml, then /etc/pharos/pharos.toml]
        #[arg(long)]
        config: Option<PathBuf>,
    },
    /// Watch throw-away servers, a lively application and its troubles
    Demo {
        /// End by itself after this long, like 60s
        #[arg(long = "for", value_parser = humantime::parse_duration)]
        duration: Option<Duration>,
        /// Folder of PostgreSQL's programs [default: found on this machine]
        #[arg(long)]
        postgres_bin: Option<PathBuf>,
    },
    /// Compile a plugin from standard input (what the agent starts itself)
    #[command(name = compile::HELPER_COMMAND, hide = true)]
    InternalCompile {
        output: PathBuf,
        memory_max: u64,
        /// For an engine without a pool
        #[arg(long)]
        on_demand: bool,
    },
}

/// Runs the program.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = match arguments.command {
        Command::Run { config } => with_runtime(run::run(config)),
        Command::Check { config, no_files } => with_runtime(check::check(config, no_files)),
        Command::Doctor(arguments) => with_runtime(doctor::run(arguments)),
        Command::Alerts(command) => with_runtime(alerts::run(command)),
        Command::Silence(command) => with_runtime(silence::run(command)),
        Command::Notify(command) => with_runtime(notify::run(command)),
        Command::Outbox(command) => with_runtime(outbox::run(command)),
        Command::Plugin(command) => with_runtime(plugin::run(command)),
        Command::Audit(command) => audit::run(command),
        Command::Rules(command) => with_runtime(rules::run(command)),
        Command::Snapshot { server, config } => with_runtime(snapshot::record(server, config)),
        Command::Demo { duration, postgres_bin } => with_runtime(demo::run(duration, postgres_bin)),
        Command::InternalCompile { output, memory_max, on_demand } => {
            let places = if on_demand { Places::OnDemand } else { Places::Pool };
            compile_helper::run(&output, memory_max, places).map(|()| ExitCode::SUCCESS)
        }
    };
    let code = result.unwrap_or_else(|err| {
        complain(&err);
        exit_code(&err)
    });
    logs::finish();
    code
}

/// A couple of threads are plenty: the agent waits most of its time, and shares its machine with a database.
const WORKER_THREADS: usize = 2;

/// What is left of a drain that was cut short.
const RUNTIME_END_MAX: Duration = Duration::from_millis(200);

fn with_runtime(command: impl Future<Output = anyhow::Result<ExitCode>>) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(WORKER_THREADS).enable_all().build()?;
    let result = runtime.block_on(command);
    runtime.shutdown_timeout(RUNTIME_END_MAX);
    result
}

/// What `pharos run` and `pharos demo` start the agent with.
fn options() -> anyhow::Result<Options> {
    Ok(Options { compile_helper: std::env::current_exe()?, shipped: shipped() })
}

/// The plugins inside this binary.
fn shipped() -> Shipped {
    embedded::SHIPPED.iter().map(|(id, bytes)| ((*id).to_owned(), (*bytes).into())).collect()
}

fn ending(ending: Ending) -> ExitCode {
    match ending {
        Ending::Drained => ExitCode::SUCCESS,
        Ending::Cut | Ending::Failed => ExitCode::from(EXIT_FAILED),
    }
}

fn exit_code(err: &anyhow::Error) -> ExitCode {
    if err.downcast_ref::<compile_helper::Unwritten>().is_some() {
        return ExitCode::from(compile::EXIT_UNWRITTEN);
    }
    use crate::agent::StartError;
    use crate::store::StoreError;
    let config = err.downcast_ref::<LoadError>().is_some()
        || matches!(
            err.downcast_ref::<StartError>(),
            Some(
                StartError::Listen(_) | StartError::Store(StoreError::Locked { .. } | StoreError::Directory { .. } | StoreError::Owner(_))
            )
        );
    ExitCode::from(if config { EXIT_CONFIG } else { EXIT_FAILED })
}

/// Prints a line on standard output. A closed pipe is no reason to complain. Names and texts of plugins and servers cannot move the
/// terminal's cursor.
pub(crate) fn print(line: impl std::fmt::Display) {
    let _ = writeln!(std::io::stdout().lock(), "{}", text::block(&line.to_string(), usize::MAX));
}

/// Prints what a plugin wrote to standard error before it was stopped, with its lines, so that an author sees a traceback as it was.
pub(crate) fn print_last_words(last_words: Option<&str>) {
    let Some(words) = last_words else { return };
    let mut out = std::io::stderr().lock();
    let _ = writeln!(out, "the plugin wrote to standard error:");
    for line in text::block(words, usize::MAX).lines() {
        let _ = writeln!(out, "    {line}");
    }
}

fn complain(err: &anyhow::Error) {
    let mut out = std::io::stderr().lock();
    let _ = match err.downcast_ref::<LoadError>() {
        // Its lines begin with the file's name, as editors like them.
        Some(load) => writeln!(out, "{load}"),
        None => writeln!(out, "pharos: {}", text::block(&logs::chain(err.as_ref()), usize::MAX)),
    };
}
