//! Estimates the unused space (bloat) of tables and B-tree indexes from the planner's statistics.
//!
//! Without SELECT on pg_statistic the view pg_stats is empty and raises no error. The bloat is unknown then, which differs from no bloat.

use std::collections::HashMap;

use pharos_model::postgres::bloat::{Bloat, Btree, ColumnStatistics, Heap};
use pharos_model::postgres::privilege::STATISTIC_COLUMNS;
use pharos_model::postgres::privilege::sql::identifier;
use pharos_model::postgres::vacuum::VacuumSettings;
use pharos_model::snapshot::PartId;
use tokio_postgres::types::Type;

use super::relations::{DatnameContext, IndexRow, Relations, TableRow};
use crate::collect::postgres::row::{Fields, query_with};
use crate::collect::{CollectError, Hidden};
use crate::postgres::monitor::Session;

/// Most relations that are estimated in one datname: the largest.
const ESTIMATED_MAX: usize = 200;
/// Smallest relation that is estimated, in bytes. Unused space in a smaller one does not matter.
const ESTIMATED_BYTES_MIN: i64 = 128 << 10;
/// Share of a leaf page that CREATE INDEX fills.
const BTREE_FILLFACTOR: f64 = 90.0;

/// Why the bloat of a large relation is not known.
pub(super) const UNKNOWN: &str = "its bloat is not estimated: it was never analysed, or it is not among the largest";

/// The estimate of a relation's unused space.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Estimate {
    Estimated(Bloat),
    /// The relation was not analyzed since its columns last changed.
    NoStatistics,
    /// The role may not read the statistics.
    NotEstimable,
    /// The index is no B-tree, so its unused space is not estimated.
    OtherKind,
}

/// Estimates by relation (oid). Small relations are left out.
pub(super) type Estimates = HashMap<u32, Estimate>;

impl Estimate {
    /// Name of the state in the tables.
    pub(super) fn state(&self) -> &'static str {
        match self {
            Self::Estimated(_) => "estimated",
            Self::NoStatistics => "no-statistics",
            Self::NotEstimable => "not-estimable",
            Self::OtherKind => "other-kind",
        }
    }

    /// Whether the bloat is known, is never estimated, or is unknown for a reason that is reported for the whole datname.
    pub(super) fn is_explained(&self) -> bool {
        matches!(self, Self::Estimated(_) | Self::OtherKind | Self::NotEstimable)
    }

    pub(super) fn bloat(&self) -> Option<Bloat> {
        match self {
            Self::Estimated(bloat) => Some(*bloat),
            _ => None,
        }
    }
}

/// Lists the datnames whose bloat is unknown because the role may not read the statistics.
pub(super) fn hidden<'a>(context: impl Iterator<Item = &'a DatnameContext>, what: &str) -> Vec<Hidden> {
    let unread = context.filter(|context| !context.reads_statistics);
    let hidden = |context: &DatnameContext| Hidden {
        datname: context.datname.clone(),
        why: format!("the bloat of {what} cannot be estimated: the role may not read six columns of pg_statistic"),
        is_grave: false,
    };
    unread.map(hidden).collect()
}

/// Returns the command that lets the role read the statistics.
pub(super) fn cure(role: &str) -> String {
    let columns = STATISTIC_COLUMNS.join(", ");
    format!(
        "in this datname: GRANT SELECT ({columns}) ON pg_catalog.pg_statistic TO {}; `pharos doctor` writes that for all of them",
        identifier(role)
    )
}

/// Estimates the bloat of the largest tables.
pub(super) async fn of_tables(session: &Session, collector: PartId, relations: &Relations) -> Result<Estimates, CollectError> {
    let tables: HashMap<u32, &TableRow> = relations.tables.iter().map(|table| (table.oid, table)).collect();
    let wanted = largest(relations.tables.iter().map(|table| (table.heap_bytes, table.oid)));
    if !relations.context.reads_statistics {
        return Ok(wanted.into_iter().map(|oid| (oid, Estimate::NotEstimable)).collect());
    }
    let sql = include_str!("../sql/table_statistics.sql");
    let rows = query_with(session, collector, sql, &[(&wanted, Type::OID_ARRAY)]).await?;
    let mut estimates = Estimates::new();
    for row in &rows {
        let row = Fields::new(collector, row);
        let Some(table) = tables.get(&row.field::<u32>("oid")?) else { continue };
        let columns = columns(&row, None)?;
        let heap = |columns: &[ColumnStatistics]| {
            Heap {
                bytes: table.heap_bytes as f64,
                rows: table.rows(),
                block_size: relations.context.block_size as f64,
                fillfactor: table.vacuum.fillfactor,
                columns,
            }
            .bloat()
        };
        // Counters have the number of rows before the first analyze, but not their width.
        let estimate = columns.map_or(Estimate::NoStatistics, |columns| Estimate::Estimated(heap(&columns)));
        estimates.insert(table.oid, estimate);
    }
    Ok(estimates)
}

/// Estimates the bloat of the largest B-tree indexes.
pub(super) async fn of_indexes(session: &Session, collector: PartId, relations: &Relations) -> Result<Estimates, CollectError> {
    let indexes: HashMap<u32, &IndexRow> = relations.indexes.iter().map(|index| (index.oid, index)).collect();
    let wanted = largest(relations.indexes.iter().map(|index| (index.size_bytes, index.oid)));
    if !relations.context.reads_statistics {
        return Ok(wanted.into_iter().map(|oid| (oid, Estimate::NotEstimable)).collect());
    }
    let sql = include_str!("../sql/index_statistics.sql");
    let rows = query_with(session, collector, sql, &[(&wanted, Type::OID_ARRAY)]).await?;
    // The query returns B-trees only.
    let mut estimates: Estimates = wanted.iter().map(|oid| (*oid, Estimate::OtherKind)).collect();
    for row in &rows {
        let row = Fields::new(collector, row);
        let Some(index) = indexes.get(&row.field::<u32>("oid")?) else { continue };
        estimates.insert(index.oid, estimate_index(&row, index, relations.context.block_size)?);
    }
    Ok(estimates)
}

fn estimate_index(row: &Fields<'_>, index: &IndexRow, block_size: i64) -> Result<Estimate, CollectError> {
    let rows = row.number("rows")?.unwrap_or(-1.0);
    let columns = columns(row, row.number("table_rows")?)?;
    let Some(columns) = columns.filter(|_| rows >= 0.0) else { return Ok(Estimate::NoStatistics) };
    let options: Option<Vec<&str>> = row.field("options")?;
    let defaults = VacuumSettings { fillfactor: BTREE_FILLFACTOR, ..VacuumSettings::default() };
    let bloat = Btree {
        bytes: index.size_bytes as f64,
        rows,
        block_size: block_size as f64,
        fillfactor: defaults.with_options(options.into_iter().flatten()).fillfactor,
        columns: &columns,
        deduplicates: row.field("deduplicates")?,
    }
    .bloat();
    Ok(Estimate::Estimated(bloat))
}

fn largest(sizes: impl Iterator<Item = (i64, u32)>) -> Vec<u32> {
    let mut sizes: Vec<(i64, u32)> = sizes.filter(|(bytes, _)| *bytes >= ESTIMATED_BYTES_MIN).collect();
    sizes.sort_unstable_by(|a, b| b.cmp(a));
    sizes.into_iter().take(ESTIMATED_MAX).map(|(_, oid)| oid).collect()
}

/// Reads the statistics of all columns, if the planner has them for each. Distinct values are read only if `table_rows` is known.
fn columns(row: &Fields<'_>, table_rows: Option<f64>) -> Result<Option<Vec<ColumnStatistics>>, CollectError> {
    let lengths: Vec<i32> = row.field("lengths")?;
    let alignments: Vec<i32> = row.field("alignments")?;
    let widths: Vec<Option<i32>> = row.field("widths")?;
    let null_fractions: Vec<Option<f64>> = row.field("null_fractions")?;
    let distincts: Vec<Option<f64>> = if table_rows.is_some() { row.field("distincts")? } else { vec![None; lengths.len()] };
    let column = |index: usize| {
        let distinct = distincts.get(index).copied().flatten().filter(|distinct| *distinct != 0.0);
        Some(ColumnStatistics {
            fixed_length: lengths.get(index).and_then(|length| u16::try_from(*length).ok()),
            alignment: alignments.get(index).and_then(|alignment| u32::try_from(*alignment).ok()).unwrap_or(1),
            width: f64::from((*widths.get(index)?)?),
            null_fraction: (*null_fractions.get(index)?)?,
            // A negative number is a share of the rows.
            distinct: distinct.map(|distinct| if distinct < 0.0 { -distinct * table_rows.unwrap_or(0.0) } else { distinct }),
        })
    };
    Ok((0..lengths.len()).map(column).collect())
}
