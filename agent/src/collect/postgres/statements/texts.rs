//! The texts of statements, learnt rarely and kept.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use pharos_model::alert::Now;
use tokio_postgres::types::Type;

use super::super::row::Fields;
use super::NAME;
use crate::collect::CollectError;
use crate::postgres::Session;

/// The server reads all its texts for each question, so unknown ones are gathered meanwhile.
const PAUSE: Duration = Duration::from_secs(20);
/// Ids asked for at once.
const ASKED_MAX: usize = 500;
/// Texts that are kept.
const KEPT_MAX: usize = 5_000;

#[derive(Debug, Default)]
pub struct Texts {
    known: BTreeMap<i64, String>,
    asked_at: Option<Duration>,
}

impl Texts {
    pub fn text(&self, queryid: i64) -> Option<&str> {
        self.known.get(&queryid).map(String::as_str)
    }

    /// Asks for the texts of statements that are not known yet, if the last question is long enough ago.
    pub async fn learn(
        &mut self,
        session: &Session,
        schema: &str,
        wanted: impl Iterator<Item = i64>,
        now: Now,
    ) -> Result<(), CollectError> {
        let unknown: BTreeSet<i64> = wanted.filter(|queryid| !self.known.contains_key(queryid)).collect();
        let too_soon = self.asked_at.is_some_and(|at| now.monotonic.saturating_sub(at) < PAUSE);
        if unknown.is_empty() || too_soon {
            return Ok(());
        }
        self.asked_at = Some(now.monotonic);
        let asked: Vec<i64> = unknown.into_iter().take(ASKED_MAX).collect();
        let sql = include_str!("../sql/statement_texts.sql").replace("{schema}", schema);
        let rows = session.query(&sql, &[(&asked, Type::INT8_ARRAY)]).await;
        let rows = rows.map_err(|source| CollectError::Query { collector: NAME, source })?;
        if self.known.len() + rows.len() > KEPT_MAX {
            self.known.clear();
        }
        for row in &rows {
            let row = Fields::new(NAME, row);
            self.known.insert(row.field("queryid")?, shown(row.text("query")?));
        }
        Ok(())
    }
}

/// Constants are placeholders already, except in statements that PostgreSQL does not normalise; of those, ones that set a password.
fn shown(query: &str) -> String {
    let lower = query.to_ascii_lowercase();
    if lower.contains("password") || lower.contains("identified by") {
        return "(not shown: it may hold a password)".to_owned();
    }
    query.to_owned()
}
