//! Why a part of a snapshot is missing.

use std::fmt;

use serde::{Serialize, Serializer};

/// Why a part of a snapshot is missing. The set is closed, because metrics have the reason as a label, the API serves it and rules read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FailureReason {
    /// No answer came in time.
    Timeout,
    /// The agent has as many sessions with the server as it may have.
    NoPlace,
    /// Nothing listens at the address.
    Unreachable,
    /// A connection pooler answers in the server's place.
    Pooler,
    /// The agent could not read its own password, so nothing is known of the server.
    Password,
    /// There is no encrypted session, or the certificate is not trusted.
    Tls,
    /// The server starts or recovers.
    Starting,
    /// The server shuts down.
    Stopping,
    /// The server or an operator ended the session.
    Closed,
    /// The whole server has no connection left for ordinary roles.
    TooManyConnections,
    /// The `CONNECTION LIMIT` of the agent's own role is reached.
    RoleLimit,
    /// The `CONNECTION LIMIT` of the datname is reached.
    DatnameLimit,
    /// The password is wrong or missing, or the role does not exist or may not log in.
    Authentication,
    /// The server and the agent share no way to log in.
    AuthenticationMethod,
    /// pg_hba.conf does not let the agent in.
    Hba,
    /// The role lacks a right.
    Privilege,
    /// The datname does not exist, or takes no sessions.
    Datname,
    /// An interrupted `DROP DATABASE` left the datname behind.
    DatnameInvalid,
    /// The datname takes no sessions: `ALLOW_CONNECTIONS` is false.
    DatnameClosed,
    /// The server does not take a setting of the session.
    Setting,
    /// A text cannot be converted into the encoding of the session.
    Encoding,
    /// The server is out of memory, disk or processes.
    Resources,
    /// The server gave up a statement of the agent for its time limit.
    StatementTimeout,
    /// The server gave up a wait for a lock for its time limit.
    LockTimeout,
    /// The version or the product does not offer the part.
    Unsupported,
    /// The server answered a query with `feature_not_supported`.
    NotSupported,
    /// The agent's own machine has no room for a connection, so nothing is known of the server.
    OwnLimit,
    /// The server asks for the password in clear text over a connection that is not encrypted.
    CleartextPassword,
    /// The server does not follow the protocol of its product.
    Protocol,
    /// The server sent more than a server has to send.
    TooMuch,
    /// The server refused the session for a reason without a name here.
    Refused,
    /// The server answered with an error without a name here.
    Query,
    /// A column of an answer differs from its SQL.
    Row,
    /// A round of visits had no time left for the datname.
    NotReached,
    /// A Redis server without a password lets in only its own host.
    ProtectedMode,
    /// A Redis server loads its data.
    Loading,
    /// A Redis server runs a script that lets nothing else run.
    Busy,
    /// A Redis replica has lost its master.
    MasterDown,
    /// A Redis replica takes no writes.
    ReadOnly,
}

impl FailureReason {
    /// Every reason, once.
    pub const ALL: [Self; 39] = [
        Self::Timeout,
        Self::NoPlace,
        Self::Unreachable,
        Self::Pooler,
        Self::Password,
        Self::Tls,
        Self::Starting,
        Self::Stopping,
        Self::Closed,
        Self::TooManyConnections,
        Self::RoleLimit,
        Self::DatnameLimit,
        Self::Authentication,
        Self::AuthenticationMethod,
        Self::Hba,
        Self::Privilege,
        Self::Datname,
        Self::DatnameInvalid,
        Self::DatnameClosed,
        Self::Setting,
        Self::Encoding,
        Self::Resources,
        Self::StatementTimeout,
        Self::LockTimeout,
        Self::Unsupported,
        Self::NotSupported,
        Self::OwnLimit,
        Self::CleartextPassword,
        Self::Protocol,
        Self::TooMuch,
        Self::Refused,
        Self::Query,
        Self::Row,
        Self::NotReached,
        Self::ProtectedMode,
        Self::Loading,
        Self::Busy,
        Self::MasterDown,
        Self::ReadOnly,
    ];

    /// The text that is served and stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::NoPlace => "no-place",
            Self::Unreachable => "unreachable",
            Self::Pooler => "pooler",
            Self::Password => "password",
            Self::Tls => "tls",
            Self::Starting => "starting",
            Self::Stopping => "stopping",
            Self::Closed => "closed",
            Self::TooManyConnections => "too-many-connections",
            Self::RoleLimit => "role-limit",
            Self::DatnameLimit => "datname-limit",
            Self::Authentication => "authentication",
            Self::AuthenticationMethod => "authentication-method",
            Self::Hba => "pg-hba",
            Self::Privilege => "privilege",
            Self::Datname => "datname",
            Self::DatnameInvalid => "datname-invalid",
            Self::DatnameClosed => "datname-closed",
            Self::Setting => "setting",
            Self::Encoding => "encoding",
            Self::Resources => "resources",
            Self::StatementTimeout => "statement-timeout",
            Self::LockTimeout => "lock-timeout",
            Self::Unsupported => "unsupported",
            Self::NotSupported => "not-supported",
            Self::OwnLimit => "own-limit",
            Self::CleartextPassword => "cleartext-password",
            Self::Protocol => "protocol",
            Self::TooMuch => "too-much",
            Self::Refused => "refused",
            Self::Query => "query",
            Self::Row => "row",
            Self::NotReached => "not-reached",
            Self::ProtectedMode => "protected-mode",
            Self::Loading => "loading",
            Self::Busy => "busy",
            Self::MasterDown => "master-down",
            Self::ReadOnly => "read-only",
        }
    }

    /// The reason with this text; `None` for a text that only a newer agent writes.
    pub fn named(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == text)
    }
}

impl fmt::Display for FailureReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for FailureReason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rules, dashboards and recorded snapshots have these texts.
    #[test]
    fn texts_stay_as_they_are_served_and_each_belongs_to_one_reason() {
        let served = "timeout no-place unreachable pooler password tls starting stopping closed too-many-connections role-limit datname-limit authentication authentication-method pg-hba privilege datname datname-invalid datname-closed setting encoding resources statement-timeout lock-timeout unsupported not-supported own-limit cleartext-password protocol too-much refused query row not-reached protected-mode loading busy master-down read-only";
        assert_eq!(FailureReason::ALL.map(FailureReason::as_str).join(" "), served);
        assert!(FailureReason::ALL.into_iter().all(|reason| FailureReason::named(reason.as_str()) == Some(reason)));
    }
}
