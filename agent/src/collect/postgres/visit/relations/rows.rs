//! The rows of tables, indexes and locks as the server returns them.

use std::sync::Arc;

use pharos_model::postgres::index_facts::ScanCounters;
use pharos_model::postgres::vacuum::{VacuumDistance, VacuumSettings};
use pharos_model::snapshot::PartId;

use super::datname_context::DatnameContext;
use crate::collect::CollectError;
use crate::collect::postgres::row::Fields;
use crate::postgres::monitor::Row;

/// Lowest number (oid) of objects that users made. Lower numbers came with the server.
const FIRST_OF_USERS: u32 = 16_384;

/// Whether the schema belongs to the server itself. Objects that users make there count as objects of the server.
pub(crate) fn is_catalog(schema: &str) -> bool {
    matches!(schema, "pg_catalog" | "information_schema" | "pg_toast")
}

/// A table or materialised view with its TOAST relation.
#[derive(Debug, Clone)]
pub(crate) struct TableRow {
    pub oid: u32,
    pub schema: Arc<str>,
    pub relation: Arc<str>,
    /// Size in bytes without the TOAST relation.
    pub heap_bytes: i64,
    /// Size in bytes with the TOAST relation.
    pub size_bytes: i64,
    pub size_is_exact: bool,
    /// Sum of the known index sizes in bytes. It is used to select the largest tables.
    pub indexes_bytes: i64,
    /// Whether the size of every index is known.
    pub is_indexes_size_known: bool,
    /// Number of rows as of the last vacuum or analyze; negative before the first.
    pub planned_rows: f64,
    pub live_rows: i64,
    pub dead_rows: i64,
    pub changes_since_analyze: i64,
    pub sequential_scans: i64,
    pub sequential_rows: i64,
    pub index_scans: i64,
    pub rows_inserted: i64,
    pub rows_updated: i64,
    pub rows_deleted: i64,
    pub hot_updates: i64,
    /// Time by the server's clock, in seconds since 1970.
    pub vacuumed_at: Option<f64>,
    pub analyzed_at: Option<f64>,
    pub xid_age: Option<i64>,
    pub multixact_age: Option<i64>,
    pub vacuum: VacuumSettings,
    pub distance: VacuumDistance,
}

impl TableRow {
    pub(super) fn read(collector: PartId, row: &Row, context: &DatnameContext) -> Result<Self, CollectError> {
        let row = Fields::new(collector, row);
        let options: Option<Vec<&str>> = row.field("options")?;
        let vacuum = context.vacuum.with_options(options.into_iter().flatten());
        let planned_rows = row.number("planned_rows")?.unwrap_or(-1.0);
        let (dead_rows, inserts, changes): (i64, i64, i64) =
            (row.field("dead_rows")?, row.field("inserts_since_vacuum")?, row.field("changes_since_analyze")?);
        let heap_bytes = row.field::<i64>("heap_pages")?.saturating_mul(context.block_size);
        let toast_bytes = row.field::<i64>("toast_pages")?.saturating_mul(context.block_size);
        Ok(Self {
            oid: row.field("oid")?,
            schema: row.text("schema")?.into(),
            relation: row.text("relation")?.into(),
            heap_bytes,
            size_bytes: heap_bytes.saturating_add(toast_bytes),
            size_is_exact: false,
            indexes_bytes: 0,
            is_indexes_size_known: true,
            planned_rows,
            live_rows: row.field("live_rows")?,
            dead_rows,
            changes_since_analyze: changes,
            sequential_scans: row.field("sequential_scans")?,
            sequential_rows: row.field("sequential_rows")?,
            index_scans: 0,
            rows_inserted: row.field("rows_inserted")?,
            rows_updated: row.field("rows_updated")?,
            rows_deleted: row.field("rows_deleted")?,
            hot_updates: row.field("hot_updates")?,
            vacuumed_at: row.number("vacuumed_at")?,
            analyzed_at: row.number("analyzed_at")?,
            xid_age: row.field("xid_age")?,
            multixact_age: row.field("multixact_age")?,
            vacuum,
            distance: vacuum.distance(planned_rows, dead_rows as f64, inserts as f64, changes as f64),
        })
    }

    pub(crate) fn is_users(&self) -> bool {
        self.oid >= FIRST_OF_USERS
    }

    /// Current number of rows. Counters begin at zero after a reset, so they are used only after a vacuum or analyze has corrected them. An
    /// analyze in the transaction that wrote the rows sets them too low for a moment. While nothing changed, `planned_rows` is right.
    pub(crate) fn rows(&self) -> f64 {
        let is_counted = self.vacuumed_at.is_some() || self.analyzed_at.is_some();
        let is_planned = self.planned_rows >= 0.0;
        if is_planned && (!is_counted || self.changes_since_analyze == 0) { self.planned_rows } else { self.live_rows as f64 }
    }

    /// Current number of rows, if a vacuum or analyze has ever counted them.
    pub(crate) fn counted_rows(&self) -> Option<f64> {
        let is_known = self.planned_rows >= 0.0 || self.vacuumed_at.is_some() || self.analyzed_at.is_some();
        is_known.then(|| self.rows())
    }

    /// Returns how often the table was read, as the server counts.
    pub(crate) fn scans(&self) -> ScanCounters {
        let Self { sequential_scans, sequential_rows, index_scans, .. } = *self;
        ScanCounters { sequential_scans, sequential_rows, index_scans }
    }

    /// Whether a vacuum or analyze has counted the pages since the server last lost its statistics. Before that the size is unknown.
    pub(crate) fn is_counted(&self) -> bool {
        self.planned_rows >= 0.0 && (self.vacuumed_at.is_some() || self.analyzed_at.is_some())
    }

    /// Size in bytes, if it was read exactly or counted by a vacuum or analyze.
    pub(crate) fn known_size(&self) -> Option<i64> {
        (self.size_is_exact || self.is_counted()).then_some(self.size_bytes)
    }

    /// Size of all indexes in bytes. It is unknown if the size of one index is, since the sum would be too low.
    pub(crate) fn known_indexes_size(&self) -> Option<i64> {
        self.is_indexes_size_known.then_some(self.indexes_bytes)
    }

    /// Bytes that dead rows take, if they are as wide as the others.
    pub(crate) fn dead_bytes(&self) -> i64 {
        let all = (self.live_rows + self.dead_rows).max(1);
        (self.heap_bytes as f64 * self.dead_rows as f64 / all as f64) as i64
    }
}

/// An index of a table or materialised view.
#[derive(Debug, Clone)]
pub(crate) struct IndexRow {
    pub oid: u32,
    pub table_oid: u32,
    pub schema: Arc<str>,
    pub relation: Arc<str>,
    pub index: Arc<str>,
    pub size_bytes: i64,
    pub size_is_exact: bool,
    /// Whether a vacuum or analyze has counted the pages of its table.
    pub is_counted: bool,
    pub is_unique: bool,
    pub is_primary: bool,
    pub is_valid: bool,
    pub scans: i64,
    pub rows_read: i64,
    pub rows_fetched: i64,
    /// Time by the server's clock, in seconds since 1970; PostgreSQL 16 and newer.
    pub last_scan_at: Option<f64>,
}

impl IndexRow {
    /// Reads an index. The row has no names of its table, so they are added later from the row of the table.
    pub(super) fn read(collector: PartId, row: &Row, context: &DatnameContext) -> Result<Self, CollectError> {
        let row = Fields::new(collector, row);
        Ok(Self {
            oid: row.field("oid")?,
            table_oid: row.field("table_oid")?,
            schema: "".into(),
            relation: "".into(),
            index: row.text("index")?.into(),
            size_bytes: row.field::<i64>("pages")?.saturating_mul(context.block_size),
            size_is_exact: false,
            is_counted: false,
            is_unique: row.field("is_unique")?,
            is_primary: row.field("is_primary")?,
            is_valid: row.field("is_valid")?,
            scans: row.field("scans")?,
            rows_read: row.field("rows_read")?,
            rows_fetched: row.field("rows_fetched")?,
            last_scan_at: row.number("last_scan_at")?,
        })
    }

    /// Size in bytes, if it was read exactly or counted by a vacuum or analyze.
    pub(crate) fn known_size(&self) -> Option<i64> {
        (self.size_is_exact || self.is_counted).then_some(self.size_bytes)
    }

    pub(crate) fn is_users(&self) -> bool {
        self.oid >= FIRST_OF_USERS
    }
}

/// A relation with an ACCESS EXCLUSIVE lock, or with a session that waits for one.
#[derive(Debug, Clone)]
pub(crate) struct LockedRelation {
    pub oid: u32,
    /// The table (oid) that an index or a TOAST relation belongs to. Schema and name are those of this table.
    pub owner: u32,
    pub schema: String,
    pub relation: String,
    pub mode: String,
    pub state: String,
    pub locker: Locker,
}

/// The session that holds the lock, or waits for it first.
#[derive(Debug, Clone)]
pub(crate) struct Locker {
    /// The process of the session. A prepared transaction has none.
    pub pid: Option<i64>,
    pub user: Option<String>,
    pub application: Option<String>,
    pub session_state: Option<String>,
    /// Time by the server's clock, in seconds since 1970.
    pub backend_start: Option<f64>,
    /// The name of a prepared transaction.
    pub prepared: Option<String>,
}

impl LockedRelation {
    pub(super) fn read(collector: PartId, row: &Row) -> Result<Self, CollectError> {
        let row = Fields::new(collector, row);
        Ok(Self {
            oid: row.field("oid")?,
            owner: row.field("owner")?,
            schema: row.text("schema")?.to_owned(),
            relation: row.text("relation")?.to_owned(),
            mode: row.text("mode")?.to_owned(),
            state: row.text("state")?.to_owned(),
            locker: Locker {
                pid: row.field("pid")?,
                user: row.field("user")?,
                application: row.field("application")?,
                session_state: row.field("session_state")?,
                backend_start: row.number("backend_start")?,
                prepared: row.field("prepared")?,
            },
        })
    }
}
