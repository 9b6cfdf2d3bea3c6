//! Definitions of indexes, foreign keys and primary keys, from the catalogue.

use std::collections::HashMap;

use pharos_model::postgres::index_facts::{
    ForeignKey, IndexKey, IndexShape, expressions, required_not_null_columns, without_index, without_locations,
};
use pharos_model::snapshot::PartId;
use pharos_model::text;
use tokio_postgres::types::Type;

use super::batches::{Batches, Bounds};
use crate::collect::CollectError;
use crate::collect::postgres::row::{Fields, query_with};
use crate::collect::postgres::visit::relations::{DatnameContext, IndexRow, Relations};
use crate::postgres::monitor::{Row, Session, Versioned};

const DEFINITIONS: Versioned =
    Versioned::new(&[(14, include_str!("../../sql/index_definitions.sql")), (15, include_str!("../../sql/index_definitions.15.sql"))]);

/// Most indexes read in one datname and in one answer. Each has two parse trees of up to 8,000 bytes, which keeps an answer within its
/// limit. An index with a longer tree is not compared with others. A table whose indexes are beyond the limits is not judged.
const BOUNDS: Bounds = Bounds { in_datname: 20_000, in_answer: 2_000 };
/// Longest parse tree that is stored, in bytes. A longer one is stored as its digest, since trees are only compared.
const TREE_BYTES_MAX: usize = 400;
/// Most foreign keys read in one datname. Real schemas have hundreds.
const FOREIGN_KEYS_MAX: i64 = 10_000;
/// Most tables without a primary key read in one datname. A person repairs them one by one.
const WITHOUT_KEY_MAX: i64 = 200;

/// The definitions of indexes and keys in one datname.
#[derive(Debug, Default)]
pub(super) struct Definitions {
    indexes: Vec<IndexShape>,
    /// Names of the tables that the indexes belong to.
    pub tables: HashMap<u32, TableName>,
    /// Bytes of all partitions of each index of a partitioned table, which has no size or scans of its own.
    pub partitioned: HashMap<u32, i64>,
    pub foreign_keys: Vec<ForeignKey>,
    /// The referring side of each foreign key, in the same order.
    pub referring: Vec<Referring>,
    pub without_key: Vec<WithoutKey>,
    /// Tables whose indexes were not read, because of the limits.
    pub unread_tables: Vec<u32>,
    /// Whether there are more tables than were listed.
    pub has_unlisted_tables: bool,
    /// Whether there may be tables without a primary key beyond those that were read.
    has_more_without_key: bool,
}

#[derive(Debug, Clone)]
pub(super) struct TableName {
    pub schema: String,
    pub relation: String,
}

/// The side of a foreign key that refers.
#[derive(Debug)]
pub(super) struct Referring {
    pub table: TableName,
    pub columns: String,
    /// The columns as SQL writes them.
    pub column_list: String,
    pub kind: String,
    pub size_bytes: i64,
    /// Number of rows, once vacuum or analyze has counted them.
    pub rows: Option<f64>,
}

/// A table without a primary key.
#[derive(Debug)]
pub(super) struct WithoutKey {
    pub oid: u32,
    pub table: TableName,
    pub size_bytes: i64,
    /// Number of rows, once vacuum or analyze has counted them.
    pub rows: Option<f64>,
    pub replica_identity: String,
    pub candidate: KeyCandidate,
}

/// A key that could become the primary key of a table without one.
#[derive(Debug, Clone)]
pub(super) struct KeyCandidate {
    /// `table`, `partitioned`, or `parent`: others inherit from it.
    pub kind: String,
    /// The columns of a unique index, as SQL writes them.
    pub column_list: Option<String>,
    /// Whether one of these columns may be null.
    pub is_nullable: bool,
    /// The name of that index, if it can become the index of the primary key.
    pub unique_index: Option<String>,
    /// Columns that the primary key must contain: those of the partition key.
    pub partition_key: Option<String>,
    /// A name that no column has, for a new key column.
    pub free_column: String,
    /// Why the table can have no primary key as it is.
    pub obstacle: Option<String>,
}

impl Definitions {
    /// Reads all definitions of the datname of the session.
    pub(super) async fn read(session: &Session, collector: PartId, context: &DatnameContext) -> Result<Self, CollectError> {
        let mut read = Self::default();
        // Foreign keys are read before indexes: an index that was made together with a key exists when the indexes are read.
        let sql = include_str!("../../sql/foreign_keys.sql");
        let keys = query_with(session, collector, sql, &[(&FOREIGN_KEYS_MAX, Type::INT8)]).await?;
        let batches = read.read_indexes(session, collector, context).await?;
        (read.unread_tables, read.has_unlisted_tables) = (batches.left_out(), !batches.is_whole());
        for row in &keys {
            let row = Fields::new(collector, row);
            let table = row.field("table_oid")?;
            if !batches.is_complete_for(table) {
                continue;
            }
            read.foreign_keys.push(ForeignKey { name: row.text("name")?.to_owned(), table, columns: row.field("columns")? });
            read.referring.push(Referring {
                table: table_name(&row)?,
                columns: row.text("column_names")?.to_owned(),
                column_list: row.text("column_list")?.to_owned(),
                kind: row.text("kind")?.to_owned(),
                size_bytes: row.field::<i64>("pages")?.saturating_mul(context.block_size),
                rows: row.number("rows")?,
            });
        }
        let sql = include_str!("../../sql/tables_without_key.sql");
        let rows = query_with(session, collector, sql, &[(&WITHOUT_KEY_MAX, Type::INT8)]).await?;
        read.has_more_without_key = rows.len() as i64 >= WITHOUT_KEY_MAX;
        read.without_key = rows.iter().map(|row| without_key(collector, row, context)).collect::<Result<_, _>>()?;
        Ok(read)
    }

    /// Whether there may be more tables without a primary key than were read.
    pub(super) fn may_lack_tables_without_key(&self) -> bool {
        self.has_more_without_key
    }

    async fn read_indexes(&mut self, session: &Session, collector: PartId, context: &DatnameContext) -> Result<Batches, CollectError> {
        let mut listed = Batches::list(session, collector, BOUNDS).await?;
        for tables in std::mem::take(&mut listed.batches) {
            // One index above the limit shows that indexes were added meanwhile.
            let room = BOUNDS.in_answer + 1;
            let page = [(&tables as _, Type::OID_ARRAY), (&room as _, Type::INT8)];
            let rows = query_with(session, collector, DEFINITIONS.sql(session.major()), &page).await?;
            if rows.len() as i64 == room {
                listed.leave_out(&tables);
                continue;
            }
            for row in &rows {
                self.add_index(&Fields::new(collector, row), context)?;
            }
        }
        Ok(listed)
    }

    fn add_index(&mut self, row: &Fields<'_>, context: &DatnameContext) -> Result<(), CollectError> {
        let shape = shape(row)?;
        self.tables.insert(shape.table, table_name(row)?);
        if row.field("is_partitioned")? {
            let pages: i64 = row.field::<Option<i64>>("partitions_pages")?.unwrap_or_default();
            self.partitioned.insert(shape.oid, pages.saturating_mul(context.block_size));
        }
        self.indexes.push(shape);
        Ok(())
    }

    /// Returns the foreign keys that no index serves. Every index of the catalogue counts, even one that has no counters yet.
    pub(super) fn keys_without_index(&self) -> Vec<&ForeignKey> {
        without_index(&self.foreign_keys, &self.indexes)
    }

    /// Returns the indexes that still exist, with their current counters.
    pub(super) fn with_counters(&self, relations: &Relations) -> Vec<IndexShape> {
        let rows: HashMap<u32, &IndexRow> = relations.indexes.iter().map(|index| (index.oid, index)).collect();
        let current = |shape: &IndexShape| match rows.get(&shape.oid) {
            Some(row) => Some(IndexShape { size_bytes: row.size_bytes, scans: row.scans, is_valid: row.is_valid, ..shape.clone() }),
            None => self.partitioned.contains_key(&shape.oid).then(|| shape.clone()),
        };
        self.indexes.iter().filter_map(current).collect()
    }
}

fn table_name(row: &Fields<'_>) -> Result<TableName, CollectError> {
    Ok(TableName { schema: row.text("schema")?.to_owned(), relation: row.text("relation")?.to_owned() })
}

fn without_key(collector: PartId, row: &Row, context: &DatnameContext) -> Result<WithoutKey, CollectError> {
    let row = Fields::new(collector, row);
    Ok(WithoutKey {
        oid: row.field("oid")?,
        table: table_name(&row)?,
        size_bytes: row.field::<i64>("pages")?.saturating_mul(context.block_size),
        rows: row.number("rows")?,
        replica_identity: row.text("replica_identity")?.to_owned(),
        candidate: KeyCandidate {
            kind: row.text("kind")?.to_owned(),
            column_list: row.field("column_list")?,
            is_nullable: row.field::<Option<bool>>("is_nullable")?.unwrap_or_default(),
            unique_index: row.field("unique_index")?,
            partition_key: row.field("partition_key")?,
            free_column: row.text("free_column")?.to_owned(),
            obstacle: row.field("obstacle")?,
        },
    })
}

fn shape(row: &Fields<'_>) -> Result<IndexShape, CollectError> {
    let columns: Vec<i16> = row.field("columns")?;
    let key_count = usize::try_from(row.field::<i32>("key_count")?).unwrap_or(0).min(columns.len());
    let included = columns[key_count..].to_vec();
    let tree = |column: &str| row.field::<Option<&str>>(column).map(|tree| tree.map(without_locations));
    let predicate = tree("predicate")?.map(|tree| if required_not_null_columns(&tree).is_some() { tree } else { bounded(&tree) });
    Ok(IndexShape {
        oid: row.field("oid")?,
        table: row.field("table_oid")?,
        name: row.text("index")?.to_owned(),
        access_method: row.text("access_method")?.to_owned(),
        keys: keys(row, &columns[..key_count], tree("expressions")?.as_deref().unwrap_or_default())?,
        included,
        predicate,
        is_unique: row.field("is_unique")?,
        nulls_not_distinct: row.field("nulls_not_distinct")?,
        is_immediate: row.field("is_immediate")?,
        is_primary: row.field("is_primary")?,
        is_exclusion: row.field("is_exclusion")?,
        is_replica_identity: row.field("is_replica_identity")?,
        constraint: row.field("constraint")?,
        is_attached: row.field("is_attached")?,
        is_valid: row.field("is_valid")?,
        size_bytes: 0,
        scans: 0,
    })
}

/// Returns a parse tree that is only compared, or its digest if the tree is long.
fn bounded(tree: &str) -> String {
    if tree.len() <= TREE_BYTES_MAX { tree.to_owned() } else { format!("#{}", text::sha256(tree)) }
}

/// Reads the keys of an index. Expressions are in a list of their own, in the order of the keys that they stand for.
fn keys(row: &Fields<'_>, columns: &[i16], trees: &str) -> Result<Vec<IndexKey>, CollectError> {
    let operator_classes: Vec<u32> = row.field("operator_classes")?;
    let collations: Vec<u32> = row.field("collations")?;
    let options: Vec<i16> = row.field("options")?;
    let whole = trees;
    let mut trees = expressions(trees).into_iter();
    // A list that was too long to be sent must equal no other list.
    let mut next = |place: usize| trees.next().map_or_else(|| bounded(&format!("{place} of {whole}")), bounded);
    let key = |(place, attribute): (usize, &i16)| IndexKey {
        attribute: *attribute,
        expression: if *attribute == 0 { next(place) } else { String::new() },
        operator_class: operator_classes.get(place).copied().unwrap_or(0),
        collation: collations.get(place).copied().unwrap_or(0),
        option: options.get(place).copied().unwrap_or(0),
    };
    Ok(columns.iter().enumerate().map(key).collect())
}
