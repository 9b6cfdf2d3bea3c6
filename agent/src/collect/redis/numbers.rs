//! The ranges that numbers of `INFO` can have. A broken or hostile server sends other numbers: 2^64 after an underflow, infinity, negative
//! sizes. Such numbers are left out, since each would become a rate, a ratio or a line of an alert.

/// Returns the range of a field that is read as a number. A count or a size is never negative.
pub(super) fn range(field: &str) -> Option<std::ops::RangeInclusive<f64>> {
    let most = match field {
        "used_memory" | "used_memory_rss" | "maxmemory" | "total_system_memory" => BYTES_MAX,
        "connected_clients" | "blocked_clients" | "maxclients" | "connected_slaves" => SOCKETS_MAX,
        "total_commands_processed"
        | "total_connections_received"
        | "rejected_connections"
        | "keyspace_hits"
        | "keyspace_misses"
        | "evicted_keys"
        | "expired_keys"
        | "total_net_input_bytes"
        | "total_net_output_bytes"
        | "master_repl_offset" => COUNTER_MAX,
        "uptime_in_seconds" | "used_cpu_sys" | "used_cpu_user" => SECONDS_MAX,
        "latest_fork_usec" => SECONDS_MAX * 1e6,
        "mem_fragmentation_ratio" => FRAGMENTATION_MAX,
        "loading" | "aof_enabled" => 1.0,
        // -1 while no save runs.
        "rdb_current_bgsave_time_sec" => return Some(-1.0..=SECONDS_MAX),
        _ => return None,
    };
    Some(0.0..=most)
}

/// Returns the range of one of the pairs in the value of a field like `db0` or `slave0`.
pub(super) fn range_of_pair(name: &str) -> Option<std::ops::RangeInclusive<f64>> {
    let most = match name {
        "keys" | "expires" => KEYS_MAX,
        "avg_ttl" => SECONDS_MAX * 1e3,
        "offset" => COUNTER_MAX,
        _ => return None,
    };
    Some(0.0..=most)
}

/// Most bytes of memory: no machine has an exbibyte.
const BYTES_MAX: f64 = (1_u64 << 60) as f64;
/// Highest counter: Redis counts with 63 bits.
const COUNTER_MAX: f64 = i64::MAX as f64;
/// Most keys: a key takes more than 16 bytes.
const KEYS_MAX: f64 = BYTES_MAX / 16.0;
/// Most sockets: file descriptors have 31 bits.
const SOCKETS_MAX: f64 = i32::MAX as f64;
/// Longest time in seconds: a hundred years, also for the CPU time of several threads.
const SECONDS_MAX: f64 = 100.0 * 365.25 * 86_400.0;
/// Highest fragmentation: a server that uses almost nothing of a large resident memory.
const FRAGMENTATION_MAX: f64 = 1e6;
