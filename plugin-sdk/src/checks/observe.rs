//! Observations from series of metrics and from rows of tables.

use super::{Observation, label};
use crate::{Label, Reading, Row, Samples, SkipReason, Snapshot, Table};

/// Observes every series of a gauge. The error is the reason why the metric cannot be judged.
pub fn each_value(snapshot: &Snapshot, metric: &str) -> Result<Vec<Observation>, SkipReason> {
    Ok(observations(snapshot, &snapshot.values(metric)?, |value| value))
}

/// Observes the number of events of each series between the last two readings of its part ([`Snapshot::reading_seconds`]). A rate above
/// zero gives at least 1. A series without a rate is left out.
pub fn each_increase(snapshot: &Snapshot, metric: &str) -> Result<Vec<Observation>, SkipReason> {
    let seconds = snapshot.reading_seconds(metric);
    let events = |rate: f64| if rate > 0.0 { (rate * seconds).round().max(1.0) } else { rate };
    Ok(observations(snapshot, &snapshot.rates(metric)?, events))
}

/// Observes the rate of each series of a counter, per second. A series without a rate is left out.
pub fn each_rate(snapshot: &Snapshot, metric: &str) -> Result<Vec<Observation>, SkipReason> {
    Ok(observations(snapshot, &snapshot.rates(metric)?, |rate| rate))
}

/// Observes the series of a 0-or-1 gauge that are 0, for a check that grades a fact.
pub fn each_zero(snapshot: &Snapshot, metric: &str) -> Result<Vec<Observation>, SkipReason> {
    let mut all = each_value(snapshot, metric)?;
    all.retain(|observation| observation.value == 0.0);
    Ok(all)
}

/// Observes the series of a 0-or-1 gauge that are 1, for a check that grades a fact.
pub fn each_one(snapshot: &Snapshot, metric: &str) -> Result<Vec<Observation>, SkipReason> {
    let mut all = each_value(snapshot, metric)?;
    all.retain(|observation| observation.value != 0.0);
    Ok(all)
}

/// Observes rows of a table. The columns in `labels` identify a row. `value` should return none for a row that cannot matter: most of the
/// hundreds of rows then cost nothing. A check must also report [`unjudged`]: otherwise a row missing from the table counts as fine.
pub fn each_row(table: &Table, labels: &[&str], value: impl Fn(usize) -> Option<f64>) -> Vec<Observation> {
    let valued = (0..table.row_count()).filter_map(|row| Some((value(row)?, row)));
    valued.map(|(value, row)| Observation::new(table.labels(labels, row), value).with_row(row)).collect()
}

/// The agent's tables of objects that are absent from a list although they may be bad.
const UNJUDGED: [&str; 3] = ["unjudged_tables", "unjudged_indexes", "unjudged_sequences"];

/// Observes the objects that the table `list` lacks in this respect. They lie beyond its limit, or the agent cannot judge them now. The
/// agent may give an upper bound. If the check grades that bound as fine, the alerts of these objects may resolve.
pub fn unjudged(snapshot: &Snapshot, list: &str, respect: &str) -> Vec<Observation> {
    let mut all = Vec::new();
    for table in UNJUDGED.iter().filter_map(|name| snapshot.table(name)) {
        let is_of = |row: &usize| table.has("list", *row, list) && table.has("respect", *row, respect);
        for row in (0..table.row_count()).filter(is_of) {
            let labels =
                ["datname", "schema", "relation", "index"].into_iter().filter_map(|name| Some(label(name, table.text(name, row)?)));
            let why = table.text("why", row).unwrap_or_else(|| "no reason was given".to_owned());
            let reason = SkipReason::PartFailed(why);
            all.push(Observation::unknown_up_to(labels.collect(), table.number("greatest", row), reason));
        }
    }
    all
}

/// Observes the datnames that this collector could not read (table `visits`). Alerts about them stay as they are: without this, the
/// absence of their rows would count as fine.
pub fn unvisited(snapshot: &Snapshot, collector: &str) -> Vec<Observation> {
    let Some(visits) = snapshot.table("visits") else { return Vec::new() };
    let reason = |row: usize| {
        let datname = visits.text("datname", row).unwrap_or_default();
        let why = visits.text("why", row).unwrap_or_else(|| "no reason was given".to_owned());
        let why = format!("{collector} of {datname} could not be read: {why}");
        let reason = if visits.has("state", row, "unsupported") { SkipReason::Unsupported(why) } else { SkipReason::PartFailed(why) };
        Observation::unknown(vec![label("datname", datname)], reason)
    };
    let not_read = |row: &usize| visits.has("collector", *row, collector) && !visits.has("state", *row, "ok");
    (0..visits.row_count()).filter(not_read).map(reason).collect()
}

fn observations(snapshot: &Snapshot, samples: &Samples, value: impl Fn(f64) -> f64) -> Vec<Observation> {
    samples.rows().map(|row| Observation::new(row.labels_beyond(snapshot.subject()), value(row.value()))).collect()
}

/// The largest series of a metric as at most `count` lines of evidence, largest first. Series of zero or less are left out. Empty if the
/// metric is unreadable.
pub fn top(snapshot: &Snapshot, metric: &str, reading: Reading, count: usize, show: fn(f64) -> String) -> Vec<Label> {
    if snapshot.readable(metric).is_err() {
        return Vec::new();
    }
    let samples = snapshot.samples(metric, &[], reading);
    let mut rows: Vec<_> = samples.rows().filter(|row| row.value() > 0.0).collect();
    rows.sort_by(|a, b| b.value().total_cmp(&a.value()));
    let line = |row: Row| {
        let labels = row.labels_beyond(snapshot.subject());
        let name: Vec<_> = labels.iter().map(|label| label.value.as_str()).collect();
        super::evidence(&name.join(", "), show(row.value()))
    };
    rows.into_iter().take(count).map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Facts;

    const TABLES: &str = "
        visits present
        table visits
        | collector text | datname text | state text | why text |
        | tables | app | ok | - |
        | tables | shop | failed | permission denied for database |
        | tables | old | unsupported | a template |
        | indexes | app | failed | statement timeout |
        tables present
        table tables
        | datname text | relation text | dead integer | ratio float | is_locked boolean |
        | app | orders | 7 | 0.5 | false |
        | app | users | - | - | true |";

    #[test]
    fn datnames_that_were_not_visited_are_not_judged() {
        let snapshot = Facts::postgres(TABLES).snapshot();
        let not_judged: Vec<_> = unvisited(&snapshot, "tables").into_iter().map(|one| (one.labels[0].value.clone(), one.unknown)).collect();
        let failed = SkipReason::PartFailed("tables of shop could not be read: permission denied for database".to_owned());
        let unsupported = SkipReason::Unsupported("tables of old could not be read: a template".to_owned());
        assert_eq!(not_judged, [("shop".to_owned(), Some(failed)), ("old".to_owned(), Some(unsupported))]);
    }

    #[test]
    fn events_are_counted_from_one_reading_of_their_part_to_the_next() {
        let counted = |facts: &str| -> Vec<f64> {
            let all = each_increase(&Facts::postgres(facts).snapshot(), "pharos_postgres_deadlocks_total");
            all.expect("the part is present").iter().map(|one| one.value).collect()
        };
        let facts = "
            database present
            pharos_postgres_deadlocks_total{datname=app} 40 rate 0.4
            table readings
            | part text | seconds float |
            | activity | 1 |
            | database | 20 |";
        assert_eq!(counted(facts), [8.0]);
        let (without, _) = facts.split_once("table").expect("written above");
        assert_eq!(counted(without), [4.0], "without the table `readings`, the interval of the snapshot counts");
    }

    #[test]
    fn rows_missing_from_a_list_are_unknown_up_to_their_upper_bound() {
        let facts = "
            tables present
            table unjudged_tables
            | list text | respect text | datname text | schema text | relation text | greatest float | why text |
            | tables | vacuum_pressure | app | - | - | 7 | 30 more |
            | tables | vacuum_pressure | app | public | orders | - | it was never counted |
            | tables | xid_age | app | - | - | 1 | 30 more |
            | locked_relations | state | - | - | - | - | more are locked |";
        let snapshot = Facts::postgres(facts).snapshot();
        let why = |text: &str| SkipReason::PartFailed(text.to_owned());
        let of_table = vec![label("datname", "app"), label("schema", "public"), label("relation", "orders")];
        assert_eq!(
            format!("{:?}", unjudged(&snapshot, "tables", "vacuum_pressure")),
            format!(
                "{:?}",
                [
                    Observation::unknown_up_to(vec![label("datname", "app")], Some(7.0), why("30 more")),
                    Observation::unknown(of_table, why("it was never counted")),
                ]
            )
        );
        assert_eq!(unjudged(&snapshot, "locked_relations", "state")[0].labels, []);
        assert_eq!(unjudged(&snapshot, "tables", "bloat_ratio"), []);
    }

    #[test]
    fn rows_with_a_value_are_observed_and_cells_are_read_in_any_kind_of_number() {
        let snapshot = Facts::postgres(TABLES).snapshot();
        let table = snapshot.table("tables").expect("written above");
        let observed = each_row(&table, &["datname", "relation"], |row| table.number("dead", row));
        assert_eq!(observed, [Observation::new(vec![label("datname", "app"), label("relation", "orders")], 7.0).with_row(0)]);
        assert_eq!((table.number("ratio", 0), table.is("is_locked", 0), table.is("is_locked", 1)), (Some(0.5), false, true));
        assert_eq!(table.find(&[label("relation", "users"), label("counter", "xid")]), Some(1));
        assert_eq!(table.number("no_such_column", 1), None);
    }
}
