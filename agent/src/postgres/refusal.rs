//! Why a PostgreSQL server refused a session, and how to correct it.
//!
//! The reason is read from SQLSTATE. If one code has several reasons, the routine of the server that refused decides. Both are the same in
//! every language. The text of a message is only shown. A server that stops has no code of its own; the shared state of monitoring sessions
//! detects it.

use std::io;

use pharos_model::postgres::intake::Excess;
use pharos_model::snapshot::FailureReason;
use tokio_postgres::error::{DbError, SqlState};

use crate::dial::Obstacle;

/// Why there is no session: a closed set, since metrics have it as a label, and the tables `refusal` and `visits` list it for rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalReason {
    /// Nothing answered in time.
    Timeout,
    /// The agent's own limit of sessions is reached.
    NoPlace,
    /// Nothing listens at the address.
    Unreachable,
    /// A connection pooler answers in the server's place.
    Pooler,
    /// The agent could not read its own password, so nothing is known about the server.
    Password,
    /// No encrypted session, or a certificate that is not trusted.
    Tls,
    Starting,
    Stopping,
    /// The session was ended while it began.
    Closed,
    /// The whole server has no connection left for ordinary roles.
    TooManyConnections,
    /// The `CONNECTION LIMIT` of the agent's own role is reached. Other roles can still connect.
    RoleLimit,
    /// The `CONNECTION LIMIT` of the datname is reached. Other datnames still accept sessions.
    DatnameLimit,
    /// A wrong password, or a role that does not exist or may not log in.
    Authentication,
    /// The login is decided by another service or by a certificate. It failed, or the agent does not support it.
    AuthenticationMethod,
    /// pg_hba.conf has no line for the agent, or a line that rejects it or requires a certificate in addition to the password.
    Hba,
    /// The role lacks `CONNECT`.
    Privilege,
    /// The datname does not exist, or accepts no sessions at all.
    Datname,
    /// An interrupted `DROP DATABASE` left the datname behind: no session is possible ever again.
    DatnameInvalid,
    /// The server does not accept a setting that is preset for the agent's sessions, or does not have it.
    Setting,
    /// A text that cannot be converted into UTF-8.
    Encoding,
    /// The server is out of memory or disk.
    Resources,
    StatementTimeout,
    LockTimeout,
    /// The version or the product lacks what a session needs.
    Unsupported,
    /// The agent's own operating system refuses a socket or memory, so nothing is known about the server.
    OwnLimit,
    /// The server asks for the password in clear text over a connection that is not encrypted.
    CleartextPassword,
    /// The program at the address does not follow PostgreSQL's protocol.
    Protocol,
    /// The server sent more than any PostgreSQL server needs to send.
    TooMuch,
    /// Any other code; the server's own message explains it.
    Refused,
}

impl RefusalReason {
    pub const fn as_str(self) -> &'static str {
        self.failure().as_str()
    }

    /// The reason of a part that is missing because of this refusal.
    pub const fn failure(self) -> FailureReason {
        match self {
            Self::Timeout => FailureReason::Timeout,
            Self::NoPlace => FailureReason::NoPlace,
            Self::Unreachable => FailureReason::Unreachable,
            Self::Pooler => FailureReason::Pooler,
            Self::Password => FailureReason::Password,
            Self::Tls => FailureReason::Tls,
            Self::Starting => FailureReason::Starting,
            Self::Stopping => FailureReason::Stopping,
            Self::Closed => FailureReason::Closed,
            Self::TooManyConnections => FailureReason::TooManyConnections,
            Self::RoleLimit => FailureReason::RoleLimit,
            Self::DatnameLimit => FailureReason::DatnameLimit,
            Self::Authentication => FailureReason::Authentication,
            Self::AuthenticationMethod => FailureReason::AuthenticationMethod,
            Self::Hba => FailureReason::Hba,
            Self::Privilege => FailureReason::Privilege,
            Self::Datname => FailureReason::Datname,
            Self::DatnameInvalid => FailureReason::DatnameInvalid,
            Self::Setting => FailureReason::Setting,
            Self::Encoding => FailureReason::Encoding,
            Self::Resources => FailureReason::Resources,
            Self::StatementTimeout => FailureReason::StatementTimeout,
            Self::LockTimeout => FailureReason::LockTimeout,
            Self::Unsupported => FailureReason::Unsupported,
            Self::OwnLimit => FailureReason::OwnLimit,
            Self::CleartextPassword => FailureReason::CleartextPassword,
            Self::Protocol => FailureReason::Protocol,
            Self::TooMuch => FailureReason::TooMuch,
            Self::Refused => FailureReason::Refused,
        }
    }

    /// Whether another datname of the same server may accept the agent.
    pub const fn is_of_datname(self) -> bool {
        matches!(
            self,
            Self::Refused
                | Self::Authentication
                | Self::AuthenticationMethod
                | Self::Hba
                | Self::Privilege
                | Self::Datname
                | Self::DatnameInvalid
                | Self::DatnameLimit
                | Self::RoleLimit
                | Self::TooManyConnections
                | Self::Setting
                | Self::Encoding
                | Self::StatementTimeout
                | Self::LockTimeout
        )
    }

    /// Whether only the datname refuses, for example closed by its owner. That shows nothing about the server. Damage is not among these.
    pub const fn is_of_datname_alone(self) -> bool {
        matches!(self, Self::Privilege | Self::Datname | Self::DatnameInvalid | Self::DatnameLimit)
    }

    /// Explains the reason in a sentence, and how to correct it.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Stopping => "the server is shutting down; it is asked again until it is back",
            Self::Closed => "the session was ended while it began; another one is opened",
            Self::Starting => "the server is starting, recovers, or shuts down; it is asked again until it accepts sessions",
            Self::TooManyConnections => "the server has no connection left for ordinary roles; end idle sessions, or raise max_connections",
            Self::RoleLimit => {
                "the role that Pharos logs in as has reached its own CONNECTION LIMIT; Pharos needs two sessions beside what others hold with it: \
                 raise it by ALTER ROLE ... CONNECTION LIMIT"
            }
            Self::DatnameLimit => {
                "the datname has reached its CONNECTION LIMIT; end idle sessions there, or run ALTER DATABASE ... CONNECTION LIMIT"
            }
            Self::Authentication => "the server does not let this role in; the role must exist and have LOGIN",
            Self::AuthenticationMethod => {
                "the method that pg_hba.conf names for this role does not let it in; Pharos has a password and no certificate or ticket, so with \
                 cert, gss, sspi, ident or peer the role needs a line with scram-sha-256, and with ldap, pam or radius the password of that \
                 service"
            }
            Self::Hba => "pg_hba.conf does not let this role in from here; it needs a line for this role, datname, address and encryption",
            Self::Privilege => "the role may not connect to this datname; GRANT CONNECT ON DATABASE lets it",
            Self::Datname => {
                "the server has no such datname, or the datname accepts no sessions; name another one at the end of the URL, or run \
                 ALTER DATABASE ... ALLOW_CONNECTIONS true"
            }
            Self::DatnameInvalid => {
                "the datname was left behind by an interrupted DROP DATABASE and its data is gone; no session is possible ever again: run \
                 DROP DATABASE"
            }
            Self::Setting => {
                "the server does not accept a setting of the session; check what is preset by ALTER ROLE ... SET and ALTER DATABASE ... SET"
            }
            Self::Encoding => "the server cannot convert a text into UTF-8",
            Self::Resources => "the server is out of memory, disk or processes",
            Self::StatementTimeout => {
                "the first statement was cancelled; the server is overloaded, or a statement_timeout is preset that nothing meets"
            }
            Self::LockTimeout => "the first statement waited for a lock on the catalogue",
            Self::Unsupported => "the server does not offer what a session needs; Pharos supports PostgreSQL 14 and newer",
            Self::Tls => {
                "no encrypted session; the server must offer TLS 1.2 or newer, or 1.3 where its key is on P-521 or bound to RSA-PSS"
            }
            Self::Unreachable => "nothing answers; the server must run, listen at this address, and no firewall may be in the way",
            Self::OwnLimit => "this machine has no room for a connection, so nothing is known of the server",
            Self::CleartextPassword => "set tls.mode so that it is encrypted, or have pg_hba.conf ask for scram-sha-256; it was not sent",
            Self::Protocol => "the address must be that of a PostgreSQL server",
            Self::TooMuch => {
                "the session was ended to save memory, since no PostgreSQL server has to send that much; check what answers at this address, and \
                 if it is the server itself, please report it"
            }
            Self::Timeout | Self::NoPlace | Self::Pooler | Self::Password | Self::Refused => "the server refused the session",
        }
    }
}

/// A reason with a sentence that explains it and how to correct it.
#[derive(Debug, Clone, Copy)]
pub struct Refusal {
    pub reason: RefusalReason,
    pub meaning: &'static str,
}

impl From<RefusalReason> for Refusal {
    fn from(reason: RefusalReason) -> Self {
        Self { reason, meaning: reason.meaning() }
    }
}

/// Reads why a session did not begin.
pub(super) fn refusal_of(error: &tokio_postgres::Error) -> Refusal {
    match error.as_db_error() {
        Some(answer) if *answer.code() == SqlState::INVALID_PASSWORD => {
            let meaning =
                "the server does not accept the password; correct password_file or password_env, which is read again for each session";
            Refusal { reason: RefusalReason::Authentication, meaning }
        }
        Some(answer) => reason_of(answer).into(),
        None => unanswered(error),
    }
}

/// Reads the reason from the code of an answer. Appendix A of PostgreSQL's manual lists classes and codes.
fn reason_of(answer: &DbError) -> RefusalReason {
    // The routines are those of PostgreSQL 14 to 18. For a server without them the most common reason is used.
    let is_from = |routine: &str| answer.routine() == Some(routine);
    match answer.code().code() {
        "57P03" => RefusalReason::Starting,
        "57P01" | "57P02" | "57P05" | "25P03" | "25P04" => RefusalReason::Closed,
        "53300" if is_from("InitializeSessionUserId") => RefusalReason::RoleLimit,
        "53300" if is_from("CheckMyDatabase") => RefusalReason::DatnameLimit,
        "53300" => RefusalReason::TooManyConnections,
        "28000" if is_from("ClientAuthentication") => RefusalReason::Hba,
        // A wrong password that the server itself checks has the code 28P01.
        "28000" if is_from("auth_failed") => RefusalReason::AuthenticationMethod,
        "42501" => RefusalReason::Privilege,
        "3D000" | "57P04" => RefusalReason::Datname,
        "55000" if is_from("InitPostgres") => RefusalReason::DatnameInvalid,
        "55000" => RefusalReason::Datname,
        "57014" => RefusalReason::StatementTimeout,
        "55P03" => RefusalReason::LockTimeout,
        "42704" | "22023" | "55P02" => RefusalReason::Setting,
        "22021" | "22P05" => RefusalReason::Encoding,
        "0A000" => RefusalReason::Unsupported,
        code if code.starts_with("28") => RefusalReason::Authentication,
        code if code.starts_with("53") => RefusalReason::Resources,
        _ => RefusalReason::Refused,
    }
}

/// Reads why there was no answer, or none that follows the protocol.
fn unanswered(error: &tokio_postgres::Error) -> Refusal {
    if rustls_error(error).is_some() {
        return RefusalReason::Tls.into();
    }
    // tokio-postgres does not export the kind of its error, but prints it first. A test fails if that changes.
    let kind = error.to_string();
    if kind.starts_with("error performing TLS handshake") {
        let meaning = "the server offers no encryption; switch `ssl` on there, or set `tls = { mode = \"disable\" }`";
        Refusal { reason: RefusalReason::Tls, meaning }
    } else if kind.starts_with("invalid configuration") {
        let meaning = "the server asks for a password and none is configured; name it with password_file or password_env";
        Refusal { reason: RefusalReason::Authentication, meaning }
    } else if is_without_proof(error) {
        let meaning = "what answers at this address does not know the role's password, as the server does; check what listens there";
        Refusal { reason: RefusalReason::Authentication, meaning }
    } else if kind.starts_with("authentication error") {
        let meaning = "the server and Pharos found no common way to log in; pg_hba.conf must ask for scram-sha-256, md5, password or trust";
        Refusal { reason: RefusalReason::AuthenticationMethod, meaning }
    } else if kind.starts_with("unexpected message from server") || kind.starts_with("error parsing response from server") {
        RefusalReason::Protocol.into()
    } else if kind.starts_with("connection closed") || has_lost_connection(error) {
        let meaning = "the connection ended without an answer; the server starts, stops or crashes, or another program listens at this \
                       address";
        Refusal { reason: RefusalReason::Unreachable, meaning }
    } else {
        RefusalReason::Unreachable.into()
    }
}

/// Whether the other side of SCRAM could not prove that it stores the password. The text is that of the client library; a test fails if it
/// changes.
fn is_without_proof(error: &tokio_postgres::Error) -> bool {
    let cause = std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<io::Error>());
    cause.is_some_and(|cause| cause.to_string() == "SCRAM verification error")
}

fn has_lost_connection(error: &tokio_postgres::Error) -> bool {
    let cause = std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<io::Error>());
    cause.is_some_and(|cause| {
        matches!(cause.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof)
    })
}

/// Reads why no socket was opened.
pub(super) fn unreached(obstacle: Obstacle) -> Refusal {
    let reason = if obstacle.is_own() { RefusalReason::OwnLimit } else { RefusalReason::Unreachable };
    Refusal { reason, meaning: obstacle.meaning().unwrap_or(reason.meaning()) }
}

/// Explains why a connection was given up after the server sent too much or broke the protocol.
pub(super) fn excess(excess: Excess) -> Refusal {
    match excess {
        Excess::ClearText => RefusalReason::CleartextPassword.into(),
        Excess::Iterations => {
            Refusal { reason: RefusalReason::Authentication, meaning: "lower scram_iterations and set the role's password again" }
        }
        Excess::FewIterations => Refusal {
            reason: RefusalReason::Authentication,
            meaning: "no answer was sent, since the password could be guessed from it; check what listens at this address, and if it is the \
                      server itself, raise scram_iterations and set the role's password again, or set tls.mode",
        },
        Excess::Md5 => Refusal {
            reason: RefusalReason::Authentication,
            meaning: "no answer was sent, since the password could be guessed from it; check what listens at this address, and if it is the \
                      server itself, set the role's password again with scram-sha-256 as password_encryption, set tls.mode, or start Pharos anew",
        },
        Excess::Protocol => RefusalReason::Protocol.into(),
        Excess::Start | Excess::Answer | Excess::ErrorText | Excess::Parameters => RefusalReason::TooMuch.into(),
    }
}

/// Returns the TLS error, if TLS is the reason why there is no session.
pub(super) fn rustls_error(error: &tokio_postgres::Error) -> Option<&rustls::Error> {
    std::error::Error::source(error)?.downcast_ref::<io::Error>()?.get_ref()?.downcast_ref()
}
