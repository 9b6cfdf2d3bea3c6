//! `pharos demo`: temporary servers, an application with faults, and an agent that monitors them.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::shipped::options;
use super::terminal::print;
use crate::agent::Agent;
use crate::board::{Board, PartHealth};
use crate::demo::application::{Application, DATNAME};
use crate::demo::binaries::{PostgresBinaries, find_redis};
use crate::demo::faults::Fault;
use crate::demo::postgres::{MONITORING_ROLE, PostgresOptions, PostgresServer};
use crate::demo::receiver::Receiver;
use crate::demo::redis::{RedisOptions, RedisServer};
use crate::demo::schedule::Schedule;
use crate::lifecycle::{Ending, Lifecycle};
use crate::{config, telemetry};

/// Address of the demo's API: the agent's usual port. If it is taken, the demo uses any free port.
const LISTEN: &str = "127.0.0.1:9465";

/// Most lines that wait to be printed.
const LINES_MAX: usize = 1_000;

/// Longest wait before the first fault begins, even if plugins are not compiled by then.
const READY_MAX: Duration = Duration::from_secs(30);

/// Time after the last fault in which the last alerts resolve and are delivered.
const EPILOGUE: Duration = Duration::from_secs(1);

pub(super) async fn run(duration: Option<Duration>, postgres_bin: Option<PathBuf>) -> anyhow::Result<ExitCode> {
    // The folder must outlive the agent, which would otherwise create it again.
    let folder = tempfile::Builder::new().prefix("pharos-demo-").tempdir()?;
    let show = Show {
        duration,
        postgres_bin,
        folder: folder.path().to_owned(),
        lifecycle: Lifecycle::default(),
        tasks: TaskTracker::new(),
        stop: CancellationToken::new(),
    };
    // The servers must outlive the agent, which would otherwise raise alerts about servers that are gone.
    let mut stage = None;
    // The first signal ends the demo at any step: everything that it started belongs to values that end with this function.
    let outcome = tokio::select! {
        outcome = show.run(&mut stage) => outcome,
        () = interrupted() => Ok(()),
    };
    show.lifecycle.soft().cancel();
    let ending = show.lifecycle.run().await;
    drop(stage);
    show.stop.cancel();
    show.tasks.close();
    let _ = tokio::time::timeout(Duration::from_secs(5), show.tasks.wait()).await;
    outcome?;
    anyhow::ensure!(ending != Ending::Failed, "a part of the agent ended unexpectedly");
    Ok(ExitCode::SUCCESS)
}

/// A demo from its beginning to its end.
struct Show {
    /// Length of the demo. `None`: until a signal.
    duration: Option<Duration>,
    postgres_bin: Option<PathBuf>,
    /// Config, state and plugins of the agent.
    folder: PathBuf,
    lifecycle: Lifecycle,
    /// Tasks of everything but the agent.
    tasks: TaskTracker,
    /// Ends these tasks.
    stop: CancellationToken,
}

impl Show {
    async fn run(&self, stage: &mut Option<Stage>) -> anyhow::Result<()> {
        let (lines, printed) = mpsc::channel(LINES_MAX);
        self.tasks.spawn(print_lines(printed));
        let stage = stage.insert(Stage::set(self.postgres_bin.as_deref(), &lines, &self.tasks, &self.stop).await?);
        let config = stage.config(&self.folder)?;
        telemetry::logs::start(&config.log);
        let plugins = config.plugins.dir.clone();
        let agent = Agent::start(config, options()?, &self.lifecycle).await?;
        send(&lines, introduction(stage, agent.address(), &plugins)).await;
        stage.application.spawn(&self.tasks, &self.stop);
        let _ = tokio::time::timeout(READY_MAX, ready(agent.board())).await;
        let faults = stage.faults(&self.tasks);
        let schedule = self.duration.map_or_else(Schedule::endless, |duration| Schedule::over(duration.saturating_sub(EPILOGUE)));
        schedule.run(&faults, &lines, &self.stop).await;
        tokio::time::sleep(EPILOGUE).await;
        send(&lines, summary(&stage.receiver)).await;
        Ok(())
    }
}

/// Waits until every part of the agent has been tried once. A fault before that would raise no alert.
async fn ready(board: &Board) {
    while board.parts().iter().any(|part| part.state == PartHealth::Starting) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The servers that are monitored, their application, and the receiver of the alerts.
struct Stage {
    application: Application,
    receiver: Receiver,
    redis: RedisServer,
    // Fields are dropped in this order, so the standby stops before its primary.
    standby: PostgresServer,
    primary: PostgresServer,
}

impl Stage {
    async fn set(
        postgres_bin: Option<&Path>,
        lines: &mpsc::Sender<String>,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) -> anyhow::Result<Self> {
        let binaries = PostgresBinaries::find(postgres_bin).await?;
        let redis = find_redis(None)?;
        send(lines, format!("starting PostgreSQL {} with a replica, and Redis ...", binaries.major())).await;
        let primary = PostgresServer::start(&binaries, PostgresOptions::default(), tasks).await?;
        primary.create_monitoring_role(None).await?;
        let redis = RedisServer::start(&redis, RedisOptions::default()).await?;
        let application = Application::install(&primary, &redis).await?;
        for datname in [DATNAME, "postgres"] {
            primary.grant_reads(datname).await?;
        }
        let standby = primary.start_standby("replica", Vec::new(), tasks).await?;
        let receiver = Receiver::start(Some(lines.clone()), tasks, stop).await?;
        Ok(Self { application, receiver, redis, standby, primary })
    }

    fn config(&self, folder: &Path) -> anyhow::Result<config::Config> {
        let plugins = folder.join("plugins");
        std::fs::create_dir_all(&plugins)?;
        let text = include_str!("demo.toml")
            .replace("{listen}", if TcpListener::bind(LISTEN).is_ok() { LISTEN } else { "127.0.0.1:0" })
            .replace("{primary}", &self.primary.url(MONITORING_ROLE, DATNAME))
            .replace("{standby}", &self.standby.url(MONITORING_ROLE, DATNAME))
            .replace("{redis}", &self.redis.url())
            .replace("{plugins}", &plugins.display().to_string())
            .replace("{receiver}", &self.receiver.url());
        let path = folder.join("pharos.toml");
        std::fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
        Ok(config::load(&path)?)
    }

    fn faults(&self, tasks: &TaskTracker) -> [Fault; 3] {
        let (primary, standby) = (self.primary.address(), self.standby.address());
        [Fault::lock_pile_up(primary, tasks), Fault::slow_query(primary, tasks), Fault::replica_lag(primary, standby, tasks)]
    }
}

fn introduction(stage: &Stage, address: std::net::SocketAddr, plugins: &Path) -> String {
    format!(
        "the agent watches 127.0.0.1:{} (primary), 127.0.0.1:{} (replica) and 127.0.0.1:{} (Redis); look at\n  \
         http://{address}/metrics\n  \
         http://{address}/api/database/alerts\n  \
         http://{address}/api/database/slow-queries\n  \
         http://{address}/api/services/status\n  \
         http://{address}/api/plugins\n\
         copy a plugin into {} to replace one live; Ctrl-C ends everything\n",
        stage.primary.port(),
        stage.standby.port(),
        stage.redis.port(),
        plugins.display()
    )
}

fn summary(receiver: &Receiver) -> String {
    let count =
        |(name, count): (&String, &crate::demo::receiver::Count)| format!("  {name}: fired {}, resolved {}", count.firing, count.resolved);
    let counts: Vec<String> = receiver.received(|received| received.counts().iter().map(count).collect());
    format!("\nwhat the receiver got:\n{}", counts.join("\n"))
}

/// Sends a line to the task that prints. If that task is gone, the demo is at its end and the line is not needed.
async fn send(lines: &mpsc::Sender<String>, line: String) {
    let _ = lines.send(line).await;
}

async fn print_lines(mut lines: mpsc::Receiver<String>) {
    while let Some(line) = lines.recv().await {
        print(line);
    }
}

async fn interrupted() {
    let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) else {
        return std::future::pending().await;
    };
    tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
}
