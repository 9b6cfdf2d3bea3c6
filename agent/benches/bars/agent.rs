//! An agent that runs as a process of its own, as for users, with a client for its API.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use pharos::demo::binaries::{PostgresBinaries, find_redis};
use pharos::demo::port::free_port;
use pharos::demo::postgres::{MONITORING_ROLE, PostgresOptions, PostgresServer};
use pharos::demo::redis::{RedisOptions, RedisServer};
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};
use tokio_util::task::{AbortOnDropHandle, TaskTracker};

use super::pharos;

/// The longest wait for a condition.
const PATIENCE: Duration = Duration::from_secs(60);
/// The pause between two checks of a condition, which bounds how exactly its moment is found.
const CHECK_EVERY: Duration = Duration::from_millis(2);

/// A connection that is kept open.
pub struct Client {
    requests: SendRequest<Empty<Bytes>>,
    _driver: AbortOnDropHandle<hyper::Result<()>>,
}

impl Client {
    pub async fn connect(address: SocketAddr) -> anyhow::Result<Self> {
        let (requests, connection) = handshake(TokioIo::new(TcpStream::connect(address).await?)).await?;
        Ok(Self { requests, _driver: AbortOnDropHandle::new(TaskTracker::new().spawn(connection)) })
    }

    pub async fn get(&mut self, path: &str) -> anyhow::Result<Bytes> {
        let request = hyper::Request::builder().uri(path).header("host", "127.0.0.1").body(Empty::new())?;
        self.requests.ready().await?;
        let response = self.requests.send_request(request).await?;
        anyhow::ensure!(response.status().is_success(), "{path}: {}", response.status());
        Ok(response.into_body().collect().await?.to_bytes())
    }
}

/// The servers that an agent watches here; they end when dropped.
pub struct Servers {
    postgres: PostgresServer,
    redis: RedisServer,
}

impl Servers {
    pub async fn start() -> anyhow::Result<Self> {
        let binaries = PostgresBinaries::find(None).await?;
        let postgres = PostgresServer::start(&binaries, PostgresOptions::default(), &TaskTracker::new()).await?;
        postgres.create_monitoring_role(None).await?;
        postgres.connect("postgres", "postgres").await?.run("CREATE EXTENSION IF NOT EXISTS pg_stat_statements").await?;
        let redis = RedisServer::start(&find_redis(None)?, RedisOptions::default()).await?;
        Ok(Self { postgres, redis })
    }

    fn config(&self) -> String {
        format!(
            r#"
            [[database]]
            name = "app"
            primary = "{}"
            [[redis]]
            name = "cache"
            mode = "standalone"
            nodes = ["{}"]
            "#,
            self.postgres.url(MONITORING_ROLE, "postgres"),
            self.redis.url()
        )
    }
}

/// A folder in which one agent after the other can run.
pub struct Place {
    folder: TempDir,
    address: SocketAddr,
}

impl Place {
    pub async fn new(servers: &Servers) -> anyhow::Result<Self> {
        Self::of(&servers.config()).await
    }

    /// Starts an agent with a config that names the servers.
    pub async fn of(watched: &str) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let port = free_port().await?;
        let config = format!(
            r#"
            [agent]
            data_dir = "data"
            [http]
            listen = "127.0.0.1:{port}"
            [plugins]
            dir = "plugins"
            [log]
            level = "warn"
            {watched}
            "#
        );
        std::fs::write(folder.path().join("pharos.toml"), config)?;
        Ok(Self { folder, address: ([127, 0, 0, 1], port).into() })
    }

    /// The folder of plugin files.
    pub fn plugins(&self) -> PathBuf {
        self.folder.path().join("plugins")
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The answer at a path, as text.
    pub async fn get(&self, path: &str) -> anyhow::Result<String> {
        let answer = Client::connect(self.address).await?.get(path).await?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }

    pub fn start(&self) -> anyhow::Result<Process> {
        Process::start(Command::new(pharos()).arg("run").arg("--config").arg(self.folder.path().join("pharos.toml")))
    }

    /// Waits until the answer at a path fits.
    pub async fn wait(&self, path: &str, fits: impl Fn(&[u8]) -> bool) -> anyhow::Result<()> {
        let started = Instant::now();
        let mut client = None;
        while started.elapsed() < PATIENCE {
            if client.is_none() {
                client = Client::connect(self.address).await.ok();
            }
            if let Some(open) = &mut client {
                match open.get(path).await {
                    Ok(answer) if fits(&answer) => return Ok(()),
                    Ok(_) => {}
                    Err(_) => client = None,
                }
            }
            sleep(CHECK_EVERY).await;
        }
        anyhow::bail!("{path} never fitted")
    }

    /// Waits until every shipped plugin serves.
    pub async fn settle(&self) -> anyhow::Result<()> {
        self.wait("/api/plugins", |answer| {
            let answer: Value = serde_json::from_slice(answer).unwrap_or_default();
            let items = answer["items"].as_array();
            items.is_some_and(|items| items.len() >= 4 && items.iter().all(|item| item["state"] == "serving"))
        })
        .await
        .context("the shipped plugins do not serve; are they embedded (`make build`)?")
    }
}

/// A process of the program, which ends with this value.
pub struct Process {
    child: Child,
}

impl Process {
    pub fn start(command: &mut Command) -> anyhow::Result<Self> {
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true).spawn()?;
        Ok(Self { child })
    }

    pub fn has_ended(&mut self) -> anyhow::Result<bool> {
        Ok(self.child.try_wait()?.is_some())
    }

    pub fn pid(&self) -> anyhow::Result<u32> {
        self.child.id().context("the process ended")
    }

    /// Resident bytes: all of them, and those that are not mapped from files.
    pub fn resident(&self) -> anyhow::Result<(u64, u64)> {
        let pid = self.child.id().context("the process ended")?;
        let status = procfs::process::Process::new(i32::try_from(pid)?)?.status()?;
        let bytes = |kilobytes: Option<u64>| kilobytes.unwrap_or_default() * 1_024;
        Ok((bytes(status.vmrss), bytes(status.rssanon)))
    }

    /// Ends it as an operator would.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        if let Some(pid) = self.child.id().and_then(|pid| rustix::process::Pid::from_raw(i32::try_from(pid).ok()?)) {
            rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        }
        self.child.wait().await?;
        Ok(())
    }
}
