//! Snapshots from text and reports as text, so that a test of a rule needs no host.
//!
//! ```text
//! locks present                                             a part with its state: present, failed WHY, unsupported WHY, stale MS
//! pharos_postgres_lock_waiters 3                            a series of that part
//! pharos_postgres_deadlocks_total{datname="app"} 7 rate 0.1 a counter with its rate
//! pharos_postgres_replication_lag_bytes                     a metric without series
//! table lock_waits
//! | pid integer | relation text |
//! | 101         | orders        |
//! | 102         | -             |                           a dash is null
//! ```

pub mod checks;
pub mod manual;

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::bindings::plugin::pharos::plugin::snapshots::{Column, ColumnKind, FloatColumn, IntegerColumn, LabelColumn, TextColumn};
use crate::{Columns, Label, Matcher, Part, PartState, Pattern, Reading, Report, Samples, SkipReason, Snapshot, Source, Strength, Subject};

/// The facts of a subject, written as text. A mistake in the text panics, since it is a mistake of the test.
#[derive(Debug, Clone)]
pub struct Facts {
    subject: Subject,
    parts: Vec<Part>,
    metrics: BTreeMap<String, Metric>,
    tables: BTreeMap<String, TableFacts>,
    members: Vec<Facts>,
}

#[derive(Debug, Clone)]
struct Metric {
    part: usize,
    series: Vec<Series>,
}

#[derive(Debug, Clone)]
struct Series {
    labels: Vec<Label>,
    value: f64,
    rate: Option<f64>,
}

/// The time between two snapshots of a test.
const INTERVAL_MS: u64 = 10_000;

impl Facts {
    /// Facts about the PostgreSQL server `db1:5432` of the database `app`.
    pub fn postgres(text: &str) -> Self {
        Self::new("postgres", "db1:5432", &[("database", "app"), ("server", "db1:5432")], text)
    }

    /// Facts about the Redis server `cache1:6379` of the deployment `cache`.
    pub fn redis(text: &str) -> Self {
        Self::new("redis", "cache1:6379", &[("database", "cache"), ("server", "cache1:6379")], text)
    }

    /// Facts about the database `app` and its servers. `members` has the address and the facts of each server.
    pub fn database(text: &str, members: &[(&str, &str)]) -> Self {
        let member = |(server, text): &(&str, &str)| Self::new("postgres", server, &[("database", "app"), ("server", server)], text);
        Self { members: members.iter().map(member).collect(), ..Self::new("database", "app", &[("database", "app")], text) }
    }

    /// Facts about a subject of any kind.
    pub fn new(kind: &str, id: &str, labels: &[(&str, &str)], text: &str) -> Self {
        let labels = labels.iter().map(|(name, value)| Label { name: (*name).to_owned(), value: (*value).to_owned() }).collect();
        let subject = Subject { kind: kind.to_owned(), id: id.to_owned(), version: String::new(), labels };
        let mut facts = Self { subject, parts: Vec::new(), metrics: BTreeMap::new(), tables: BTreeMap::new(), members: Vec::new() };
        facts.read(text);
        facts
    }

    fn read(&mut self, text: &str) {
        let mut table = None;
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            if let Some(name) = line.strip_prefix("table ") {
                table = Some(name);
                self.tables.insert(name.to_owned(), TableFacts::default());
            } else if line.starts_with('|') {
                let name = table.expect("a row follows its `table` line");
                self.tables.get_mut(name).expect("just inserted").read_line(line);
            } else if line.starts_with("pharos_") {
                self.read_series(line);
            } else {
                self.parts.push(part(line));
            }
        }
    }

    fn is_server(&self) -> bool {
        self.subject.kind == "postgres"
    }

    /// Wraps the facts of a server into the database `app`, whose primary is this server.
    fn into_database(self) -> Self {
        let server = &self.subject.id;
        let topology = format!(
            "topology present
            pharos_database_members 1
            pharos_database_primary_info{{member=\"{server}\"}} 1
            pharos_database_member_lag_seconds
            pharos_database_member_lag_bytes
            table members
            | member text | role text | up boolean |
            | {server} | primary | true |"
        );
        Self { members: vec![self], ..Self::database(&topology, &[]) }
    }

    /// Adds the role of the server, unless the facts state it already.
    fn in_recovery(mut self, is_standby: bool) -> Self {
        if !self.metrics.contains_key("pharos_postgres_in_recovery") {
            self.read(&format!("server present\npharos_postgres_in_recovery {}", u8::from(is_standby)));
        }
        self
    }

    /// The facts as a snapshot for a rule.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::new(self.clone())
    }

    fn read_series(&mut self, line: &str) {
        let name_end = line.find(['{', ' ']).unwrap_or(line.len());
        let (name, rest) = line.split_at(name_end);
        let part = self.parts.len().checked_sub(1).expect("a series follows the line of its part");
        let metric = self.metrics.entry(name.to_owned()).or_insert_with(|| Metric { part, series: Vec::new() });
        let (labels, numbers) = match rest.strip_prefix('{') {
            Some(rest) => rest.split_once('}').expect("labels end with `}`"),
            None => ("", rest),
        };
        let mut numbers = numbers.split_whitespace();
        if let Some(value) = numbers.next() {
            let rate = numbers.next().map(|word| {
                assert_eq!(word, "rate", "in `{line}`");
                parse(numbers.next().unwrap_or_default())
            });
            metric.series.push(Series { labels: read_labels(labels), value: parse(value), rate });
        }
    }
}

fn part(line: &str) -> Part {
    let mut words = line.splitn(3, ' ');
    let name = words.next().unwrap_or_default().to_owned();
    let state = words.next().unwrap_or_default();
    let why = words.next().unwrap_or_default();
    let state = match state {
        "present" => PartState::Present,
        "failed" => PartState::Failed(why.to_owned()),
        "unsupported" => PartState::Unsupported(why.to_owned()),
        "stale" => PartState::Stale(parse(why)),
        _ => panic!("no such state of a part: `{line}`"),
    };
    Part { name, state }
}

fn read_labels(text: &str) -> Vec<Label> {
    text.split(',')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').expect("a label is name=\"value\"");
            Label { name: name.trim().to_owned(), value: value.trim().trim_matches('"').to_owned() }
        })
        .collect()
}

fn parse<T: std::str::FromStr>(text: &str) -> T {
    text.parse().unwrap_or_else(|_| panic!("`{text}` is not the number expected here"))
}

impl Source for Facts {
    fn subject(&self) -> Subject {
        self.subject.clone()
    }

    fn taken_at_ms(&self) -> u64 {
        1_700_000_000_000
    }

    fn interval_ms(&self) -> u64 {
        INTERVAL_MS
    }

    fn parts(&self) -> Vec<Part> {
        self.parts.clone()
    }

    fn part_of(&self, metric: &str) -> Option<Part> {
        self.metrics.get(metric).map(|metric| self.parts[metric.part].clone())
    }

    fn samples(&self, metric: &str, matching: &[Matcher], reading: Reading) -> Samples {
        let series = self.metrics.get(metric).map_or(&[][..], |metric| &metric.series);
        let wanted = series.iter().filter(|series| matching.iter().all(|matcher| matches(series, matcher)));
        let rows: Vec<(&[Label], f64)> = wanted
            .filter_map(|series| {
                let value = if reading == Reading::Rate { series.rate? } else { series.value };
                Some((series.labels.as_slice(), value))
            })
            .collect();
        columns(&self.subject, &rows)
    }

    fn table(&self, name: &str) -> Option<Box<dyn Columns>> {
        self.tables.get(name).map(|table| Box::new(table.clone()) as Box<dyn Columns>)
    }

    fn members(&self) -> Vec<Subject> {
        self.members.iter().map(|member| member.subject.clone()).collect()
    }

    fn member(&self, id: &str) -> Option<Box<dyn Source>> {
        let member = self.members.iter().find(|member| member.subject.id == id)?;
        Some(Box::new(member.clone()))
    }
}

fn matches(series: &Series, matcher: &Matcher) -> bool {
    let value = series.labels.iter().find(|label| label.name == matcher.label).map_or("", |label| &label.value);
    match &matcher.pattern {
        Pattern::Equals(wanted) => value == wanted,
        Pattern::OneOf(wanted) => wanted.iter().any(|wanted| value == wanted),
        Pattern::Prefix(wanted) => value.starts_with(wanted),
    }
}

/// Series as columns. The labels of the subject come first, as on /metrics.
fn columns(subject: &Subject, rows: &[(&[Label], f64)]) -> Samples {
    let own = subject.labels.iter().map(|label| LabelColumn {
        name: label.name.clone(),
        values: TextColumn { words: vec![label.value.clone()], codes: vec![0; rows.len()] },
    });
    let names = rows.first().map_or(&[][..], |(labels, _)| labels);
    let others = names.iter().enumerate().map(|(at, label)| LabelColumn {
        name: label.name.clone(),
        values: TextColumn {
            words: rows.iter().map(|(labels, _)| labels[at].value.clone()).collect(),
            codes: (0..).take(rows.len()).collect(),
        },
    });
    Samples { labels: own.chain(others).collect(), values: rows.iter().map(|(_, value)| *value).collect() }
}

/// A table that was written as text, with columns of integers, floats, texts and booleans.
#[derive(Debug, Clone, Default)]
struct TableFacts {
    columns: Vec<Column>,
    rows: Vec<Vec<Option<String>>>,
}

impl TableFacts {
    fn read_line(&mut self, line: &str) {
        let cells = line.trim_matches('|').split('|').map(str::trim);
        if self.columns.is_empty() {
            self.columns = cells.map(column).collect();
        } else {
            self.rows.push(cells.map(|cell| (cell != "-").then(|| cell.to_owned())).collect());
        }
    }

    fn cells<T>(&self, column: u32, offset: u32, limit: u32, read: impl Fn(&str) -> T) -> Vec<Option<T>> {
        let rows = self.rows.iter().skip(offset as usize).take(limit as usize);
        rows.map(|row| row[column as usize].as_deref().map(&read)).collect()
    }
}

fn column(header: &str) -> Column {
    let (name, kind) = header.split_once(' ').expect("a header is `name kind`");
    let kind = match kind {
        "integer" => ColumnKind::Integer,
        "float" => ColumnKind::Float,
        "text" => ColumnKind::Text,
        "boolean" => ColumnKind::Boolean,
        _ => panic!("no such kind of a column: `{header}`"),
    };
    Column { name: name.to_owned(), kind, unit: None }
}

impl Columns for TableFacts {
    fn row_count(&self) -> u32 {
        self.rows.len().try_into().expect("tables of tests are small")
    }

    fn columns(&self) -> Vec<Column> {
        self.columns.clone()
    }

    fn floats(&self, column: u32, offset: u32, limit: u32) -> FloatColumn {
        let cells = self.cells(column, offset, limit, parse::<f64>);
        FloatColumn {
            present: Some(cells.iter().map(Option::is_some).collect()),
            values: cells.into_iter().map(Option::unwrap_or_default).collect(),
        }
    }

    fn integers(&self, column: u32, offset: u32, limit: u32) -> IntegerColumn {
        let is_boolean = self.columns[column as usize].kind == ColumnKind::Boolean;
        let read = |text: &str| if is_boolean { i64::from(parse::<bool>(text)) } else { parse(text) };
        let cells = self.cells(column, offset, limit, read);
        IntegerColumn {
            present: Some(cells.iter().map(Option::is_some).collect()),
            values: cells.into_iter().map(Option::unwrap_or_default).collect(),
        }
    }

    fn texts(&self, column: u32, offset: u32, limit: u32) -> TextColumn {
        let mut words = Vec::new();
        let cells = self.cells(column, 0, u32::MAX, str::to_owned);
        let codes: Vec<u32> = cells.into_iter().map(|cell| cell.map_or(u32::MAX, |word| code(&mut words, word))).collect();
        TextColumn { words, codes: codes.into_iter().skip(offset as usize).take(limit as usize).collect() }
    }
}

fn code(words: &mut Vec<String>, word: String) -> u32 {
    let known = words.iter().position(|known| *known == word).unwrap_or_else(|| {
        words.push(word);
        words.len() - 1
    });
    known.try_into().expect("tables of tests are small")
}

/// Formats a report as text, with a line for each finding and each skip.
pub fn render(report: &Report) -> String {
    let mut text = String::new();
    for finding in &report.findings {
        let strength = if finding.strength == Strength::Raise { "raise" } else { "hold" };
        let severity = format!("{:?}", finding.severity).to_lowercase();
        let severity = severity.rsplit(':').next().unwrap_or_default();
        let labels = render_labels(&finding.labels);
        writeln!(text, "{}{labels}: {strength} {severity}: {}", finding.rule, finding.title).expect("a string takes all");
    }
    for skipped in &report.skipped {
        let labels = render_labels(&skipped.labels);
        let reason = match &skipped.reason {
            SkipReason::NoData => "no data".to_owned(),
            SkipReason::PartFailed(why) | SkipReason::Unsupported(why) => why.clone(),
        };
        writeln!(text, "{}{labels}: skipped: {reason}", skipped.rule).expect("a string takes all");
    }
    text
}

fn render_labels(labels: &[Label]) -> String {
    if labels.is_empty() {
        return String::new();
    }
    let pairs: Vec<_> = labels.iter().map(|label| format!("{}={}", label.name, label.value)).collect();
    format!("{{{}}}", pairs.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_read_back_as_they_were_written() {
        let snapshot = Facts::postgres(
            r#"
            locks present
            pharos_postgres_lock_waiters 3
            pharos_postgres_deadlocks_total{datname="app"} 7 rate 0.5
            pharos_postgres_deadlocks_total{datname="new"} 1
            activity failed permission denied
            pharos_postgres_connections
            table lock_waits
            | pid integer | relation text |
            | 101 | orders |
            | 102 | - |
            "#,
        )
        .snapshot();

        assert_eq!(snapshot.value("pharos_postgres_lock_waiters"), Ok(Some(3.0)));
        let rates = snapshot.rates("pharos_postgres_deadlocks_total").expect("one has a rate");
        let rows: Vec<_> = rates.rows().map(|row| (row.label("datname"), row.label("server"), row.value())).collect();
        assert_eq!(rows, [(Some("app"), Some("db1:5432"), 0.5)]);
        assert_eq!(
            snapshot.value("pharos_postgres_connections"),
            Err(SkipReason::PartFailed("part `activity` failed: permission denied".to_owned()))
        );
        let table = snapshot.table("lock_waits").expect("written above");
        assert_eq!(table.integers("pid"), [Some(101), Some(102)]);
        assert_eq!(table.texts("relation"), [Some("orders".to_owned()), None]);
        assert_eq!(table.floats("no_such_column"), [None, None]);
    }

    #[test]
    fn a_counter_without_any_rate_is_no_data() {
        let snapshot = Facts::redis("info present\npharos_redis_commands_total 7").snapshot();
        assert_eq!(snapshot.rates("pharos_redis_commands_total").map(|_| ()), Err(SkipReason::NoData));
    }
}
