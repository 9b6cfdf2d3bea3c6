//! Rows that explain why a table lacks rows: the table had no room for them, or their things cannot be judged now.
//!
//! A rule that reads a table of the worst rows finds nothing after a row has left the table. The row left because its thing is fine,
//! because others are worse, or because its state is unknown. Without the rows of this module, the last two reasons would resolve an alert.

use std::collections::BTreeMap;

use crate::row_selection::{LeftOut, Respect};
use crate::snapshot::Column;

/// Most rows of one part. Beyond it, all rows of one list and respect become one row about every datname.
const ROWS_MAX: usize = 4_000;
/// Most things with a row of their own because they are unknown in one respect, largest first. The rest of a datname has one row, with
/// which all its things freeze. A rule may skip a thousand label sets, so the limit is below that.
const NAMED_MAX: usize = 800;

/// Statement about the missing rows of one table in one respect.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Unjudged {
    /// Name of the table whose rows are missing.
    pub list: &'static str,
    /// The respect: a fact, or a column.
    pub respect: &'static str,
    /// Datname; `None` for all datnames.
    pub datname: Option<String>,
    /// Schema; `None` for everything in the datname.
    pub schema: Option<String>,
    /// Relation; `None` for everything in the schema or datname.
    pub relation: Option<String>,
    /// Index; `None` for a table, or for everything.
    pub index: Option<String>,
    /// Upper bound of the values of the missing rows; `None` if unknown.
    pub greatest: Option<f64>,
    /// Why the rows are missing, for people.
    pub why: String,
}

impl Unjudged {
    /// States that rows were not judged, because a table had no room for them.
    pub fn left_out(list: &'static str, left: &LeftOut<'_>) -> Self {
        Self {
            list,
            respect: left.respect,
            datname: Some(left.group.to_owned()),
            greatest: Some(left.greatest),
            why: format!("{} more of {} than are listed; the worst are", left.rows, left.group),
            ..Self::default()
        }
    }

    /// States that nothing in this datname was judged.
    pub fn of_datname(list: &'static str, respect: &'static str, datname: &str, greatest: Option<f64>, why: String) -> Self {
        Self { list, respect, datname: Some(datname.to_owned()), greatest, why, ..Self::default() }
    }
}

/// Names of a thing: datname, schema, relation, and index for an index.
pub type Name<'a> = (&'a str, &'a str, &'a str, Option<&'a str>);

/// Statements about things that are unknown in this respect, for this reason. The respect returns the size of unknown things, and 0 for
/// others.
pub fn unknown<'a, T>(
    list: &'static str,
    rows: &'a [T],
    (respect, size): Respect<T>,
    why: &str,
    name: impl Fn(&'a T) -> Name<'a>,
) -> Vec<Unjudged> {
    let mut sized: Vec<(f64, Name<'a>)> =
        rows.iter().filter_map(|row| Some((size(row), name(row))).filter(|(size, _)| *size > 0.0)).collect();
    sized.sort_by(|one, other| other.0.total_cmp(&one.0).then(one.1.cmp(&other.1)));
    let others = sized.split_off(sized.len().min(NAMED_MAX));
    let named = sized.into_iter().map(|(_, (datname, schema, relation, index))| Unjudged {
        schema: Some(schema.to_owned()),
        relation: Some(relation.to_owned()),
        index: index.map(str::to_owned),
        ..Unjudged::of_datname(list, respect, datname, None, why.to_owned())
    });
    let mut left: BTreeMap<&str, usize> = BTreeMap::new();
    others.iter().for_each(|(_, (datname, ..))| *left.entry(datname).or_default() += 1);
    let left = left.into_iter().map(|(datname, count)| Unjudged::of_datname(list, respect, datname, None, format!("{count} more: {why}")));
    named.chain(left).collect()
}

/// Columns of a table of these rows.
pub fn columns(rows: Vec<Unjudged>) -> Vec<Column> {
    let rows = bounded(rows);
    let texts = |value: fn(&Unjudged) -> Option<&str>| rows.iter().map(value);
    vec![
        Column::text("list", texts(|row| Some(row.list))),
        Column::text("respect", texts(|row| Some(row.respect))),
        Column::text("datname", texts(|row| row.datname.as_deref())),
        Column::text("schema", texts(|row| row.schema.as_deref())),
        Column::text("relation", texts(|row| row.relation.as_deref())),
        Column::text("index", texts(|row| row.index.as_deref())),
        Column::float("greatest", "", rows.iter().map(|row| row.greatest)),
        Column::text("why", texts(|row| Some(&row.why))),
    ]
}

/// Limits the number of rows by joining them; none is lost.
fn bounded(rows: Vec<Unjudged>) -> Vec<Unjudged> {
    if rows.len() <= ROWS_MAX {
        return rows;
    }
    let mut united: BTreeMap<(&'static str, &'static str), (usize, Unjudged)> = BTreeMap::new();
    for row in rows {
        let (count, all) = united.entry((row.list, row.respect)).or_insert_with(|| {
            let all = Unjudged { list: row.list, respect: row.respect, greatest: Some(f64::NEG_INFINITY), ..Unjudged::default() };
            (0, all)
        });
        *count += 1;
        all.greatest = all.greatest.zip(row.greatest).map(|(all, one)| all.max(one));
        all.why = format!("{count} reasons, the last of which is: {}", row.why);
    }
    united.into_values().map(|(_, all)| all).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(datname: usize, greatest: Option<f64>) -> Unjudged {
        Unjudged::of_datname("tables", "xid_age", &format!("d{datname}"), greatest, "too many".to_owned())
    }

    #[test]
    fn unknown_things_are_named_up_to_a_limit_and_then_counted_by_datname() {
        let names: Vec<String> = (0..NAMED_MAX + 2).map(|row| format!("t{row}")).collect();
        let sized: Vec<(f64, &str)> = names.iter().enumerate().map(|(row, name)| ((NAMED_MAX + 1 - row) as f64, name.as_str())).collect();
        let rows = unknown("tables", &sized, ("pressure", |row| row.0), "never counted", |row| ("app", "public", row.1, None));
        assert_eq!((rows.len(), rows[0].relation.as_deref(), rows[0].why.as_str()), (NAMED_MAX + 1, Some("t0"), "never counted"));
        assert_eq!((rows[NAMED_MAX].relation.as_deref(), rows[NAMED_MAX].why.as_str()), (None, "1 more: never counted"), "0 is none");
    }

    #[test]
    fn beyond_the_limit_each_list_and_respect_has_a_single_row() {
        let few: Vec<Unjudged> = (0..3).map(|datname| row(datname, Some(1.0))).collect();
        assert_eq!(bounded(few.clone()), few);
        let many: Vec<Unjudged> = (0..=ROWS_MAX).map(|datname| row(datname, Some(datname as f64))).collect();
        let united = bounded(many.clone());
        assert_eq!((united.len(), &united[0].datname, united[0].greatest), (1, &None, Some(ROWS_MAX as f64)));
        let with_unknown = bounded(many.into_iter().chain([row(0, None)]).collect());
        assert_eq!((with_unknown.len(), with_unknown[0].greatest), (1, None), "one unknown value makes the greatest value unknown");
    }
}
