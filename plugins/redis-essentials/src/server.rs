//! The server that a fix is for: what to type so that a command reaches it, and what it is set to.

use pharos_plugin::{Reading, Severity, Snapshot};

const POLICY: &str = "pharos_redis_memory_policy";
const KEYS: &str = "pharos_redis_keys";
const KEYS_EXPIRING: &str = "pharos_redis_keys_expiring";

/// `redis-cli` towards the server of a snapshot.
pub fn cli(snapshot: &Snapshot) -> String {
    match snapshot.subject().id.rsplit_once(':') {
        Some((host, port)) => format!("redis-cli -h {} -p {port}", host.trim_matches(['[', ']'])),
        None => "redis-cli".to_owned(),
    }
}

/// From this share of keys with an expiry on, a server whose policy evicts only these is taken for a cache, whose memory is full by design.
/// Below it, most keys stay for good, and what they leave to the others shrinks as they grow in number.
const EXPIRING_SHARE_OF_CACHE: f64 = 0.5;
/// Below this share, what may go is soon gone, and writes fail.
const EXPIRING_SHARE_MIN: f64 = 0.1;

/// What goes when the memory is full.
#[derive(Debug, Clone, PartialEq)]
pub enum Eviction {
    /// Nothing: writes fail (`noeviction`).
    Never,
    /// Any key.
    Any,
    /// Keys that have an expiry, as half of all or more have.
    Expiring,
    /// Keys that have an expiry, under this policy; only this share of all has one.
    FewExpire(String, f64),
    /// Keys that have an expiry, under this policy; none has one, so writes fail.
    NothingExpires(String),
    /// The server does not say.
    Unknown,
}

impl Eviction {
    pub fn of(snapshot: &Snapshot) -> Self {
        let count = |metric| -> f64 { snapshot.samples(metric, &[], Reading::Value).values.iter().sum() };
        Self::with(snapshot, count(KEYS), count(KEYS_EXPIRING))
    }

    /// What would go with so many keys, of which so many have an expiry.
    fn with(snapshot: &Snapshot, keys: f64, expiring: f64) -> Self {
        let policies = snapshot.samples(POLICY, &[], Reading::Value);
        let policy = policies.rows().find_map(|row| row.label("policy").map(ToOwned::to_owned)).unwrap_or_default();
        match policy.as_str() {
            "noeviction" => Self::Never,
            policy if policy.starts_with("allkeys-") => Self::Any,
            policy if policy.starts_with("volatile-") && expiring <= 0.0 => Self::NothingExpires(policy.to_owned()),
            policy if policy.starts_with("volatile-") && expiring >= keys * EXPIRING_SHARE_OF_CACHE => Self::Expiring,
            policy if policy.starts_with("volatile-") => Self::FewExpire(policy.to_owned(), expiring / keys),
            _ => Self::Unknown,
        }
    }

    /// How grave a full memory may be; none where it is what was asked for: keys make room for keys.
    pub fn severity_max(&self) -> Option<Severity> {
        match self {
            Self::Any | Self::Expiring => None,
            Self::FewExpire(_, share) if *share >= EXPIRING_SHARE_MIN => Some(Severity::Warning),
            Self::FewExpire(..) | Self::Never | Self::NothingExpires(_) | Self::Unknown => Some(Severity::Critical),
        }
    }
}

/// Whether a server with so many keys, of which so many have an expiry, is a cache by its policy: keys make room for keys, and each can be
/// made again.
pub fn is_cache(snapshot: &Snapshot, keys: f64, expiring: f64) -> bool {
    matches!(Eviction::with(snapshot, keys, expiring), Eviction::Any | Eviction::Expiring)
}
