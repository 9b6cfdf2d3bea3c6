//! Compilation of plugins in a helper process, and the cache of its results.
//!
//! Cranelift takes hundreds of megabytes for a large plugin, which an agent beside a database must not. So a helper - the same binary,
//! started again - compiles under limits of its own and ends. Results are cached under the digest of the plugin, if there is a folder
//! that can be trusted and has room. Otherwise they serve from memory, and the next start compiles them again.

use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use parking_lot::Mutex;
use pharos_model::error_chain::chain;
use pharos_model::text;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;
use tracing::warn;
use wasmtime::Engine;
use wasmtime::component::Component;

use super::blocking::run_blocking;
use super::compile_cache::{CacheError, CompileCache, Draft, path_of};
use crate::config::plugins::PluginsConfig;
use crate::plugin::run::engine::Places;

/// The hidden subcommand that turns this binary into the helper.
pub const HELPER_COMMAND: &str = "internal-compile";
/// Name of the helper's output when it is its standard output.
pub const STANDARD_OUTPUT: &str = "-";
/// The helper's exit code when the code could not be written: the disk is to blame, not the plugin.
pub const EXIT_UNWRITTEN: u8 = 74;
/// Bytes of the helper's error text. It may repeat names of the plugin.
const HELPER_WORDS_MAX: usize = 2_000;

#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    #[error("a place for the machine code in memory")]
    Memory { source: io::Error },
    #[error("starting the compile helper {}", path.display())]
    Start { path: PathBuf, source: io::Error },
    #[error("the compile helper did not finish within {0:?} (plugins.compile_timeout)")]
    DeadlineExceeded(Duration),
    #[error("the plugin cannot be compiled within {0} of memory (plugins.compile_memory_max): {1}")]
    Failed(bytesize::ByteSize, String),
    #[error("the machine code cannot be written: {0}")]
    Unwritten(String),
    #[error("loading the compiled plugin: {0}")]
    Load(String),
}

/// Compiles one plugin at a time.
pub struct Compiler {
    helper: PathBuf,
    folder: PathBuf,
    memory_max: bytesize::ByteSize,
    timeout: Duration,
    /// Part of each name in the cache, since code of another engine does not run on this one.
    engine_hash: u64,
    places: Places,
    turn: Semaphore,
    /// Reason why results are not cached.
    trouble: Mutex<Option<String>>,
}

impl Compiler {
    /// `helper` is the path of this program's binary.
    pub fn new(helper: PathBuf, data_dir: &Path, config: &PluginsConfig, engine: &Engine) -> Self {
        let mut hasher = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        Self {
            helper,
            folder: data_dir.join("compiled"),
            memory_max: config.compile_memory_max,
            timeout: config.compile_timeout,
            engine_hash: hasher.finish(),
            places: Places::from_engine(engine),
            turn: Semaphore::const_new(1),
            trouble: Mutex::default(),
        }
    }

    /// Reason why compiled plugins are not cached, so that each start compiles them again.
    pub fn trouble(&self) -> Option<String> {
        self.trouble.lock().clone()
    }

    /// The component of these bytes, from the cache or newly compiled.
    pub async fn component(&self, engine: &Engine, bytes: &[u8], digest: &str, tasks: &TaskTracker) -> Result<Component, CompileError> {
        let name = format!("{digest}-{:016x}", self.engine_hash);
        // The folder may have been deleted, or have changed hands, since it was last used.
        let folder = self.folder.clone();
        let cache = run_blocking(tasks, move || CompileCache::open(&folder)).await;
        let cache = cache.inspect_err(|err| self.report(err)).ok();
        if let Some(cache) = &cache
            && let Some(component) = self.cached(engine, cache, &name, tasks).await
        {
            return Ok(component);
        }
        let _turn = self.turn.acquire().await.map_err(|err| CompileError::Load(err.to_string()))?;
        if let Some(cache) = &cache {
            match self.compile_into(cache, &name, bytes, tasks).await {
                Ok(file) => return load(engine, &file),
                // Memory may have the room that the disk has not.
                Err(CompileError::Unwritten(why)) => self.report_text(why),
                Err(err) => return Err(err),
            }
        }
        let draft = Draft::in_memory().map_err(|source| CompileError::Memory { source })?;
        self.compile(bytes, &draft.file).await?;
        load(engine, &draft.file)
    }

    /// The component that was compiled before, if it can be trusted.
    async fn cached(&self, engine: &Engine, cache: &CompileCache, name: &str, tasks: &TaskTracker) -> Option<Component> {
        let (looked_in, looked_for) = (cache.clone(), name.to_owned());
        let found = match run_blocking(tasks, move || looked_in.find(&looked_for)).await {
            Ok(found) => load(engine, &found?).map_err(|err| err.to_string()),
            Err(err) => Err(chain(&err)),
        };
        if let Err(err) = &found {
            warn!(error = err, "a compiled plugin cannot be used, compiling it again");
            cache.remove(name);
        }
        found.ok()
    }

    /// Compiles into the cache. Code that could not be cached still serves.
    async fn compile_into(&self, cache: &CompileCache, name: &str, bytes: &[u8], tasks: &TaskTracker) -> Result<File, CompileError> {
        let unwritten = |err: &dyn std::error::Error| CompileError::Unwritten(chain(err));
        let draft = cache.draft().map_err(|err| unwritten(&err))?;
        let file = draft.file.try_clone().map_err(|err| unwritten(&err))?;
        self.compile(bytes, &draft.file).await?;
        let (keeper, name) = (cache.clone(), name.to_owned());
        match run_blocking(tasks, move || keeper.store(&name, &draft)).await {
            Ok(()) => *self.trouble.lock() = None,
            Err(err) => self.report(&err),
        }
        Ok(file)
    }

    fn report(&self, err: &CacheError) {
        self.report_text(chain(err));
    }

    /// Logs once why no result is cached.
    fn report_text(&self, why: String) {
        let mut trouble = self.trouble.lock();
        let why = format!("compiled plugins are not cached, so each start compiles them again: {why}");
        if trouble.as_ref() != Some(&why) {
            warn!("{why}");
        }
        *trouble = Some(why);
    }

    async fn compile(&self, bytes: &[u8], output: &File) -> Result<(), CompileError> {
        let helped = tokio::time::timeout(self.timeout, self.help(bytes, output)).await;
        helped.unwrap_or(Err(CompileError::DeadlineExceeded(self.timeout)))
    }

    async fn help(&self, bytes: &[u8], output: &File) -> Result<(), CompileError> {
        let start_failed = |source| CompileError::Start { path: self.helper.clone(), source };
        let mut helper = Command::new(&self.helper)
            .args([HELPER_COMMAND, STANDARD_OUTPUT])
            .arg(self.memory_max.as_u64().to_string())
            .args((self.places == Places::OnDemand).then_some("--on-demand"))
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(output.try_clone().map_err(start_failed)?)
            .stderr(Stdio::piped())
            // Past the deadline the future is dropped, and the helper with it.
            .kill_on_drop(true)
            .spawn()
            .map_err(start_failed)?;
        if let Some(mut stdin) = helper.stdin.take() {
            // A helper that ends early closes the pipe. Its exit status explains more than the error of this write.
            let _ = stdin.write_all(bytes).await;
        }
        let output = helper.wait_with_output().await.map_err(start_failed)?;
        if output.status.success() {
            return Ok(());
        }
        let words = text::line(&String::from_utf8_lossy(&output.stderr), HELPER_WORDS_MAX).trim().to_owned();
        let words = if words.is_empty() { output.status.to_string() } else { words };
        match output.status.code() == Some(i32::from(EXIT_UNWRITTEN)) {
            true => Err(CompileError::Unwritten(words)),
            false => Err(CompileError::Failed(self.memory_max, words)),
        }
    }
}

fn load(engine: &Engine, file: &File) -> Result<Component, CompileError> {
    // SAFETY: our helper wrote this file, just now or into a cache that vouches for it, and no other user can write it. Wasmtime
    // checks that it was made by the same version with the same settings.
    if let Ok(mapped) = unsafe { Component::deserialize_file(engine, path_of(file)) } {
        return Ok(mapped);
    }
    // The file system may permit no execution (`noexec`), or /proc may not be there.
    let mut code = Vec::new();
    let read = file.try_clone().and_then(|mut file| file.rewind().and_then(|()| file.read_to_end(&mut code)));
    read.map_err(|err| CompileError::Load(err.to_string()))?;
    // SAFETY: as above.
    unsafe { Component::deserialize(engine, code) }.map_err(|err| CompileError::Load(format!("{err:#}")))
}
