//! The server that a fix is for: what to type so that a command reaches it, and what it is set to.

use pharos_plugin::{Reading, Snapshot};

const POLICY: &str = "pharos_redis_memory_policy";
const KEYS_EXPIRING: &str = "pharos_redis_keys_expiring";

/// `redis-cli` towards the server of a snapshot.
pub fn cli(snapshot: &Snapshot) -> String {
    match snapshot.subject().id.rsplit_once(':') {
        Some((host, port)) => format!("redis-cli -h {} -p {port}", host.trim_matches(['[', ']'])),
        None => "redis-cli".to_owned(),
    }
}

/// What goes when the memory is full.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Eviction {
    /// Nothing: writes fail (`noeviction`).
    Never,
    /// Any key.
    Any,
    /// Keys that have an expiry, of which there are some.
    Expiring,
    /// Keys that have an expiry, under this policy; none has one, so writes fail.
    NothingExpires(String),
    /// The server does not say.
    Unknown,
}

impl Eviction {
    pub fn of(snapshot: &Snapshot) -> Self {
        let policies = snapshot.samples(POLICY, &[], Reading::Value);
        let policy = policies.rows().find_map(|row| row.label("policy").map(ToOwned::to_owned)).unwrap_or_default();
        let expiring: f64 = snapshot.samples(KEYS_EXPIRING, &[], Reading::Value).values.iter().sum();
        match policy.as_str() {
            "noeviction" => Self::Never,
            policy if policy.starts_with("allkeys-") => Self::Any,
            policy if policy.starts_with("volatile-") && expiring > 0.0 => Self::Expiring,
            policy if policy.starts_with("volatile-") => Self::NothingExpires(policy.to_owned()),
            _ => Self::Unknown,
        }
    }

    /// Whether a full memory is what was asked for: keys make room for keys.
    pub fn makes_room(&self) -> bool {
        matches!(self, Self::Any | Self::Expiring)
    }
}
