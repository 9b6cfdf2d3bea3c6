//! The texts of statements, learnt rarely and kept.

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

/// The server reads all its texts for each question, so unknown ones are gathered meanwhile.
const PAUSE_MIN: Duration = Duration::from_secs(20);
/// Where that took long, or failed, they are gathered for longer.
const PAUSE_MAX: Duration = Duration::from_secs(3_600);
/// A pause is so many times as long as the question took.
const PAUSE_PER_WORK: u32 = 100;
/// Texts that sessions sent, which are kept instead of those that the server does not give, at once.
const SENT_MAX: i64 = 50;
/// Ids asked for at once.
const ASKED_MAX: usize = 500;
/// Bytes of such a text; a longer one is left to sessions that send less.
const SENT_BYTES_MAX: i64 = 16 << 10;
/// Bytes that come at once.
const LEARNT_BYTES_MAX: i64 = 256 << 10;
/// Bytes of texts that are kept; then those that are not asked for go.
const KEPT_BYTES_MAX: usize = 4 << 20;

#[derive(Debug)]
pub struct Texts {
    known: BTreeMap<i64, String>,
    known_bytes: usize,
    asked_at: Option<Duration>,
    pause: Duration,
    pub failures: u64,
    /// Whether the server cannot convert one of them, and so gives none. That is logged once.
    is_refused: bool,
}

impl Default for Texts {
    fn default() -> Self {
        Self { known: BTreeMap::new(), known_bytes: 0, asked_at: None, pause: PAUSE_MIN, failures: 0, is_refused: false }
    }
}

impl Texts {
    pub fn text(&self, queryid: i64) -> Option<&str> {
        self.known.get(&queryid).map(String::as_str)
    }

    /// Asks for texts that are not known yet, if the last question is long enough ago. A server that cannot answer in time is asked less
    /// often; the counters do not suffer for it, as long as the session goes on.
    pub async fn learn(&mut self, session: &Session, sql: &str, wanted: &BTreeSet<i64>, now: Now) -> Result<(), CollectError> {
        let unknown: Vec<i64> = wanted.iter().filter(|queryid| !self.known.contains_key(*queryid)).copied().take(ASKED_MAX).collect();
        let too_soon = self.asked_at.is_some_and(|at| now.monotonic.saturating_sub(at) < self.pause);
        if unknown.is_empty() {
            return Ok(());
        }
        if too_soon {
            return if self.is_refused { self.learn_sent(session, &unknown, wanted).await } else { Ok(()) };
        }
        self.asked_at = Some(now.monotonic);
        let asked = Instant::now();
        let rows = match session.query(sql, &[(&unknown, Type::INT8_ARRAY), (&LEARNT_BYTES_MAX, Type::INT8)]).await {
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
                        "the server gives no texts of statements in this datname, since it cannot convert one of them into its encoding; \
                         they are shown as sessions sent them, without constants, once a session is seen with them; a URL with a datname \
                         whose encoding is SQL_ASCII shows all of them at once"
                    );
                }
                return self.learn_sent(session, &unknown, wanted).await;
            }
        };
        self.is_refused = false;
        self.pause = (asked.elapsed() * PAUSE_PER_WORK).clamp(PAUSE_MIN, PAUSE_MAX);
        let rows = rows.iter().map(|row| Fields::new(PART, row));
        let texts = rows.map(|row| Ok((row.field("queryid")?, shown(row.text("query")?)))).collect::<Result<Vec<_>, CollectError>>()?;
        self.keep(texts, wanted);
        Ok(())
    }

    /// Takes the texts from the sessions that sent them, as far as there are any now.
    async fn learn_sent(&mut self, session: &Session, unknown: &[i64], wanted: &BTreeSet<i64>) -> Result<(), CollectError> {
        let sql = include_str!("../sql/statement_texts_sent.sql");
        let parameters: [(&(dyn ToSql + Sync), Type); 3] =
            [(&unknown, Type::INT8_ARRAY), (&SENT_MAX, Type::INT8), (&SENT_BYTES_MAX, Type::INT8)];
        let rows = query_with(session, PART, sql, &parameters).await?;
        let rows = rows.iter().map(|row| Fields::new(PART, row));
        let texts = rows.map(|row| Ok((row.field("queryid")?, shown_as_sent(row.text("query")?))));
        let texts = texts.collect::<Result<Vec<_>, CollectError>>()?;
        self.keep(texts, wanted);
        Ok(())
    }

    /// Keeps new texts. Where there are too many, those that are not asked for go first, and then new ones find no room.
    fn keep(&mut self, texts: Vec<(i64, String)>, wanted: &BTreeSet<i64>) {
        if self.known_bytes + bytes(texts.iter().map(|(_, text)| text)) > KEPT_BYTES_MAX {
            self.known.retain(|queryid, _| wanted.contains(queryid));
            self.known_bytes = bytes(self.known.values());
        }
        for (queryid, text) in texts {
            let room = KEPT_BYTES_MAX.saturating_sub(self.known_bytes);
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
    fn texts_that_sessions_send_without_end_take_bounded_memory() {
        let mut texts = Texts::default();
        let text = || "x".repeat(SENT_BYTES_MAX as usize);
        for run in 0..100_i64 {
            let ids = run * SENT_MAX..(run + 1) * SENT_MAX;
            let wanted: BTreeSet<i64> = ids.clone().collect();
            texts.keep(ids.map(|queryid| (queryid, text())).collect(), &wanted);
            assert!(wanted.iter().all(|queryid| texts.text(*queryid).is_some()), "what is asked for is there");
            assert!(texts.known_bytes <= KEPT_BYTES_MAX && texts.known_bytes == bytes(texts.known.values()), "{}", texts.known_bytes);
        }
        let all: BTreeSet<i64> = (0..10_000).collect();
        texts.keep(all.iter().map(|queryid| (*queryid, text())).collect(), &all);
        assert!(texts.known_bytes <= KEPT_BYTES_MAX, "{}", texts.known_bytes);
    }
}
