//! The texts of statements, which are read rarely and stored.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use pharos_model::alert::Now;
use pharos_model::error_chain::chain;
use pharos_model::postgres::statements::text::{shown, shown_as_sent};
use pharos_model::snapshot::{FailureReason, PartId};
use tokio::time::Instant;
use tokio_postgres::types::{ToSql, Type};
use tracing::{debug, warn};

use crate::collect::CollectError;
use crate::collect::postgres::row::{Fields, query_with};
use crate::postgres::monitor::Session;

const PART: PartId = PartId::Statements;

/// Shortest pause between two queries for texts. The server reads all its texts for each query, so unknown ids are collected meanwhile.
const PAUSE_MIN: Duration = Duration::from_secs(20);
/// Longest pause, after queries that took long or failed.
const PAUSE_MAX: Duration = Duration::from_secs(3_600);
/// Length of a pause as a multiple of the time that the query took.
const PAUSE_PER_WORK: u32 = 100;
/// Most texts read at once from running sessions, if the server does not return the stored texts.
const SENT_MAX: i64 = 50;
/// Most ids in one query.
const ASKED_MAX: usize = 500;
/// Longest text that is read from a running session, in bytes.
const SENT_BYTES_MAX: i64 = 16 << 10;
/// Most bytes of texts in one answer.
const ANSWER_BYTES_MAX: i64 = 256 << 10;
/// Most bytes of texts that are stored. Beyond that, texts that are not wanted any more are removed.
const STORED_BYTES_MAX: usize = 4 << 20;

/// The stored texts of statements, by query id.
#[derive(Debug)]
pub(super) struct Texts {
    known: BTreeMap<i64, String>,
    known_bytes: usize,
    asked_at: Option<Duration>,
    pause: Duration,
    pub failures: u64,
    /// Whether the server returns no texts because it cannot convert one of them. That is logged once.
    is_refused: bool,
}

impl Default for Texts {
    fn default() -> Self {
        Self { known: BTreeMap::new(), known_bytes: 0, asked_at: None, pause: PAUSE_MIN, failures: 0, is_refused: false }
    }
}

impl Texts {
    pub(super) fn text(&self, queryid: i64) -> Option<&str> {
        self.known.get(&queryid).map(String::as_str)
    }

    /// Reads texts that are not known yet, unless the pause since the last query still lasts. A server that does not answer in time is
    /// asked less often. The counters are read all the same, as long as the session is open.
    pub(super) async fn update(&mut self, session: &Session, sql: &str, wanted: &BTreeSet<i64>, now: Now) -> Result<(), CollectError> {
        let unknown: Vec<i64> = wanted.iter().filter(|queryid| !self.known.contains_key(*queryid)).copied().take(ASKED_MAX).collect();
        let too_soon = self.asked_at.is_some_and(|at| now.monotonic.saturating_sub(at) < self.pause);
        if unknown.is_empty() {
            return Ok(());
        }
        if too_soon {
            return if self.is_refused { self.read_sent(session, &unknown, wanted).await } else { Ok(()) };
        }
        self.asked_at = Some(now.monotonic);
        let asked = Instant::now();
        let rows = match session.query(sql, &[(&unknown, Type::INT8_ARRAY), (&ANSWER_BYTES_MAX, Type::INT8)]).await {
            Ok(rows) => rows,
            Err(source) if source.ends_session() => {
                self.fail();
                return Err(CollectError::Query { collector: PART, source });
            }
            Err(source) => {
                self.fail();
                if source.reason() != FailureReason::Encoding {
                    debug!(error = chain(&source), next_in = ?self.pause, "the texts of statements could not be read");
                    return Ok(());
                }
                if !std::mem::replace(&mut self.is_refused, true) {
                    warn!(
                        error = chain(&source),
                        "the server returns no texts of statements in this datname, since it cannot convert one of them into its encoding; \
                         they are shown as sessions sent them, without constants, once a session sends them; a URL with a datname \
                         whose encoding is SQL_ASCII shows all of them at once"
                    );
                }
                return self.read_sent(session, &unknown, wanted).await;
            }
        };
        self.is_refused = false;
        self.pause = (asked.elapsed() * PAUSE_PER_WORK).clamp(PAUSE_MIN, PAUSE_MAX);
        let rows = rows.iter().map(|row| Fields::new(PART, row));
        let texts = rows.map(|row| Ok((row.field("queryid")?, shown(row.text("query")?)))).collect::<Result<Vec<_>, CollectError>>()?;
        self.store(texts, wanted);
        Ok(())
    }

    /// Reads the texts from sessions that run the statements now.
    async fn read_sent(&mut self, session: &Session, unknown: &[i64], wanted: &BTreeSet<i64>) -> Result<(), CollectError> {
        let sql = include_str!("../sql/statement_texts_sent.sql");
        let parameters: [(&(dyn ToSql + Sync), Type); 3] =
            [(&unknown, Type::INT8_ARRAY), (&SENT_MAX, Type::INT8), (&SENT_BYTES_MAX, Type::INT8)];
        let rows = query_with(session, PART, sql, &parameters).await?;
        let rows = rows.iter().map(|row| Fields::new(PART, row));
        let texts = rows.map(|row| Ok((row.field("queryid")?, shown_as_sent(row.text("query")?))));
        let texts = texts.collect::<Result<Vec<_>, CollectError>>()?;
        self.store(texts, wanted);
        Ok(())
    }

    /// Stores new texts. If they are too many, texts that are not wanted are removed first, and then new ones are dropped.
    fn store(&mut self, texts: Vec<(i64, String)>, wanted: &BTreeSet<i64>) {
        if self.known_bytes + bytes(texts.iter().map(|(_, text)| text)) > STORED_BYTES_MAX {
            self.known.retain(|queryid, _| wanted.contains(queryid));
            self.known_bytes = bytes(self.known.values());
        }
        for (queryid, text) in texts {
            let room = STORED_BYTES_MAX.saturating_sub(self.known_bytes);
            if text.len() <= room {
                self.known_bytes += text.len();
                self.known_bytes -= self.known.insert(queryid, text).map_or(0, |before| before.len());
            }
        }
    }

    fn fail(&mut self) {
        self.failures += 1;
        self.pause = (self.pause * 2).min(PAUSE_MAX);
    }
}

fn bytes<'a>(texts: impl Iterator<Item = &'a String>) -> usize {
    texts.map(String::len).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_sessions_take_bounded_memory() {
        let mut texts = Texts::default();
        let text = || "x".repeat(SENT_BYTES_MAX as usize);
        for run in 0..100_i64 {
            let ids = run * SENT_MAX..(run + 1) * SENT_MAX;
            let wanted: BTreeSet<i64> = ids.clone().collect();
            texts.store(ids.map(|queryid| (queryid, text())).collect(), &wanted);
            assert!(wanted.iter().all(|queryid| texts.text(*queryid).is_some()), "wanted texts are stored");
            assert!(texts.known_bytes <= STORED_BYTES_MAX && texts.known_bytes == bytes(texts.known.values()), "{}", texts.known_bytes);
        }
        let all: BTreeSet<i64> = (0..10_000).collect();
        texts.store(all.iter().map(|queryid| (*queryid, text())).collect(), &all);
        assert!(texts.known_bytes <= STORED_BYTES_MAX, "{}", texts.known_bytes);
    }
}
