//! Notifications that wait for delivery, and those that were delivered or given up recently.

use std::time::Duration;

use pharos_model::alert::Fingerprint;
use pharos_model::duration::milliseconds;
use pharos_model::outbox::{NewRow, OutboxState, Settlement};
use rusqlite::{Connection, Row, ToSql, params};

use super::columns::{from_json, json, number, parsed, signed, unsigned};
use super::error::StoreError;
use super::handle::Store;

/// Delivered rows stay until this many newer rows were made. They show which receivers were notified.
const DELIVERED_KEPT: i64 = 20_000;
/// Rows that were given up stay until this many newer rows were made. A person may retry them.
const DEAD_KEPT: i64 = 100_000;

/// A row as it is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct OutboxRow {
    pub seq: u64,
    /// The row as it was made.
    pub made: NewRow,
    pub state: OutboxState,
    pub created_at_ms: u64,
    pub due_at_ms: u64,
    pub settled_at_ms: Option<u64>,
    pub attempts: u32,
    pub waited_ms: u64,
    pub message: Option<String>,
    /// The name of a [`UndeliveredReason`](pharos_model::notification::UndeliveredReason), maybe of another version.
    pub reason: Option<String>,
    pub why: Option<String>,
}

/// Longest remaining wait of a row that an earlier agent left. Its clock may have been wrong.
const LEFT_WAIT_MAX: Duration = Duration::from_secs(3_600);

impl OutboxRow {
    /// Remaining wait of a row that an earlier agent left. The times in the row are from a clock that may have been set since.
    pub fn left_to_wait(&self, now_ms: u64) -> Duration {
        // A row that was being sent may have arrived, so its result is wanted at once. A row from the future means that the clock was set
        // back.
        if self.state == OutboxState::Sending || self.created_at_ms > now_ms {
            return Duration::ZERO;
        }
        Duration::from_millis(self.due_at_ms.saturating_sub(now_ms)).min(LEFT_WAIT_MAX)
    }
}

/// The notifications that the previous agent left open.
#[derive(Debug, Default)]
pub struct OpenOutbox {
    /// Waiting or sending, oldest first.
    pub rows: Vec<OutboxRow>,
    pub unreported: Vec<UnreportedIncident>,
    /// The next free number of a row.
    pub next_seq: u64,
}

/// An incident whose beginning was given up, so that its receiver was never notified.
#[derive(Debug)]
pub struct UnreportedIncident {
    pub receiver: String,
    pub fingerprint: Fingerprint,
    pub incident: u64,
}

/// A message about to be sent.
#[derive(Debug)]
pub struct Claim {
    pub message: String,
    pub seqs: Vec<u64>,
}

/// One durable step of a receiver task: results of messages, and claims of the next ones.
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
        self.read_essential(|connection| {
            let next: Option<i64> = connection.query_row("SELECT max(seq) FROM outbox", [], |row| row.get(0))?;
            let rows = list(connection, "state IN ('waiting', 'sending') ORDER BY seq", [])?;
            let mut query = connection.prepare(
                "SELECT receiver, fingerprint, incident FROM outbox WHERE state = 'dead' AND tells = 'begin' AND NOT EXISTS (
                     SELECT 1 FROM outbox AS told
                     WHERE told.fingerprint = outbox.fingerprint AND told.incident = outbox.incident
                       AND told.receiver = outbox.receiver AND told.state = 'delivered')",
            )?;
            let unreported = query.query_map([], |row| {
                Ok(UnreportedIncident {
                    receiver: row.get("receiver")?,
                    fingerprint: parsed(row, "fingerprint")?,
                    incident: number(row, "incident")?,
                })
            })?;
            Ok(OpenOutbox { rows, unreported: unreported.collect::<Result<_, _>>()?, next_seq: next.map_or(1, |last| unsigned(last) + 1) })
        })
        .await
    }

    /// Stores the results of messages and the messages that are sent next: all or nothing. While the file fails, memory retains them, and
    /// the file gets them later.
    pub async fn outbox_turn(&self, turn: OutboxTurn) -> Result<(), StoreError> {
        self.write_essential(move |connection| {
            let transaction = connection.transaction()?;
            for settlement in &turn.settled {
                settle(&transaction, settlement, turn.now_ms)?;
            }
            for claim in &turn.claims {
                let sql = "UPDATE outbox SET state = 'sending', message = ?2 WHERE seq = ?1";
                each(&transaction, sql, &claim.seqs, &[&claim.message])?;
            }
            if !turn.settled.is_empty() {
                remove_oldest(&transaction)?;
            }
            transaction.commit()
        })
        .await
    }

    /// Makes rows that were given up wait again, if their receivers exist. Their time to be delivered begins again. A row stays given up if
    /// its receiver got a newer row of the same incident, since what the older row reports is no longer true.
    pub async fn revive_outbox(&self, wanted: RowFilter, receivers: Vec<String>) -> Result<Vec<OutboxRow>, StoreError> {
        self.write_durable(move |connection| {
            let (receiver, seqs) = wanted.parameters()?;
            let receivers = json(&receivers)?;
            let transaction = connection.transaction()?;
            let condition = format!(
                "state = 'dead' AND {} AND receiver IN (SELECT value FROM json_each(?3)) AND NOT EXISTS (
                     SELECT 1 FROM outbox AS younger
                     WHERE younger.fingerprint = outbox.fingerprint AND younger.incident = outbox.incident
                       AND younger.receiver = outbox.receiver AND younger.seq > outbox.seq AND younger.state = 'delivered')
                 ORDER BY seq",
                RowFilter::SQL
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

    /// Removes rows that were given up, and returns how many.
    pub async fn delete_dead(&self, wanted: RowFilter) -> Result<usize, StoreError> {
        self.write_durable(move |connection| {
            let (receiver, seqs) = wanted.parameters()?;
            let sql = format!("DELETE FROM outbox WHERE state = 'dead' AND {}", RowFilter::SQL);
            connection.execute(&sql, params![receiver, seqs])
        })
        .await
    }

    /// The newest rows about an alert, oldest first. Includes rows that only memory has while the file fails.
    pub async fn outbox_of(&self, fingerprint: String, limit: u32) -> Result<Vec<OutboxRow>, StoreError> {
        let wanted = "fingerprint = ?1 ORDER BY seq DESC LIMIT ?2";
        let mut rows = self.read_essential_for_caller(move |connection| list(connection, wanted, params![fingerprint, limit])).await?;
        rows.reverse();
        Ok(rows)
    }

    /// The newest rows, newest first. Each given filter must hold: one receiver, one state, older than the row `before`.
    pub async fn outbox(
        &self,
        receiver: Option<String>,
        state: Option<OutboxState>,
        before: Option<u64>,
        limit: u32,
    ) -> Result<Vec<OutboxRow>, StoreError> {
        self.read_for_caller(move |connection| youngest(connection, receiver.as_deref(), state, before, limit)).await
    }
}

/// The newest rows, newest first. Each given filter must hold.
pub(super) fn youngest(
    connection: &Connection,
    receiver: Option<&str>,
    state: Option<OutboxState>,
    before: Option<u64>,
    limit: u32,
) -> rusqlite::Result<Vec<OutboxRow>> {
    let wanted = "(?1 IS NULL OR receiver = ?1) AND (?2 IS NULL OR state = ?2) AND (?3 IS NULL OR seq < ?3)
                  ORDER BY seq DESC LIMIT ?4";
    list(connection, wanted, params![receiver, state.map(OutboxState::as_str), before.map(signed), limit])
}

/// The rows that a person selects. Each given filter must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RowFilter {
    /// Only rows of this receiver.
    pub receiver: Option<String>,
    /// Only rows with these numbers.
    pub seqs: Option<Vec<u64>>,
}

impl RowFilter {
    /// The filter as an SQL condition with two parameters: a receiver, and a JSON list of numbers.
    const SQL: &str = "(?1 IS NULL OR receiver = ?1) AND (?2 IS NULL OR seq IN (SELECT value FROM json_each(?2)))";

    fn parameters(&self) -> rusqlite::Result<(Option<String>, Option<String>)> {
        Ok((self.receiver.clone(), self.seqs.as_ref().map(json).transpose()?))
    }
}

/// Inserts a row. The transaction also has the change that the row reports.
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
        row.part.as_str(),
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
            each(connection, sql, seqs, &[&reason.as_str(), why, &now])
        }
        Settlement::Waiting { seqs, attempts, pause, message, reason, why } => {
            let pause = signed(milliseconds(*pause));
            let due = now.saturating_add(pause);
            let sql = "UPDATE outbox SET state = 'waiting', attempts = ?2, waited_ms = waited_ms + ?3, due_at_ms = ?4, message = ?5,
                              reason = ?6, why = ?7
                       WHERE seq = ?1";
            each(connection, sql, seqs, &[attempts, &pause, &due, message, &reason.as_str(), why])
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

fn remove_oldest(connection: &Connection) -> rusqlite::Result<()> {
    for (state, kept) in [(OutboxState::Delivered, DELIVERED_KEPT), (OutboxState::Dead, DEAD_KEPT)] {
        connection
            .prepare_cached("DELETE FROM outbox WHERE state = ?1 AND seq <= (SELECT max(seq) FROM outbox) - ?2")?
            .execute(params![state.as_str(), kept])?;
    }
    Ok(())
}

fn list(connection: &Connection, wanted: &str, parameters: impl rusqlite::Params) -> rusqlite::Result<Vec<OutboxRow>> {
    let mut query = connection.prepare_cached(&format!("SELECT * FROM outbox WHERE {wanted}"))?;
    query.query_map(parameters, outbox_row)?.collect()
}

fn outbox_row(row: &Row<'_>) -> rusqlite::Result<OutboxRow> {
    Ok(OutboxRow {
        seq: number(row, "seq")?,
        made: NewRow {
            id: row.get("id")?,
            receiver: row.get("receiver")?,
            group_key: row.get("group_key")?,
            group_labels: from_json(row, "group_labels")?,
            fingerprint: parsed(row, "fingerprint")?,
            incident: number(row, "incident")?,
            part: parsed(row, "tells")?,
            alert: from_json(row, "alert")?,
            others_firing: row.get("others_firing")?,
        },
        state: parsed(row, "state")?,
        created_at_ms: number(row, "created_at_ms")?,
        due_at_ms: number(row, "due_at_ms")?,
        settled_at_ms: row.get::<_, Option<i64>>("settled_at_ms")?.map(unsigned),
        attempts: row.get("attempts")?,
        waited_ms: number(row, "waited_ms")?,
        message: row.get("message")?,
        reason: row.get("reason")?,
        why: row.get("why")?,
    })
}
