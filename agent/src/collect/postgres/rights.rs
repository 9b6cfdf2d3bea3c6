//! Rights without which the server returns fewer rows instead of an error. The statement that needs a right also checks it.
//!
//! A role can lose a right at any moment. If the right were checked earlier than the rows are read, hidden rows could look like rows that
//! are gone: metrics would be 0 and alerts would resolve. So the statement itself returns the right. If the statement ran without it, the
//! part is unsupported until the right is back.

use pharos_model::postgres::privilege::membership;
use pharos_model::snapshot::PartId;
use tokio_postgres::types::{ToSql, Type};

use super::row::{self, Fields};
use crate::collect::{CollectError, Missing};
use crate::postgres::monitor::{Row, Session};

/// The right that a statement's rows depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Right {
    /// The right to see sessions and statements of other roles.
    Stats,
    /// The right to see settings that only superusers see otherwise.
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

    /// Names what the right shows, for error texts.
    fn covers(self) -> &'static str {
        match self {
            Self::Stats => "other roles' statistics",
            Self::Settings => "the settings that only superusers see",
        }
    }

    /// Adds the check of the right to a statement.
    fn wrap(self, statement: &str) -> String {
        include_str!("sql/with_right.sql").replace("{right}", self.role()).replace("{statement}", statement)
    }

    /// Returns the rows of a statement, if the role had the right while they were read.
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
        // The grant differs for a role that inherits nothing. If this query fails, the role is taken for one that inherits, as most do.
        let rows = session.query(include_str!("sql/inherits.sql"), &[]).await.unwrap_or_default();
        let inherits = rows.first().and_then(|row| row.get::<bool>("inherits").ok()).unwrap_or(true);
        let grants = membership(session.role(), session.major(), inherits).join("; ");
        CollectError::Privilege(Missing::new(format!("role `{}` does not see {}", session.role(), self.covers())).cured_by(grants))
    }
}

/// Runs a query of a collector whose rows depend on a right.
pub(super) async fn query(session: &Session, collector: PartId, right: Right, sql: &str) -> Result<Vec<Row>, CollectError> {
    query_with(session, collector, right, sql, &[]).await
}

/// Runs a query whose rows depend on a right, with parameters, each with its type.
pub(super) async fn query_with(
    session: &Session,
    collector: PartId,
    right: Right,
    sql: &str,
    parameters: &[(&(dyn ToSql + Sync), Type)],
) -> Result<Vec<Row>, CollectError> {
    let rows = row::query_with(session, collector, &right.wrap(sql), parameters).await?;
    right.checked(session, collector, rows).await
}

/// Runs a query whose rows depend on a right, with a prepared plan in each session, since it runs often.
pub(super) async fn query_planned(session: &Session, collector: PartId, right: Right, sql: &str) -> Result<Vec<Row>, CollectError> {
    let rows = row::query_planned(session, collector, &right.wrap(sql)).await?;
    right.checked(session, collector, rows).await
}
