//! The shape of a file of `pharos rules test`.

use std::collections::BTreeMap;
use std::time::Duration;

use pharos_model::alert::{AlertState, Reason, ReasonKind};
use pharos_model::catalogue::tables::ColumnKind;
use pharos_model::finding::Severity;
use pharos_model::rule_case::ExpectedAlert;
use pharos_model::subject::SubjectKind;
use serde::Deserialize;

use crate::config::shape::{Shape, key, required};

const SEVERITIES: &[&str] = &[Severity::Info.as_str(), Severity::Warning.as_str(), Severity::Critical.as_str()];
const OPEN: &[&str] = &[AlertState::Pending.as_str(), AlertState::Firing.as_str(), AlertState::Recovering.as_str()];

const TEXTS_BY_NAME: Shape = Shape::Map(&Shape::Text);

const SUBJECT: Shape = Shape::Table(&[
    key("kind", Shape::OneOf(&SubjectKind::NAMES)),
    key("id", Shape::Text),
    key("version", Shape::Text),
    key("labels", TEXTS_BY_NAME),
]);

const SERIES: Shape = Shape::Table(&[required("metric", Shape::Text), key("labels", TEXTS_BY_NAME), required("values", Shape::Text)]);

const PART: Shape = Shape::Table(&[required("name", Shape::Text), required("states", Shape::Text), key("why", Shape::Text)]);

const TABLE: Shape = Shape::Table(&[
    required("name", Shape::Text),
    key("part", Shape::Text),
    key("from", Shape::Duration),
    key("to", Shape::Duration),
    key("columns", Shape::Map(&Shape::OneOf(&ColumnKind::NAMES))),
    required("rows", Shape::List(&Shape::Settings)),
]);

const ALERT: Shape = Shape::Table(&[
    required("rule", Shape::Text),
    key("labels", TEXTS_BY_NAME),
    required("severity", Shape::OneOf(SEVERITIES)),
    required("state", Shape::OneOf(OPEN)),
    key("value", Shape::Number),
    key("title", Shape::Text),
    key("frozen", Shape::Text),
    key("flapping", Shape::Boolean),
]);

const TRANSITION: Shape = Shape::Table(&[
    required("rule", Shape::Text),
    key("labels", TEXTS_BY_NAME),
    required("reason", Shape::OneOf(&Reason::NAMES)),
    key("severity", Shape::OneOf(SEVERITIES)),
    key("at", Shape::Duration),
]);

const EXPECT: Shape = Shape::Table(&[
    required("at", Shape::Duration),
    key("alerts", Shape::List(&ALERT)),
    key("transitions", Shape::List(&TRANSITION)),
    key("told", Shape::List(&TRANSITION)),
    key("skipped", Shape::List(&Shape::Text)),
]);

const MEMBER: Shape = Shape::Table(&[
    required("id", Shape::Text),
    key("version", Shape::Text),
    key("server", Shape::Text),
    key("series", Shape::List(&SERIES)),
    key("part", Shape::List(&PART)),
    key("table", Shape::List(&TABLE)),
]);

const CASE: Shape = Shape::Table(&[
    required("name", Shape::Text),
    key("subject", SUBJECT),
    key("interval", Shape::Duration),
    key("settings", Shape::Settings),
    key("snapshot", Shape::Text),
    key("server", Shape::Text),
    key("restarts", Shape::List(&Shape::Duration)),
    key("series", Shape::List(&SERIES)),
    key("part", Shape::List(&PART)),
    key("table", Shape::List(&TABLE)),
    key("member", Shape::List(&MEMBER)),
    required("expect", Shape::List(&EXPECT)),
]);

pub(super) const SHAPE: Shape = Shape::Table(&[
    required("plugin", Shape::Text),
    key("subject", SUBJECT),
    key("interval", Shape::Duration),
    key("settings", Shape::Settings),
    required("case", Shape::List(&CASE)),
]);

/// The whole file. Its subject, interval and settings apply to every case that does not set its own.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SuiteTable {
    /// Id of a shipped plugin, or a path that ends in `.wasm`.
    pub plugin: String,
    #[serde(default)]
    pub subject: SubjectTable,
    #[serde(default, with = "humantime_serde")]
    pub interval: Option<Duration>,
    #[serde(default)]
    pub settings: toml::Table,
    pub case: Vec<CaseTable>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SubjectTable {
    pub kind: Option<SubjectKind>,
    pub id: Option<String>,
    pub version: Option<String>,
    pub labels: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CaseTable {
    pub name: String,
    #[serde(default)]
    pub subject: SubjectTable,
    #[serde(default, with = "humantime_serde")]
    pub interval: Option<Duration>,
    #[serde(default)]
    pub settings: toml::Table,
    /// Path of a file that `pharos snapshot` recorded.
    pub snapshot: Option<String>,
    /// Whether the server is `up` or `down`, tick by tick.
    pub server: Option<String>,
    #[serde(default)]
    pub restarts: Vec<humantime_serde::Serde<Duration>>,
    #[serde(default)]
    pub series: Vec<SeriesTable>,
    #[serde(default)]
    pub part: Vec<PartTable>,
    #[serde(default)]
    pub table: Vec<FactsTable>,
    #[serde(default)]
    pub member: Vec<MemberTable>,
    pub expect: Vec<ExpectTable>,
}

/// A server of the database that the case is about.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MemberTable {
    pub id: String,
    pub version: Option<String>,
    pub server: Option<String>,
    #[serde(default)]
    pub series: Vec<SeriesTable>,
    #[serde(default)]
    pub part: Vec<PartTable>,
    #[serde(default)]
    pub table: Vec<FactsTable>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SeriesTable {
    pub metric: String,
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    pub values: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PartTable {
    pub name: String,
    pub states: String,
    pub why: Option<String>,
}

/// A table of facts, which a plugin reads column by column.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FactsTable {
    pub name: String,
    /// The part that has the table. A case may leave it out, since the catalogue has it.
    pub part: Option<String>,
    #[serde(default, with = "humantime_serde")]
    pub from: Duration,
    #[serde(default, with = "humantime_serde")]
    pub to: Option<Duration>,
    /// The only columns of the table, as if an older agent made it. `None`: all columns of the catalogue.
    pub columns: Option<BTreeMap<String, ColumnKind>>,
    pub rows: Vec<toml::Table>,
}

impl FactsTable {
    /// Whether the table has this column of the catalogue.
    pub(super) fn has(&self, column: &str) -> bool {
        self.columns.as_ref().is_none_or(|columns| columns.contains_key(column))
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ExpectTable {
    #[serde(with = "humantime_serde")]
    pub at: Duration,
    pub alerts: Option<Vec<ExpectedAlert>>,
    pub transitions: Option<Vec<TransitionTable>>,
    pub told: Option<Vec<TransitionTable>>,
    #[serde(default)]
    pub skipped: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TransitionTable {
    pub rule: String,
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    pub reason: ReasonKind,
    pub severity: Option<Severity>,
    #[serde(default, with = "humantime_serde")]
    pub at: Option<Duration>,
}
