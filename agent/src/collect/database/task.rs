//! The task that takes snapshots of databases.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use pharos_model::alert::Now;
use pharos_model::error_chain::chain;
use pharos_model::event::{Event, EventDetail, RoleChange};
use pharos_model::postgres::topology::{News, Report, Role, Topology};
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
use crate::store::Store;
use crate::telemetry::metrics::SelfMetrics;

/// A `[[database]]` and its servers.
pub struct Database {
    pub name: String,
    pub members: Vec<SubjectKey>,
}

/// The task that makes snapshots of databases.
pub struct DatabasesTask {
    pub databases: Vec<Database>,
    pub interval: Duration,
    /// How long a snapshot outlives its interval before it is stale.
    pub grace: Duration,
    pub board: Arc<Board>,
    pub store: Store,
    pub metrics: Arc<SelfMetrics>,
    pub clock: Clock,
    pub snapshots: mpsc::Sender<Snapshot>,
}

/// A database over time.
struct Watched {
    database: Database,
    topology: Topology,
    /// The reports that the last look was at.
    looked_at: Vec<Report>,
    /// The standing of each member in the last snapshot: a change is sent at once.
    shown: Vec<Standing>,
    /// When the latest snapshot was taken that went out, by the monotonic clock.
    taken_at: Option<Duration>,
}

/// Whether a member is there, and as what.
type Standing = (bool, Role, Option<i64>, Option<String>);

impl Database {
    pub fn subject(&self) -> Subject {
        Subject {
            kind: SubjectKind::Database,
            id: self.name.clone(),
            version: String::new(),
            labels: vec![Label::new("database", &self.name)],
        }
    }
}

impl DatabasesTask {
    /// Looks until told to stop.
    pub async fn run(mut self, stop: CancellationToken) {
        let databases = std::mem::take(&mut self.databases);
        let watched =
            |database| Watched { database, topology: Topology::default(), looked_at: Vec::new(), shown: Vec::new(), taken_at: None };
        let mut watched: Vec<Watched> = databases.into_iter().map(watched).collect();
        // The first one that is dropped must be seen as an increase.
        watched.iter().for_each(|watched| self.metrics.add("pharos_collect_skipped_total", &[&watched.database.name, "snapshot"], 0.0));
        let board = Arc::clone(&self.board);
        let mut published = board.snapshots();
        let mut ticks = interval(self.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            let is_tick = tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => true,
                // The board that sends is alive as long as this borrow of it.
                _ = published.changed() => false,
            };
            let picture = board.picture();
            for database in &mut watched {
                self.look(database, &picture, is_tick).await;
            }
        }
    }

    /// Looks at the members. Nothing is reported before each was tried once: a member that is not there yet is not down.
    async fn look(&self, watched: &mut Watched, picture: &Picture, is_tick: bool) {
        let members: Option<Vec<&Arc<Change>>> = watched.database.members.iter().map(|key| picture.subjects.get(key)).collect();
        let Some(members) = members else { return };
        let now = self.clock.now();
        let report = |member: &&Arc<Change>| match member_reports::is_unknown(&member.snapshot) {
            // The agent itself is in the way: a member that could not be asked is neither down nor demoted.
            true => member_reports::report_before(&watched.looked_at, &member.snapshot.subject.id),
            false => Some(member_reports::report(&member.snapshot, now.monotonic)),
        };
        let Some(reports) = members.iter().map(report).collect::<Option<Vec<Report>>>() else { return };
        if !is_tick && reports == watched.looked_at {
            return;
        }
        let topology = watched.topology.observe(&reports, now);
        watched.looked_at = reports;
        for news in &topology.news {
            self.tell(&watched.database.name, news, now).await;
        }
        let standing =
            |member: &pharos_model::postgres::topology::Member| (member.up, member.role, member.timeline, member.system_identifier.clone());
        let shown: Vec<Standing> = topology.members.iter().map(standing).collect();
        if is_tick || !topology.news.is_empty() || shown != watched.shown {
            watched.shown = shown;
            let parts = self.parts(&topology, &members, now);
            let interval = watched.taken_at.map_or(self.interval, |before| now.monotonic.saturating_sub(before));
            if self.send(&watched.database, members, parts, interval, now) {
                watched.taken_at = Some(now.monotonic);
            }
        }
    }

    fn parts(&self, topology: &pharos_model::postgres::topology::Picture, members: &[&Arc<Change>], now: Now) -> BTreeMap<String, Part> {
        let fresh_until = now.monotonic + self.interval * 2 + self.grace;
        let indexes = parts::indexes(members, now.monotonic, fresh_until);
        let topology = parts::topology(topology, now.monotonic, fresh_until);
        BTreeMap::from([(PartId::Topology.as_str().to_owned(), topology), (PartId::Indexes.as_str().to_owned(), indexes)])
    }

    /// Says whether there was room for it.
    fn send(&self, database: &Database, members: Vec<&Arc<Change>>, parts: BTreeMap<String, Part>, interval: Duration, now: Now) -> bool {
        let snapshot = Snapshot {
            subject: database.subject(),
            taken_at_ms: now.wall_ms,
            taken_at: now.monotonic,
            interval,
            parts,
            members: members.into_iter().map(Arc::clone).collect(),
        };
        let is_sent = self.snapshots.try_send(snapshot).is_ok();
        if !is_sent {
            self.metrics.add("pharos_collect_skipped_total", &[&database.name, "snapshot"], 1.0);
            warn!(database = database.name, "a snapshot of a database was dropped: the ones before it are not judged yet");
        }
        is_sent
    }

    async fn tell(&self, database: &str, news: &News, now: Now) {
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
