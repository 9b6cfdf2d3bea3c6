//! Checks of memory: its use, its fragmentation, and evictions.

use std::time::Duration;

use pharos_plugin::checks::{Case, Check, Explanation, Grading, Observation, Scope, each_rate, each_value, evidence};
use pharos_plugin::{Label, SkipReason, Snapshot, text};

use crate::server::{Eviction, cli};

const USED_RATIO: &str = "pharos_redis_memory_used_ratio";
const USED_BYTES: &str = "pharos_redis_memory_used_bytes";
const MAX_BYTES: &str = "pharos_redis_memory_max_bytes";
const HOST_BYTES: &str = "pharos_redis_memory_host_bytes";
const RSS_BYTES: &str = "pharos_redis_memory_rss_bytes";
const FRAGMENTATION: &str = "pharos_redis_memory_fragmentation_ratio";
const EVICTED: &str = "pharos_redis_keys_evicted_total";

/// Bytes of data from which on fragmentation is judged. The overhead of the process dominates the ratio of a smaller server.
const FRAGMENTATION_BYTES_MIN: f64 = 100e6;

pub(crate) const CHECKS: &[Check] = &[
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
        observe: used,
        explain: memory_used,
    },
    Check {
        id: "memory-fragmented",
        summary: "the process holds far more memory than its data, which takes 100 MB or more",
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
        // A cache at its limit evicts now and then. Only steady evictions mean that the cache is too small.
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

/// Observes the share of the memory limit in use. A cache is not judged: full memory is normal there, and the check `evictions` watches it.
fn used(snapshot: &Snapshot) -> Result<Vec<Observation>, SkipReason> {
    let Some(severity_max) = Eviction::from_snapshot(snapshot).severity_max() else { return Ok(Vec::new()) };
    Ok(each_value(snapshot, USED_RATIO)?.into_iter().map(|used| used.at_most(severity_max)).collect())
}

fn memory_used(case: &Case) -> Explanation {
    let (used, cli) = (text::percent(case.value), cli(case.snapshot));
    let eviction = Eviction::from_snapshot(case.snapshot);
    let at_the_limit = match &eviction {
        Eviction::NothingExpires(policy) => {
            format!("`{policy}` evicts keys that have an expiry, and none has one, so at the limit every write that needs memory fails.")
        }
        Eviction::FewExpire(policy, share) => format!(
            "`{policy}` evicts keys that have an expiry, and only {} of all keys have one. Once these are gone, every write that needs \
             memory fails.",
            text::percent(*share)
        ),
        Eviction::Never => "Nothing is evicted (`noeviction`), so at the limit every write that needs memory fails.".to_owned(),
        _ => "At the limit keys are evicted, or writes fail under `noeviction`.".to_owned(),
    };
    let evict = match &eviction {
        Eviction::Never | Eviction::NothingExpires(_) | Eviction::FewExpire(..) => {
            " Only where every key is a copy that can be created again, let the server evict: `CONFIG SET maxmemory-policy allkeys-lru`."
        }
        _ => "",
    };
    Explanation {
        title: format!("{used} of maxmemory is used"),
        detail: format!("The data takes {used} of maxmemory. {at_the_limit}"),
        cause: "Keys without an expiry that only grow in number, values larger than planned, or a limit that the data has outgrown."
            .to_owned(),
        fix: format!(
            "{} Find large keys: `{cli} --bigkeys` and `{cli} --memkeys`. Remove unneeded keys, and give keys an expiry.{evict}",
            raise_limit(case)
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
        fix: "`MEMORY PURGE` returns free memory. If that is not enough, let the server move its data while it runs: `CONFIG SET \
              activedefrag yes`. A server that was built without it refuses this, as those of Debian do: then fail over to a replica and \
              restart."
            .to_owned(),
        evidence: sizes(case),
    }
}

fn evictions(case: &Case) -> Explanation {
    let rate = text::count(case.value);
    let spare = match Eviction::from_snapshot(case.snapshot) {
        Eviction::Any => {
            " If keys without an expiry must not be lost, `CONFIG SET maxmemory-policy volatile-lru` spares them; once no other key is left, \
             writes fail."
        }
        _ => "",
    };
    Explanation {
        title: format!("{rate} keys evicted a second"),
        detail: format!("The server evicts {rate} keys a second to stay below maxmemory. Each must be created again."),
        cause: "The data in use no longer fits into maxmemory.".to_owned(),
        fix: format!("{} Else shorten expiries, or store less.{spare}", raise_limit(case)),
        evidence: sizes(case),
    }
}

/// Advises a higher limit if the memory of the host allows it. Beyond that, the kernel would kill the server.
fn raise_limit(case: &Case) -> String {
    /// The share of the host's memory that a server may take. A background save copies pages, and other programs need memory too.
    const SHARE_OF_HOST_MAX: f64 = 0.75;
    let limit = case.related(MAX_BYTES).filter(|limit| *limit > 0.0);
    match (limit.map(|limit| (limit * 1.5).ceil()), case.related(HOST_BYTES)) {
        (Some(raised), Some(host)) if raised <= host * SHARE_OF_HOST_MAX => {
            format!("Raise the limit, if the other programs of the host leave the memory for it: `CONFIG SET maxmemory {raised}`.")
        }
        (_, Some(host)) => {
            format!("The host has {} of memory, too little for a much higher limit; move the server to a larger one.", text::bytes(host))
        }
        _ => "Raise `maxmemory` as far as the memory of the host goes.".to_owned(),
    }
}

fn sizes(case: &Case) -> Vec<Label> {
    [("used", USED_BYTES), ("limit", MAX_BYTES), ("resident", RSS_BYTES)]
        .into_iter()
        .filter_map(|(name, metric)| Some(evidence(name, text::bytes(case.related(metric)?))))
        .collect()
}
