//! The server of a fix: the command line that reaches it, and its policy of eviction.

use pharos_plugin::{Reading, Severity, Snapshot};

const POLICY: &str = "pharos_redis_memory_policy";
const KEYS: &str = "pharos_redis_keys";
const KEYS_EXPIRING: &str = "pharos_redis_keys_expiring";

/// The `redis-cli` command that reaches the server of a snapshot.
pub(crate) fn cli(snapshot: &Snapshot) -> String {
    match snapshot.subject().id.rsplit_once(':') {
        Some((host, port)) => format!("redis-cli -h {} -p {port}", host.trim_matches(['[', ']'])),
        None => "redis-cli".to_owned(),
    }
}

/// The share of keys with an expiry that makes a server with a `volatile-` policy a cache. The memory of a cache is full by design. Below
/// this share most keys stay for ever, and they leave less and less memory to the others.
const EXPIRING_SHARE_OF_CACHE: f64 = 0.5;
/// The share of keys with an expiry below which full memory is critical. The server then soon has no key to evict, and writes fail.
const EXPIRING_SHARE_MIN: f64 = 0.1;

/// The keys that a server evicts when its memory is full.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Eviction {
    /// No keys: writes fail (`noeviction`).
    Never,
    /// Any key.
    Any,
    /// Keys with an expiry. At least half of all keys have an expiry.
    Expiring,
    /// Keys with an expiry, under this policy. Only this share of all keys (0 to 0.5) has an expiry.
    FewExpire(String, f64),
    /// Keys with an expiry, under this policy. No key has an expiry, so writes fail.
    NothingExpires(String),
    /// The server does not report its policy.
    Unknown,
}

impl Eviction {
    /// The eviction of a server with its present keys.
    pub(crate) fn from_snapshot(snapshot: &Snapshot) -> Self {
        let count = |metric| -> f64 { snapshot.samples(metric, &[], Reading::Value).values.iter().sum() };
        Self::with(snapshot, count(KEYS), count(KEYS_EXPIRING))
    }

    /// The eviction of the server if it had `keys` keys, `expiring` of them with an expiry.
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

    /// The highest severity of full memory. None for a cache: full memory is normal there.
    pub(crate) fn severity_max(&self) -> Option<Severity> {
        match self {
            Self::Any | Self::Expiring => None,
            Self::FewExpire(_, share) if *share >= EXPIRING_SHARE_MIN => Some(Severity::Warning),
            Self::FewExpire(..) | Self::Never | Self::NothingExpires(_) | Self::Unknown => Some(Severity::Critical),
        }
    }
}

/// Whether the policy makes the server a cache, if it had `keys` keys, `expiring` of them with an expiry.
pub(crate) fn is_cache(snapshot: &Snapshot, keys: f64, expiring: f64) -> bool {
    matches!(Eviction::with(snapshot, keys, expiring), Eviction::Any | Eviction::Expiring)
}
