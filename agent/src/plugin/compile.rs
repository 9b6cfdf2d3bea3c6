//! Compiling plugins outside this process, and keeping what came of it.
//!
//! Cranelift takes hundreds of megabytes for a large plugin, which an agent beside a database must not. So a helper - the same binary,
//! started anew - compiles under limits of its own and ends. Its results are kept by the content they were made from.

use std::fs::{self, DirBuilder};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::sync::Semaphore;
use tracing::{debug, warn};
use wasmtime::Engine;
use wasmtime::component::Component;

use super::engine::Places;
use crate::config::plugins::PluginsConfig;

/// The hidden subcommand that turns this binary into the helper.
pub const HELPER_COMMAND: &str = "internal-compile";
/// Compiled plugins that are kept.
const CACHED_MAX: usize = 64;
/// What the helper may say about a failure.
const HELPER_WORDS_MAX: usize = 2_000;

#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    #[error("preparing the compile cache {}", path.display())]
    Cache { path: PathBuf, source: io::Error },
    #[error("starting the compile helper {}", path.display())]
    Start { path: PathBuf, source: io::Error },
    #[error("the compile helper did not finish within {0:?} (plugins.compile_timeout)")]
    DeadlineExceeded(Duration),
    #[error("the plugin cannot be compiled within {0} of memory (plugins.compile_memory_max): {1}")]
    Failed(bytesize::ByteSize, String),
    #[error("loading the compiled plugin: {0}")]
    Load(String),
}

/// Compiles one plugin at a time.
pub struct Compiler {
    helper: PathBuf,
    cache: PathBuf,
    memory_max: bytesize::ByteSize,
    timeout: Duration,
    /// Tells results of different engines apart.
    engine_hash: u64,
    places: Places,
    turn: Semaphore,
}

impl Compiler {
    /// `helper` is the path of this program's binary.
    pub fn new(helper: PathBuf, data_dir: &Path, config: &PluginsConfig, engine: &Engine) -> Result<Self, CompileError> {
        let cache = data_dir.join("compiled");
        let created = DirBuilder::new().recursive(true).mode(0o700).create(&cache);
        created.map_err(|source| CompileError::Cache { path: cache.clone(), source })?;
        let mut hasher = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        Ok(Self {
            helper,
            cache,
            memory_max: config.compile_memory_max,
            timeout: config.compile_timeout,
            engine_hash: hasher.finish(),
            places: Places::of(engine),
            turn: Semaphore::const_new(1),
        })
    }

    /// The component of these bytes, from the cache or newly compiled.
    pub async fn component(&self, engine: &Engine, bytes: &[u8], digest: &str) -> Result<Component, CompileError> {
        let path = self.cache.join(format!("{digest}-{:016x}.cwasm", self.engine_hash));
        if path.exists() {
            match load(engine, &path) {
                Ok(component) => return Ok(component),
                Err(err) => {
                    warn!(path = %path.display(), error = %err, "a compiled plugin cannot be loaded, compiling it again");
                    let _ = fs::remove_file(&path);
                }
            }
        }
        self.compile(bytes, &path).await?;
        self.prune();
        load(engine, &path)
    }

    async fn compile(&self, bytes: &[u8], path: &Path) -> Result<(), CompileError> {
        let _turn = self.turn.acquire().await.map_err(|err| CompileError::Load(err.to_string()))?;
        let temporary = path.with_extension(format!("{}.tmp", fastrand::u64(..)));
        let helped = tokio::time::timeout(self.timeout, self.help(bytes, &temporary)).await;
        let result = match helped {
            Err(_) => Err(CompileError::DeadlineExceeded(self.timeout)),
            Ok(Err(err)) => Err(err),
            Ok(Ok(())) => fs::rename(&temporary, path).map_err(|source| CompileError::Cache { path: path.to_owned(), source }),
        };
        if result.is_err() {
            let _ = fs::remove_file(&temporary);
        }
        result
    }

    async fn help(&self, bytes: &[u8], output: &Path) -> Result<(), CompileError> {
        let start_failed = |source| CompileError::Start { path: self.helper.clone(), source };
        let mut helper = Command::new(&self.helper)
            .arg(HELPER_COMMAND)
            .arg(output)
            .arg(self.memory_max.as_u64().to_string())
            .args((self.places == Places::OnDemand).then_some("--on-demand"))
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            // Past the deadline the future is dropped, and the helper with it.
            .kill_on_drop(true)
            .spawn()
            .map_err(start_failed)?;
        if let Some(mut stdin) = helper.stdin.take() {
            // A helper that ends early closes the pipe; its exit status says more than the write's error.
            let _ = stdin.write_all(bytes).await;
        }
        let output = helper.wait_with_output().await.map_err(start_failed)?;
        if output.status.success() {
            return Ok(());
        }
        let words: String = String::from_utf8_lossy(&output.stderr).trim().chars().take(HELPER_WORDS_MAX).collect();
        Err(CompileError::Failed(self.memory_max, if words.is_empty() { output.status.to_string() } else { words }))
    }

    /// Forgets the results that were used longest ago.
    fn prune(&self) {
        let Ok(entries) = fs::read_dir(&self.cache) else { return };
        let mut files: Vec<_> =
            entries.filter_map(Result::ok).filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path()))).collect();
        files.sort();
        for (_, path) in files.iter().rev().skip(CACHED_MAX) {
            debug!(path = %path.display(), "forgetting a compiled plugin");
            let _ = fs::remove_file(path);
        }
    }
}

fn load(engine: &Engine, path: &Path) -> Result<Component, CompileError> {
    // SAFETY: the file is one that our helper wrote into a directory that only this user can write (mode 0700), and wasmtime checks
    // that it was made by the same version with the same settings.
    unsafe { Component::deserialize_file(engine, path) }.map_err(|err| CompileError::Load(format!("{err:#}")))
}
