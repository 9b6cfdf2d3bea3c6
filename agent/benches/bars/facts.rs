//! Made-up snapshots of the sizes that the bars name.

use std::sync::Arc;
use std::time::Duration;

use pharos_model::snapshot::Change;
use pharos_model::snapshot::{FamiliesBuilder, Part, Reading, Snapshot};
use pharos_model::subject::{Label, Subject};

/// The family that rules read here.
pub const STATEMENT_CALLS: &str = "pharos_postgres_statement_calls_total";
/// Databases of a server of [`statements`]; each has its share of the statements.
pub const DATNAMES: usize = 100;

const STATEMENT_LABELS: [&str; 4] = ["datname", "user", "fingerprint", "toplevel"];

/// A server with one series per statement in each of these metrics. The first statement stands out.
pub fn statements(metrics: &[&'static str], count: usize) -> Change {
    let mut rows = FamiliesBuilder::new(&STATEMENT_LABELS, metrics);
    for row in 0..count {
        let value = if row == 0 { 1e6 } else { row as f64 + 0.5 };
        let labels = [format!("database_{}", row % DATNAMES), "app".to_owned(), format!("{:016x}", row * 7_919), "true".to_owned()];
        rows.push(&labels.each_ref().map(String::as_str), &vec![Some(value); metrics.len()]);
    }
    change("postgres", "db1:5432", "statements", rows)
}

/// A Redis server with this many logical databases, the first of which is worth a finding.
pub fn keyspaces(count: usize) -> Change {
    let mut rows = FamiliesBuilder::new(&["db"], &["pharos_redis_keys", "pharos_redis_keys_expiring"]);
    for row in 0..count {
        let keys = if row == 0 { 1e6 } else { 1e3 };
        rows.push(&[&format!("db{row}")], &[Some(keys), Some(10.0)]);
    }
    change("redis", "cache1:6379", "info", rows)
}

fn change(kind: &str, id: &str, part: &str, rows: FamiliesBuilder) -> Change {
    let reading = Reading { at: Duration::ZERO, fresh_until: Duration::MAX, epoch: 1, families: rows.finish(), ..Reading::default() };
    let mut snapshot = Snapshot::empty(kind);
    snapshot.subject = Subject {
        kind: kind.into(),
        id: id.to_owned(),
        version: "17.2".to_owned(),
        labels: vec![Label::new("database", "app"), Label::new("server", id)],
    };
    snapshot.interval = Duration::from_secs(10);
    snapshot.parts.insert(part.to_owned(), Part::present(Arc::new(reading)));
    Change::first(snapshot)
}
