//! The compile helper itself. It reads bytes from standard input, and writes machine code to standard output or into a file. It sets its own
//! limits.

use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::Context;
use rustix::process::{Resource, Rlimit, getrlimit, nice, setrlimit};

use super::compile::STANDARD_OUTPUT;
use super::validate::FILE_BYTES_MAX;
use crate::plugin::run::engine::{self, Places};

/// Lower priority than the agent and the database beside it.
const NICENESS: i32 = 10;

/// The code is there, and its place is not.
#[derive(Debug, thiserror::Error)]
#[error("writing the machine code")]
pub(crate) struct Unwritten(#[source] io::Error);

/// Compiles standard input into `output`; `-` is standard output.
pub(crate) fn run(output: &Path, memory_max: u64, places: Places) -> anyhow::Result<()> {
    let _ = nice(NICENESS);
    let limit = |bytes| Rlimit { current: Some(bytes), maximum: Some(bytes) };
    // Where the agent itself may have less, its helper cannot ask for more.
    let inherited = getrlimit(Resource::As).maximum.unwrap_or(u64::MAX);
    setrlimit(Resource::As, limit(memory_max.min(inherited))).context("limiting memory")?;
    // A crash of the compiler is reported by its exit, not by a file of its memory.
    setrlimit(Resource::Core, limit(0)).context("switching core files off")?;
    let mut bytes = Vec::new();
    io::stdin().lock().take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).context("reading the plugin")?;
    let engine = engine::compiling(places).map_err(|err| anyhow::anyhow!("{err:#}"))?;
    let code = engine.precompile_component(&bytes).map_err(|err| anyhow::anyhow!("{err:#}"))?;
    write(output, &code).map_err(|err| Unwritten(err).into())
}

fn write(output: &Path, code: &[u8]) -> io::Result<()> {
    if output == Path::new(STANDARD_OUTPUT) {
        let mut out = io::stdout().lock();
        return out.write_all(code).and_then(|()| out.flush());
    }
    let mut file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(output)?;
    file.write_all(code).and_then(|()| file.sync_all())
}
