//! The collector of statements and their costs.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use pharos_model::alert::Now;
use pharos_model::postgres::statements::{DetailSet, OwnStatements, StatementDelta, Statements as Accounts};
use pharos_model::snapshot::{Column, Family, PartId, Table};

use super::extension::{Extension, Names, View};
use super::families;
use super::texts::Texts;
use crate::collect::{CollectError, Collector, Facts};
use crate::postgres::monitor::{MARK, Session};

const PART: PartId = PartId::Statements;

/// Most statements of the latest window that are listed. The most expensive come first.
const LISTED_MAX: usize = 200;
/// Most partial reads in a row before everything is read again: partial reads do not show that a single entry was reset.
const PARTIAL_READS_MAX: u32 = 20;

/// Reads the counters of pg_stat_statements, and texts of the statements that are shown.
pub(crate) struct Statements {
    interval: Duration,
    accounts: Accounts,
    texts: Texts,
    own: OwnStatements,
    counted: DetailSet,
    names: Names,
    /// The epoch of the server's counters, and the major version whose columns the extension has. A change makes all state out of date.
    source: (u64, u32),
    /// Number of partial reads since the last complete one.
    partial_reads: u32,
}

impl Statements {
    pub(crate) fn new(interval: Duration) -> Self {
        Self {
            interval,
            accounts: Accounts::default(),
            texts: Texts::default(),
            own: OwnStatements::default(),
            counted: DetailSet::default(),
            names: Names::default(),
            source: (0, 0),
            partial_reads: 0,
        }
    }

    /// Reads the entries that changed since the last read, or all of them. Old entries look like new ones after a restart, an update of the
    /// extension, or a new name of a datname or role. Then the accounts begin anew.
    async fn read(&mut self, session: &Session, extension: &Extension) -> Result<View, CollectError> {
        let source = (session.epoch(), extension.major);
        if self.source != source {
            (self.source, self.names) = (source, Names::default());
            self.accounts.begin_anew();
        }
        let wants_all = self.partial_reads >= PARTIAL_READS_MAX;
        let known = |info| self.accounts.known_states(info).filter(|_| !wants_all);
        let mut view = extension.read(session, known).await?;
        if self.names.differ(&view.names) {
            self.accounts.begin_anew();
            view = extension.read(session, |_| None).await?;
        }
        if view.read.is_partial {
            self.partial_reads += 1;
        } else {
            (self.partial_reads, self.names) = (0, Names::default());
        }
        self.names.extend(std::mem::take(&mut view.names));
        self.counted = view.counted.unwrap_or(self.counted);
        Ok(view)
    }

    async fn collect(&mut self, session: &Session, now: Now) -> Result<Facts, CollectError> {
        let extension = Extension::find(session).await?;
        let View { read, left_out, dropped, .. } = self.read(session, &extension).await?;
        let stats_reset = read.info.and_then(|info| info.stats_reset);
        let evictions = read.info.map(|info| info.dealloc);
        let tick = self.accounts.observe(read);
        let tracked = self.accounts.tracked() + (left_out + dropped) as usize;
        tick.deltas.iter().filter(|delta| delta.key.user == session.role()).for_each(|delta| self.own.record(delta));
        let listed = most_expensive(&tick.deltas);
        let series = self.accounts.series().filter_map(|series| Some(series.key?.queryid));
        let wanted: BTreeSet<i64> = series.chain(listed.iter().map(|delta| delta.key.queryid)).chain(self.own.unknown()).collect();
        let folded = tracked.saturating_sub(self.accounts.series().count());
        self.texts.update(session, &extension.sql(include_str!("../sql/statement_texts.sql")), &wanted, now).await?;
        self.own.recognise(MARK, |queryid| self.texts.text(queryid));
        let unlisted = families::unlisted(self.accounts.series(), &tick.deltas);
        let mut families = families::series(self.accounts.series(), self.counted);
        families.extend(families::windows(self.accounts.series(), &tick.deltas));
        families.push(Family::scalar("pharos_postgres_statements_tracked", tracked as f64));
        families.push(Family::scalar("pharos_postgres_statements_max", extension.entries_max));
        families.push(Family::scalar("pharos_postgres_statement_text_failures_total", self.texts.failures as f64));
        families.extend(evictions.map(|count| Family::scalar("pharos_postgres_statements_evictions_total", count as f64)));
        families.extend(stats_reset.map(|at| Family::scalar("pharos_postgres_statements_reset_timestamp_seconds", at)));
        let tables = vec![self.table(&listed, session.role()), own_table(&self.own)];
        Ok(Facts { epoch: session.epoch(), families, tables, folded: folded as u64, unlisted, ..Facts::default() })
    }

    /// Makes the table of the most expensive statements of the latest window.
    fn table(&self, listed: &[&StatementDelta], role: &str) -> Table {
        let floats = |value: fn(&StatementDelta) -> Option<f64>| listed.iter().map(move |delta| value(delta));
        let fingerprints: Vec<String> = listed.iter().map(|delta| delta.key.fingerprint()).collect();
        let is_own = |delta: &&StatementDelta| Some(delta.key.user == role && self.own.is_ours(delta.key.queryid));
        Table::new(
            "statements",
            vec![
                Column::text("fingerprint", fingerprints.iter().map(|text| Some(text.as_str()))),
                Column::text("datname", listed.iter().map(|delta| Some(delta.key.datname.as_str()))),
                Column::text("user", listed.iter().map(|delta| Some(delta.key.user.as_str()))),
                Column::integer("toplevel", listed.iter().map(|delta| Some(i64::from(delta.key.toplevel)))),
                Column::float("calls", "calls", floats(|delta| Some(delta.counters.calls as f64))),
                Column::float("time_seconds", "seconds", floats(|delta| Some(delta.counters.seconds))),
                Column::float("mean_seconds", "seconds", floats(|delta| delta.window.map(|window| window.mean_seconds))),
                Column::float("p95_estimate_seconds", "seconds", floats(|delta| delta.window.map(|window| window.p95_seconds))),
                Column::float("rows", "rows", floats(|delta| Some(delta.counters.rows as f64))),
                Column::text("query", listed.iter().map(|delta| self.texts.text(delta.key.queryid))),
                Column::boolean("own", listed.iter().map(is_own)),
            ],
        )
    }
}

impl Collector<Session> for Statements {
    fn part(&self) -> PartId {
        PART
    }

    fn is_essential(&self) -> bool {
        true
    }

    fn interval(&self) -> Duration {
        self.interval
    }

    fn collect<'a>(&'a mut self, session: &'a mut Session, now: Now) -> BoxFuture<'a, Result<Facts, CollectError>> {
        self.collect(session, now).boxed()
    }
}

/// Lists the costs of the agent's own statements since the agent started, as the server counts them.
fn own_table(own: &OwnStatements) -> Table {
    let costs = own.by_collector();
    let whole = |count: u64| Some(i64::try_from(count).unwrap_or(i64::MAX));
    Table::new(
        "own_statements",
        vec![
            Column::text("collector", costs.keys().map(|collector| Some(*collector))),
            Column::integer("calls", costs.values().map(|cost| whole(cost.calls))),
            Column::float("seconds", "seconds", costs.values().map(|cost| Some(cost.seconds))),
            Column::integer("blocks", costs.values().map(|cost| whole(cost.blocks))),
            Column::integer("temp_bytes", costs.values().map(|cost| whole(cost.temp_bytes as u64))),
            Column::integer("rows", costs.values().map(|cost| whole(cost.rows))),
        ],
    )
}

fn most_expensive(deltas: &[StatementDelta]) -> Vec<&StatementDelta> {
    let mut listed: Vec<&StatementDelta> = deltas.iter().filter(|delta| delta.counters.calls > 0).collect();
    listed.sort_by(|a, b| b.counters.seconds.total_cmp(&a.counters.seconds).then_with(|| a.key.cmp(&b.key)));
    listed.truncate(LISTED_MAX);
    listed
}
