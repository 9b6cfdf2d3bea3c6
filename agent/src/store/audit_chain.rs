//! The chain of the audit log. Hashes reveal every row that was edited, removed, moved or inserted.
//!
//! Rows are written with the change that they record. The agent removes the oldest rows beyond a bound and records that in the chain, so a
//! row that another program removed is still noticed. A program that can write the file can forge a whole new chain; a copy of the last
//! hash elsewhere reveals that too.

use pharos_model::audit::{AGENT_ACTOR, AuditAction, AuditEntry, ChainEnd, ReplacedStore};
use pharos_model::text::hex;
use rusqlite::{Connection, OptionalExtension, Row, params};
use sha2::{Digest, Sha256};

use super::columns::{number, signed, unsigned};

/// Most rows of the log. The table would grow without a bound otherwise.
const KEPT_MAX: u64 = 200_000;
/// The number of rows that are removed at once, since each removal is recorded by a row.
const REMOVED_AT_ONCE: u64 = 1_000;

type Hash = [u8; 32];

/// An entry with its place in the chain.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditRow {
    pub seq: u64,
    pub entry: AuditEntry,
    /// The hash of the row before, in hexadecimal digits.
    pub previous: String,
    pub hash: String,
}

/// The result of verifying the whole chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditVerdict {
    /// The number of rows that were verified.
    pub rows: u64,
    /// The number of the last row that the agent removed; 0 if it removed none.
    pub removed: u64,
    /// The hash of the last valid row. A copy elsewhere reveals a forged chain.
    pub head: String,
    pub broken: Option<BrokenLink>,
}

/// The first row that is not valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokenLink {
    pub seq: u64,
    pub why: String,
}

/// An end of the chain: the number and the hash of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct End {
    seq: u64,
    hash: Hash,
}

/// The end of an empty chain.
const NOTHING: End = End { seq: 0, hash: [0; 32] };

impl End {
    pub(super) fn is_nothing(&self) -> bool {
        *self == NOTHING
    }

    fn recorded(&self) -> ChainEnd {
        ChainEnd { through: self.seq, hash: hex(&self.hash) }
    }
}

/// Appends entries to the chain.
pub(super) fn append(connection: &Connection, entries: &[AuditEntry]) -> rusqlite::Result<()> {
    let Some(latest) = entries.last() else { return Ok(()) };
    let mut head = end(connection)?;
    for entry in entries {
        head = link(connection, head, entry)?;
    }
    if head.seq - start(connection)?.seq >= KEPT_MAX + REMOVED_AT_ONCE {
        head = remove_oldest(connection, head, latest.at_ms)?;
    }
    set_end(connection, "end", head)
}

/// Begins the chain of a new store at the end of the previous one.
pub(super) fn continue_from(connection: &Connection, from: End, aside: Option<&str>, at_ms: u64) -> rusqlite::Result<()> {
    if from.is_nothing() {
        return Ok(());
    }
    set_end(connection, "start", from)?;
    let action = AuditAction::StoreReplaced(ReplacedStore { end: from.recorded(), aside: aside.map(str::to_owned) });
    let entry = AuditEntry { at_ms, actor: AGENT_ACTOR.to_owned(), action, subject: "store".to_owned() };
    let head = link(connection, from, &entry)?;
    set_end(connection, "end", head)
}

pub(super) fn end(connection: &Connection) -> rusqlite::Result<End> {
    read_end(connection, "end")
}

pub(super) fn start(connection: &Connection) -> rusqlite::Result<End> {
    read_end(connection, "start")
}

pub(super) fn set_end(connection: &Connection, name: &str, end: End) -> rusqlite::Result<()> {
    let mut set = connection.prepare_cached("INSERT OR REPLACE INTO audit_ends (name, seq, hash) VALUES (?1, ?2, ?3)")?;
    set.execute(params![name, signed(end.seq), end.hash]).map(drop)
}

fn read_end(connection: &Connection, name: &str) -> rusqlite::Result<End> {
    let mut query = connection.prepare_cached("SELECT seq, hash FROM audit_ends WHERE name = ?1")?;
    let end = query.query_row([name], |row| Ok(End { seq: number(row, "seq")?, hash: row.get("hash")? })).optional()?;
    Ok(end.unwrap_or(NOTHING))
}

/// Writes one row after `last`. The caller stores the returned end.
fn link(connection: &Connection, last: End, entry: &AuditEntry) -> rusqlite::Result<End> {
    let seq = last.seq + 1;
    let (action, detail) = (entry.action.name(), entry.action.stored_detail().to_string());
    let hash = hash(seq, entry.at_ms, [&entry.actor, &action, &entry.subject, &detail], &last.hash);
    connection
        .prepare_cached(
            "INSERT INTO audit (seq, at_ms, actor, action, subject, detail, previous, hash) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?
        .execute(params![signed(seq), signed(entry.at_ms), entry.actor, action, entry.subject, detail, last.hash, hash])?;
    Ok(End { seq, hash })
}

fn remove_oldest(connection: &Connection, head: End, at_ms: u64) -> rusqlite::Result<End> {
    let through = head.seq - KEPT_MAX;
    let hash = connection.query_row("SELECT hash FROM audit WHERE seq = ?1", [signed(through)], |row| row.get(0))?;
    let removed = End { seq: through, hash };
    connection.execute("DELETE FROM audit WHERE seq <= ?1", [signed(through)])?;
    set_end(connection, "start", removed)?;
    let action = AuditAction::EntriesRemoved(removed.recorded());
    link(connection, head, &AuditEntry { at_ms, actor: AGENT_ACTOR.to_owned(), action, subject: "audit".to_owned() })
}

/// The hash of a row. Each field is preceded by its length, so that no byte can move from one field to the next.
fn hash(seq: u64, at_ms: u64, texts: [&str; 4], previous: &Hash) -> Hash {
    let mut hasher = Sha256::new();
    let mut field = |bytes: &[u8]| {
        hasher.update((bytes.len() as u64).to_be_bytes());
        hasher.update(bytes);
    };
    field(&seq.to_be_bytes());
    field(&at_ms.to_be_bytes());
    texts.iter().for_each(|text| field(text.as_bytes()));
    field(previous);
    hasher.finalize().into()
}

pub(super) fn list(connection: &Connection, before: Option<u64>, limit: u32) -> rusqlite::Result<Vec<AuditRow>> {
    let mut query = connection.prepare_cached(
        "SELECT seq, at_ms, actor, action, subject, detail, previous, hash FROM audit WHERE seq < ?1 ORDER BY seq DESC LIMIT ?2",
    )?;
    query.query_map(params![before.map_or(i64::MAX, signed), limit], audit_row)?.collect()
}

fn audit_row(row: &Row<'_>) -> rusqlite::Result<AuditRow> {
    let entry = AuditEntry {
        at_ms: number(row, "at_ms")?,
        actor: row.get("actor")?,
        action: AuditAction::from_stored(row.get("action")?, row.get("detail")?),
        subject: row.get("subject")?,
    };
    let [previous, hash] = [row.get::<_, Vec<u8>>("previous")?, row.get::<_, Vec<u8>>("hash")?];
    Ok(AuditRow { seq: number(row, "seq")?, entry, previous: hex(&previous), hash: hex(&hash) })
}

/// Finds the first row that does not follow from the row before it.
pub(super) fn verify(connection: &Connection) -> rusqlite::Result<AuditVerdict> {
    let (start, end) = (start(connection)?, end(connection)?);
    let mut head = start;
    let mut recorded = Some(NOTHING.recorded());
    let mut verdict = AuditVerdict { rows: 0, removed: start.seq, head: String::new(), broken: None };
    let mut query = connection.prepare("SELECT seq, previous, hash, at_ms, actor, action, subject, detail FROM audit ORDER BY seq")?;
    let mut rows = query.query([])?;
    while let Some(row) = rows.next()? {
        match follows(&head, row) {
            Ok(next) => head = next,
            Err(broken) => {
                verdict.broken = Some(broken);
                break;
            }
        }
        verdict.rows += 1;
        if AuditAction::moves_chain_start(row.get_ref("action")?.as_str().unwrap_or_default()) {
            recorded = AuditAction::from_stored(row.get("action")?, row.get("detail")?).new_start().cloned();
        }
    }
    if verdict.broken.is_none() && recorded != Some(start.recorded()) {
        let why = "rows before it are gone, and no row of the chain records that the agent removed them".to_owned();
        verdict.broken = Some(BrokenLink { seq: start.seq + 1, why });
    }
    if verdict.broken.is_none() && head != end {
        let why = format!("the chain ends before it; its last row was {}", end.seq);
        verdict.broken = Some(BrokenLink { seq: head.seq + 1, why });
    }
    verdict.head = hex(&head.hash);
    Ok(verdict)
}

/// The end of the chain after this row, if the row follows from `head`.
fn follows(head: &End, row: &Row<'_>) -> Result<End, BrokenLink> {
    let expected = head.seq + 1;
    let broken = |why: &str| BrokenLink { seq: expected, why: why.to_owned() };
    let unreadable = |_| broken("it is not what an agent writes");
    let seq: i64 = row.get("seq").map_err(unreadable)?;
    if seq != signed(expected) {
        return Err(broken(&format!("it is missing; the next one is {seq}")));
    }
    let (previous, own): (Hash, Hash) = (row.get("previous").map_err(unreadable)?, row.get("hash").map_err(unreadable)?);
    if previous != head.hash {
        return Err(broken("it does not follow from the row before"));
    }
    let at_ms: i64 = row.get("at_ms").map_err(unreadable)?;
    let text = |column| row.get::<_, String>(column).map_err(unreadable);
    let texts = [text("actor")?, text("action")?, text("subject")?, text("detail")?];
    if at_ms < 0 || hash(expected, unsigned(at_ms), texts.each_ref().map(String::as_str), &previous) != own {
        return Err(broken("it is not what it was when it was written"));
    }
    Ok(End { seq: expected, hash: own })
}
