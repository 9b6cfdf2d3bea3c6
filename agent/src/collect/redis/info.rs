//! The facts in `INFO`. Fields that a version or fork lacks have no series.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use pharos_model::alert::Now;
use pharos_model::cluster::Cluster;
use pharos_model::restarts::RunReading;
use pharos_model::snapshot::{FamiliesBuilder, Family, Table};
use pharos_model::snapshot::{PartId, Unlisted};
use tracing::warn;

use super::fields::{Fields, LeftOut};
use super::losses::Losses;
use super::rows::{Keyspace, left_out_table, replicas};
use crate::collect::restarts::Restarts;
use crate::collect::{CollectError, Collector, Facts, Notebook};
use crate::redis::RedisError;
use crate::redis::monitor::Session;

const PART: PartId = PartId::Info;

/// Metrics, each with the INFO field that has its value.
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

/// Reads `INFO`, and records restarts and lost keys.
pub(super) struct Info {
    interval: Duration,
    keyspace: Keyspace,
    losses: Losses,
    restarts: Restarts,
    /// Fields whose numbers were left out of the latest reading.
    left_out: Vec<String>,
}

impl Info {
    pub(super) fn new(interval: Duration, notebook: Notebook) -> Self {
        let (losses, restarts) = (Losses::new(notebook.clone()), Restarts::new(PART, notebook));
        Self { interval, keyspace: Keyspace::default(), losses, restarts, left_out: Vec::new() }
    }

    /// Logs the fields that were left out, if they differ from those of the reading before.
    fn warn_if_changed(&mut self, left_out: &[LeftOut<'_>]) {
        let fields: Vec<String> = left_out.iter().map(|one| one.field.clone()).collect();
        if self.left_out == fields {
            return;
        }
        if let Some(LeftOut { field, value, .. }) = left_out.first() {
            let count = fields.len();
            warn!(
                count,
                field, value, "INFO has numbers that its fields cannot mean; they are left out, and what depends on them is not judged"
            );
        }
        self.left_out = fields;
    }
}

impl Collector<Session> for Info {
    fn part(&self) -> PartId {
        PART
    }

    fn interval(&self) -> Duration {
        self.interval
    }

    fn collect<'a>(&'a mut self, session: &'a mut Session, now: Now) -> BoxFuture<'a, Result<Facts, CollectError>> {
        async move {
            let failed = |source| CollectError::Redis { collector: PART, source };
            let text = session.info().await.map_err(failed)?;
            let info = Fields::parse(&text);
            let left_out = info.left_out();
            self.warn_if_changed(&left_out);
            let nothing = if left_out.is_empty() { NO_FACTS } else { NO_NUMBERS };
            let mut facts = read(&info, now, &mut self.keyspace).ok_or_else(|| failed(nothing))?;
            facts.tables.push(left_out_table(&left_out));
            let lost = self.losses.read(&info, now).await;
            facts.families.extend(lost.families);
            facts.unlisted = facts.unlisted.and(lost.unlisted);
            if let Some(run) = run(&info, now) {
                let restarts = self.restarts.read(&Cluster::default(), run, now).await;
                facts.tables.extend(restarts.map(|columns| Table::new("restarts", columns)));
            }
            Ok(facts)
        }
        .boxed()
    }
}

/// An `INFO` without any known field is an error: without facts the server would look healthy.
const NO_FACTS: RedisError =
    RedisError::Protocol("the answer to INFO has none of the fields that Redis has; the address must be that of a Redis server");

const NO_NUMBERS: RedisError = RedisError::Protocol("the answer to INFO has no number that its field can mean");

/// Turns the text of `INFO` into families. Returns nothing if no field is known.
fn read(info: &Fields<'_>, now: Now, known: &mut Keyspace) -> Option<Facts> {
    let mut families: Vec<Family> = PLAIN.iter().filter_map(|(metric, field)| Some(Family::scalar(metric, plain(info, field)?))).collect();
    if families.is_empty() {
        return None;
    }
    let mut scalar = |metric, value: Option<f64>| families.extend(value.map(|value| Family::scalar(metric, value)));
    let ratio = |part: &str, whole: &str| Some(info.number(part)? / info.number(whole).filter(|whole| *whole >= 1.0)?);
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
    // A database or replica that is not listed because of the limit may still exist.
    let unlisted = if folded > 0 { Unlisted::Any } else { unlisted(&info.left_out()) };
    Some(Facts { epoch: epoch(info), families, folded, unlisted, ..Facts::default() })
}

/// Lists objects whose number was left out. They are neither gone nor healthy, so their alerts stand still.
fn unlisted(left_out: &[LeftOut<'_>]) -> Unlisted {
    let is_any = |is_pair: bool| left_out.iter().any(|one| one.is_pair == is_pair);
    match (is_any(true), is_any(false)) {
        (true, _) => Unlisted::Any,
        (false, true) => Unlisted::of([[]]),
        (false, false) => Unlisted::None,
    }
}

/// Returns a field's value in the unit of its metric. It is missing if the server does not send it, or if the value means "no limit".
fn plain(info: &Fields<'_>, field: &str) -> Option<f64> {
    let value = info.number(field)?;
    match field {
        "latest_fork_usec" => Some(value / 1_000_000.0),
        // -1 while no save runs.
        "rdb_current_bgsave_time_sec" => Some(value.max(0.0)),
        // 0 means no limit.
        "maxmemory" => Some(value).filter(|limit| *limit > 0.0),
        _ => Some(value),
    }
}

/// Reads which process answers and when it started, by the agent's clock, if the server reports it.
fn run(info: &Fields<'_>, now: Now) -> Option<RunReading> {
    let read_at = now.wall_ms as f64 / 1_000.0;
    let started_at = read_at - info.number("uptime_in_seconds")?;
    let run_id = Some(info.word("run_id")?.to_owned());
    Some(RunReading { read_at, started_at, run_id, checkpointer_started_at: None, statistics_began_at: None })
}

/// Makes a series with words of the server as labels.
fn words(info: &Fields<'_>, labels: &[&str], metric: &'static str, fields: &[&str]) -> Vec<Family> {
    let mut rows = FamiliesBuilder::new(labels, &[metric]);
    let words: Vec<&str> = fields.iter().map(|field| info.word(field).unwrap_or("unknown")).collect();
    rows.push(&words, &[Some(1.0)]);
    rows.finish()
}

/// Returns the epoch of the counters. A restart gives the server a new run id, and all counters start anew.
fn epoch(info: &Fields<'_>) -> u64 {
    let mut hasher = DefaultHasher::new();
    info.text("run_id").hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PAIRS: [(&str, &str); 3] = [("db0", "keys"), ("db0", "expires"), ("slave0", "offset")];
    /// Fields that are read beside the plain ones.
    const OTHERS: [&str; 5] = ["used_cpu_sys", "used_cpu_user", "uptime_in_seconds", "aof_enabled", "master_repl_offset"];
    const NOW: Now = Now { monotonic: Duration::ZERO, wall_ms: 1_700_000_000_000 };

    fn fields() -> impl Iterator<Item = &'static str> {
        PLAIN.iter().map(|(_, field)| *field).chain(OTHERS)
    }

    fn left_out(text: &str) -> Vec<String> {
        Fields::parse(text).left_out().into_iter().map(|one| format!("{}={}", one.field, one.value)).collect()
    }

    /// Numbers of all sizes and both signs, and texts that are no numbers.
    fn any_number() -> impl Strategy<Value = String> {
        prop_oneof![
            any::<f64>().prop_map(|number| number.to_string()),
            any::<f64>().prop_map(|number| format!("{number:e}")),
            any::<u64>().prop_map(|number| number.to_string()),
            (0..2_000_u32).prop_map(|number| number.to_string()),
            prop::sample::select(vec!["-1", "inf", "-inf", "nan", "-nan", "1e308", "18446744073709551616", "", " ", "many", "0x10", "1e"])
                .prop_map(ToOwned::to_owned),
        ]
    }

    #[test]
    fn every_field_that_is_read_as_a_number_has_a_range() {
        for field in fields() {
            assert_eq!(Fields::parse(&format!("{field}:1\r\n")).number(field), Some(1.0), "{field}");
        }
    }

    #[test]
    fn numbers_that_a_field_cannot_mean_are_left_out_and_listed() {
        let text = "# Memory\r\nused_memory:1e308\r\nused_memory_rss:18446744073709551615\r\nmaxmemory:-5\r\nmem_fragmentation_ratio:inf\r\n\
                    mem_fragmentation_bytes:-12\r\nconnected_clients:7\r\nrdb_current_bgsave_time_sec:-1\r\n\
                    # Keyspace\r\ndb0:keys=1e300,expires=2,avg_ttl=-1\r\nslave0:ip=10.0.0.9,port=1,state=online,offset=-7,lag=-1\r\n";
        let info = Fields::parse(text);
        assert_eq!(
            left_out(text),
            [
                "db0 avg_ttl=-1",
                "db0 keys=1e300",
                "maxmemory=-5",
                "mem_fragmentation_ratio=inf",
                "slave0 offset=-7",
                "used_memory=1e308",
                "used_memory_rss=18446744073709551615",
            ]
        );
        let facts = read(&info, NOW, &mut Keyspace::default()).expect("a server with clients");
        let metrics: Vec<&str> = facts.families.iter().map(|family| &*family.metric).collect();
        assert!(metrics.contains(&"pharos_redis_clients") && metrics.contains(&"pharos_redis_rdb_save_age_seconds"), "{metrics:?}");
        assert!(!metrics.iter().any(|metric| metric.contains("memory_used") || metric.contains("fragmentation")), "{metrics:?}");
        assert_eq!(facts.unlisted, Unlisted::Any, "a database without a number is not gone");
        let table = left_out_table(&info.left_out());
        assert_eq!((table.row_count, table.text("field", 3)), (7, Some("mem_fragmentation_ratio")));
    }

    #[test]
    fn a_healthy_server_has_nothing_left_out() {
        let text = "# Memory\r\nused_memory:1\r\nmaxmemory:0\r\nmem_fragmentation_ratio:19.52\r\nrdb_current_bgsave_time_sec:-1\r\n\
                    # Keyspace\r\ndb0:keys=3,expires=1,avg_ttl=0,subexpiry=0\r\nslave0:ip=::1,port=1,state=online,offset=14,lag=1\r\n";
        assert_eq!(left_out(text), [""; 0]);
        let facts = read(&Fields::parse(text), NOW, &mut Keyspace::default()).expect("a server with memory");
        assert_eq!((facts.unlisted, facts.tables.len()), (Unlisted::None, 0));
    }

    proptest! {
        #[test]
        fn every_value_is_possible_or_is_listed_as_left_out(
            numbers in prop::collection::vec(any_number(), PLAIN.len() + OTHERS.len()),
            pairs in prop::collection::vec(any_number(), PAIRS.len()),
        ) {
            let lines: String = fields().zip(&numbers).map(|(field, number)| format!("{field}:{number}\r\n")).collect();
            let [keys, expires, offset] = [&pairs[0], &pairs[1], &pairs[2]];
            let text = format!("{lines}# Keyspace\r\ndb0:keys={keys},expires={expires}\r\nslave0:ip=a,port=1,offset={offset}\r\n");
            let info = Fields::parse(&text);
            let named: Vec<String> = info.left_out().into_iter().map(|one| one.field).collect();
            for (field, number) in fields().zip(&numbers) {
                prop_assert_eq!(info.number(field).is_none(), named.iter().any(|name| name == field), "{}={}", field, number);
            }
            for ((field, name), number) in PAIRS.iter().zip(&pairs) {
                let is_number = super::super::fields::pair(info.text(field).unwrap_or_default(), name).is_some();
                prop_assert_eq!(!is_number, named.contains(&format!("{field} {name}")), "{}", number);
            }
            if let Some(facts) = read(&info, NOW, &mut Keyspace::default()) {
                prop_assert!(named.is_empty() || !facts.unlisted.is_none());
                for family in &facts.families {
                    for value in &family.values {
                        // A ratio of the most bytes to one byte is the greatest of all; a replica's lag is a difference.
                        let is_possible = (-1e19..=1e19).contains(value);
                        prop_assert!(is_possible, "{} is {}", family.metric, value);
                    }
                }
            }
        }
    }
}
