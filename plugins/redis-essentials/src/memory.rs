//! How full the memory is, and what goes when it is full.

use std::time::Duration;

use pharos_plugin::checks::{Case, Check, Explanation, Grading, Observation, Scope, each_rate, each_value, evidence};
use pharos_plugin::{Label, SkipReason, Snapshot, text};

const USED_RATIO: &str = "pharos_redis_memory_used_ratio";
const USED_BYTES: &str = "pharos_redis_memory_used_bytes";
const MAX_BYTES: &str = "pharos_redis_memory_max_bytes";
const RSS_BYTES: &str = "pharos_redis_memory_rss_bytes";
const FRAGMENTATION: &str = "pharos_redis_memory_fragmentation_ratio";
const EVICTED: &str = "pharos_redis_keys_evicted_total";

/// In a smaller server the overhead of the process outweighs what fragmentation costs.
const FRAGMENTATION_BYTES_MIN: f64 = 100e6;

pub const CHECKS: &[Check] = &[
    Check {
        id: "memory-used",
        summary: "memory is nearly at its limit",
        category: "memory",
        scope: Scope::Each,
        labels: &[],
        needs: &[USED_RATIO],
        hold_off: Duration::from_mins(1),
        keep_firing: Duration::from_mins(2),
        grading: Grading::rising(0.8, 0.95, 0.75),
        observe: |snapshot| each_value(snapshot, USED_RATIO),
        explain: memory_used,
    },
    Check {
        id: "memory-fragmented",
        summary: "the process holds far more memory than its data",
        category: "memory",
        scope: Scope::Each,
        labels: &[],
        needs: &[FRAGMENTATION, USED_BYTES],
        hold_off: Duration::from_mins(30),
        keep_firing: Duration::from_mins(10),
        grading: Grading::rising(1.5, 3.0, 1.4),
        observe: fragmentation,
        explain: memory_fragmented,
    },
    Check {
        id: "evictions",
        summary: "keys are evicted to stay below the limit",
        category: "memory",
        scope: Scope::Each,
        labels: &[],
        needs: &[EVICTED],
        // A cache at its limit evicts now and then; it is too small when it does not stop.
        hold_off: Duration::from_mins(5),
        keep_firing: Duration::from_mins(5),
        grading: Grading::rising(10.0, 1_000.0, 5.0),
        observe: |snapshot| each_rate(snapshot, EVICTED),
        explain: evictions,
    },
];

fn fragmentation(snapshot: &Snapshot) -> Result<Vec<Observation>, SkipReason> {
    let used = snapshot.value(USED_BYTES)?.unwrap_or_default();
    if used < FRAGMENTATION_BYTES_MIN { Ok(Vec::new()) } else { each_value(snapshot, FRAGMENTATION) }
}

fn memory_used(case: &Case) -> Explanation {
    let used = text::percent(case.value);
    Explanation {
        title: format!("{used} of maxmemory is used"),
        detail: format!("The data takes {used} of maxmemory. At the limit keys are evicted, or writes fail under `noeviction`."),
        cause: "Keys without an expiry that only grow in number, values larger than planned, or a limit that the data has outgrown."
            .to_owned(),
        fix: format!(
            "Look for what is large: `redis-cli --bigkeys` and `redis-cli --memkeys`. Give keys an expiry, choose what may go (`CONFIG SET \
             maxmemory-policy allkeys-lru`), or raise the limit as far as the host's memory goes: `CONFIG SET maxmemory {}`.",
            raised_limit(case)
        ),
        evidence: sizes(case),
    }
}

fn memory_fragmented(case: &Case) -> Explanation {
    let ratio = text::number(case.value);
    Explanation {
        title: format!("memory is fragmented {ratio} to 1"),
        detail: format!("The operating system gave the process {ratio} times the memory that its data takes."),
        cause: "Many keys of changing sizes were deleted, or the data was once much larger.".to_owned(),
        fix: "`CONFIG SET activedefrag yes` where the allocator is jemalloc (`INFO memory`: mem_allocator), or `MEMORY PURGE`; otherwise fail \
              over and restart."
            .to_owned(),
        evidence: sizes(case),
    }
}

fn evictions(case: &Case) -> Explanation {
    let rate = text::count(case.value);
    Explanation {
        title: format!("{rate} keys evicted a second"),
        detail: format!("The server evicts {rate} keys a second to stay below maxmemory. Each will have to be made again."),
        cause: "The data in use no longer fits into maxmemory.".to_owned(),
        fix: format!(
            "Raise the limit as far as the host's memory goes (`CONFIG SET maxmemory {}`), shorten expiries, or store less. Where keys must not \
             be lost, `CONFIG SET maxmemory-policy volatile-lru` spares those without an expiry.",
            raised_limit(case)
        ),
        evidence: sizes(case),
    }
}

/// Half as much again: a limit below what is stored would evict it.
fn raised_limit(case: &Case) -> String {
    let limit = case.related(MAX_BYTES).filter(|limit| *limit > 0.0);
    limit.map_or_else(|| "<bytes>".to_owned(), |limit| (limit * 1.5).ceil().to_string())
}

fn sizes(case: &Case) -> Vec<Label> {
    [("used", USED_BYTES), ("limit", MAX_BYTES), ("resident", RSS_BYTES)]
        .into_iter()
        .filter_map(|(name, metric)| Some(evidence(name, text::bytes(case.related(metric)?))))
        .collect()
}
