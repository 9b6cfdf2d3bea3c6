//! How a throw-away PostgreSQL server is set up.

use std::path::PathBuf;

/// The superuser that initdb creates.
pub const SUPERUSER: &str = "postgres";

/// The options of a server.
#[derive(Clone)]
pub struct PostgresOptions {
    /// The authentication of TCP connections.
    pub authentication: Authentication,
    pub tls: Option<TlsFiles>,
    pub max_connections: u32,
    /// True for checksums of data pages. False leaves the default of the server version.
    pub has_checksums: bool,
    /// Further lines of postgresql.conf; they override ours.
    pub settings: Vec<(String, String)>,
    /// Variables of the server's environment, which is otherwise bare.
    pub environment: Vec<(String, String)>,
}

impl Default for PostgresOptions {
    fn default() -> Self {
        Self {
            authentication: Authentication::Trust,
            tls: None,
            max_connections: 50,
            has_checksums: false,
            settings: Vec::new(),
            environment: Vec::new(),
        }
    }
}

#[derive(Clone)]
pub enum Authentication {
    Trust,
    /// `password` is the superuser's.
    Scram {
        password: String,
    },
}

/// PEM files; they are copied, so that the server's account can read them.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    pub certificate: PathBuf,
    pub key: PathBuf,
}
