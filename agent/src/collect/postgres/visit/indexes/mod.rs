//! Every index: how large, how used, and what the catalogue says against it or for one that is missing.
//!
//! Counters and what is invalid are read in every visit. Definitions, foreign keys and bloat are looked at in every sixth, and at once when an index came,
//! went or became valid; what was found is judged by the counters of the day.

mod batches;
mod definitions;
mod facts;
mod invalid;
mod listing;

use std::collections::{BTreeSet, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use pharos_model::alert::Now;
use pharos_model::cluster::Cluster;
use pharos_model::postgres::index_facts::{FirstSeen, ScanHistory, UsageSettings, redundant};
use pharos_model::postgres::visits::Kept;
use pharos_model::snapshot::{FamiliesBuilder, Family, PartId};
use pharos_model::top::{Fold, NEVER, Seen, Top};
use pharos_model::unjudged::Unjudged;
use tracing::warn;

use self::definitions::Definitions;
use self::facts::{IndexFact, SchemaFact};
use super::bloat::{self, Estimates};
use super::relations::{IndexRow, Relations, SharedRelations, is_catalog};
use super::{Round, SERIES_MAX, Visit};
use crate::collect::{CollectError, Facts, Notebook};
use crate::postgres::monitor::Session;

pub const PART: PartId = PartId::Indexes;

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
    /// Of the round that is under way.
    read: Vec<Look>,
    role: String,
}

/// What is known of a datname from one visit to the next.
#[derive(Debug, Default)]
struct Known {
    definitions: Definitions,
    estimates: Arc<Estimates>,
    /// Those that nobody used.
    first_seen: FirstSeen,
    /// How its tables were read lately.
    scans: ScanHistory,
    /// Whether it is known what an earlier run of the agent had seen.
    is_recalled: bool,
    /// Whether what was first seen is stored as it is.
    is_noted: bool,
    /// Changes when an index came, went, became valid or that of a primary key.
    mark: u64,
}

/// What was read of one datname.
struct Look {
    relations: Arc<Relations>,
    estimates: Arc<Estimates>,
    constraints: BTreeSet<u32>,
    index_facts: Vec<IndexFact>,
    schema_facts: Vec<SchemaFact>,
    unjudged: Vec<Unjudged>,
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
        let tables = relations.tables.iter().filter(|table| table.is_users()).map(facts::scanned_table);
        known.scans.observe(session.epoch(), surroundings.asked_at, tables, &self.usage);
        known.meet(&relations, &stand_ins, &self.notebook, now).await;
        let invalid = invalid::read(session, PART, &relations).await?;
        let (index_facts, mut unjudged) = facts::of_indexes(&relations, &indexes, &superfluous, invalid, known, &self.usage);
        let (schema_facts, of_schema) = facts::of_schema(&relations, known, &self.usage);
        unjudged.extend(of_schema);
        let constraints = indexes.iter().filter(|index| index.constraint.is_some()).map(|index| index.oid).collect();
        let estimates = Arc::clone(&known.estimates);
        if looks {
            self.kept.looked(surroundings.datname_oid);
        }
        self.read.push(Look { estimates, constraints, index_facts, schema_facts, unjudged, relations });
        Ok(())
    }
}

impl Known {
    /// Nothing is known of another cluster behind the same address.
    fn enter(&mut self, cluster: &Cluster) {
        if !self.first_seen.is_of(cluster) {
            *self = Self { first_seen: FirstSeen::of(cluster.clone()), ..Self::default() };
        }
    }

    /// Remembers since when each unused index is known. Of one that is read, the server's own statistics say enough; the time of one that
    /// stands in for another begins when that is gone.
    async fn meet(&mut self, relations: &Relations, stand_ins: &HashSet<u32>, notebook: &Notebook, now: Now) {
        let surroundings = &relations.surroundings;
        let is_unused = |index: &&IndexRow| index.scans == 0 && index.is_users() && !stand_ins.contains(&index.oid);
        let unused = relations.indexes.iter().filter(is_unused).map(|index| index.oid);
        self.is_noted &= !self.first_seen.meet(unused, surroundings.asked_at);
        let topic = surroundings.datname_oid.to_string();
        if !self.is_recalled
            && let Ok(earlier) = notebook.read::<FirstSeen>(PART, &topic, now).await
        {
            earlier.iter().for_each(|earlier| self.first_seen.recall(earlier));
            self.is_recalled = true;
        }
        // Before that, what was noted knows more.
        if self.is_recalled && !self.is_noted {
            self.is_noted = notebook.write(PART, &topic, &self.first_seen.note(), Vec::new(), now).await.is_ok();
        }
    }
}

/// A unique index may become that of a primary key.
fn mark(relations: &Relations) -> u64 {
    let mut indexes: Vec<(u32, bool, bool)> = relations.indexes.iter().map(|index| (index.oid, index.is_valid, index.is_primary)).collect();
    indexes.sort_unstable();
    let mut hasher = DefaultHasher::new();
    indexes.hash(&mut hasher);
    hasher.finish()
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
