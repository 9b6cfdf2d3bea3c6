//! Settings of the server, and their changes (pg_settings).

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use pharos_model::alert::Now;
use pharos_model::cluster::Cluster;
use pharos_model::event::{EventDetail, SettingUpdate};
use pharos_model::postgres::settings::{SettingChange, SettingHistory, SettingRead, number, shown};
use pharos_model::snapshot::{Column, FamiliesBuilder, Family, PartId, Table};
use serde::{Deserialize, Serialize};
use tracing::info;

use super::rights::{Right, query};
use super::row::Fields;
use crate::collect::{CollectError, Collector, Facts, NoteName, Notebook};
use crate::postgres::monitor::{GUARDS, Row, Session};

const PART: PartId = PartId::Settings;
const NOTE: NoteName<'_> = NoteName { collector: PART, topic: "" };

/// Settings with a series: numbers and switches that rules compare with facts. They are listed even with their default values.
const MEASURED: [&str; 57] = [
    "autovacuum_analyze_scale_factor",
    "autovacuum_analyze_threshold",
    "autovacuum_naptime",
    "autovacuum_vacuum_insert_scale_factor",
    "autovacuum_vacuum_insert_threshold",
    "autovacuum_vacuum_max_threshold",
    "autovacuum_vacuum_scale_factor",
    "autovacuum_vacuum_threshold",
    "autovacuum_work_mem",
    "checkpoint_completion_target",
    "checkpoint_timeout",
    "data_checksums",
    "deadlock_timeout",
    "default_statistics_target",
    "effective_cache_size",
    "fsync",
    "full_page_writes",
    "hot_standby_feedback",
    "idle_in_transaction_session_timeout",
    "idle_replication_slot_timeout",
    "idle_session_timeout",
    "lock_timeout",
    "log_autovacuum_min_duration",
    "log_checkpoints",
    "log_lock_waits",
    "log_min_duration_statement",
    "log_temp_files",
    "maintenance_work_mem",
    "max_connections",
    "max_locks_per_transaction",
    "max_parallel_workers",
    "max_prepared_transactions",
    "max_replication_slots",
    "max_slot_wal_keep_size",
    "max_standby_streaming_delay",
    "max_wal_senders",
    "max_wal_size",
    "max_worker_processes",
    "min_wal_size",
    "random_page_cost",
    "reserved_connections",
    "restart_after_crash",
    "shared_buffers",
    "ssl",
    "statement_timeout",
    "superuser_reserved_connections",
    "temp_file_limit",
    "track_activities",
    "track_activity_query_size",
    "track_io_timing",
    "track_wal_io_timing",
    "transaction_timeout",
    "wal_buffers",
    "wal_keep_size",
    "wal_receiver_timeout",
    "wal_sender_timeout",
    "work_mem",
];

/// Settings with text values that rules read. They are listed even with their default values.
const LISTED: [&str; 9] = [
    "archive_command",
    "archive_library",
    "archive_mode",
    "password_encryption",
    "shared_preload_libraries",
    "ssl_min_protocol_version",
    "synchronous_commit",
    "synchronous_standby_names",
    "wal_level",
];

/// Reads the settings of the server, and records their changes.
pub(super) struct Settings {
    interval: Duration,
    history: SettingHistory,
    notebook: Notebook,
    cluster: Cluster,
    /// Whether the note of an earlier run of the agent was restored.
    is_restored: bool,
    /// Whether the count of changes was shown once. It starts at 0, so that changes while the agent was down show as an increase.
    is_count_shown: bool,
    is_stored: bool,
    /// Number of changes that are not stored as events yet.
    unstored_changes: usize,
}

impl Settings {
    pub(super) fn new(interval: Duration, notebook: Notebook) -> Self {
        Self {
            interval,
            history: SettingHistory::default(),
            notebook,
            cluster: Cluster::default(),
            is_restored: false,
            is_count_shown: false,
            is_stored: false,
            unstored_changes: 0,
        }
    }

    async fn read(&mut self, session: &Session, now: Now) -> Result<Facts, CollectError> {
        let rows = query(session, PART, Right::Settings, include_str!("sql/settings.sql")).await?;
        let mut settings = rows.iter().map(Setting::read).collect::<Result<Vec<_>, _>>()?;
        let read = settings.iter().map(|setting| SettingRead {
            name: setting.name.to_owned(),
            value: setting.value.map(str::to_owned),
            is_default: setting.is_default,
        });
        // Settings of the session itself hide the values of the server, so these are neither shown nor compared.
        let hides: &[&str] = if session.is_guarded() { &GUARDS } else { &[] };
        self.observe(read, hides, &Cluster::new(session.system_identifier()), now).await;
        settings.retain(|setting| !hides.contains(&setting.name));
        let changes_total = if self.is_count_shown { self.history.changes_total() } else { 0 };
        self.is_count_shown = true;
        let pending = settings.iter().filter(|setting| setting.pending_restart).count();
        let mut families = vec![
            Family::scalar("pharos_postgres_settings_pending_restart", pending as f64),
            Family::scalar("pharos_postgres_setting_changes_total", changes_total as f64),
        ];
        families.extend(measured(&settings));
        let tables = vec![listed(&settings), self.changes()];
        Ok(Facts { epoch: session.epoch(), families, tables, ..Facts::default() })
    }

    /// Restores the note of an earlier run of the agent, if the store answers. Changes that were logged before may be logged once more.
    async fn restore(&mut self, now: Now) {
        let Ok(earlier) = self.notebook.read::<SettingNote>(NOTE, now).await else { return };
        self.is_restored = true;
        if let Some(SettingNote { cluster, history }) = earlier {
            (self.cluster, self.history, self.is_count_shown, self.unstored_changes) = (cluster, history, false, 0);
        }
    }

    /// Compares the settings with the last reading, also of an earlier run of the agent. Logs and stores the changes. Another cluster at
    /// the same address starts a new history.
    async fn observe(&mut self, read: impl Iterator<Item = SettingRead>, hides: &[&str], cluster: &Cluster, now: Now) {
        if !self.is_restored {
            self.restore(now).await;
        }
        if !self.cluster.may_be(cluster) {
            (self.cluster, self.history, self.is_stored, self.unstored_changes) = (cluster.clone(), SettingHistory::default(), false, 0);
        }
        self.cluster.fill_from(cluster);
        let new = self.history.observe(read, hides, now.wall_ms);
        for change in self.history.latest(new) {
            let [before, after] = [&change.before, &change.after].map(|value| value.as_deref().unwrap_or("not there"));
            info!(setting = change.setting, before, after, "a setting was changed: {} is now `{after}`", change.setting);
        }
        self.unstored_changes += new;
        // Before the note was restored it may know more than this run, so it is not replaced.
        if self.is_restored && (!self.is_stored || self.unstored_changes > 0) {
            let happened = self.history.latest(self.unstored_changes).map(event).collect();
            let note = SettingNote { cluster: self.cluster.clone(), history: self.history.clone() };
            if self.notebook.write(NOTE, &note, happened, now).await.is_ok() {
                (self.is_stored, self.unstored_changes) = (true, 0);
            }
        }
    }

    /// Lists the changes, the latest first.
    fn changes(&self) -> Table {
        let changes = self.history.changes().rev();
        Table::new(
            "setting_changes",
            vec![
                Column::text("setting", changes.clone().map(|change| Some(change.setting.as_str()))),
                Column::text("before", changes.clone().map(|change| change.before.as_deref())),
                Column::text("after", changes.clone().map(|change| change.after.as_deref())),
                Column::integer("seen_at_ms", changes.map(|change| i64::try_from(change.seen_at_ms).ok())),
            ],
        )
    }
}

fn event(change: &SettingChange) -> EventDetail {
    let SettingChange { setting, before, after, .. } = change.clone();
    EventDetail::Setting(SettingUpdate { setting, before, after })
}

/// The note that is stored across restarts of the agent.
#[derive(Serialize, Deserialize)]
struct SettingNote {
    cluster: Cluster,
    history: SettingHistory,
}

/// A setting in one reading.
struct Setting<'a> {
    name: &'a str,
    value: Option<&'a str>,
    unit: Option<&'a str>,
    source: &'a str,
    kind: &'a str,
    pending_restart: bool,
    is_default: bool,
}

impl<'a> Setting<'a> {
    fn read(row: &'a Row) -> Result<Self, CollectError> {
        let row = Fields::new(PART, row);
        Ok(Self {
            name: row.text("setting")?,
            value: row.field("value")?,
            unit: row.field("unit")?,
            source: row.text("source")?,
            kind: row.text("kind")?,
            pending_restart: row.field("pending_restart")?,
            is_default: row.field("is_default")?,
        })
    }

    fn is_listed(&self) -> bool {
        !self.is_default || self.pending_restart || MEASURED.contains(&self.name) || LISTED.contains(&self.name)
    }
}

fn measured(settings: &[Setting<'_>]) -> Vec<Family> {
    let mut families = FamiliesBuilder::new(&["setting"], &["pharos_postgres_setting"]);
    for setting in settings.iter().filter(|setting| MEASURED.contains(&setting.name)) {
        families.push(&[setting.name], &[setting.value.and_then(|value| number(setting.kind, value, setting.unit))]);
    }
    families.finish()
}

/// Lists settings without their default value, and those that rules need in any case.
fn listed(settings: &[Setting<'_>]) -> Table {
    let listed: Vec<&Setting<'_>> = settings.iter().filter(|setting| setting.is_listed()).collect();
    let values: Vec<_> = listed.iter().map(|setting| setting.value.map(|value| shown(setting.name, value))).collect();
    Table::new(
        "settings",
        vec![
            Column::text("setting", listed.iter().map(|setting| Some(setting.name))),
            Column::text("value", values.iter().map(|value| value.as_deref())),
            Column::text("unit", listed.iter().map(|setting| setting.unit)),
            Column::text("source", listed.iter().map(|setting| Some(setting.source))),
            Column::boolean("pending_restart", listed.iter().map(|setting| Some(setting.pending_restart))),
        ],
    )
}

impl Collector<Session> for Settings {
    fn part(&self) -> PartId {
        PART
    }

    fn interval(&self) -> Duration {
        self.interval
    }

    fn collect<'a>(&'a mut self, session: &'a mut Session, now: Now) -> BoxFuture<'a, Result<Facts, CollectError>> {
        self.read(session, now).boxed()
    }
}
