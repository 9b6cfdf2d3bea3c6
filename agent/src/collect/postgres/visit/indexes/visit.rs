//! The visit that reads indexes.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use pharos_model::alert::Now;
use pharos_model::cluster::Cluster;
use pharos_model::postgres::index_facts::{UsageSettings, redundant};
use pharos_model::postgres::visits::DatnameStates;
use pharos_model::snapshot::{FamiliesBuilder, Family, PartId};
use pharos_model::top::{Candidate, Fold, NEVER_LISTED, Top};
use tracing::warn;

use super::definitions::Definitions;
use super::index_facts::{self, Evidence};
use super::index_state::{IndexState, fingerprint};
use super::readings::IndexReadings;
use super::schema_facts;
use super::{invalid, listing};
use crate::collect::postgres::visit::bloat;
use crate::collect::postgres::visit::datname_visit::{SERIES_MAX, Visit};
use crate::collect::postgres::visit::relations::{IndexRow, SharedRelations, is_catalog};
use crate::collect::postgres::visit::round::Round;
use crate::collect::{CollectError, Facts, Notebook};
use crate::postgres::monitor::Session;

const PART: PartId = PartId::Indexes;

/// Most indexes of one server with series of their own.
const MEMBERS_MAX: usize = 200;
const LABELS: [&str; 4] = ["datname", "schema", "relation", "index"];

const COUNTERS: [&str; 3] =
    ["pharos_postgres_index_scans_total", "pharos_postgres_index_rows_read_total", "pharos_postgres_index_rows_fetched_total"];
const GAUGES: [(&str, Fold); 2] = [("pharos_postgres_index_size_bytes", Fold::Sum), ("pharos_postgres_index_bloat_bytes", Fold::Sum)];

/// Reads the indexes of every datname.
pub(crate) struct Indexes {
    interval: Duration,
    relations: SharedRelations,
    usage: UsageSettings,
    notebook: Notebook,
    /// Whether indexes of system tables have series of their own.
    catalog_series: bool,
    top: Top<3, 2>,
    states: DatnameStates<IndexState>,
    /// Readings of the round that is under way.
    read: Vec<IndexReadings>,
    role: String,
}

impl Indexes {
    pub(crate) fn new(
        interval: Duration,
        relations: SharedRelations,
        usage: UsageSettings,
        notebook: Notebook,
        catalog_series: bool,
    ) -> Self {
        let top = Top::new(MEMBERS_MAX, GAUGES.map(|(_, fold)| fold));
        Self {
            interval,
            relations,
            usage,
            notebook,
            catalog_series,
            top,
            states: DatnameStates::default(),
            read: Vec::new(),
            role: String::new(),
        }
    }

    async fn visit(&mut self, session: &Session, now: Now) -> Result<(), CollectError> {
        session.role().clone_into(&mut self.role);
        let relations = self.relations.read_once(session, PART, now).await?;
        let context = &relations.context;
        let (state, is_time) = self.states.begin_visit(context.datname_oid, context.reset_at);
        state.reset_for_other_cluster(&Cluster::new(session.system_identifier()));
        let fingerprint = fingerprint(&relations);
        let is_due = is_time || state.fingerprint != fingerprint;
        if is_due {
            let definitions = Definitions::read(session, PART, context).await?;
            let (datname, tables) = (&context.datname, definitions.unread_tables.len());
            if tables > state.definitions.unread_tables.len() {
                warn!(datname, tables, "`{datname}` has more indexes than are compared: {tables} tables are not judged by their indexes");
            }
            state.definitions = definitions;
            state.estimates = Arc::new(bloat::of_indexes(session, PART, &relations).await?);
            state.fingerprint = fingerprint;
        }
        let indexes = state.definitions.with_counters(&relations);
        let superfluous = redundant(&indexes);
        let stand_ins = superfluous.iter().map(|(_, stays, _)| stays.oid).collect();
        let tables = relations.tables.iter().filter(|table| table.is_users()).map(schema_facts::scanned_table);
        state.scans.observe(session.epoch(), context.asked_at, tables, &self.usage);
        state.observe_unused(&relations, &stand_ins, &self.notebook, now).await;
        let invalid = invalid::read(session, PART, &relations).await?;
        let evidence = Evidence { relations: &relations, indexes: &indexes, superfluous: &superfluous, state, usage: &self.usage };
        let mut of_indexes = index_facts::index_facts(&evidence, invalid);
        let of_schema = schema_facts::schema_facts(&relations, state, &self.usage);
        of_indexes.unjudged.extend(of_schema.unjudged);
        let constraints = indexes.iter().filter(|index| index.constraint.is_some()).map(|index| index.oid).collect();
        let estimates = Arc::clone(&state.estimates);
        if is_due {
            self.states.mark_read(context.datname_oid);
        }
        let (index_facts, schema_facts, unjudged) = (of_indexes.facts, of_schema.facts, of_indexes.unjudged);
        self.read.push(IndexReadings { relations, estimates, constraints, index_facts, schema_facts, unjudged });
        Ok(())
    }
}

impl Visit for Indexes {
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
        let rows: Vec<(&IndexReadings, &IndexRow)> =
            readings.iter().flat_map(|reading| reading.relations.indexes.iter().map(move |index| (reading, index))).collect();
        let candidates: Vec<Candidate<3, 2>> = rows.iter().map(|(reading, index)| candidate(reading, index, self.catalog_series)).collect();
        let ranked = self.top.rank(&candidates);
        let metrics = [&COUNTERS[..], &GAUGES.map(|(metric, _)| metric)].concat();
        let label_values = |place: usize| {
            let (reading, index) = rows[place];
            vec![reading.relations.context.datname.as_str(), &index.schema, &index.relation, &index.index]
        };
        let mut families = ranked.families(&LABELS, &metrics, &candidates, label_values);
        families.push(counts(&readings));
        let tables = listing::tables(&readings, &bloat::cure(&self.role));
        Facts {
            epoch: self.states.end_round(round.epoch, round.listed.as_ref()),
            families,
            tables,
            folded: ranked.folded as u64,
            unlisted: ranked.unlisted(&LABELS, label_values),
            hidden: bloat::hidden(readings.iter().map(|reading| &reading.relations.context), "indexes"),
            ..Facts::default()
        }
    }
}

fn candidate(reading: &IndexReadings, index: &IndexRow, catalog_series: bool) -> Candidate<3, 2> {
    let bloat = reading.estimates.get(&index.oid).and_then(|estimate| estimate.bloat());
    Candidate {
        id: reading.relations.context.id(index.oid),
        // Size, plus eight bytes for each entry that was read.
        score: match is_catalog(&index.schema) && !catalog_series {
            true => NEVER_LISTED,
            false => index.size_bytes as f64 + 8.0 * index.rows_read as f64,
        },
        counters: [index.scans as f64, index.rows_read as f64, index.rows_fetched as f64],
        gauges: [index.known_size().map(|size| size as f64), bloat.map(|bloat| bloat.bytes)],
    }
}

/// Counts the indexes of users in each datname.
fn counts(readings: &[IndexReadings]) -> Family {
    let mut counts = FamiliesBuilder::new(&["datname"], &["pharos_postgres_indexes"]);
    for IndexReadings { relations, .. } in readings.iter().take(SERIES_MAX) {
        let count = relations.indexes.iter().filter(|index| index.is_users()).count();
        counts.push(&[&relations.context.datname], &[Some(count as f64)]);
    }
    counts.finish().remove(0)
}
