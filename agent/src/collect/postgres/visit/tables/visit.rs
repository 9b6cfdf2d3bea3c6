//! The visit that reads tables.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use pharos_model::alert::Now;
use pharos_model::postgres::visits::DatnameStates;
use pharos_model::snapshot::{FamiliesBuilder, Family, PartId};
use pharos_model::top::{Candidate, Fold, NEVER_LISTED, Top};

use super::readings::TableReadings;
use super::{listing, oldest};
use crate::collect::postgres::visit::bloat::{self, Estimates};
use crate::collect::postgres::visit::datname_visit::{SERIES_MAX, Visit};
use crate::collect::postgres::visit::relations::{DatnameContext, SharedRelations, TableRow, is_catalog};
use crate::collect::postgres::visit::round::Round;
use crate::collect::{CollectError, Facts};
use crate::postgres::monitor::Session;

const PART: PartId = PartId::Tables;

/// Most tables of one server with series of their own.
const MEMBERS_MAX: usize = 200;
const LABELS: [&str; 3] = ["datname", "schema", "relation"];

const COUNTERS: [&str; 7] = [
    "pharos_postgres_table_sequential_scans_total",
    "pharos_postgres_table_sequential_rows_total",
    "pharos_postgres_table_index_scans_total",
    "pharos_postgres_table_rows_inserted_total",
    "pharos_postgres_table_rows_updated_total",
    "pharos_postgres_table_rows_deleted_total",
    "pharos_postgres_table_hot_updates_total",
];
const GAUGES: [(&str, Fold); 9] = [
    ("pharos_postgres_table_size_bytes", Fold::Sum),
    ("pharos_postgres_table_indexes_size_bytes", Fold::Sum),
    ("pharos_postgres_table_live_rows", Fold::Sum),
    ("pharos_postgres_table_dead_rows", Fold::Sum),
    ("pharos_postgres_table_xid_age_transactions", Fold::Greatest),
    ("pharos_postgres_table_multixact_age_transactions", Fold::Greatest),
    ("pharos_postgres_table_vacuum_pressure_ratio", Fold::Greatest),
    ("pharos_postgres_table_last_vacuum_timestamp_seconds", Fold::None),
    ("pharos_postgres_table_last_analyze_timestamp_seconds", Fold::None),
];

/// Reads the tables of every datname.
pub(crate) struct Tables {
    interval: Duration,
    relations: SharedRelations,
    /// Whether system tables have series of their own.
    catalog_series: bool,
    top: Top<7, 9>,
    states: DatnameStates<Arc<Estimates>>,
    /// Readings of the round that is under way.
    read: Vec<TableReadings>,
    /// The role of the session, which the cure for missing estimates names.
    role: String,
}

impl Tables {
    pub(crate) fn new(interval: Duration, relations: SharedRelations, catalog_series: bool) -> Self {
        let top = Top::new(MEMBERS_MAX, GAUGES.map(|(_, fold)| fold));
        Self { interval, relations, catalog_series, top, states: DatnameStates::default(), read: Vec::new(), role: String::new() }
    }

    async fn visit(&mut self, session: &Session, now: Now) -> Result<(), CollectError> {
        session.role().clone_into(&mut self.role);
        let relations = self.relations.read_once(session, PART, now).await?;
        let (estimates, is_due) = self.states.begin_visit(relations.context.datname_oid, relations.context.reset_at);
        if is_due {
            *estimates = Arc::new(bloat::of_tables(session, PART, &relations).await?);
        }
        let estimates = Arc::clone(estimates);
        if is_due {
            self.states.mark_read(relations.context.datname_oid);
        }
        let oldest = oldest::read(session, PART).await?;
        self.read.push(TableReadings { relations, estimates, oldest });
        Ok(())
    }
}

impl Visit for Tables {
    fn part(&self) -> PartId {
        PART
    }

    fn interval(&self) -> Duration {
        self.interval
    }

    fn visit<'a>(&'a mut self, session: &'a mut Session, now: Now) -> BoxFuture<'a, Result<(), CollectError>> {
        self.visit(session, now).boxed()
    }

    fn finish(&mut self, round: &Round, _: Now) -> Facts {
        let readings = std::mem::take(&mut self.read);
        let rows: Vec<(&DatnameContext, &TableRow)> =
            readings.iter().flat_map(|reading| reading.relations.tables.iter().map(|table| (&reading.relations.context, table))).collect();
        let candidates: Vec<Candidate<7, 9>> = rows.iter().map(|(context, table)| candidate(context, table, self.catalog_series)).collect();
        let ranked = self.top.rank(&candidates);
        let metrics = [&COUNTERS[..], &GAUGES.map(|(metric, _)| metric)].concat();
        let label_values = |index: usize| {
            let (context, table) = rows[index];
            vec![context.datname.as_str(), &table.schema, &table.relation]
        };
        let mut families = ranked.families(&LABELS, &metrics, &candidates, label_values);
        families.push(counts(&readings));
        Facts {
            epoch: self.states.end_round(round.epoch, round.listed.as_ref()),
            families,
            tables: listing::tables(&readings, &bloat::cure(&self.role))
                .into_iter()
                .chain([listing::locked_relations(&readings), oldest::table(readings.iter().flat_map(|reading| &reading.oldest))])
                .collect(),
            folded: ranked.folded as u64,
            unlisted: ranked.unlisted(&LABELS, label_values),
            hidden: bloat::hidden(readings.iter().map(|reading| &reading.relations.context), "tables"),
            ..Facts::default()
        }
    }
}

fn candidate(context: &DatnameContext, table: &TableRow, catalog_series: bool) -> Candidate<7, 9> {
    let written = [table.rows_inserted, table.rows_updated, table.rows_deleted].map(|rows| rows as f64);
    let [inserted, updated, deleted] = written;
    let size = (table.size_bytes + table.indexes_bytes) as f64;
    Candidate {
        id: context.id(table.oid),
        // Size, plus a hundred bytes for each row that is dead or was written, plus the rows of sequential scans.
        score: match is_catalog(&table.schema) && !catalog_series {
            true => NEVER_LISTED,
            false => size + 100.0 * (table.dead_rows as f64 + inserted + updated + deleted) + table.sequential_rows as f64,
        },
        counters: [
            table.sequential_scans as f64,
            table.sequential_rows as f64,
            table.index_scans as f64,
            inserted,
            updated,
            deleted,
            table.hot_updates as f64,
        ],
        gauges: [
            table.known_size().map(|size| size as f64),
            table.known_indexes_size().map(|size| size as f64),
            Some(table.live_rows as f64),
            Some(table.dead_rows as f64),
            table.xid_age.map(|age| age as f64),
            table.multixact_age.map(|age| age as f64),
            Some(table.distance.pressure),
            table.vacuumed_at,
            table.analyzed_at,
        ],
    }
}

/// Counts the tables of users in each datname.
fn counts(readings: &[TableReadings]) -> Family {
    let mut counts = FamiliesBuilder::new(&["datname"], &["pharos_postgres_tables"]);
    for TableReadings { relations, .. } in readings.iter().take(SERIES_MAX) {
        let count = relations.tables.iter().filter(|table| table.is_users()).count();
        counts.push(&[&relations.context.datname], &[Some(count as f64)]);
    }
    counts.finish().remove(0)
}
