//! The program: parse the arguments, run the command, end with its exit code.

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

use super::arguments::{Arguments, Command};
use super::terminal::print_error;
use super::{alerts, audit, check, demo, doctor, exit, notify, outbox, plugin, rules, run, silence, snapshot};
use crate::plugin::compile_helper;
use crate::plugin::engine::Places;
use crate::telemetry::logs;

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
        print_error(&err);
        exit::code_of(&err)
    });
    logs::finish();
    code
}

/// Threads of the async runtime. Two are enough: the agent waits most of its time, and may share its machine with a database.
const WORKER_THREADS: usize = 2;

/// Time that unfinished tasks have to end after the command. A longer time would only delay the shell's prompt.
const RUNTIME_END_MAX: Duration = Duration::from_millis(200);

fn with_runtime(command: impl Future<Output = anyhow::Result<ExitCode>>) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(WORKER_THREADS).enable_all().build()?;
    let result = runtime.block_on(command);
    runtime.shutdown_timeout(RUNTIME_END_MAX);
    result
}
