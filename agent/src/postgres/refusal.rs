//! What it means when a server lets nobody in, and what people can do about it.
//!
//! Told apart by SQLSTATE, which holds in every language; only where one code says two things, and the difference is one of words, is the
//! text asked.

use std::io;

use pharos_model::intake::Excess;
use rustix::io::Errno;
use tokio_postgres::error::SqlState;

/// Why there is no session: for labels, and for people.
pub(super) struct Refusal {
    /// A closed set, for metric labels.
    pub reason: &'static str,
    /// What is so, and how to mend it.
    pub meaning: &'static str,
}

const fn refusal(reason: &'static str, meaning: &'static str) -> Refusal {
    Refusal { reason, meaning }
}

/// Reads the error of a session that was to begin.
pub(super) fn refusal_of(error: &tokio_postgres::Error) -> Refusal {
    let Some(code) = error.code() else { return unanswered(error) };
    let says = |words: &str| error.as_db_error().is_some_and(|error| error.message().contains(words));
    match *code {
        SqlState::CANNOT_CONNECT_NOW if says("shutting down") => {
            refusal("stopping", "the server is shutting down; it is asked again until it is back")
        }
        // Somebody ended this one session, or all of them: only the next one will tell.
        SqlState::ADMIN_SHUTDOWN | SqlState::CRASH_SHUTDOWN => {
            refusal("closed", "the session was ended while it began; another one is opened")
        }
        SqlState::CANNOT_CONNECT_NOW => {
            refusal("starting", "the server is starting or recovers; it is asked again until it accepts sessions")
        }
        SqlState::TOO_MANY_CONNECTIONS => refusal(
            "too-many-connections",
            "the server has no connection left for this role and datname; end idle sessions, or raise max_connections or the CONNECTION LIMIT",
        ),
        SqlState::INVALID_PASSWORD => refusal(
            "authentication",
            "the server does not take the password; mend password_file or password_env, which is read anew for each session",
        ),
        SqlState::INVALID_AUTHORIZATION_SPECIFICATION => refusal(
            "authentication",
            "the server does not let this role in; the role must exist and have LOGIN, and pg_hba.conf needs a line that lets it in from here",
        ),
        SqlState::INSUFFICIENT_PRIVILEGE => {
            refusal("privilege", "the role may not connect to this datname; GRANT CONNECT ON DATABASE lets it")
        }
        SqlState::INVALID_CATALOG_NAME => refusal("datname", "the server has no such datname; name one of its own at the end of the URL"),
        SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE => refusal(
            "datname",
            "the datname takes no sessions; name another one in the URL, or run ALTER DATABASE ... ALLOW_CONNECTIONS true",
        ),
        _ => refusal("refused", "the server refused the session"),
    }
}

/// Nobody answered, or not in the protocol's words.
fn unanswered(error: &tokio_postgres::Error) -> Refusal {
    // The library keeps its kind of error to itself, but says it first.
    if error.to_string().starts_with("error performing TLS handshake") {
        return refusal("tls", "no encrypted session; tls.mode and tls.ca say what is asked of the server's certificate");
    }
    UNREACHABLE
}

const UNREACHABLE: Refusal =
    refusal("unreachable", "nobody answers; the server must run, listen at this address, and no firewall may be in the way");

/// The reason of what this machine denies the agent: it says nothing about the server.
pub(super) const OWN_LIMIT: &str = "own-limit";

/// Reads the error of a socket that was to be opened. What our own operating system has no room for is not the server's trouble.
pub(super) fn unreached(error: &io::Error) -> Refusal {
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::MFILE | Errno::NFILE) => refusal(
            OWN_LIMIT,
            "the agent may open no more files, so nothing is known of the server; raise its limit (LimitNOFILE= of systemd, ulimit -n)",
        ),
        Some(Errno::NOMEM | Errno::NOBUFS) => {
            refusal(OWN_LIMIT, "this machine has no memory left for a connection, so nothing is known of the server")
        }
        Some(Errno::ADDRNOTAVAIL) => refusal(
            OWN_LIMIT,
            "this machine has no local port left, or no address from which the server could be reached, so nothing is known of the server",
        ),
        Some(Errno::ACCESS | Errno::PERM) => refusal(
            OWN_LIMIT,
            "this machine does not let the agent connect (a firewall, SELinux, or the permissions of the socket's folder), so nothing is known \
             of the server",
        ),
        _ => UNREACHABLE,
    }
}

/// A server that sent what it may not.
pub(super) fn excess(excess: Excess) -> Refusal {
    match excess {
        Excess::ClearText => refusal(
            "cleartext-password",
            "set tls.mode so that it is encrypted, or have pg_hba.conf ask for scram-sha-256; it was not sent",
        ),
        Excess::Iterations => refusal("authentication", "lower scram_iterations and set the role's password anew"),
        Excess::Protocol => refusal("protocol", "the address must be that of a PostgreSQL server"),
        Excess::Start | Excess::Answer | Excess::Words | Excess::Parameters => {
            refusal("too-much", "the session was ended to save memory; look at what answers at this address")
        }
    }
}

/// Whether this is the word of a pooler: PgBouncer says all it has to say of itself with this code, and a server none of it to a client
/// that speaks the protocol.
pub(super) fn is_of_pooler(error: &tokio_postgres::Error) -> bool {
    error.code() == Some(&SqlState::PROTOCOL_VIOLATION)
}
