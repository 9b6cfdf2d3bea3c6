//! Problems of indexes and tables.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Facts on a page if the request names no limit: as many as people read at once.
pub(crate) const INDEX_FACTS_LIMIT_DEFAULT: u32 = 100;
/// A page has at most this many facts. More would make one answer hold up others.
pub(crate) const INDEX_FACTS_LIMIT_MAX: u32 = 1_000;

/// Which facts are listed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct IndexFactsQuery {
    /// Name of a `[[database]]` of the config file. All of them if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub database: Option<String>,
    /// Only facts of this database inside the servers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub datname: Option<String>,
    /// Only this fact.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<IndexFactName>")]
    pub fact: Option<String>,
    /// Facts on one page; 100 if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = INDEX_FACTS_LIMIT_MAX))]
    pub limit: Option<i64>,
    /// `next_cursor` of the page before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// The kinds of facts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum IndexFactName {
    Unused,
    Duplicate,
    Redundant,
    Invalid,
    Bloated,
    ForeignKeyWithoutIndex,
    NoPrimaryKey,
    SequentialScans,
}

impl IndexFactName {
    pub(crate) const ALL: [Self; 8] = [
        Self::Unused,
        Self::Duplicate,
        Self::Redundant,
        Self::Invalid,
        Self::Bloated,
        Self::ForeignKeyWithoutIndex,
        Self::NoPrimaryKey,
        Self::SequentialScans,
    ];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Unused => "unused",
            Self::Duplicate => "duplicate",
            Self::Redundant => "redundant",
            Self::Invalid => "invalid",
            Self::Bloated => "bloated",
            Self::ForeignKeyWithoutIndex => "foreign-key-without-index",
            Self::NoPrimaryKey => "no-primary-key",
            Self::SequentialScans => "sequential-scans",
        }
    }
}

/// Facts about indexes and tables, the largest relation first, and what could not be judged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct IndexFactList {
    pub items: Vec<IndexFact>,
    /// Everything that could not be judged, so that its absence from `items` proves nothing. Sorted by database, server and datname.
    pub not_judged: Vec<NotJudged>,
    /// Where the next page begins: send it as `cursor`. Absent on the last page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// A problem of an index or a table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct IndexFact {
    pub database: String,
    pub server: String,
    pub datname: Option<String>,
    pub schema: Option<String>,
    /// Name of the table.
    pub relation: Option<String>,
    /// Kind of the fact: a name that the parameter `fact` accepts.
    pub fact: Option<String>,
    /// Name of the index, if the fact is about an index.
    pub index: Option<String>,
    /// The index that makes this one superfluous.
    pub other: Option<String>,
    /// Name of the constraint, if the fact is about a constraint.
    pub constraint: Option<String>,
    pub columns: Option<String>,
    pub size_bytes: Option<i64>,
    /// Estimated rows of the table.
    pub rows: Option<f64>,
    /// Scans since the statistics were reset.
    pub scans: Option<i64>,
    /// Age of the statistics behind the fact.
    pub stats_age_seconds: Option<f64>,
    /// The measurements behind the fact, as a sentence.
    pub evidence: Option<String>,
    /// A reason not to act on the fact.
    pub guard: Option<String>,
}

/// A server, a datname or a kind of fact that could not be judged.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub(crate) struct NotJudged {
    pub database: String,
    pub server: String,
    /// Null: the server as a whole.
    pub datname: Option<String>,
    /// Null: nothing could be judged.
    pub fact: Option<String>,
    pub why: String,
}
