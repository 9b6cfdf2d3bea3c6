//! What the catalogue says of indexes, foreign keys and primary keys.

use std::collections::{HashMap, HashSet};

use pharos_model::index_facts::{ForeignKey, IndexKey, IndexShape, expressions, only_wants_not_null, without_locations};
use pharos_model::text;
use tokio_postgres::types::Type;

use crate::collect::CollectError;
use crate::collect::postgres::row::{Fields, query_with};
use crate::collect::postgres::visit::relations::{IndexRow, Relations, Surroundings};
use crate::postgres::{Row, Session, Versioned};

const DEFINITIONS: Versioned =
    Versioned::new(&[(14, include_str!("../../sql/index_definitions.sql")), (15, include_str!("../../sql/index_definitions.15.sql"))]);

/// Of one datname, the largest first; the rest is not judged.
const DEFINITIONS_MAX: i64 = 20_000;
/// Indexes in one answer, each with two parse trees of up to 8,000 bytes: less than one answer may weigh. An index with a longer tree is not
/// compared with others.
const DEFINITIONS_EACH: i64 = 2_000;
/// Bytes of a parse tree that are kept; of a longer one its digest, since it is only compared.
const TREE_BYTES_MAX: usize = 400;
const FOREIGN_KEYS_MAX: i64 = 10_000;
const WITHOUT_KEY_MAX: i64 = 200;

/// One look at the catalogue of a datname.
#[derive(Debug, Default)]
pub struct Definitions {
    indexes: Vec<IndexShape>,
    /// Names of the tables that the indexes belong to.
    pub tables: HashMap<u32, TableName>,
    /// Of partitioned tables: without a size or scans of their own.
    pub partitioned: HashSet<u32>,
    pub foreign_keys: Vec<ForeignKey>,
    /// Of each foreign key, in the same order.
    pub referring: Vec<Referring>,
    pub without_key: Vec<WithoutKey>,
}

#[derive(Debug, Clone)]
pub struct TableName {
    pub schema: String,
    pub relation: String,
}

/// The side of a foreign key that refers.
#[derive(Debug)]
pub struct Referring {
    pub table: TableName,
    pub columns: String,
    /// The same as SQL writes them.
    pub column_list: String,
    pub kind: String,
    pub size_bytes: i64,
    pub rows: f64,
}

/// A table without a primary key.
#[derive(Debug)]
pub struct WithoutKey {
    pub table: TableName,
    pub size_bytes: i64,
    pub rows: f64,
    pub replica_identity: String,
    pub candidate: KeyCandidate,
}

/// What could become the primary key of a table without one.
#[derive(Debug, Clone)]
pub struct KeyCandidate {
    /// `table`, `partitioned`, or `parent`: others inherit from it.
    pub kind: String,
    /// The columns of a unique index, as SQL writes them.
    pub column_list: Option<String>,
    /// Whether one of these may be null.
    pub is_nullable: bool,
    /// That index, where it can be made the key's.
    pub unique_index: Option<String>,
    /// Columns that a key must hold.
    pub partition_key: Option<String>,
    /// A name that no column has.
    pub free_column: String,
    /// Why the table can have no key as it is.
    pub obstacle: Option<String>,
}

impl Definitions {
    pub async fn read(session: &Session, collector: &'static str, surroundings: &Surroundings) -> Result<Self, CollectError> {
        let mut read = Self::default();
        for skipped in (0..DEFINITIONS_MAX).step_by(DEFINITIONS_EACH as usize) {
            let page = [(&DEFINITIONS_EACH as _, Type::INT8), (&skipped as _, Type::INT8)];
            let rows = query_with(session, collector, DEFINITIONS.sql(session.major()), &page).await?;
            for row in &rows {
                read.add_index(&Fields::new(collector, row))?;
            }
            if (rows.len() as i64) < DEFINITIONS_EACH {
                break;
            }
        }
        // One that grew or shrank meanwhile may be in two answers.
        let mut seen = HashSet::new();
        read.indexes.retain(|index| seen.insert(index.oid));
        let sql = include_str!("../../sql/foreign_keys.sql");
        for row in &query_with(session, collector, sql, &[(&FOREIGN_KEYS_MAX, Type::INT8)]).await? {
            let row = Fields::new(collector, row);
            read.foreign_keys.push(ForeignKey {
                name: row.text("name")?.to_owned(),
                table: row.field("table_oid")?,
                columns: row.field("columns")?,
            });
            read.referring.push(Referring {
                table: table_name(&row)?,
                columns: row.text("column_names")?.to_owned(),
                column_list: row.text("column_list")?.to_owned(),
                kind: row.text("kind")?.to_owned(),
                size_bytes: row.field::<i64>("pages")?.saturating_mul(surroundings.block_size),
                rows: row.number("rows")?.unwrap_or(0.0),
            });
        }
        let sql = include_str!("../../sql/tables_without_key.sql");
        let rows = query_with(session, collector, sql, &[(&WITHOUT_KEY_MAX, Type::INT8)]).await?;
        read.without_key = rows.iter().map(|row| without_key(collector, row, surroundings)).collect::<Result<_, _>>()?;
        Ok(read)
    }

    fn add_index(&mut self, row: &Fields<'_>) -> Result<(), CollectError> {
        let shape = shape(row)?;
        self.tables.insert(shape.table, table_name(row)?);
        if row.field("is_partitioned")? {
            self.partitioned.insert(shape.oid);
        }
        self.indexes.push(shape);
        Ok(())
    }

    /// The indexes that are still there, with what the counters say now.
    pub fn with_counters(&self, relations: &Relations) -> Vec<IndexShape> {
        let rows: HashMap<u32, &IndexRow> = relations.indexes.iter().map(|index| (index.oid, index)).collect();
        let current = |shape: &IndexShape| match rows.get(&shape.oid) {
            Some(row) => Some(IndexShape { size_bytes: row.size_bytes, scans: row.scans, is_valid: row.is_valid, ..shape.clone() }),
            None => self.partitioned.contains(&shape.oid).then(|| shape.clone()),
        };
        self.indexes.iter().filter_map(current).collect()
    }
}

fn table_name(row: &Fields<'_>) -> Result<TableName, CollectError> {
    Ok(TableName { schema: row.text("schema")?.to_owned(), relation: row.text("relation")?.to_owned() })
}

fn without_key(collector: &'static str, row: &Row, surroundings: &Surroundings) -> Result<WithoutKey, CollectError> {
    let row = Fields::new(collector, row);
    Ok(WithoutKey {
        table: table_name(&row)?,
        size_bytes: row.field::<i64>("pages")?.saturating_mul(surroundings.block_size),
        rows: row.number("rows")?.unwrap_or(0.0),
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
    let predicate = tree("predicate")?.map(|tree| if only_wants_not_null(&tree).is_some() { tree } else { bounded(&tree) });
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

/// A tree that is only compared, or its digest.
fn bounded(tree: &str) -> String {
    if tree.len() <= TREE_BYTES_MAX { tree.to_owned() } else { format!("#{}", text::sha256(tree)) }
}

/// Expressions stand in a list of their own, in the order of the columns that they are in place of.
fn keys(row: &Fields<'_>, columns: &[i16], trees: &str) -> Result<Vec<IndexKey>, CollectError> {
    let operator_classes: Vec<u32> = row.field("operator_classes")?;
    let collations: Vec<u32> = row.field("collations")?;
    let options: Vec<i16> = row.field("options")?;
    let whole = trees;
    let mut trees = expressions(trees).into_iter();
    // A list that was too long to send is like no other.
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
