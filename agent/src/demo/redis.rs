//! A temporary Redis server, which stores nothing on disk unless its settings say so.

use std::path::{Path, PathBuf};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, RedisError};
use rustix::process::Signal;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use super::account::{Account, AccountError};
use super::port::{HOST, NoFreePort, TAKEN, TAKEN_MAX, free_port};
use super::process::{ProcessError, ServerProcess};

const READY_DEADLINE: Duration = Duration::from_secs(30);
const READY_POLL_INTERVAL: Duration = Duration::from_millis(20);
const PING_DEADLINE: Duration = Duration::from_secs(1);
const STOP_DEADLINE: Duration = Duration::from_secs(10);
const CONNECT_DEADLINE: Duration = Duration::from_secs(5);
const RESPONSE_DEADLINE: Duration = Duration::from_secs(2);

#[derive(Debug, thiserror::Error)]
pub enum RedisServerError {
    #[error(transparent)]
    Account(#[from] AccountError),
    #[error(transparent)]
    Process(#[from] ProcessError),
    #[error(transparent)]
    Port(#[from] NoFreePort),
    #[error("writing {}", path.display())]
    Write { path: PathBuf, source: std::io::Error },
    #[error("redis-server ended while starting: {log}")]
    Ended { log: String },
    #[error("redis-server is not ready after {READY_DEADLINE:?}: {log}")]
    NotReady { log: String },
    #[error("redis-server is stopped")]
    Stopped,
    #[error("connecting to {url}")]
    Connect { url: String, source: RedisError },
}

#[derive(Clone, Default)]
pub struct RedisOptions {
    /// The port of a primary on this machine to replicate.
    pub replica_of: Option<u16>,
    /// Further lines of redis.conf; they override ours.
    pub settings: Vec<(String, String)>,
}

/// A Redis server with its folder. Dropping it ends the process and removes the folder.
pub struct RedisServer {
    // Before the folder: fields are dropped in this order, and the process may write into it.
    process: Option<ServerProcess>,
    folder: TempDir,
    account: Account,
    program: PathBuf,
    port: u16,
}

impl RedisServer {
    /// Starts `program`, as found by `binaries::find_redis`, and returns when it answers.
    pub async fn start(program: &Path, options: RedisOptions) -> Result<Self, RedisServerError> {
        let account = Account::choose()?;
        let folder = account.folder("pharos-redis-")?;
        let mut server = Self { process: None, folder, account, program: program.to_owned(), port: 0 };
        let mut attempt = 1;
        loop {
            server.port = free_port().await?;
            server.write_configuration(&options)?;
            match server.launch().await {
                Err(RedisServerError::Ended { log }) if log.contains(TAKEN) && attempt < TAKEN_MAX => attempt += 1,
                launched => return launched.map(|()| server),
            }
        }
    }

    /// Starts the server again with the same folder and port. Stops it first if it runs.
    pub async fn restart(&mut self) -> Result<(), RedisServerError> {
        if self.process.is_some() {
            self.stop().await?;
        }
        self.launch().await
    }

    /// Thaws the server and shuts it down. It saves its data if its settings say so.
    pub async fn stop(&mut self) -> Result<(), RedisServerError> {
        let process = self.process.as_mut().ok_or(RedisServerError::Stopped)?;
        process.end(Signal::TERM, STOP_DEADLINE).await?;
        self.process = None;
        Ok(())
    }

    pub async fn kill(&mut self) -> Result<(), RedisServerError> {
        let process = self.process.as_mut().ok_or(RedisServerError::Stopped)?;
        process.kill().await?;
        self.process = None;
        Ok(())
    }

    /// Freezes the process. Connections stay open and nothing answers.
    pub async fn freeze(&self) -> Result<(), RedisServerError> {
        Ok(self.running()?.freeze().await?)
    }

    pub fn thaw(&self) -> Result<(), RedisServerError> {
        Ok(self.running()?.thaw()?)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn url(&self) -> String {
        format!("redis://{HOST}:{}", self.port)
    }

    /// The process id. `None` while the server is stopped.
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(ServerProcess::pid)
    }

    pub async fn connect(&self) -> Result<MultiplexedConnection, RedisServerError> {
        connect(&self.url()).await
    }

    fn running(&self) -> Result<&ServerProcess, RedisServerError> {
        self.process.as_ref().ok_or(RedisServerError::Stopped)
    }

    fn write_configuration(&self, options: &RedisOptions) -> Result<(), RedisServerError> {
        let mut lines = vec![
            format!("bind {HOST}"),
            format!("port {}", self.port),
            format!("dir {}", self.folder.path().display()),
            "save \"\"".to_owned(),
            "appendonly no".to_owned(),
        ];
        lines.extend(options.replica_of.map(|port| format!("replicaof {HOST} {port}")));
        lines.extend(options.settings.iter().map(|(name, value)| format!("{name} {value}")));
        let path = self.configuration_path();
        std::fs::write(&path, lines.join("\n")).map_err(|source| RedisServerError::Write { path: path.clone(), source })?;
        // CONFIG REWRITE and Sentinel write this file too.
        Ok(self.account.own(&path)?)
    }

    async fn launch(&mut self) -> Result<(), RedisServerError> {
        let mut command = self.account.command(&self.program, self.folder.path());
        let path = self.log_path();
        let log = std::fs::File::create(&path).and_then(|file| Ok((file.try_clone()?, file)));
        // `logfile` is not used: mistakes in the configuration are reported before that setting is in force.
        let (stdout, stderr) = log.map_err(|source| RedisServerError::Write { path, source })?;
        command.arg(self.configuration_path()).stdout(stdout).stderr(stderr);
        // The server stores nothing that must survive, so it may be killed when it is dropped.
        let mut process = ServerProcess::spawn(command, self.folder.path(), Signal::KILL)?;
        let started = Instant::now();
        loop {
            // Checked first: if the process has ended, another server may answer at its port.
            if process.exit_status()?.is_some() {
                return Err(RedisServerError::Ended { log: self.log() });
            }
            if is_ready(self.port).await {
                break;
            }
            if started.elapsed() > READY_DEADLINE {
                return Err(RedisServerError::NotReady { log: self.log() });
            }
            sleep(READY_POLL_INTERVAL).await;
        }
        self.process = Some(process);
        Ok(())
    }

    fn configuration_path(&self) -> PathBuf {
        self.folder.path().join("redis.conf")
    }

    fn log_path(&self) -> PathBuf {
        self.folder.path().join("server.log")
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }
}

/// Opens a connection with deadlines on everything it does.
pub async fn connect(url: &str) -> Result<MultiplexedConnection, RedisServerError> {
    let fail = |source| RedisServerError::Connect { url: url.to_owned(), source };
    let client = Client::open(url).map_err(fail)?;
    let config = AsyncConnectionConfig::new().set_connection_timeout(Some(CONNECT_DEADLINE)).set_response_timeout(Some(RESPONSE_DEADLINE));
    client.get_multiplexed_async_connection_with_config(&config).await.map_err(fail)
}

/// True if Redis answers with anything but "loading". A refusal for lack of a password is an answer as well.
async fn is_ready(port: u16) -> bool {
    let ping = async {
        let mut stream = TcpStream::connect((HOST, port)).await?;
        stream.write_all(b"PING\r\n").await?;
        let mut reply = [0; 64];
        let length = stream.read(&mut reply).await?;
        std::io::Result::Ok(length > 0 && !reply.starts_with(b"-LOADING"))
    };
    matches!(timeout(PING_DEADLINE, ping).await, Ok(Ok(true)))
}
