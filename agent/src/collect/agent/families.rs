//! The agent's own metrics: those that are stored, and those that are computed at each request.

use std::collections::BTreeMap;
use std::time::Duration;

use pharos_model::snapshot::{FamiliesBuilder, Family};

use crate::board::Board;
use crate::lifecycle::descriptors_max;
use crate::telemetry::logs;
use crate::telemetry::metrics::SelfMetrics;

/// Returns all metrics of the agent itself that `/metrics` shows.
pub(crate) fn families(board: &Board, metrics: &SelfMetrics, now: Duration) -> Vec<Family> {
    metrics.set("pharos_log_lines_dropped_total", &[], logs::lines_dropped() as f64);
    let mut families = metrics.families();
    families.extend(ages(board, now));
    families.extend(alerts(board));
    families.extend(process());
    families
}

/// Computes the age of each part's facts, also of failed parts.
fn ages(board: &Board, now: Duration) -> Vec<Family> {
    let mut ages = FamiliesBuilder::new(&["server", "collector"], &["pharos_collect_age_seconds"]);
    for (server, change) in board.picture().servers() {
        for (name, part) in &change.snapshot.parts {
            let age = part.last_read.map(|at| now.saturating_sub(at).as_secs_f64());
            ages.push(&[&server.id, name], &[age]);
        }
    }
    ages.finish()
}

fn alerts(board: &Board) -> Vec<Family> {
    let mut counts: BTreeMap<(&str, &str), f64> = BTreeMap::new();
    for state in ["pending", "firing", "recovering"] {
        for severity in ["info", "warning", "critical"] {
            counts.insert((state, severity), 0.0);
        }
    }
    let picture = board.picture();
    for alert in picture.alerts.iter() {
        *counts.entry((alert.state.as_str(), alert.severity.as_str())).or_default() += 1.0;
    }
    let mut rows = FamiliesBuilder::new(&["state", "severity"], &["pharos_alerts"]);
    for ((state, severity), count) in counts {
        rows.push(&[state, severity], &[Some(count)]);
    }
    rows.finish()
}

/// Reads the kernel's numbers about this process. Returns nothing if the kernel has none.
fn process() -> Vec<Family> {
    let Ok(me) = procfs::process::Process::myself() else { return Vec::new() };
    let Ok(stat) = me.stat() else { return Vec::new() };
    let ticks = procfs::ticks_per_second() as f64;
    let mut families = vec![
        Family::scalar("process_cpu_seconds_total", (stat.utime + stat.stime) as f64 / ticks),
        Family::scalar("process_resident_memory_bytes", stat.rss as f64 * procfs::page_size() as f64),
    ];
    families.push(Family::scalar("process_max_fds", descriptors_max() as f64));
    families.extend(me.fd_count().ok().map(|count| Family::scalar("process_open_fds", count as f64)));
    let started = procfs::boot_time_secs().ok().map(|boot| boot as f64 + stat.starttime as f64 / ticks);
    families.extend(started.map(|at| Family::scalar("process_start_time_seconds", at)));
    families
}
