//! Privileges that the collectors need, and what is missing without them. PostgreSQL often returns less instead of an error.
//!
//! The agent uses `pg_monitor` rather than its pieces. The role reads no rows of tables. The pieces (its member roles and EXECUTE on two
//! functions) are smaller, but must be granted in every datname. Further rights are granted by column and by sequence. The alternative
//! `pg_read_all_data` opens every table.

mod script;
pub mod sql;
#[cfg(test)]
mod tests;

pub use self::script::{Datname, membership, script};

use crate::snapshot::PartId;

/// Columns of `pg_statistic` for the bloat estimate: width and share of nulls. None of them contains values of the column.
pub const STATISTIC_COLUMNS: [&str; 6] = ["starelid", "staattnum", "stainherit", "stanullfrac", "stawidth", "stadistinct"];

/// A right, setting or extension that collectors need.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    /// Role `pg_read_all_stats`.
    Stats,
    /// Role `pg_read_all_settings`.
    Settings,
    /// EXECUTE on `pg_ls_waldir` and similar functions.
    Files,
    /// Setting `track_activities`.
    Activities,
    /// Setting `track_counts`.
    Counts,
    /// `pg_stat_statements` in `shared_preload_libraries`.
    StatementsLibrary,
    /// Extension `pg_stat_statements` in the session's datname.
    StatementsExtension,
    /// USAGE on the schema of the extension.
    StatementsSchema,
    /// CONNECT on a datname.
    Connect,
    /// SELECT on columns of `pg_statistic`.
    Statistic,
    /// SELECT on sequences.
    Sequences,
}

impl Need {
    /// Returns true for needs that are checked in each datname.
    pub fn is_per_datname(self) -> bool {
        matches!(self, Self::Connect | Self::Statistic | Self::Sequences)
    }

    /// Returns true for rights that a role can be granted. The others are server settings and an extension, which even a superuser may
    /// lack.
    pub fn is_right(self) -> bool {
        match self {
            Self::Stats | Self::Settings | Self::Files | Self::StatementsSchema | Self::Connect | Self::Statistic | Self::Sequences => true,
            Self::Activities | Self::Counts | Self::StatementsLibrary | Self::StatementsExtension => false,
        }
    }
}

/// Parts that have a need, and what is missing from them without it.
pub struct Entry {
    /// The need.
    pub need: Need,
    /// The parts.
    pub parts: &'static [PartId],
    /// Text about what is missing, for people.
    pub without: &'static str,
}

const fn entry(need: Need, parts: &'static [PartId], without: &'static str) -> Entry {
    Entry { need, parts, without }
}

/// Needs that a role with only LOGIN does not meet.
pub const NEEDS: [Entry; 15] = [
    entry(
        Need::Stats,
        &[PartId::Activity, PartId::Locks, PartId::Horizon, PartId::Limits, PartId::Encryption],
        "what other roles' sessions do",
    ),
    entry(Need::Stats, &[PartId::Statements], "other roles' statements"),
    entry(Need::Stats, &[PartId::Replication], "what standbys report"),
    entry(Need::Stats, &[PartId::Progress, PartId::Autovacuum], "the progress of other roles' commands"),
    entry(Need::Stats, &[PartId::Sizes], "the sizes of datnames and tablespaces that are not the role's"),
    entry(Need::Settings, &[PartId::Settings, PartId::Statements], "settings that only superusers see"),
    entry(Need::Files, &[PartId::Sizes], "the files of WAL and temporary files"),
    entry(Need::Activities, &[PartId::Activity, PartId::Locks], "what sessions do: track_activities is off"),
    entry(
        Need::Counts,
        &[PartId::Database, PartId::Tables, PartId::Indexes, PartId::Autovacuum],
        "counts of rows, blocks and scans: track_counts is off",
    ),
    entry(Need::StatementsLibrary, &[PartId::Statements], "any statements: pg_stat_statements is not loaded"),
    entry(Need::StatementsExtension, &[PartId::Statements], "any statements: pg_stat_statements is not installed in this datname"),
    entry(Need::StatementsSchema, &[PartId::Statements], "any statements: the role may not use the schema of pg_stat_statements"),
    entry(Need::Connect, &VISITED, "the datname: the role may not connect to it"),
    entry(Need::Statistic, &[PartId::Tables, PartId::Indexes], "bloat: the role does not read how wide columns are (pg_statistic)"),
    entry(Need::Sequences, &[PartId::Sequences], "the values of some sequences"),
];

/// Parts that are read in each datname.
const VISITED: [PartId; 4] = [PartId::Tables, PartId::Indexes, PartId::Sequences, PartId::Extensions];

/// Needs that a session's role does not meet on the server as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerLacks {
    /// Unmet needs.
    pub needs: Vec<Need>,
    /// True if the role inherits the rights of roles of which it is a member.
    pub inherits: bool,
    /// True for a standby, on which nothing can be granted.
    pub in_recovery: bool,
    /// Datname of the session.
    pub datname: String,
    /// True if the files of `pg_stat_statements` are installed.
    pub statements_available: bool,
    /// Schema of the extension; `None` if the extension is not in the datname.
    pub statements_schema: Option<String>,
    /// True if the session's datname has a schema `public`, where extensions are created.
    pub has_public: bool,
    /// All datnames of the server.
    pub datnames: Vec<KnownDatname>,
}

impl ServerLacks {
    /// Needs for a datname without the extension: those about the extension are removed.
    pub fn without_extension(mut self) -> Self {
        self.needs.retain(|need| !matches!(need, Need::StatementsExtension | Need::StatementsSchema));
        self
    }
}

/// A datname of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownDatname {
    /// Name in its shown form.
    pub name: String,
    /// True if the name has bytes that are no text. No session can connect to such a datname, and no SQL can name it.
    pub is_escaped: bool,
    /// True if the role has CONNECT.
    pub may_connect: bool,
}

/// Needs that the role does not meet in one datname.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatnameLacks {
    /// Unmet needs.
    pub needs: Vec<Need>,
    /// Schemas and owners of the sequences that the role cannot read.
    pub sequences: Vec<SequencesOf>,
    /// True if one of these names has bytes that are no text, so that the script must find it by SQL.
    pub has_escaped: bool,
}

/// Sequences in one schema that one role owns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SequencesOf {
    /// Name of the schema.
    pub schema: String,
    /// Name of the owner.
    pub owner: String,
}

/// Texts about what is missing from a part without these needs.
pub fn without(part: PartId, needs: &[Need]) -> impl Iterator<Item = &'static str> {
    NEEDS.iter().filter(move |entry| needs.contains(&entry.need) && entry.parts.contains(&part)).map(|entry| entry.without)
}
