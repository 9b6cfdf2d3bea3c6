//! What `INFO` tells. Fields that a version or fork does not have give no series.

use std::collections::{BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use pharos_model::alert::Now;
use pharos_model::snapshot::{FamiliesBuilder, Family};

use crate::collect::{CollectError, Collector, Facts};
use crate::redis::Session;

pub const NAME: &str = "info";

/// Metric and the INFO field that holds its value as it is.
const PLAIN: [(&str, &str); 20] = [
    ("pharos_redis_clients", "connected_clients"),
    ("pharos_redis_clients_blocked", "blocked_clients"),
    ("pharos_redis_clients_max", "maxclients"),
    ("pharos_redis_memory_used_bytes", "used_memory"),
    ("pharos_redis_memory_rss_bytes", "used_memory_rss"),
    ("pharos_redis_memory_fragmentation_ratio", "mem_fragmentation_ratio"),
    ("pharos_redis_commands_total", "total_commands_processed"),
    ("pharos_redis_connections_received_total", "total_connections_received"),
    ("pharos_redis_connections_rejected_total", "rejected_connections"),
    ("pharos_redis_keyspace_hits_total", "keyspace_hits"),
    ("pharos_redis_keyspace_misses_total", "keyspace_misses"),
    ("pharos_redis_keys_evicted_total", "evicted_keys"),
    ("pharos_redis_keys_expired_total", "expired_keys"),
    ("pharos_redis_network_received_bytes_total", "total_net_input_bytes"),
    ("pharos_redis_network_sent_bytes_total", "total_net_output_bytes"),
    ("pharos_redis_loading", "loading"),
    ("pharos_redis_replicas", "connected_slaves"),
    ("pharos_redis_memory_max_bytes", "maxmemory"),
    ("pharos_redis_fork_seconds", "latest_fork_usec"),
    ("pharos_redis_rdb_save_age_seconds", "rdb_current_bgsave_time_sec"),
];

pub struct Info {
    interval: Duration,
    /// Those that had keys once: the server names only those that have some now.
    databases: BTreeSet<String>,
}

impl Info {
    pub fn new(interval: Duration) -> Self {
        Self { interval, databases: BTreeSet::from(["db0".to_owned()]) }
    }
}

impl Collector<Session> for Info {
    fn name(&self) -> &'static str {
        NAME
    }

    fn interval(&self) -> Duration {
        self.interval
    }

    fn collect<'a>(&'a mut self, session: &'a mut Session, now: Now) -> BoxFuture<'a, Result<Facts, CollectError>> {
        async move {
            let text = session.info().await.map_err(|source| CollectError::Redis { collector: NAME, source })?;
            Ok(read(&text, now, &mut self.databases))
        }
        .boxed()
    }
}

/// Turns the text of `INFO` into families.
fn read(text: &str, now: Now, databases: &mut BTreeSet<String>) -> Facts {
    let info = Fields::parse(text);
    let mut families: Vec<Family> = PLAIN.iter().filter_map(|(metric, field)| Some(Family::scalar(metric, plain(&info, field)?))).collect();
    let mut scalar = |metric, value: Option<f64>| families.extend(value.map(|value| Family::scalar(metric, value)));
    let ratio = |part: &str, whole: &str| Some(info.number(part)? / info.number(whole).filter(|whole| *whole > 0.0)?);
    let ok = |field: &str| info.text(field).map(|status| f64::from(u8::from(status == "ok")));
    scalar("pharos_redis_clients_used_ratio", ratio("connected_clients", "maxclients"));
    scalar("pharos_redis_memory_used_ratio", ratio("used_memory", "maxmemory"));
    let cpu = info.number("used_cpu_sys").zip(info.number("used_cpu_user")).map(|(system, user)| system + user);
    scalar("pharos_redis_cpu_seconds_total", cpu);
    let started = info.number("uptime_in_seconds").map(|uptime| (now.wall_ms as f64 / 1000.0 - uptime).round());
    scalar("pharos_redis_start_timestamp_seconds", started);
    scalar("pharos_redis_rdb_last_save_ok", ok("rdb_last_bgsave_status"));
    let aof_on = info.number("aof_enabled") == Some(1.0);
    scalar("pharos_redis_aof_last_write_ok", ok("aof_last_write_status").filter(|_| aof_on));
    let link = info.text("master_link_status").map(|status| f64::from(u8::from(status == "up")));
    scalar("pharos_redis_replica_link_up", link);
    families.extend(identity(&info));
    families.extend(keyspace(&info, databases));
    families.extend(replicas(&info));
    Facts { epoch: epoch(&info), families, ..Facts::default() }
}

/// A field's value in the metric's unit; none where the server does not tell or the value means "none".
fn plain(info: &Fields<'_>, field: &str) -> Option<f64> {
    let value = info.number(field)?;
    match field {
        "latest_fork_usec" => Some(value / 1_000_000.0),
        // -1 while no save runs.
        "rdb_current_bgsave_time_sec" => Some(value.max(0.0)),
        // 0 is no limit.
        "maxmemory" => Some(value).filter(|limit| *limit > 0.0),
        _ => Some(value),
    }
}

fn identity(info: &Fields<'_>) -> Vec<Family> {
    let mut rows = FamiliesBuilder::new(&["version", "role"], &["pharos_redis_info"]);
    rows.push(&[info.text("redis_version").unwrap_or("unknown"), info.text("role").unwrap_or("unknown")], &[Some(1.0)]);
    rows.finish()
}

/// `db0:keys=3,expires=1,avg_ttl=0`
fn keyspace(info: &Fields<'_>, databases: &mut BTreeSet<String>) -> Vec<Family> {
    let mut rows = FamiliesBuilder::new(&["db"], &["pharos_redis_keys", "pharos_redis_keys_expiring"]);
    let named: HashMap<&str, &str> = info.numbered("db").into_iter().collect();
    databases.extend(named.keys().map(|name| (*name).to_owned()));
    for name in databases.iter() {
        let of = |key: &str| named.get(name.as_str()).map_or(Some(0.0), |value| pair(value, key));
        rows.push(&[name], &[of("keys"), of("expires")]);
    }
    rows.finish()
}

/// `slave0:ip=127.0.0.1,port=6380,state=online,offset=14,lag=1`
fn replicas(info: &Fields<'_>) -> Vec<Family> {
    let mut rows = FamiliesBuilder::new(&["replica"], &["pharos_redis_replica_lag_bytes"]);
    let master = info.number("master_repl_offset");
    for (_, value) in info.numbered("slave") {
        let address = format!("{}:{}", pair_text(value, "ip").unwrap_or("unknown"), pair_text(value, "port").unwrap_or("0"));
        let lag = master.zip(pair(value, "offset")).map(|(master, replica)| (master - replica).max(0.0));
        rows.push(&[&address], &[lag]);
    }
    rows.finish()
}

fn pair_text<'a>(value: &'a str, name: &str) -> Option<&'a str> {
    value.split(',').filter_map(|pair| pair.split_once('=')).find(|(key, _)| *key == name).map(|(_, value)| value)
}

fn pair(value: &str, name: &str) -> Option<f64> {
    pair_text(value, name)?.parse().ok()
}

/// A restart gives the server a new run id; everything it counts begins anew.
fn epoch(info: &Fields<'_>) -> u64 {
    let mut hasher = DefaultHasher::new();
    info.text("run_id").hash(&mut hasher);
    hasher.finish()
}

struct Fields<'a>(HashMap<&'a str, &'a str>);

impl<'a> Fields<'a> {
    fn parse(text: &'a str) -> Self {
        Self(text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once(':')).collect())
    }

    fn text(&self, field: &str) -> Option<&'a str> {
        self.0.get(field).copied()
    }

    fn number(&self, field: &str) -> Option<f64> {
        self.text(field)?.parse().ok().filter(|value: &f64| value.is_finite())
    }

    /// Fields like `db0`, `db1`, sorted by name.
    fn numbered(&self, prefix: &str) -> Vec<(&'a str, &'a str)> {
        let is_numbered = |name: &str| name.strip_prefix(prefix).is_some_and(|rest| rest.parse::<u32>().is_ok());
        let mut fields: Vec<_> = self.0.iter().filter(|(name, _)| is_numbered(name)).map(|(name, value)| (*name, *value)).collect();
        fields.sort_unstable();
        fields
    }
}
