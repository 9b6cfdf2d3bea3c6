//! Subjects: what a snapshot, a finding or an alert is about. Kinds of subjects are rows of one table.

use std::cmp::Ordering;
use std::fmt;

use serde::{Deserialize, Serialize};

/// A name and a value. Mirrors the WIT record `label`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Label {
    /// Name of the label.
    pub name: String,
    /// Value of the label.
    pub value: String,
}

impl Label {
    /// A label with this name and value.
    pub fn new(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self { name: name.into(), value: value.into() }
    }
}

/// The kind of a [`Subject`]. A plugin may declare a rule about a kind that this version does not observe.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum SubjectKind {
    /// The agent itself.
    Agent,
    /// A `[[database]]` of the configuration: a PostgreSQL primary with its replicas as members.
    Database,
    /// A PostgreSQL server.
    Postgres,
    /// A Redis server.
    Redis,
    /// A kind that is not in the table.
    Other(OtherKind),
}

/// The name of a kind that is not in the table. Only [`SubjectKind::from`] creates it, so it never is the name of a known kind.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct OtherKind(Box<str>);

/// A row of the table of kinds.
struct KindRow {
    kind: SubjectKind,
    /// Name of the kind in the contract, in labels and in the store.
    name: &'static str,
    /// Name of the kind with its article, for sentences.
    described: &'static str,
    /// Name of the product. `None` for a subject that is not a server.
    product: Option<&'static str>,
    /// Beginning of the names of its metrics. `None` for the agent, whose metrics are those without a part in the catalogue.
    metric_prefix: Option<&'static str>,
    /// Gauge that is 1 while the server can be reached, else 0. `None` for a subject that is not a server.
    up_metric: Option<&'static str>,
    /// Gauge that is 0 while a server that is up refuses new sessions.
    accepting_metric: Option<&'static str>,
    /// Kind of the members. `None` for a kind without members.
    members: Option<SubjectKind>,
    /// Labels that every alert and series about such a subject carries.
    labels: &'static [&'static str],
    /// Value of each of these labels in a rule case that names no subject. The last one is the id as well.
    example: &'static [&'static str],
}

/// Every kind that is observed, in the order of their names. A new kind is a variant and a row.
const TABLE: [KindRow; 4] = [
    KindRow {
        kind: SubjectKind::Agent,
        name: "agent",
        described: "the agent",
        product: None,
        metric_prefix: None,
        up_metric: None,
        accepting_metric: None,
        members: None,
        labels: &["agent"],
        example: &["pharos"],
    },
    KindRow {
        kind: SubjectKind::Database,
        name: "database",
        described: "a database",
        product: None,
        metric_prefix: Some("pharos_database_"),
        up_metric: None,
        accepting_metric: None,
        members: Some(SubjectKind::Postgres),
        labels: &["database"],
        example: &["app"],
    },
    KindRow {
        kind: SubjectKind::Postgres,
        name: "postgres",
        described: "a postgres server",
        product: Some("PostgreSQL"),
        metric_prefix: Some("pharos_postgres_"),
        up_metric: Some("pharos_postgres_up"),
        accepting_metric: Some("pharos_postgres_accepting_connections"),
        members: None,
        labels: &["database", "server"],
        example: &["app", "db1:5432"],
    },
    KindRow {
        kind: SubjectKind::Redis,
        name: "redis",
        described: "a redis server",
        product: Some("Redis"),
        metric_prefix: Some("pharos_redis_"),
        up_metric: Some("pharos_redis_up"),
        accepting_metric: None,
        members: None,
        labels: &["database", "server"],
        example: &["cache", "cache1:6379"],
    },
];

impl SubjectKind {
    /// Names of the kinds that are observed, in alphabetical order.
    pub const NAMES: [&'static str; TABLE.len()] = {
        let mut names = [""; TABLE.len()];
        let mut row = 0;
        while row < TABLE.len() {
            names[row] = TABLE[row].name;
            row += 1;
        }
        names
    };

    /// The kinds that are observed, in the order of their names.
    pub fn observed() -> impl Iterator<Item = Self> {
        TABLE.iter().map(|row| row.kind.clone())
    }

    /// The name in the contract, in labels and in the store.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Other(OtherKind(name)) => name,
            _ => self.row().map_or("", |row| row.name),
        }
    }

    /// Whether collectors make snapshots of such subjects.
    pub fn is_observed(&self) -> bool {
        self.row().is_some()
    }

    /// Whether a subject of this kind is one server, which can be down.
    pub fn is_server(&self) -> bool {
        self.up_metric().is_some()
    }

    /// The gauge that is 1 while the server can be reached, else 0. `None` for a subject that is not a server.
    pub fn up_metric(&self) -> Option<&'static str> {
        self.row()?.up_metric
    }

    /// The gauge that is 0 while a server that is up refuses new sessions. `None` for a kind without such a state.
    pub fn accepting_metric(&self) -> Option<&'static str> {
        self.row()?.accepting_metric
    }

    /// Whether a metric that a part carries belongs to subjects of this kind.
    pub fn owns_metric(&self, metric: &str) -> bool {
        self.row().and_then(|row| row.metric_prefix).is_some_and(|prefix| metric.starts_with(prefix))
    }

    /// Kind of the members: the members of a database are its PostgreSQL servers. `None` for a kind without members.
    pub fn members(&self) -> Option<Self> {
        self.row()?.members.clone()
    }

    /// Names of the labels that every series and alert about such a subject carries.
    pub fn labels(&self) -> &'static [&'static str] {
        self.row().map_or(&[], |row| row.labels)
    }

    /// An example of such a subject, for a rule case that names none. A kind that is not observed has its own name as id and label.
    pub fn example(&self) -> Subject {
        let labels: Vec<Label> = match self.row() {
            Some(row) => row.labels.iter().zip(row.example).map(|(name, value)| Label::new(*name, *value)).collect(),
            None => vec![Label::new(self.as_str(), self.as_str())],
        };
        let id = labels.last().map(|label| label.value.clone()).unwrap_or_default();
        Subject { kind: self.clone(), id, version: String::new(), labels }
    }

    /// Name of the kind with its article, for a sentence, such as `a redis server`.
    pub fn described(&self) -> String {
        self.row().map_or_else(|| format!("a {}", self.as_str()), |row| row.described.to_owned())
    }

    /// Name of the product behind a server, such as `PostgreSQL`. The kind's own name for a subject that is not a server.
    pub fn product(&self) -> &str {
        self.row().and_then(|row| row.product).unwrap_or_else(|| self.as_str())
    }

    fn row(&self) -> Option<&'static KindRow> {
        TABLE.iter().find(|row| row.kind == *self)
    }
}

impl From<&str> for SubjectKind {
    fn from(name: &str) -> Self {
        let known = TABLE.iter().find(|row| row.name == name);
        known.map_or_else(|| Self::Other(OtherKind(name.into())), |row| row.kind.clone())
    }
}

impl From<String> for SubjectKind {
    fn from(name: String) -> Self {
        Self::from(name.as_str())
    }
}

impl From<SubjectKind> for String {
    fn from(kind: SubjectKind) -> Self {
        kind.as_str().to_owned()
    }
}

impl fmt::Display for SubjectKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Kinds are ordered by name, so that lists of subjects do not depend on the order of the table.
impl Ord for SubjectKind {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_str().cmp(other.as_str())
    }
}

impl PartialOrd for SubjectKind {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The subject of a snapshot. Mirrors the WIT record `subject`.
///
/// Only `kind` and `id` identify a subject. The version changes with an upgrade and labels with the configuration, while alerts about the
/// subject continue.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Subject {
    /// Kind of the subject.
    pub kind: SubjectKind,
    /// `host:port` of a server, else the configured name.
    pub id: String,
    /// Version as the server reports it; empty if there is none.
    pub version: String,
    /// Labels that every alert and series about the subject carries.
    pub labels: Vec<Label>,
}

impl Subject {
    /// A subject without version and labels.
    pub fn new(kind: impl Into<SubjectKind>, id: impl Into<String>) -> Self {
        Self { kind: kind.into(), id: id.into(), version: String::new(), labels: Vec::new() }
    }

    /// The subject's identity, without what may change during its life.
    pub fn key(&self) -> SubjectKey {
        SubjectKey { kind: self.kind.clone(), id: self.id.clone() }
    }

    /// Value of the label with this name; `None` if the subject has no such label.
    pub fn label(&self, name: &str) -> Option<&str> {
        self.labels.iter().find(|label| label.name == name).map(|label| label.value.as_str())
    }
}

/// The identity of a [`Subject`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SubjectKey {
    /// Kind of the subject.
    pub kind: SubjectKind,
    /// `host:port` of a server, else the configured name.
    pub id: String,
}

impl SubjectKey {
    /// The identity of the subject with this kind and id.
    pub fn new(kind: impl Into<SubjectKind>, id: impl Into<String>) -> Self {
        Self { kind: kind.into(), id: id.into() }
    }
}

impl fmt::Display for SubjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::metrics::Metrics;

    #[test]
    fn a_kind_is_stored_and_read_by_its_name() {
        for kind in SubjectKind::observed() {
            assert_eq!(SubjectKind::from(kind.as_str()), kind);
            assert_eq!(serde_json::to_string(&kind).unwrap(), format!("{:?}", kind.as_str()));
        }
        let other: SubjectKind = serde_json::from_str("\"pool\"").unwrap();
        assert!(!other.is_observed() && !other.is_server() && other.up_metric().is_none());
        assert_eq!((other.as_str(), other.described().as_str(), other.product()), ("pool", "a pool", "pool"));
        assert_eq!(serde_json::to_string(&other).unwrap(), "\"pool\"");
    }

    #[test]
    fn rows_of_the_table_and_kinds_are_sorted_by_name() {
        assert!(SubjectKind::NAMES.is_sorted());
        let mut kinds: Vec<SubjectKind> = ["redis", "zebra", "", "agent", "postgres", "pool"].map(SubjectKind::from).into();
        kinds.sort();
        assert_eq!(kinds.iter().map(SubjectKind::as_str).collect::<Vec<_>>(), ["", "agent", "pool", "postgres", "redis", "zebra"]);
    }

    #[test]
    fn metrics_of_the_table_are_in_the_catalogue_and_every_part_has_its_kind() {
        for kind in SubjectKind::observed() {
            for metric in kind.up_metric().into_iter().chain(kind.accepting_metric()) {
                assert!(Metrics::shipped().spec(metric).is_some() && kind.owns_metric(metric), "{metric}");
            }
        }
        for (metric, spec) in Metrics::shipped().iter().filter(|(_, spec)| spec.part.is_some()) {
            assert_eq!(SubjectKind::observed().filter(|kind| kind.owns_metric(metric)).count(), 1, "{metric} of part {:?}", spec.part);
        }
    }
}
