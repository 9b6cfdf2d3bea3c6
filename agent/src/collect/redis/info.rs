//! What `INFO` tells. Fields that a version or fork does not have give no series.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use pharos_model::alert::Now;
use pharos_model::snapshot::{FamiliesBuilder, Family};
use pharos_model::unlisted::Unlisted;

use super::fields::Fields;
use super::restarts::Restarts;
use super::rows::{Keyspace, replicas};
use crate::collect::{CollectError, Collector, Facts, Notebook};
use crate::redis::{RedisError, Session};

pub const NAME: &str = "info";

/// Metric and the INFO field that holds its value as it is.
const PLAIN: [(&str, &str); 21] = [
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
    ("pharos_redis_memory_host_bytes", "total_system_memory"),
    ("pharos_redis_fork_seconds", "latest_fork_usec"),
    ("pharos_redis_rdb_save_age_seconds", "rdb_current_bgsave_time_sec"),
];

pub struct Info {
    interval: Duration,
    keyspace: Keyspace,
    restarts: Restarts,
}

impl Info {
    pub fn new(interval: Duration, notebook: Notebook) -> Self {
        Self { interval, keyspace: Keyspace::default(), restarts: Restarts::new(notebook) }
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
            let failed = |source| CollectError::Redis { collector: NAME, source };
            let text = session.info().await.map_err(failed)?;
            let info = Fields::parse(&text);
            let mut facts = read(&info, now, &mut self.keyspace).ok_or_else(|| failed(NO_FACTS))?;
            let restarts = self.restarts.read(&info, now).await;
            facts.families.extend(restarts.families);
            facts.unlisted = facts.unlisted.and(restarts.unlisted);
            Ok(facts)
        }
        .boxed()
    }
}

/// A server whose `INFO` holds nothing is not one of which nothing is wrong.
const NO_FACTS: RedisError =
    RedisError::Protocol("the answer to INFO has none of the fields that Redis has; the address must be that of a Redis server");

/// Turns the text of `INFO` into families; none where nothing in it is known.
fn read(info: &Fields<'_>, now: Now, known: &mut Keyspace) -> Option<Facts> {
    let mut families: Vec<Family> = PLAIN.iter().filter_map(|(metric, field)| Some(Family::scalar(metric, plain(info, field)?))).collect();
    if families.is_empty() {
        return None;
    }
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
    families.extend(words(info, &["version", "role"], "pharos_redis_info", &["redis_version", "role"]));
    if info.text("maxmemory_policy").is_some() {
        families.extend(words(info, &["policy"], "pharos_redis_memory_policy", &["maxmemory_policy"]));
    }
    let (keyspace, databases_folded) = known.read(info);
    let (replicas, replicas_folded) = replicas(info);
    families.extend(keyspace);
    families.extend(replicas);
    let folded = databases_folded + replicas_folded;
    // A database or a replica that others took the place of may still be there.
    let unlisted = if folded > 0 { Unlisted::Any } else { Unlisted::None };
    Some(Facts { epoch: epoch(info), families, folded, unlisted, ..Facts::default() })
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

/// A series that says words of the server in its labels.
fn words(info: &Fields<'_>, labels: &[&str], metric: &'static str, fields: &[&str]) -> Vec<Family> {
    let mut rows = FamiliesBuilder::new(labels, &[metric]);
    let words: Vec<&str> = fields.iter().map(|field| info.word(field).unwrap_or("unknown")).collect();
    rows.push(&words, &[Some(1.0)]);
    rows.finish()
}

/// A restart gives the server a new run id; everything it counts begins anew.
fn epoch(info: &Fields<'_>) -> u64 {
    let mut hasher = DefaultHasher::new();
    info.text("run_id").hash(&mut hasher);
    hasher.finish()
}
