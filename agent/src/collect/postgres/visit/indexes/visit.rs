//! The visit that reads indexes.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use pharos_model::alert::Now;
use pharos_model::cluster::Cluster;
use pharos_model::postgres::index_facts::{UsageSettings, redundant};
use pharos_model::postgres::visits::Kept;
use pharos_model::snapshot::{FamiliesBuilder, Family, PartId};
use pharos_model::top::{Fold, NEVER, Seen, Top};
use tracing::warn;

use super::definitions::Definitions;
use super::index_facts::{self, Evidence};
use super::known::{Known, mark};
use super::look::Look;
use super::schema_facts;
use super::{invalid, listing};
use crate::collect::postgres::visit::bloat;
use crate::collect::postgres::visit::datname_visit::{SERIES_MAX, Visit};
use crate::collect::postgres::visit::relations::{IndexRow, SharedRelations, is_catalog};
use crate::collect::postgres::visit::round::Round;
use crate::collect::{CollectError, Facts, Notebook};
use crate::postgres::monitor::Session;

const PART: PartId = PartId::Indexes;

/// Indexes of one server with series of their own.
const MEMBERS_MAX: usize = 200;
const LABELS: [&str; 4] = ["datname", "schema", "relation", "index"];

const COUNTERS: [&str; 3] =
    ["pharos_postgres_index_scans_total", "pharos_postgres_index_rows_read_total", "pharos_postgres_index_rows_fetched_total"];
const GAUGES: [(&str, Fold); 2] = [("pharos_postgres_index_size_bytes", Fold::Sum), ("pharos_postgres_index_bloat_bytes", Fold::Sum)];

pub struct Indexes {
    interval: Duration,
    relations: SharedRelations,
    usage: UsageSettings,
    notebook: Notebook,
    /// Whether indexes of the server's own tables have series of their own.
    catalog_series: bool,
    top: Top<3, 2>,
    kept: Kept<Known>,
    /// Readings of the round that is under way.
    read: Vec<Look>,
    role: String,
}

impl Indexes {
    pub fn new(interval: Duration, relations: SharedRelations, usage: UsageSettings, notebook: Notebook, catalog_series: bool) -> Self {
        let top = Top::new(MEMBERS_MAX, GAUGES.map(|(_, fold)| fold));
        Self { interval, relations, usage, notebook, catalog_series, top, kept: Kept::default(), read: Vec::new(), role: String::new() }
    }

    async fn visit(&mut self, session: &Session, now: Now) -> Result<(), CollectError> {
        session.role().clone_into(&mut self.role);
        let relations = self.relations.of(session, PART, now).await?;
        let surroundings = &relations.surroundings;
        let (known, is_time) = self.kept.enter(surroundings.datname_oid, surroundings.reset_at);
        known.enter(&Cluster::new(session.system_identifier()));
        let mark = mark(&relations);
        let looks = is_time || known.mark != mark;
        if looks {
            let definitions = Definitions::read(session, PART, surroundings).await?;
            let (datname, tables) = (&surroundings.datname, definitions.unread_tables.len());
            if tables > known.definitions.unread_tables.len() {
                warn!(datname, tables, "`{datname}` has more indexes than are compared: {tables} tables are not judged by their indexes");
            }
            known.definitions = definitions;
            known.estimates = Arc::new(bloat::of_indexes(session, PART, &relations).await?);
            known.mark = mark;
        }
        let indexes = known.definitions.with_counters(&relations);
        let superfluous = redundant(&indexes);
        let stand_ins = superfluous.iter().map(|(_, stays, _)| stays.oid).collect();
        let tables = relations.tables.iter().filter(|table| table.is_users()).map(schema_facts::scanned_table);
        known.scans.observe(session.epoch(), surroundings.asked_at, tables, &self.usage);
        known.meet(&relations, &stand_ins, &self.notebook, now).await;
        let invalid = invalid::read(session, PART, &relations).await?;
        let evidence = Evidence { relations: &relations, indexes: &indexes, superfluous: &superfluous, known, usage: &self.usage };
        let mut of_indexes = index_facts::index_facts(&evidence, invalid);
        let of_schema = schema_facts::schema_facts(&relations, known, &self.usage);
        of_indexes.unjudged.extend(of_schema.unjudged);
        let constraints = indexes.iter().filter(|index| index.constraint.is_some()).map(|index| index.oid).collect();
        let estimates = Arc::clone(&known.estimates);
        if looks {
            self.kept.mark_read(surroundings.datname_oid);
        }
        let (index_facts, schema_facts, unjudged) = (of_indexes.facts, of_schema.facts, of_indexes.unjudged);
        self.read.push(Look { relations, estimates, constraints, index_facts, schema_facts, unjudged });
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
        let looks = std::mem::take(&mut self.read);
        let rows: Vec<(&Look, &IndexRow)> =
            looks.iter().flat_map(|look| look.relations.indexes.iter().map(move |index| (look, index))).collect();
        let seen: Vec<Seen<3, 2>> = rows.iter().map(|(look, index)| seen(look, index, self.catalog_series)).collect();
        let ranked = self.top.rank(&seen);
        let metrics = [&COUNTERS[..], &GAUGES.map(|(metric, _)| metric)].concat();
        let label_values = |place: usize| {
            let (look, index) = rows[place];
            vec![look.relations.surroundings.datname.as_str(), &index.schema, &index.relation, &index.index]
        };
        let mut families = ranked.families(&LABELS, &metrics, &seen, label_values);
        families.push(counts(&looks));
        let tables = listing::tables(&looks, &bloat::cure(&self.role));
        Facts {
            epoch: self.kept.leave(round.epoch, round.listed.as_ref()),
            families,
            tables,
            folded: ranked.folded as u64,
            unlisted: ranked.unlisted(&LABELS, label_values),
            hidden: bloat::hidden(looks.iter().map(|look| &look.relations.surroundings), "indexes"),
            ..Facts::default()
        }
    }
}

fn seen(look: &Look, index: &IndexRow, catalog_series: bool) -> Seen<3, 2> {
    let bloat = look.estimates.get(&index.oid).and_then(|estimate| estimate.bloat());
    Seen {
        id: look.relations.surroundings.id(index.oid),
        // What is large, or read as if it were: eight bytes an entry.
        score: match is_catalog(&index.schema) && !catalog_series {
            true => NEVER,
            false => index.size_bytes as f64 + 8.0 * index.rows_read as f64,
        },
        counters: [index.scans as f64, index.rows_read as f64, index.rows_fetched as f64],
        gauges: [index.known_size().map(|size| size as f64), bloat.map(|bloat| bloat.bytes)],
    }
}

/// Indexes of users in each datname.
fn counts(looks: &[Look]) -> Family {
    let mut counts = FamiliesBuilder::new(&["datname"], &["pharos_postgres_indexes"]);
    for Look { relations, .. } in looks.iter().take(SERIES_MAX) {
        let count = relations.indexes.iter().filter(|index| index.is_users()).count();
        counts.push(&[&relations.surroundings.datname], &[Some(count as f64)]);
    }
    counts.finish().remove(0)
}
