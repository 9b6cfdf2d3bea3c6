//! Every configured server with its database: read from the config, then monitored or recorded.

use std::sync::Arc;
use std::time::Duration;

use pharos_model::agent_part::AgentPart;
use pharos_model::snapshot::{Change, Snapshot};
use pharos_model::subject::{Subject, SubjectKey};
use tokio::sync::mpsc;

use super::ground::Ground;
use crate::board::PartHealth;
use crate::clock::Clock;
use crate::collect::database::DatabaseMembers;
use crate::collect::postgres::{PostgresSource, ServerAccess};
use crate::collect::redis::RedisSource;
use crate::collect::{Notebook, ServerTask, Source};
use crate::config::Config;
use crate::config::database::is_named;
use crate::lifecycle::Lifecycle;
use crate::postgres::Endpoint;
use crate::postgres::monitor::{Connector, OddNames, Places, SessionLimits};
use crate::redis;
use crate::store::Store;
use crate::telemetry::metrics::SelfMetrics;

/// Most bytes of the agent's name. PostgreSQL cuts an application_name after 63 bytes, and the number at its end must not be cut off.
const AGENT_NAME_MAX: usize = 63 - "pharos ".len() - " 01234567".len();

pub(crate) struct Servers {
    databases: Vec<DatabaseMembers>,
    pub postgres: Vec<PostgresSource>,
    pub redis: Vec<RedisSource>,
}

impl Servers {
    /// The config was checked, so every address parses.
    pub(crate) fn of(config: &Config, lifecycle: &Lifecycle) -> Self {
        let mut postgres = Vec::new();
        let application_name = application_name(&config.agent.name);
        for database in &config.database {
            let urls = std::iter::once(&database.primary).chain(&database.replicas);
            postgres.extend(urls.filter_map(|url| url.parse().ok()).map(|address| PostgresSource {
                was_in_recovery: None,
                database: database.name.clone(),
                notebook: Notebook::default(),
                access: ServerAccess {
                    connector: Connector {
                        endpoint: Endpoint {
                            address,
                            password: database.password(),
                            tls: database.tls.clone(),
                            application_name: application_name.clone(),
                        },
                        limits: SessionLimits::from(&config.collect),
                        tasks: lifecycle.tasks().clone(),
                        stop: lifecycle.soft().clone(),
                        places: Places::default(),
                        odd_names: OddNames::default(),
                    },
                    collect: config.collect.clone(),
                },
            }));
        }
        let members = |name: &str| postgres.iter().filter(|source| source.database == name).map(|source| source.subject().key()).collect();
        let database = |name: &String| DatabaseMembers { name: name.clone(), members: members(name) };
        let databases = config.database.iter().map(|config| database(&config.name)).collect();
        let mut nodes = Vec::new();
        for deployment in &config.redis {
            nodes.extend(deployment.nodes.iter().filter_map(|url| url.parse().ok()).map(|address| RedisSource {
                database: deployment.name.clone(),
                connector: redis::monitor::Connector {
                    endpoint: redis::Endpoint { address, password: deployment.password(), tls: deployment.tls.clone().unwrap_or_default() },
                    connect_timeout: config.collect.connect_timeout,
                    deadline: config.collect.deadline_max(),
                },
                collect: config.collect.clone(),
                notebook: Notebook::default(),
            }));
        }
        Self { databases, postgres, redis: nodes }
    }

    /// Connects the collectors with the store, so that their notes survive a restart.
    pub(super) fn connect_notes(&mut self, store: &Store) {
        for source in &mut self.postgres {
            source.notebook = Notebook::new(store.clone(), source.id());
        }
        for source in &mut self.redis {
            source.notebook = Notebook::new(store.clone(), source.id());
        }
    }

    pub(crate) fn subjects(&self) -> Vec<SubjectKey> {
        let databases = self.databases.iter().map(|database| database.subject().key());
        let servers = self.postgres.iter().map(|source| source.subject().key());
        databases.chain(servers).chain(self.redis.iter().map(|source| source.subject().key())).collect()
    }

    pub(super) fn take_databases(&mut self) -> Vec<DatabaseMembers> {
        std::mem::take(&mut self.databases)
    }

    /// Starts one task per server.
    pub(super) fn start(self, ground: &Ground, snapshots: &mpsc::Sender<Snapshot>) {
        for source in self.postgres {
            watch(source, ground, snapshots);
        }
        for source in self.redis {
            watch(source, ground, snapshots);
        }
    }

    /// Reads the server with this id, or the first one of the database with this name, twice with a pause between, for its rates.
    pub(crate) async fn record(self, wanted: &str, clock: Clock) -> Option<Change> {
        let is_wanted = |subject: Subject| {
            is_named(&subject.id, wanted) || subject.labels.iter().any(|label| label.name == "database" && label.value == wanted)
        };
        let metrics = Arc::new(SelfMetrics::default());
        let (snapshots, _queue) = mpsc::channel(1);
        let grace = Duration::from_secs(60);
        if let Some(source) = self.postgres.into_iter().find(|source| is_wanted(source.subject())) {
            return Some(ServerTask::new(source, grace, clock, metrics, snapshots).record().await);
        }
        let source = self.redis.into_iter().find(|source| is_wanted(source.subject()))?;
        Some(ServerTask::new(source, grace, clock, metrics, snapshots).record().await)
    }
}

fn watch<S: Source + 'static>(source: S, ground: &Ground, snapshots: &mpsc::Sender<Snapshot>) {
    let Ground { config, clock, board, metrics, lifecycle, .. } = ground;
    let subject = source.subject().key();
    let part = AgentPart::Server(subject.clone());
    board.set(part.clone(), PartHealth::Starting, None);
    let grace = config.collect.deadline_max() + config.collect.connect_timeout;
    let task = ServerTask::new(source, grace, *clock, Arc::clone(metrics), snapshots.clone());
    board.show_account(subject, task.account());
    lifecycle.supervise(part, task.run(lifecycle.soft().clone()));
}

/// The application name of this agent's sessions. The random number at its end distinguishes them from sessions of another agent with the
/// same name and role, which are shown like all other sessions.
fn application_name(agent: &str) -> String {
    let plain = agent.chars().map(|character| if character.is_ascii_graphic() || character == ' ' { character } else { '?' });
    format!("pharos {} {:08x}", plain.take(AGENT_NAME_MAX).collect::<String>(), fastrand::u32(..))
}
