//! How a throw-away PostgreSQL server is set up.

use std::path::PathBuf;

/// The role that initdb creates.
pub const SUPERUSER: &str = "postgres";

/// How a server is set up.
#[derive(Clone)]
pub struct PostgresOptions {
    /// What TCP connections must show.
    pub authentication: Authentication,
    pub tls: Option<TlsFiles>,
    pub max_connections: u32,
    /// Whether data pages have checksums; otherwise as this version of the server has it.
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
