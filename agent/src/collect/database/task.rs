//! The task that takes snapshots of databases.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use pharos_model::alert::Now;
use pharos_model::error_chain::chain;
use pharos_model::event::{Event, EventDetail, RoleChange};
use pharos_model::postgres::topology::{Member, News, Report, Role, Topology, TopologyState};
use pharos_model::snapshot::{Change, PartId};
use pharos_model::snapshot::{Part, Snapshot};
use pharos_model::subject::{Label, Subject, SubjectKey, SubjectKind};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::{member_reports, parts};
use crate::board::{Board, Picture};
use crate::clock::Clock;
use crate::collect::send::send;
use crate::store::Store;
use crate::telemetry::metrics::SelfMetrics;

/// The name of a `[[database]]` and its servers.
pub(crate) struct DatabaseMembers {
    pub name: String,
    pub members: Vec<SubjectKey>,
}

/// The task that makes snapshots of databases.
pub(crate) struct DatabasesTask {
    pub databases: Vec<DatabaseMembers>,
    pub interval: Duration,
    /// Time after its interval at which a snapshot becomes stale.
    pub grace: Duration,
    pub board: Arc<Board>,
    pub store: Store,
    pub metrics: Arc<SelfMetrics>,
    pub clock: Clock,
    pub snapshots: mpsc::Sender<Snapshot>,
}

/// A database with its state over time.
struct WatchedDatabase {
    database: DatabaseMembers,
    topology: Topology,
    /// The latest reports of the members.
    reports: Vec<Report>,
    /// The state of each member in the last snapshot. A change is sent at once.
    shown: Vec<MemberState>,
    /// When the last sent snapshot was taken, by the monotonic clock.
    taken_at: Option<Duration>,
}

/// The state of a member that the latest snapshot shows.
#[derive(Debug, PartialEq, Eq)]
struct MemberState {
    is_up: bool,
    role: Role,
    timeline: Option<i64>,
    system_identifier: Option<String>,
}

impl From<&Member> for MemberState {
    fn from(member: &Member) -> Self {
        Self { is_up: member.up, role: member.role, timeline: member.timeline, system_identifier: member.system_identifier.clone() }
    }
}

impl DatabaseMembers {
    pub(crate) fn subject(&self) -> Subject {
        Subject {
            kind: SubjectKind::Database,
            id: self.name.clone(),
            version: String::new(),
            labels: vec![Label::new("database", &self.name)],
        }
    }
}

impl DatabasesTask {
    /// Makes snapshots until `stop` is cancelled.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let databases = std::mem::take(&mut self.databases);
        let watched =
            |database| WatchedDatabase { database, topology: Topology::default(), reports: Vec::new(), shown: Vec::new(), taken_at: None };
        let mut watched: Vec<WatchedDatabase> = databases.into_iter().map(watched).collect();
        // The counter starts at 0, so that the first dropped snapshot shows as an increase.
        watched.iter().for_each(|watched| self.metrics.add("pharos_collect_skipped_total", &[&watched.database.name, "snapshot"], 0.0));
        let board = Arc::clone(&self.board);
        let mut published = board.snapshots();
        let mut ticks = interval(self.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            let is_tick = tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => true,
                // The sender of this channel is the board, which is borrowed here, so the channel cannot close.
                _ = published.changed() => false,
            };
            let picture = board.picture();
            for database in &mut watched {
                self.observe(database, &picture, is_tick).await;
            }
        }
    }

    /// Reads the state of the members from the board. Nothing is reported before each has a snapshot: a member without one is not down.
    async fn observe(&self, watched: &mut WatchedDatabase, picture: &Picture, is_tick: bool) {
        let members: Option<Vec<&Arc<Change>>> = watched.database.members.iter().map(|key| picture.subjects.get(key)).collect();
        let Some(members) = members else { return };
        let now = self.clock.now();
        let report = |member: &&Arc<Change>| match member_reports::is_unknown(&member.snapshot) {
            // The trouble is on the side of the agent: a member that could not be asked is neither down nor demoted.
            true => member_reports::report_before(&watched.reports, &member.snapshot.subject.id),
            false => Some(member_reports::report(&member.snapshot, now.monotonic)),
        };
        let Some(reports) = members.iter().map(report).collect::<Option<Vec<Report>>>() else { return };
        if !is_tick && reports == watched.reports {
            return;
        }
        let topology = watched.topology.observe(&reports, now);
        watched.reports = reports;
        for news in &topology.news {
            self.record_news(&watched.database.name, news, now).await;
        }
        let shown: Vec<MemberState> = topology.members.iter().map(MemberState::from).collect();
        if is_tick || !topology.news.is_empty() || shown != watched.shown {
            watched.shown = shown;
            let parts = self.parts(&topology, &members, now);
            self.send(watched, members, parts, now);
        }
    }

    fn parts(&self, topology: &TopologyState, members: &[&Arc<Change>], now: Now) -> BTreeMap<String, Part> {
        let fresh_until = now.monotonic + self.interval * 2 + self.grace;
        let indexes = parts::indexes(members, now.monotonic, fresh_until);
        let topology = parts::topology(topology, now.monotonic, fresh_until);
        BTreeMap::from([(PartId::Topology.as_str().to_owned(), topology), (PartId::Indexes.as_str().to_owned(), indexes)])
    }

    /// Sends a snapshot, unless the queue has no room for it.
    fn send(&self, watched: &mut WatchedDatabase, members: Vec<&Arc<Change>>, parts: BTreeMap<String, Part>, now: Now) {
        let interval = watched.taken_at.map_or(self.interval, |before| now.monotonic.saturating_sub(before));
        let snapshot = Snapshot {
            subject: watched.database.subject(),
            taken_at_ms: now.wall_ms,
            taken_at: now.monotonic,
            interval,
            parts,
            members: members.into_iter().map(Arc::clone).collect(),
        };
        if send(&self.snapshots, snapshot, &self.metrics) {
            watched.taken_at = Some(now.monotonic);
        }
    }

    /// Logs a change of roles, and stores it as an event.
    async fn record_news(&self, database: &str, news: &News, now: Now) {
        let text = news.to_string();
        match news {
            News::SplitBrain { .. } => error!(database, "{database}: {text}"),
            News::PrimaryChanged { .. } | News::ClusterReplaced { .. } => warn!(database, "{database}: {text}"),
            News::SplitBrainEnded => info!(database, "{database}: {text}"),
        }
        let detail = EventDetail::Role(RoleChange { what: news.kind(), text });
        let event = Event { at_ms: now.wall_ms, subject: database.to_owned(), detail };
        if let Err(err) = self.store.record_event(event).await {
            error!(error = chain(&err), "an event could not be stored");
        }
    }
}
