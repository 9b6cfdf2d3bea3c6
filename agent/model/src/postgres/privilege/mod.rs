//! Privileges that the collectors need, and what is missing without them. PostgreSQL often returns less instead of an error.
//!
//! The agent uses `pg_monitor` rather than its pieces. It reads no rows of tables, and the smaller pieces (its member roles and EXECUTE on
//! two functions) must be granted in every datname. Further rights are granted by column and by sequence. The alternative
//! `pg_read_all_data` opens every table.

mod script;
pub mod sql;
#[cfg(test)]
mod tests;

pub use script::{Datname, membership, script};

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
    pub fn is_of_datname(self) -> bool {
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
    pub need: Need,
    pub parts: &'static [&'static str],
    pub without: &'static str,
}

const fn entry(need: Need, parts: &'static [&'static str], without: &'static str) -> Entry {
    Entry { need, parts, without }
}

/// Needs that a role with only LOGIN does not meet.
pub const NEEDS: [Entry; 15] = [
    entry(Need::Stats, &["activity", "locks", "horizon", "limits", "encryption"], "what other roles' sessions do"),
    entry(Need::Stats, &["statements"], "other roles' statements"),
    entry(Need::Stats, &["replication"], "what standbys report"),
    entry(Need::Stats, &["progress", "autovacuum"], "what other roles' commands are at"),
    entry(Need::Stats, &["sizes"], "the sizes of datnames and tablespaces that are not the role's"),
    entry(Need::Settings, &["settings", "statements"], "settings that only superusers see"),
    entry(Need::Files, &["sizes"], "the files of WAL and temporary files"),
    entry(Need::Activities, &["activity", "locks"], "what sessions do: track_activities is off"),
    entry(Need::Counts, &["database", "tables", "indexes", "autovacuum"], "counts of rows, blocks and scans: track_counts is off"),
    entry(Need::StatementsLibrary, &["statements"], "any statements: pg_stat_statements is not loaded"),
    entry(Need::StatementsExtension, &["statements"], "any statements: pg_stat_statements is not installed in this datname"),
    entry(Need::StatementsSchema, &["statements"], "any statements: the role may not use the schema of pg_stat_statements"),
    entry(Need::Connect, &VISITED, "the datname: the role may not connect to it"),
    entry(Need::Statistic, &["tables", "indexes"], "bloat: the role does not read how wide columns are (pg_statistic)"),
    entry(Need::Sequences, &["sequences"], "the values of some sequences"),
];

/// Parts that are read in each datname.
const VISITED: [&str; 4] = ["tables", "indexes", "sequences", "extensions"];

/// Needs that a session's role does not meet on the server as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerLacks {
    pub needs: Vec<Need>,
    /// True if the role inherits the rights of roles of which it is a member.
    pub inherits: bool,
    pub in_recovery: bool,
    pub datname: String,
    pub statements_available: bool,
    pub statements_schema: Option<String>,
    /// True if the session's datname has a schema `public`, where extensions are created.
    pub has_public: bool,
    pub datnames: Vec<KnownDatname>,
}

impl ServerLacks {
    /// The same needs for a datname without the extension: those about the extension are removed.
    pub fn without_extension(mut self) -> Self {
        self.needs.retain(|need| !matches!(need, Need::StatementsExtension | Need::StatementsSchema));
        self
    }
}

/// A datname of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownDatname {
    pub name: String,
    /// True if the name has bytes that are no text. No session can connect to such a datname, and no SQL can name it.
    pub is_escaped: bool,
    pub may_connect: bool,
}

/// Needs that the role does not meet in one datname.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatnameLacks {
    pub needs: Vec<Need>,
    /// Schemas and owners of the sequences that the role cannot read.
    pub sequences: Vec<SequencesOf>,
    /// True if one of these names has bytes that are no text, so that the script must find it by SQL.
    pub has_escaped: bool,
}

/// Sequences in one schema that one role owns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SequencesOf {
    pub schema: String,
    pub owner: String,
}

/// What is missing from a part without these needs.
pub fn without<'a>(part: &'a str, needs: &'a [Need]) -> impl Iterator<Item = &'static str> + 'a {
    NEEDS.iter().filter(move |entry| needs.contains(&entry.need) && entry.parts.contains(&part)).map(|entry| entry.without)
}
