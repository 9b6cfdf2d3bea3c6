//! Reads from the server what the agent's role may read, by privilege and not by the names of roles.

use pharos_model::postgres::privilege::{DatnameLacks, KnownDatname, Need, STATISTIC_COLUMNS, SequencesOf, ServerLacks};
use pharos_model::snapshot::PartId;
use tokio_postgres::types::Type;

use super::row::{Fields, query};
use crate::collect::{CollectError, Missing};
use crate::postgres::monitor::Session;

/// The part name in the comment of these statements.
pub(crate) const PART: PartId = PartId::Privileges;

/// Reads which privileges and settings are missing on the whole server.
pub(crate) async fn of_server(session: &Session) -> Result<ServerLacks, CollectError> {
    let rows = query(session, PART, include_str!("sql/privileges.sql")).await?;
    let row = rows.first().ok_or_else(|| CollectError::Unsupported(Missing::new("the server returns no role for its own session")))?;
    let row = Fields::new(PART, row);
    let has = |column: &str| row.field::<bool>(column);
    let statements = row.field::<Option<&str>>("statements_version")?.is_some();
    let uses_schema = row.field::<Option<bool>>("uses_statements_schema")?.unwrap_or(true);
    let had = [
        (Need::Stats, has("reads_all_stats")?),
        (Need::Settings, has("reads_all_settings")?),
        (Need::Files, has("lists_files")?),
        (Need::Activities, has("tracks_activities")?),
        (Need::Counts, has("tracks_counts")?),
        (Need::StatementsLibrary, has("statements_loaded")?),
        (Need::StatementsExtension, statements),
        (Need::StatementsSchema, uses_schema),
    ];
    Ok(ServerLacks {
        needs: had.into_iter().filter(|(_, has)| !has).map(|(need, _)| need).collect(),
        inherits: has("inherits")?,
        in_recovery: has("in_recovery")?,
        datname: row.text("datname")?.to_owned(),
        statements_available: has("statements_available")?,
        statements_schema: row.field::<Option<String>>("statements_schema")?,
        has_public: has("has_public")?,
        datnames: datnames(session).await?,
    })
}

/// Lists the datnames that accept sessions, and whether this role may connect to each.
async fn datnames(session: &Session) -> Result<Vec<KnownDatname>, CollectError> {
    let rows = query(session, PART, include_str!("sql/datnames.sql")).await?;
    let read = |row| {
        let row = Fields::new(PART, row);
        // A datname that accepts no sessions needs no privilege.
        let may_connect = match row.field::<Option<&str>>("hindrance")? {
            None => true,
            Some("privilege") => false,
            Some(_) => return Ok(None),
        };
        let name = row.text("datname")?.to_owned();
        Ok(Some(KnownDatname { name, is_escaped: row.is_escaped("datname"), may_connect }))
    };
    rows.iter().filter_map(|row| read(row).transpose()).collect()
}

/// Reads which privileges are missing in the datname of this session.
pub(crate) async fn of_datname(session: &Session) -> Result<DatnameLacks, CollectError> {
    let failed = |source| CollectError::Query { collector: PART, source };
    let columns: &[&str] = &STATISTIC_COLUMNS;
    let rows = session.query(include_str!("sql/privileges_datname.sql"), &[(&columns, Type::TEXT_ARRAY)]).await.map_err(failed)?;
    let reads_statistics = rows.first().map(|row| Fields::new(PART, row).field("reads_statistics")).transpose()?.unwrap_or(false);
    let rows = query(session, PART, include_str!("sql/privileges_sequences.sql")).await?;
    let has_escaped = rows.iter().any(|row| row.is_escaped("schema") || row.is_escaped("owner"));
    let read = |row| {
        let row = Fields::new(PART, row);
        Ok(SequencesOf { schema: row.text("schema")?.to_owned(), owner: row.text("owner")?.to_owned() })
    };
    let sequences = rows.iter().map(read).collect::<Result<Vec<_>, CollectError>>()?;
    let had = [(Need::Statistic, reads_statistics), (Need::Sequences, sequences.is_empty())];
    Ok(DatnameLacks { needs: had.into_iter().filter(|(_, has)| !has).map(|(need, _)| need).collect(), sequences, has_escaped })
}
