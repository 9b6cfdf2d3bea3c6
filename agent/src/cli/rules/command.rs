//! `pharos rules test`: reads the files, plays their cases and returns the exit code.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::bail;
use clap::Subcommand;

use super::player::{CaseResult, Player};
use super::print;
use super::suite::Suite;
use crate::cli::exit;
use crate::cli::terminal::print_error;
use crate::cli::workbench::Workbench;

#[derive(Debug, Subcommand)]
pub(crate) enum RulesCommand {
    /// Play the cases of these TOML files: facts over time, and the alerts that they should lead to
    Test {
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// Only cases whose name contains this
        #[arg(long, value_name = "TEXT")]
        case: Option<String>,
        /// Folder of plugin files, ID.wasm, that go before the shipped ones
        #[arg(long, value_name = "DIR")]
        plugins: Option<PathBuf>,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
}

pub(crate) async fn run(command: RulesCommand) -> anyhow::Result<ExitCode> {
    let RulesCommand::Test { files, case, plugins, json } = command;
    let (mut suites, mut refused) = (Vec::new(), Vec::new());
    for file in &files {
        match Suite::load(file) {
            Ok(suite) => suites.push(suite),
            Err(err) => refused.push(err.into()),
        }
    }
    let mut workbench = Workbench::open()?;
    let mut results = Vec::new();
    for suite in suites.iter().filter(|_| refused.is_empty()) {
        let mut player = Player::new(suite, plugins.as_deref(), &mut workbench)?;
        for (index, wanted) in suite.cases.iter().enumerate() {
            if case.as_ref().is_some_and(|part| !wanted.name.contains(part)) {
                continue;
            }
            let result = CaseResult { file: &suite.path, case: wanted, played: player.play(index).await? };
            if !json {
                print::text(&result);
            }
            results.push(result);
        }
    }
    if !refused.is_empty() {
        refused.iter().for_each(print_error);
        return Ok(ExitCode::from(exit::CONFIG));
    }
    if let Some(part) = case.filter(|_| results.is_empty()) {
        bail!("no case has \"{part}\" in its name");
    }
    if json {
        print::json(&results)?
    } else {
        print::summary(&results)
    }
    let passed = results.iter().all(|result| result.played.passed());
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::from(exit::FAILED) })
}
