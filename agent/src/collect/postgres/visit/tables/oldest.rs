//! The relations with the oldest transaction ids. They include temporary tables and shared catalogues, which the table `tables` lacks.

use pharos_model::snapshot::{Column, PartId, Table};

use crate::collect::CollectError;
use crate::collect::postgres::row::{Fields, query};
use crate::postgres::monitor::{Row, Session, Versioned};

const OLDEST: Versioned =
    Versioned::new(&[(14, include_str!("../../sql/oldest_relations.sql")), (16, include_str!("../../sql/oldest_relations.16.sql"))]);

/// Most rows of all datnames together. Each datname has at most six.
const LISTED_MAX: usize = 600;

/// A relation that is older than the age at which autovacuum must freeze it.
#[derive(Debug)]
pub(super) struct OldRelation {
    datname: String,
    schema: String,
    relation: String,
    /// `table`, `shared` or `temporary`.
    kind: String,
    xid_age: i64,
    multixact_age: i64,
    /// Whether this is a temporary table whose session has ended.
    is_orphaned: bool,
    /// The session that a temporary table belongs to, if it can be found.
    pid: Option<i64>,
    user: Option<String>,
    application: Option<String>,
    /// Time by the server's clock, in seconds since 1970.
    backend_start: Option<f64>,
}

/// Reads the relations with the oldest ids in the datname of the session.
pub(super) async fn read(session: &Session, collector: PartId) -> Result<Vec<OldRelation>, CollectError> {
    let rows = query(session, collector, OLDEST.sql(session.major())).await?;
    rows.iter().map(|row| OldRelation::read(collector, row)).collect()
}

impl OldRelation {
    fn read(collector: PartId, row: &Row) -> Result<Self, CollectError> {
        let row = Fields::new(collector, row);
        Ok(Self {
            datname: row.text("datname")?.to_owned(),
            schema: row.text("schema")?.to_owned(),
            relation: row.text("relation")?.to_owned(),
            kind: row.text("kind")?.to_owned(),
            xid_age: row.field("xid_age")?,
            multixact_age: row.field("multixact_age")?,
            is_orphaned: row.field("is_orphaned")?,
            pid: row.field("pid")?,
            user: row.field("user")?,
            application: row.field("application")?,
            backend_start: row.number("backend_start")?,
        })
    }
}

pub(super) fn table<'a>(relations: impl Iterator<Item = &'a OldRelation>) -> Table {
    let rows: Vec<&OldRelation> = relations.take(LISTED_MAX).collect();
    let texts = |value: fn(&OldRelation) -> Option<&str>| rows.iter().map(move |row| value(row));
    Table::new(
        "oldest_relations",
        vec![
            Column::text("datname", texts(|row| Some(&row.datname))),
            Column::text("schema", texts(|row| Some(&row.schema))),
            Column::text("relation", texts(|row| Some(&row.relation))),
            Column::text("kind", texts(|row| Some(&row.kind))),
            Column::integer("xid_age", rows.iter().map(|row| Some(row.xid_age))),
            Column::integer("multixact_age", rows.iter().map(|row| Some(row.multixact_age))),
            Column::boolean("is_orphaned", rows.iter().map(|row| Some(row.is_orphaned))),
            Column::integer("pid", rows.iter().map(|row| row.pid)),
            Column::text("user", texts(|row| row.user.as_deref())),
            Column::text("application", texts(|row| row.application.as_deref())),
            Column::float("backend_start", "seconds", rows.iter().map(|row| row.backend_start)),
        ],
    )
}
