//! Rights without which the server returns less instead of refusing, asked in the statement that needs them.
//!
//! A role can lose a right at any moment. A right that was asked earlier is of another time than the rows: hidden rows would look like rows
//! that are gone, metrics would read 0 and alerts would resolve. So the statement itself returns the right, and a part whose statement ran
//! without it is unsupported until the right is back.

use pharos_model::postgres::privilege::membership;
use pharos_model::snapshot::PartId;
use tokio_postgres::types::{ToSql, Type};

use super::row::{self, Fields};
use crate::collect::{CollectError, Missing};
use crate::postgres::monitor::{Row, Session};

/// The right that a statement's rows depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Right {
    /// To see other roles' sessions and statements.
    Stats,
    /// To see settings that only superusers see otherwise.
    Settings,
}

impl Right {
    /// The predefined role that has the right; pg_monitor is a member of each.
    fn role(self) -> &'static str {
        match self {
            Self::Stats => "pg_read_all_stats",
            Self::Settings => "pg_read_all_settings",
        }
    }

    fn covers(self) -> &'static str {
        match self {
            Self::Stats => "other roles' statistics",
            Self::Settings => "the settings that only superusers see",
        }
    }

    fn asked_with(self, statement: &str) -> String {
        include_str!("sql/with_right.sql").replace("{right}", self.role()).replace("{statement}", statement)
    }

    /// The statement's rows, if the right was there while they were read.
    async fn checked(self, session: &Session, collector: PartId, mut rows: Vec<Row>) -> Result<Vec<Row>, CollectError> {
        let first = rows.first().map(|row| Fields::new(collector, row));
        let has_right = first.as_ref().map_or(Ok(Some(false)), |row| row.field::<Option<bool>>("has_right"))?;
        if has_right != Some(true) {
            return Err(self.missing(session).await);
        }
        if first.map_or(Ok(None), |row| row.field::<Option<bool>>("is_fact"))?.is_none() {
            rows.clear();
        }
        Ok(rows)
    }

    async fn missing(self, session: &Session) -> CollectError {
        // The grant differs for a role that inherits nothing. Where that cannot be read, most roles inherit.
        let rows = session.query(include_str!("sql/inherits.sql"), &[]).await.unwrap_or_default();
        let inherits = rows.first().and_then(|row| row.get::<bool>("inherits").ok()).unwrap_or(true);
        let grants = membership(session.role(), session.major(), inherits).join("; ");
        CollectError::Privilege(Missing::new(format!("role `{}` does not see {}", session.role(), self.covers())).cured_by(grants))
    }
}

/// Runs a collector's query whose rows depend on a right.
pub async fn query(session: &Session, collector: PartId, right: Right, sql: &str) -> Result<Vec<Row>, CollectError> {
    query_with(session, collector, right, sql, &[]).await
}

/// Runs such a query with parameters, each with its type.
pub async fn query_with(
    session: &Session,
    collector: PartId,
    right: Right,
    sql: &str,
    parameters: &[(&(dyn ToSql + Sync), Type)],
) -> Result<Vec<Row>, CollectError> {
    let rows = row::query_with(session, collector, &right.asked_with(sql), parameters).await?;
    right.checked(session, collector, rows).await
}

/// Runs such a query often enough that it is worth a plan of its own in each session.
pub async fn query_planned(session: &Session, collector: PartId, right: Right, sql: &str) -> Result<Vec<Row>, CollectError> {
    let rows = row::query_planned(session, collector, &right.asked_with(sql)).await?;
    right.checked(session, collector, rows).await
}
