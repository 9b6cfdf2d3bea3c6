//! The role that Pharos uses on a PostgreSQL server, where that has a limit of sessions (the table `own_role`).

use crate::{Snapshot, sql};

/// The sessions that Pharos may have at once on a server.
pub const OWN_SESSIONS: f64 = 2.0;

/// The role that Pharos uses, and its CONNECTION LIMIT.
#[derive(Debug, Clone, PartialEq)]
pub struct OwnRole {
    pub user: String,
    pub limit: f64,
    /// Sessions of the role that there are, those of Pharos included.
    pub sessions: f64,
}

impl OwnRole {
    /// None where the role has no limit, or the server does not say.
    pub fn of(server: &Snapshot) -> Option<Self> {
        let table = server.table("own_role").filter(|table| table.row_count() > 0)?;
        let number = |column: &str| table.number(column, 0).unwrap_or_default();
        Some(Self { user: table.text("user", 0)?, limit: number("connections_limit"), sessions: number("connections") })
    }

    /// Whether others use the role as well: then its limit is theirs, too.
    pub fn is_shared(&self) -> bool {
        self.sessions > OWN_SESSIONS
    }

    /// Whether Pharos cannot always have both of its sessions: the limit is lower, or others have taken the rest.
    pub fn is_short(&self) -> bool {
        self.limit < OWN_SESSIONS || (self.sessions >= self.limit && self.is_shared())
    }
}

/// The statement that makes room for both sessions of Pharos beside those that there are, and never lowers a limit. Without the facts, it has
/// placeholders.
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
