//! A throw-away PostgreSQL server, primary or standby.
//!
//! The server listens on a free TCP port, which stays over restarts, and on a Unix socket in its folder.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use pharos_model::postgres::privilege::STATISTIC_COLUMNS;
use rustix::process::Signal;
use tokio::time::{Instant, sleep};
use tokio_util::task::TaskTracker;

use super::binaries::PostgresBinaries;
use super::data_folder::{DataFolder, DataFolderError};
use super::port::{HOST, NoFreePort, TAKEN, TAKEN_MAX, free_port};
use super::process::{ProcessError, ServerProcess};
use super::session::{PostgresAddress, Session, SessionError, quote_identifier, quote_literal};

pub use super::postgres_options::{Authentication, PostgresOptions, SUPERUSER, TlsFiles};

/// The role of the agent.
pub const MONITORING_ROLE: &str = "pharos";

const READY_DEADLINE: Duration = Duration::from_secs(60);
const READY_POLL_INTERVAL: Duration = Duration::from_millis(20);
const STOP_DEADLINE: Duration = Duration::from_secs(30);

#[derive(Debug, thiserror::Error)]
pub enum PostgresError {
    #[error(transparent)]
    Folder(#[from] DataFolderError),
    #[error(transparent)]
    Process(#[from] ProcessError),
    #[error(transparent)]
    Session(#[from] SessionError),
    #[error(transparent)]
    Port(#[from] NoFreePort),
    #[error("the server ended while starting: {log}")]
    Ended { log: String },
    #[error("the server is not ready after {READY_DEADLINE:?}: {log}")]
    NotReady { log: String },
    #[error("the server is stopped")]
    Stopped,
    #[error("copying the primary")]
    CopyPanicked { source: tokio::task::JoinError },
}

/// The shutdown modes of PostgreSQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShutdownMode {
    /// Waits for every session to leave.
    Smart,
    /// Rolls every session back.
    Fast,
    /// Ends like a crash, but leaves no shared memory behind.
    Immediate,
}

impl ShutdownMode {
    fn signal(self) -> Signal {
        match self {
            Self::Smart => Signal::TERM,
            Self::Fast => Signal::INT,
            Self::Immediate => Signal::QUIT,
        }
    }
}

/// A PostgreSQL server with its folder. Dropping it ends all its processes and removes the folder.
pub struct PostgresServer {
    // Before the folder: fields are dropped in this order, and the processes write into it.
    process: Option<ServerProcess>,
    pub(super) folder: DataFolder,
    pub(super) options: PostgresOptions,
    pub(super) binaries: PostgresBinaries,
    address: PostgresAddress,
}

impl PostgresServer {
    /// Initialises and starts a primary, and returns when it accepts sessions.
    pub async fn start(binaries: &PostgresBinaries, options: PostgresOptions, tasks: &TaskTracker) -> Result<Self, PostgresError> {
        let folder = DataFolder::create()?;
        folder.initialise(binaries, &options).await?;
        let mut settings = common_settings(&folder, &options);
        if binaries.has_library("pg_stat_statements") {
            settings.push(("shared_preload_libraries", "pg_stat_statements".to_owned()));
        }
        folder.append_settings(settings)?;
        if let Some(tls) = &options.tls {
            folder.install_tls(&tls.certificate, &tls.key)?;
        }
        Self::start_in(folder, binaries.clone(), options, tasks).await
    }

    /// Starts a server on a folder that is complete but for the port and the caller's settings.
    pub(super) async fn start_in(
        folder: DataFolder,
        binaries: PostgresBinaries,
        options: PostgresOptions,
        tasks: &TaskTracker,
    ) -> Result<Self, PostgresError> {
        folder.append_settings(options.settings.iter().map(|(name, value)| (name.as_str(), value.clone())))?;
        let address = PostgresAddress::new(folder.root(), 0, tasks);
        let mut server = Self { process: None, folder, options, binaries, address };
        let mut attempt = 1;
        loop {
            let port = free_port().await?;
            server.address = PostgresAddress::new(server.folder.root(), port, tasks);
            server.folder.append_settings([("port", port.to_string())])?;
            match server.launch().await {
                Err(PostgresError::Ended { log }) if log.contains(TAKEN) && attempt < TAKEN_MAX => attempt += 1,
                launched => return launched.map(|()| server),
            }
        }
    }

    /// Starts the server again with the same data and port. Stops it first if it runs.
    pub async fn restart(&mut self) -> Result<(), PostgresError> {
        if self.process.is_some() {
            self.stop(ShutdownMode::Fast).await?;
        }
        self.launch().await
    }

    async fn launch(&mut self) -> Result<(), PostgresError> {
        let mut command: Command = self.folder.command(&self.binaries.postgres());
        let [stdout, stderr] = self.folder.log()?;
        command.envs(self.options.environment.iter().cloned());
        command.arg("-D").arg(self.folder.data()).stdout(stdout).stderr(stderr);
        let mut process = ServerProcess::spawn(command, &self.folder.data(), Signal::QUIT)?;
        let started = Instant::now();
        while !self.folder.is_ready(process.pid()) {
            if process.exit_status()?.is_some() {
                return Err(PostgresError::Ended { log: self.folder.log_tail() });
            }
            if started.elapsed() > READY_DEADLINE {
                return Err(PostgresError::NotReady { log: self.folder.log_tail() });
            }
            sleep(READY_POLL_INTERVAL).await;
        }
        self.process = Some(process);
        Ok(())
    }

    /// Thaws all processes and shuts the server down. The folder stays for [`Self::restart`].
    pub async fn stop(&mut self, mode: ShutdownMode) -> Result<(), PostgresError> {
        let process = self.process.as_mut().ok_or(PostgresError::Stopped)?;
        process.end(mode.signal(), STOP_DEADLINE).await?;
        self.process = None;
        Ok(())
    }

    /// Ends all processes as a power cut would.
    pub async fn kill(&mut self) -> Result<(), PostgresError> {
        let process = self.process.as_mut().ok_or(PostgresError::Stopped)?;
        process.kill().await?;
        self.process = None;
        Ok(())
    }

    /// Freezes every process. Connections stay open and nothing answers.
    pub async fn freeze(&self) -> Result<(), PostgresError> {
        Ok(self.running()?.freeze().await?)
    }

    pub fn thaw(&self) -> Result<(), PostgresError> {
        Ok(self.running()?.thaw()?)
    }

    /// Freezes the first process only. Open sessions go on; new ones hang after the TCP handshake.
    pub async fn freeze_postmaster(&self) -> Result<(), PostgresError> {
        let process = self.running()?;
        Ok(process.freeze_one(process.pid()).await?)
    }

    pub fn thaw_postmaster(&self) -> Result<(), PostgresError> {
        let process = self.running()?;
        Ok(process.thaw_one(process.pid())?)
    }

    /// Freezes one session. `pid` is its `pg_backend_pid()`.
    pub async fn freeze_backend(&self, pid: u32) -> Result<(), PostgresError> {
        Ok(self.running()?.freeze_one(pid).await?)
    }

    pub fn thaw_backend(&self, pid: u32) -> Result<(), PostgresError> {
        Ok(self.running()?.thaw_one(pid)?)
    }

    /// The process id. `None` while the server is stopped.
    pub fn postmaster_pid(&self) -> Option<u32> {
        self.process.as_ref().map(ServerProcess::pid)
    }

    /// The postmaster and all its children; empty while stopped.
    pub fn pids(&self) -> Vec<u32> {
        self.process.as_ref().map(ServerProcess::pids).unwrap_or_default()
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    pub fn socket_dir(&self) -> &Path {
        self.address.socket_dir()
    }

    pub fn data_dir(&self) -> PathBuf {
        self.folder.data()
    }

    /// The URL of a datname over TCP, without a password.
    pub fn url(&self, user: &str, datname: &str) -> String {
        format!("postgresql://{user}@{HOST}:{}/{datname}", self.port())
    }

    /// The address for parts that outlive a borrow of the server.
    pub fn address(&self) -> &PostgresAddress {
        &self.address
    }

    pub async fn connect(&self, user: &str, datname: &str) -> Result<Session, PostgresError> {
        Ok(self.address.connect(user, datname, "pharos-demo").await?)
    }

    /// Creates a database, with the extension `pg_stat_statements` where the server preloads it.
    pub async fn create_database(&self, datname: &str) -> Result<(), PostgresError> {
        let session = self.connect(SUPERUSER, "postgres").await?;
        session.run(&format!("CREATE DATABASE {}", quote_identifier(datname))).await?;
        if self.binaries.has_library("pg_stat_statements") {
            let session = self.connect(SUPERUSER, datname).await?;
            session.run("CREATE EXTENSION IF NOT EXISTS pg_stat_statements").await?;
        }
        Ok(())
    }

    /// Creates the role [`MONITORING_ROLE`], which may log in and is a member of `pg_monitor`, nothing else.
    pub async fn create_monitoring_role(&self, password: Option<&str>) -> Result<(), PostgresError> {
        let password = password.map_or("NULL".to_owned(), quote_literal);
        let session = self.connect(SUPERUSER, "postgres").await?;
        session.run(&format!("CREATE ROLE {MONITORING_ROLE} LOGIN PASSWORD {password} IN ROLE pg_monitor")).await?;
        Ok(())
    }

    /// Grants to [`MONITORING_ROLE`] the rights in a datname that `pharos doctor` wants beyond `pg_monitor`: for bloat and sequences.
    pub async fn grant_reads(&self, datname: &str) -> Result<(), PostgresError> {
        let columns = STATISTIC_COLUMNS.join(", ");
        let session = self.connect(SUPERUSER, datname).await?;
        session.run(&format!("GRANT SELECT ({columns}) ON pg_catalog.pg_statistic TO {MONITORING_ROLE}")).await?;
        session.run(&format!("GRANT SELECT ON ALL SEQUENCES IN SCHEMA public TO {MONITORING_ROLE}")).await?;
        Ok(())
    }

    fn running(&self) -> Result<&ServerProcess, PostgresError> {
        self.process.as_ref().ok_or(PostgresError::Stopped)
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        drop(self.process.take());
        // A server that was killed leaves 56 bytes in a table of 4096 entries that the whole machine shares.
        if let Some(segment) = self.folder.orphaned_segment() {
            let removed = Command::new("ipcrm").arg("-m").arg(&segment).output();
            if let Err(error) = removed {
                tracing::warn!(segment, %error, "removing shared memory of a killed throw-away server");
            }
        }
    }
}

/// Settings for a small server that starts quickly and can have a standby. Nothing is durable, since the folder is temporary.
fn common_settings(folder: &DataFolder, options: &PostgresOptions) -> Vec<(&'static str, String)> {
    let fixed = [
        ("listen_addresses", HOST),
        ("shared_buffers", "32MB"),
        // Shared memory is in the data folder, since a killed server would leave its files in /dev/shm.
        ("dynamic_shared_memory_type", "mmap"),
        ("fsync", "off"),
        ("synchronous_commit", "off"),
        ("wal_level", "replica"),
        ("max_wal_senders", "5"),
        ("wal_keep_size", "256MB"),
        ("max_wal_size", "256MB"),
        ("hot_standby", "on"),
        ("wal_receiver_status_interval", "1s"),
        ("wal_retrieve_retry_interval", "500ms"),
        ("track_io_timing", "on"),
        ("log_line_prefix", "%m [%p] %q%u@%d "),
    ];
    let mut settings: Vec<_> = fixed.into_iter().map(|(name, value)| (name, value.to_owned())).collect();
    settings.push(("unix_socket_directories", folder.root().display().to_string()));
    settings.push(("max_connections", options.max_connections.to_string()));
    settings
}
