//! The role that Pharos uses on a PostgreSQL server, if the role has a connection limit. Source: the table `own_role` of the snapshot.

use crate::{Snapshot, sql};

/// The largest number of sessions that Pharos opens at once on a server.
pub const OWN_SESSIONS: f64 = 2.0;

/// The role that Pharos uses on a server, with its connection limit and its present sessions.
#[derive(Debug, Clone, PartialEq)]
pub struct OwnRole {
    /// The name of the role.
    pub user: String,
    /// The `CONNECTION LIMIT` of the role, in sessions.
    pub limit: f64,
    /// The present sessions of the role, those of Pharos included.
    pub sessions: f64,
}

impl OwnRole {
    /// Reads the role from the snapshot of a server. None if the role has no limit, or the server does not report it.
    pub fn from_snapshot(server: &Snapshot) -> Option<Self> {
        let table = server.table("own_role").filter(|table| table.row_count() > 0)?;
        let number = |column: &str| table.number(column, 0).unwrap_or_default();
        Some(Self { user: table.text("user", 0)?, limit: number("connections_limit"), sessions: number("connections") })
    }

    /// Whether other clients use the role as well. They then share its limit.
    pub fn is_shared(&self) -> bool {
        self.sessions > OWN_SESSIONS
    }

    /// Whether Pharos may fail to open both sessions: the limit is too low, or other clients use it up.
    pub fn is_short(&self) -> bool {
        self.limit < OWN_SESSIONS || (self.sessions >= self.limit && self.is_shared())
    }
}

/// The statement that makes room for both sessions of Pharos beside the present ones. The statement never lowers a limit. Without an
/// [`OwnRole`] the statement has placeholders, so that PostgreSQL refuses it until a person fills them in.
pub fn more_sessions(own: Option<&OwnRole>) -> String {
    match own {
        None => "ALTER ROLE <role> CONNECTION LIMIT <more>;".to_owned(),
        Some(OwnRole { user, limit, sessions }) => {
            let enough = (limit.max(*sessions) + OWN_SESSIONS).max(OWN_SESSIONS + 1.0);
            format!("ALTER ROLE {} CONNECTION LIMIT {enough};", sql::identifier(user))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_never_lowered_and_no_role_is_guessed() {
        let own = |limit, sessions| OwnRole { user: "app".to_owned(), limit, sessions };
        assert_eq!(more_sessions(Some(&own(20.0, 20.0))), "ALTER ROLE \"app\" CONNECTION LIMIT 22;");
        assert_eq!(more_sessions(Some(&own(1.0, 1.0))), "ALTER ROLE \"app\" CONNECTION LIMIT 3;");
        assert_eq!(more_sessions(Some(&own(0.0, 0.0))), "ALTER ROLE \"app\" CONNECTION LIMIT 3;");
        assert_eq!(more_sessions(None), "ALTER ROLE <role> CONNECTION LIMIT <more>;");
    }
}
