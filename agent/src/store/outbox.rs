//! Notifications that are not delivered yet, and for a while those that are.

use std::time::Duration;

use pharos_model::alert::Fingerprint;
use pharos_model::outbox::{NewRow, Settlement};
use rusqlite::types::Type;
use rusqlite::{Connection, Row, ToSql, params};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Store, StoreError};

/// Delivered rows are kept while at most this many younger rows were made; they answer "was I told?".
const DELIVERED_KEPT: i64 = 20_000;
/// The same for rows that were given up, which a person may want tried again.
const DEAD_KEPT: i64 = 100_000;

/// A row as it is stored.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OutboxRow {
    pub seq: u64,
    /// As it was made.
    pub made: NewRow,
    /// `waiting`, `sending`, `delivered`, `dead`.
    pub state: String,
    pub created_at_ms: u64,
    pub due_at_ms: u64,
    pub settled_at_ms: Option<u64>,
    pub attempts: u32,
    pub waited_ms: u64,
    pub message: Option<String>,
    pub reason: Option<String>,
    pub why: Option<String>,
}

/// How long a row that an earlier agent left may have to wait, whatever its clock was.
const LEFT_WAIT_MAX: Duration = Duration::from_secs(3_600);

impl OutboxRow {
    /// How long it has to wait yet. Its times are another agent's, whose clock may have been another one.
    pub fn left_to_wait(&self, now_ms: u64) -> Duration {
        // What was being sent may have arrived. What was made in the future says that the clock was set back since.
        if self.state == "sending" || self.created_at_ms > now_ms {
            return Duration::ZERO;
        }
        Duration::from_millis(self.due_at_ms.saturating_sub(now_ms)).min(LEFT_WAIT_MAX)
    }
}

/// What an agent before this one left to do.
#[derive(Debug, Default)]
pub struct OpenOutbox {
    /// Waiting or sending, oldest first.
    pub rows: Vec<OutboxRow>,
    /// Receiver and incident whose beginning was given up.
    pub untold: Vec<(String, Fingerprint, u64)>,
    /// Above every number that was given.
    pub next_seq: u64,
}

/// A message about to be sent.
#[derive(Debug)]
pub struct Claim {
    pub message: String,
    pub seqs: Vec<u64>,
}

/// What a receiver's worker did and is about to do, in one durable step.
#[derive(Debug, Default)]
pub struct OutboxTurn {
    pub settled: Vec<Settlement>,
    pub claims: Vec<Claim>,
    pub now_ms: u64,
}

impl OutboxTurn {
    pub fn is_empty(&self) -> bool {
        self.settled.is_empty() && self.claims.is_empty()
    }
}

impl Store {
    pub async fn open_outbox(&self) -> Result<OpenOutbox, StoreError> {
        self.know(|connection| {
            let next: Option<i64> = connection.query_row("SELECT max(seq) FROM outbox", [], |row| row.get(0))?;
            let rows = list(connection, "state IN ('waiting', 'sending') ORDER BY seq", [])?;
            let mut query = connection.prepare(
                "SELECT receiver, fingerprint, incident FROM outbox WHERE state = 'dead' AND tells = 'begin' AND NOT EXISTS (
                     SELECT 1 FROM outbox AS told
                     WHERE told.fingerprint = outbox.fingerprint AND told.incident = outbox.incident
                       AND told.receiver = outbox.receiver AND told.state = 'delivered')",
            )?;
            let untold = query.query_map([], |row| Ok((row.get(0)?, parsed(row, 1)?, unsigned(row.get(2)?))))?;
            Ok(OpenOutbox { rows, untold: untold.collect::<Result<_, _>>()?, next_seq: next.map_or(1, |last| unsigned(last) + 1) })
        })
        .await
    }

    /// Stores what became of messages and which ones go out now: all or nothing. While the file cannot take it, it is kept in memory and
    /// written later.
    pub async fn outbox_turn(&self, turn: OutboxTurn) -> Result<(), StoreError> {
        self.keep(move |connection| {
            let transaction = connection.transaction()?;
            for settlement in &turn.settled {
                settle(&transaction, settlement, turn.now_ms)?;
            }
            for claim in &turn.claims {
                let sql = "UPDATE outbox SET state = 'sending', message = ?2 WHERE seq = ?1";
                each(&transaction, sql, &claim.seqs, &[&claim.message])?;
            }
            if !turn.settled.is_empty() {
                forget(&transaction)?;
            }
            transaction.commit()
        })
        .await
    }

    /// Takes rows that were given up back, those of receivers that exist. They have all their time again. One whose receiver has heard
    /// something younger of its incident stays where it is: what it says is no longer so.
    pub async fn revive_outbox(&self, wanted: Wanted, receivers: Vec<String>) -> Result<Vec<OutboxRow>, StoreError> {
        self.call(move |connection| {
            let (receiver, seqs) = wanted.parameters()?;
            let receivers = json(&receivers)?;
            let transaction = connection.transaction()?;
            let condition = format!(
                "state = 'dead' AND {} AND receiver IN (SELECT value FROM json_each(?3)) AND NOT EXISTS (
                     SELECT 1 FROM outbox AS younger
                     WHERE younger.fingerprint = outbox.fingerprint AND younger.incident = outbox.incident
                       AND younger.receiver = outbox.receiver AND younger.seq > outbox.seq AND younger.state = 'delivered')
                 ORDER BY seq",
                Wanted::SQL
            );
            let rows = list(&transaction, &condition, params![receiver, seqs, receivers])?;
            let revived: Vec<u64> = rows.iter().map(|row| row.seq).collect();
            let sql = "UPDATE outbox SET state = 'waiting', attempts = 0, waited_ms = 0, settled_at_ms = NULL, due_at_ms = created_at_ms
                       WHERE seq = ?1";
            each(&transaction, sql, &revived, &[])?;
            transaction.commit()?;
            Ok(rows)
        })
        .await
    }

    /// Forgets rows that were given up.
    pub async fn forget_dead(&self, wanted: Wanted) -> Result<usize, StoreError> {
        self.call(move |connection| {
            let (receiver, seqs) = wanted.parameters()?;
            let sql = format!("DELETE FROM outbox WHERE state = 'dead' AND {}", Wanted::SQL);
            connection.execute(&sql, params![receiver, seqs])
        })
        .await
    }

    /// The youngest rows about an alert, oldest first, those too that the file does not take for now.
    pub async fn outbox_of(&self, fingerprint: String, limit: u32) -> Result<Vec<OutboxRow>, StoreError> {
        let wanted = "fingerprint = ?1 ORDER BY seq DESC LIMIT ?2";
        let mut rows = self.know_for_visitor(move |connection| list(connection, wanted, params![fingerprint, limit])).await?;
        rows.reverse();
        Ok(rows)
    }

    /// The youngest rows, youngest first; of one receiver or one state if asked.
    pub async fn outbox(&self, receiver: Option<String>, state: Option<String>, limit: u32) -> Result<Vec<OutboxRow>, StoreError> {
        self.read_for_visitor(move |connection| youngest(connection, receiver.as_deref(), state.as_deref(), limit)).await
    }
}

/// The same, for whoever reads a store without its agent.
pub(super) fn youngest(
    connection: &Connection,
    receiver: Option<&str>,
    state: Option<&str>,
    limit: u32,
) -> rusqlite::Result<Vec<OutboxRow>> {
    let wanted = "(?1 IS NULL OR receiver = ?1) AND (?2 IS NULL OR state = ?2) ORDER BY seq DESC LIMIT ?3";
    list(connection, wanted, params![receiver, state, limit])
}

/// Which rows a person means.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Of this receiver alone.
    pub receiver: Option<String>,
    /// With these numbers alone.
    pub seqs: Option<Vec<u64>>,
}

impl Wanted {
    /// As a condition with two parameters: a receiver, and a JSON list of numbers.
    const SQL: &str = "(?1 IS NULL OR receiver = ?1) AND (?2 IS NULL OR seq IN (SELECT value FROM json_each(?2)))";

    fn parameters(&self) -> rusqlite::Result<(Option<String>, Option<String>)> {
        Ok((self.receiver.clone(), self.seqs.as_ref().map(json).transpose()?))
    }
}

/// Rows are written with the change that they tell of.
pub(super) fn insert(connection: &Connection, seq: u64, row: &NewRow, now_ms: u64) -> rusqlite::Result<()> {
    let mut insert = connection.prepare_cached(
        "INSERT OR IGNORE INTO outbox
             (seq, id, receiver, group_key, group_labels, fingerprint, incident, tells, alert, others_firing, state, created_at_ms,
              due_at_ms)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, 'waiting', ?11, ?11)",
    )?;
    insert.execute(params![
        signed(seq),
        row.id,
        row.receiver,
        row.group_key,
        json(&row.group_labels)?,
        row.fingerprint.to_string(),
        signed(row.incident),
        row.tells.as_str(),
        json(&row.alert)?,
        row.others_firing,
        signed(now_ms),
    ])?;
    Ok(())
}

fn settle(connection: &Connection, settlement: &Settlement, now_ms: u64) -> rusqlite::Result<()> {
    let now = signed(now_ms);
    match settlement {
        Settlement::Delivered { seqs, note } => {
            let sql = "UPDATE outbox SET state = 'delivered', attempts = attempts + 1, reason = NULL, why = ?2, settled_at_ms = ?3 WHERE seq = ?1";
            each(connection, sql, seqs, &[note, &now])
        }
        Settlement::Dead { seqs, reason, why } => {
            let sql = "UPDATE outbox SET state = 'dead', message = NULL, reason = ?2, why = ?3, settled_at_ms = ?4 WHERE seq = ?1";
            each(connection, sql, seqs, &[reason, why, &now])
        }
        Settlement::Waiting { seqs, attempts, pause, message, reason, why } => {
            let pause = millis(*pause);
            let due = signed(now_ms.saturating_add(pause));
            let sql = "UPDATE outbox SET state = 'waiting', attempts = ?2, waited_ms = waited_ms + ?3, due_at_ms = ?4, message = ?5,
                              reason = ?6, why = ?7
                       WHERE seq = ?1";
            each(connection, sql, seqs, &[attempts, &signed(pause), &due, message, reason, why])
        }
    }
}

/// Runs a statement for each row; its first parameter is the row's number.
fn each(connection: &Connection, sql: &str, seqs: &[u64], parameters: &[&dyn ToSql]) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(sql)?;
    for seq in seqs {
        let seq = signed(*seq);
        let all: Vec<&dyn ToSql> = std::iter::once(&seq as &dyn ToSql).chain(parameters.iter().copied()).collect();
        statement.execute(&all[..])?;
    }
    Ok(())
}

fn forget(connection: &Connection) -> rusqlite::Result<()> {
    for (state, kept) in [("delivered", DELIVERED_KEPT), ("dead", DEAD_KEPT)] {
        connection
            .prepare_cached("DELETE FROM outbox WHERE state = ?1 AND seq <= (SELECT max(seq) FROM outbox) - ?2")?
            .execute(params![state, kept])?;
    }
    Ok(())
}

fn list(connection: &Connection, wanted: &str, parameters: impl rusqlite::Params) -> rusqlite::Result<Vec<OutboxRow>> {
    let sql = format!(
        "SELECT seq, id, receiver, group_key, group_labels, fingerprint, incident, tells, alert, state, created_at_ms, due_at_ms,
                settled_at_ms, attempts, waited_ms, message, reason, why, others_firing
         FROM outbox WHERE {wanted}"
    );
    let mut query = connection.prepare_cached(&sql)?;
    let rows = query.query_map(parameters, |row| {
        Ok(OutboxRow {
            seq: unsigned(row.get(0)?),
            made: NewRow {
                id: row.get(1)?,
                receiver: row.get(2)?,
                group_key: row.get(3)?,
                group_labels: from_json(row, 4)?,
                fingerprint: parsed(row, 5)?,
                incident: unsigned(row.get(6)?),
                tells: parsed(row, 7)?,
                alert: from_json(row, 8)?,
                others_firing: row.get(18)?,
            },
            state: row.get(9)?,
            created_at_ms: unsigned(row.get(10)?),
            due_at_ms: unsigned(row.get(11)?),
            settled_at_ms: row.get::<_, Option<i64>>(12)?.map(unsigned),
            attempts: row.get(13)?,
            waited_ms: unsigned(row.get(14)?),
            message: row.get(15)?,
            reason: row.get(16)?,
            why: row.get(17)?,
        })
    })?;
    rows.collect()
}

pub(super) fn json(value: &impl Serialize) -> rusqlite::Result<String> {
    serde_json::to_string(value).map_err(|err| rusqlite::Error::ToSqlConversionFailure(err.into()))
}

fn from_json<T: DeserializeOwned>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    let text: String = row.get(column)?;
    serde_json::from_str(&text).map_err(|err| rusqlite::Error::FromSqlConversionFailure(column, Type::Text, err.into()))
}

fn parsed<T: std::str::FromStr<Err: std::error::Error + Send + Sync + 'static>>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    let text: String = row.get(column)?;
    text.parse().map_err(|err: T::Err| rusqlite::Error::FromSqlConversionFailure(column, Type::Text, err.into()))
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// SQLite's integers have a sign; ours are small.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(super) fn unsigned(number: i64) -> u64 {
    number.unsigned_abs()
}
