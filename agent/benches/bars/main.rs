//! `make bench`: speed and memory beside their bars, as one table.
//!
//! Not a test: a missed bar is printed, and the exit code says only whether everything could be measured. Machines differ and are noisy,
//! so speed is a ratio against a peer that is measured in the same run, turn by turn.

#![expect(unreachable_pub, reason = "a benchmark serves no other crate, so `pub` here means its other modules")]

mod agent;
mod alerts;
mod bare;
mod catalogue;
mod evaluate;
mod facts;
mod memory;
mod native;
mod processes;
mod reload;
mod scrape;
mod stage;
mod start;
mod table;

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Parser;

use self::table::Table;

/// Measures speed and memory.
#[derive(Debug, Parser)]
struct Arguments {
    /// Groups to measure: evaluate, reload, scrape, start, alerts, catalogue, memory [default: all]
    groups: Vec<String>,
    /// How long the demo, and the agent beside a thousand tables, run before their memory is read
    #[arg(long, value_parser = humantime::parse_duration, default_value = "310s")]
    memory_for: Duration,
    /// Passed by cargo to every benchmark
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    // As many workers as the agent has.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(measure(&arguments))
}

async fn measure(arguments: &Arguments) -> anyhow::Result<()> {
    let wanted = |group: &str| arguments.groups.is_empty() || arguments.groups.iter().any(|wanted| wanted == group);
    let mut table = Table::default();
    if wanted("evaluate") {
        evaluate::measure(&mut table).await?;
    }
    if wanted("reload") {
        reload::measure(&mut table).await?;
    }
    if wanted("scrape") {
        scrape::measure(&mut table).await?;
    }
    if wanted("start") {
        start::measure(&mut table).await?;
    }
    if wanted("alerts") {
        alerts::measure(&mut table).await?;
    }
    if wanted("catalogue") {
        catalogue::measure(&mut table, arguments.memory_for).await?;
    }
    if wanted("memory") {
        memory::measure(&mut table, arguments.memory_for).await?;
    }
    table.print();
    Ok(())
}

/// The built program.
fn pharos() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_pharos"))
}

fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A shipped plugin as `make plugins` left it.
fn shipped(id: &str) -> anyhow::Result<Vec<u8>> {
    use anyhow::Context;
    std::fs::read(project().join(format!("target/plugins/{id}.wasm"))).with_context(|| format!("reading {id}.wasm; run `make plugins`"))
}
