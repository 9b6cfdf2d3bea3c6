//! Readings of a datname's relations, shared by the visits that need them.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use pharos_model::alert::Now;
use pharos_model::snapshot::{FailureReason, PartId};
use tokio_postgres::types::Type;

use super::datname_context::DatnameContext;
use super::rows::{IndexRow, LockedRelation, TableRow};
use crate::collect::CollectError;
use crate::collect::postgres::row::{Fields, query_with};
use crate::postgres::monitor::{Session, Versioned};

const INDEXES: Versioned = Versioned::new(&[(14, include_str!("../../sql/indexes.sql")), (16, include_str!("../../sql/indexes.16.sql"))]);

/// Most tables read in one datname. Tables beyond the limit are not monitored, so it is far above real servers.
const TABLES_MAX: i64 = 20_000;
/// Most indexes read in one datname: three for each of the tables.
const INDEXES_MAX: i64 = 60_000;
/// Most relations with an ACCESS EXCLUSIVE lock read in one datname. Each of them is skipped, since reading it would wait.
const LOCKED_MAX: i64 = 1_000;
/// Most tables, and most indexes, whose exact size is read: all with series of their own, and as many again. A size costs the server about
/// ten microseconds. The sizes of the rest are the pages of the last vacuum or analyze.
const EXACT_MAX: usize = 400;
/// Smallest relation whose exact size is read, in bytes. A relation whose pages were never counted is read in any case.
const EXACT_BYTES_MIN: i64 = 1 << 20;
/// Guessed bytes of a row and of an index entry, while no vacuum or analyze has counted pages. They only select whose size is read.
const ROW_BYTES_GUESS: i64 = 100;
const ENTRY_BYTES_GUESS: i64 = 20;

/// The relations of one datname.
#[derive(Debug)]
pub(crate) struct Relations {
    pub context: DatnameContext,
    pub tables: Vec<TableRow>,
    pub indexes: Vec<IndexRow>,
    pub locked: Vec<LockedRelation>,
    /// Whether there may be more tables than were read.
    pub has_more_tables: bool,
    /// Whether there may be more locked relations than were read.
    pub has_more_locked: bool,
}

/// The latest relations, for the visit that comes second.
#[derive(Debug, Clone, Default)]
pub(crate) struct SharedRelations(Arc<Mutex<Latest>>);

/// The latest relations, with the time of the round that read them.
type Latest = Option<(Now, Arc<Relations>)>;

impl SharedRelations {
    /// Returns the relations of the datname of this session. They are read once in a round.
    pub(crate) async fn read_once(&self, session: &Session, collector: PartId, now: Now) -> Result<Arc<Relations>, CollectError> {
        let context = DatnameContext::read(session, collector).await?;
        let fits = |(at, relations): &(Now, Arc<Relations>)| *at == now && relations.context.datname_oid == context.datname_oid;
        // The second visit is the last one that needs them, so they are removed here.
        if let Some((_, relations)) = self.latest().take_if(|latest| fits(latest)) {
            return Ok(relations);
        }
        let relations = Arc::new(read(session, collector, context).await?);
        *self.latest() = Some((now, Arc::clone(&relations)));
        Ok(relations)
    }

    fn latest(&self) -> MutexGuard<'_, Latest> {
        self.0.lock()
    }
}

async fn read(session: &Session, collector: PartId, context: DatnameContext) -> Result<Relations, CollectError> {
    let rows = query_with(session, collector, include_str!("../../sql/tables.sql"), &[(&TABLES_MAX, Type::INT8)]).await?;
    let mut tables = rows.iter().map(|row| TableRow::read(collector, row, &context)).collect::<Result<Vec<_>, _>>()?;
    let rows = query_with(session, collector, INDEXES.sql(session.major()), &[(&INDEXES_MAX, Type::INT8)]).await?;
    let mut indexes = rows.iter().map(|row| IndexRow::read(collector, row, &context)).collect::<Result<Vec<_>, _>>()?;
    let rows = query_with(session, collector, include_str!("../../sql/locked_relations.sql"), &[(&LOCKED_MAX, Type::INT8)]).await?;
    let locked = rows.iter().map(|row| LockedRelation::read(collector, row)).collect::<Result<Vec<_>, _>>()?;
    measure(session, collector, &mut tables, &mut indexes, &locked).await?;
    add_indexes_to_tables(&mut tables, &mut indexes);
    let (has_more_tables, has_more_locked) = (tables.len() as i64 >= TABLES_MAX, locked.len() as i64 >= LOCKED_MAX);
    Ok(Relations { context, tables, indexes, locked, has_more_tables, has_more_locked })
}

/// Reads the exact sizes of the largest relations that no session locks.
async fn measure(
    session: &Session,
    collector: PartId,
    tables: &mut [TableRow],
    indexes: &mut [IndexRow],
    locked: &[LockedRelation],
) -> Result<(), CollectError> {
    if locked.len() as i64 >= LOCKED_MAX {
        return Ok(());
    }
    let locked: BTreeSet<u32> = locked.iter().flat_map(|relation| [relation.oid, relation.owner]).collect();
    let rows = |table: &TableRow| table.live_rows.saturating_add(table.dead_rows).max(table.planned_rows as i64);
    let of_tables = tables.iter().filter(|table| !locked.contains(&table.oid)).map(|table| {
        let guess = table.size_bytes.max(rows(table).saturating_mul(ROW_BYTES_GUESS));
        Candidate { oid: table.oid, guess, is_counted: table.is_counted() }
    });
    let mut wanted = worth_asking(of_tables);
    let by_oid: HashMap<u32, &TableRow> = tables.iter().map(|table| (table.oid, table)).collect();
    let of_indexes = indexes.iter().filter(|index| !locked.contains(&index.oid)).filter_map(|index| {
        let table = by_oid.get(&index.table_oid)?;
        // A session that locks the table may lock its indexes next.
        let guess = index.size_bytes.max(rows(table).saturating_mul(ENTRY_BYTES_GUESS));
        (!locked.contains(&table.oid)).then_some(Candidate { oid: index.oid, guess, is_counted: table.is_counted() })
    });
    wanted.extend(worth_asking(of_indexes));
    if wanted.is_empty() {
        return Ok(());
    }
    let sql = include_str!("../../sql/relation_sizes.sql");
    let rows = match query_with(session, collector, sql, &[(&wanted, Type::OID_ARRAY)]).await {
        Ok(rows) => rows,
        // A session locked one of the relations meanwhile.
        Err(err) if err.reason() == FailureReason::LockTimeout => return Ok(()),
        Err(err) => return Err(err),
    };
    let mut sizes: HashMap<u32, (i64, i64)> = HashMap::new();
    for row in &rows {
        let row = Fields::new(collector, row);
        // A relation that was dropped meanwhile has no sizes.
        if let (Some(main), Some(all)) = (row.field("main_bytes")?, row.field("all_bytes")?) {
            sizes.insert(row.field("oid")?, (main, all));
        }
    }
    for table in tables {
        if let Some((heap, all)) = sizes.get(&table.oid) {
            (table.heap_bytes, table.size_bytes, table.size_is_exact) = (*heap, *all, true);
        }
    }
    for index in indexes {
        if let Some((main, _)) = sizes.get(&index.oid) {
            (index.size_bytes, index.size_is_exact) = (*main, true);
        }
    }
    Ok(())
}

/// A relation whose size may be read.
struct Candidate {
    oid: u32,
    /// Guessed size in bytes, from pages and rows.
    guess: i64,
    /// Whether a vacuum or analyze has counted the pages.
    is_counted: bool,
}

/// Selects the largest relations. Among equals, those whose pages were never counted come first.
fn worth_asking(candidates: impl Iterator<Item = Candidate>) -> Vec<u32> {
    let mut worth: Vec<Candidate> = candidates.filter(|candidate| candidate.guess >= EXACT_BYTES_MIN || !candidate.is_counted).collect();
    worth.sort_unstable_by_key(|candidate| (std::cmp::Reverse(candidate.guess), candidate.is_counted, candidate.oid));
    worth.into_iter().take(EXACT_MAX).map(|candidate| candidate.oid).collect()
}

/// Adds sizes and scans of indexes to their tables, and the names of tables to their indexes.
fn add_indexes_to_tables(tables: &mut [TableRow], indexes: &mut Vec<IndexRow>) {
    // An index beyond the limit may belong to any table.
    if indexes.len() as i64 >= INDEXES_MAX {
        tables.iter_mut().for_each(|table| table.is_indexes_size_known = false);
    }
    let places: HashMap<u32, usize> = tables.iter().enumerate().map(|(place, table)| (table.oid, place)).collect();
    for index in indexes.iter_mut() {
        let Some(table) = places.get(&index.table_oid).map(|place| &mut tables[*place]) else { continue };
        table.indexes_bytes = table.indexes_bytes.saturating_add(index.size_bytes);
        table.index_scans = table.index_scans.saturating_add(index.scans);
        index.is_counted = table.is_counted();
        table.is_indexes_size_known &= index.known_size().is_some();
        (index.schema, index.relation) = (Arc::clone(&table.schema), Arc::clone(&table.relation));
    }
    // The table of a removed index was made after the tables were read. The next visit reads both.
    indexes.retain(|index| !index.relation.is_empty());
}
