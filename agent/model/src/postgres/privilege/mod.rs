//! What the parts need of the agent's role, and what comes back without it: PostgreSQL answers many questions with less, not with a no.
//!
//! `pg_monitor` rather than its pieces: it reads no row of anybody's tables, and what is smaller - its member roles and EXECUTE on two
//! functions - would have to be granted in every datname anew. What it lacks is granted by the column and by the sequence rather than
//! with `pg_read_all_data`, which opens every table.

mod script;
pub mod sql;
#[cfg(test)]
mod tests;

pub use script::{Datname, membership, script};

/// The columns of pg_statistic that bloat is estimated from: how wide and how often null a column is. None of them holds a value of it.
pub const STATISTIC_COLUMNS: [&str; 6] = ["starelid", "staattnum", "stainherit", "stanullfrac", "stawidth", "stadistinct"];

/// Something that parts need.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    /// pg_read_all_stats
    Stats,
    /// pg_read_all_settings
    Settings,
    /// pg_ls_waldir and its kin
    Files,
    /// track_activities
    Activities,
    /// track_counts
    Counts,
    /// pg_stat_statements among shared_preload_libraries
    StatementsLibrary,
    /// The extension in the datname of the session.
    StatementsExtension,
    /// USAGE of the extension's schema
    StatementsSchema,
    /// CONNECT
    Connect,
    /// Columns of pg_statistic
    Statistic,
    /// SELECT on sequences
    Sequences,
}

impl Need {
    /// Whether it is had or lacked in each datname by itself.
    pub fn is_of_datname(self) -> bool {
        matches!(self, Self::Connect | Self::Statistic | Self::Sequences)
    }

    /// Whether a role can be granted it. The others are settings of the server and an extension, which a role with every right lacks as well.
    pub fn is_right(self) -> bool {
        match self {
            Self::Stats | Self::Settings | Self::Files | Self::StatementsSchema | Self::Connect | Self::Statistic | Self::Sequences => true,
            Self::Activities | Self::Counts | Self::StatementsLibrary | Self::StatementsExtension => false,
        }
    }
}

/// Which parts a need is of, and what they are without it.
pub struct Entry {
    pub need: Need,
    pub parts: &'static [&'static str],
    pub without: &'static str,
}

const fn entry(need: Need, parts: &'static [&'static str], without: &'static str) -> Entry {
    Entry { need, parts, without }
}

/// Everything that a role with LOGIN alone does not have.
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

/// What is read in each datname.
const VISITED: [&str; 4] = ["tables", "indexes", "sequences", "extensions"];

/// What a session's role lacks in the whole server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerLacks {
    pub needs: Vec<Need>,
    /// Whether the role has what it is a member of without asking for it.
    pub inherits: bool,
    pub in_recovery: bool,
    pub datname: String,
    pub statements_available: bool,
    pub statements_schema: Option<String>,
    /// Whether the session's datname has a schema `public`, where extensions go.
    pub has_public: bool,
    pub datnames: Vec<KnownDatname>,
}

impl ServerLacks {
    /// The same as seen from another datname than the one where the extension is looked for.
    pub fn without_extension(mut self) -> Self {
        self.needs.retain(|need| !matches!(need, Need::StatementsExtension | Need::StatementsSchema));
        self
    }
}

/// A datname of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownDatname {
    pub name: String,
    /// Whether the name holds bytes that are no text: no session can ask for it, and no SQL can name it.
    pub is_escaped: bool,
    pub may_connect: bool,
}

/// What it lacks in one datname.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatnameLacks {
    pub needs: Vec<Need>,
    /// Where the sequences are whose values it does not see.
    pub sequences: Vec<SequencesOf>,
    /// Whether a name among these holds bytes that are no text, so that SQL has to find it itself.
    pub has_escaped: bool,
}

/// The sequences of one schema that were made by one role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SequencesOf {
    pub schema: String,
    pub owner: String,
}

/// What a part is without what is lacking.
pub fn without<'a>(part: &'a str, needs: &'a [Need]) -> impl Iterator<Item = &'static str> + 'a {
    NEEDS.iter().filter(move |entry| needs.contains(&entry.need) && entry.parts.contains(&part)).map(|entry| entry.without)
}
