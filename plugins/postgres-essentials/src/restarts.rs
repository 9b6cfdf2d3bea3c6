//! Checks of restarts, which are over before any other check could notice them.

use std::time::Duration;

use pharos_plugin::checks::{Case, Check, Explanation, Grading, Observation, Scope};
use pharos_plugin::{Severity, SkipReason, Snapshot, Table, civil_date, text};

/// The agent's table of restarts in the last 15 minutes, oldest first.
const RESTARTS: &str = "restarts";
/// The agent's kind of a restart without signs of a crash.
const CLEAN: &str = "restart";

pub(crate) const CHECKS: &[Check] = &[Check {
    id: "server-restarted",
    summary: "the server restarted, or one of its processes crashed, in the last 15 minutes",
    category: "availability",
    scope: Scope::Each,
    labels: &[],
    needs: &[RESTARTS],
    hold_off: Duration::ZERO,
    // The alert needs no extra time: the agent's table lists a restart for 15 minutes.
    keep_firing: Duration::ZERO,
    grading: Grading::Fact(Severity::Warning),
    observe: restarted,
    explain: server_restarted,
}];

/// Observes the latest crash, or else the latest restart. The value is the number of all restarts.
fn restarted(snapshot: &Snapshot) -> Result<Vec<Observation>, SkipReason> {
    let Some(restarts) = snapshot.table(RESTARTS) else { return Ok(Vec::new()) };
    let count = restarts.row_count();
    let Some(latest) = count.checked_sub(1) else { return Ok(Vec::new()) };
    let observation = Observation::new(Vec::new(), count as f64);
    Ok(vec![match (0..count).rev().find(|row| is_crash(&restarts, *row)) {
        Some(crash) => observation.with_row(crash),
        None => observation.with_row(latest).at_most(Severity::Info),
    }])
}

fn is_crash(restarts: &Table, row: usize) -> bool {
    !restarts.has("kind", row, CLEAN)
}

fn server_restarted(case: &Case) -> Explanation {
    let cells = case.cells(RESTARTS);
    let number = |column: &str| cells.as_ref().and_then(|cells| cells.number(column)).filter(|number| *number >= 0.0);
    let ago = number("seconds_ago").map(|seconds| format!(" {} ago", text::duration(seconds))).unwrap_or_default();
    let at =
        number("at").map(|at| format!(", at {} by the server's clock", civil_date::readable((at * 1_000.0) as u64))).unwrap_or_default();
    let others = if case.value > 1.0 {
        format!(" It was one of {} in 15 minutes.", text::counted(case.value, "restart", "restarts"))
    } else {
        String::new()
    };
    let kind = cells.as_ref().and_then(|cells| cells.text("kind")).unwrap_or_default();
    let (what, explanation) = texts(&kind);
    Explanation {
        detail: format!(
            "{what}{ago}{at}.{others} All sessions and open transactions ended. This alert ends by itself 15 minutes after the restart."
        ),
        ..explanation
    }
}

/// The texts for a kind of restart: the beginning of the detail, and an explanation without numbers.
fn texts(kind: &str) -> (&'static str, Explanation) {
    const LOG: &str = "The server's log at that time has the reason: `SELECT pg_catalog.pg_current_logfile();` returns the log file if the \
                       server writes its own. Otherwise read the log of the service manager: `journalctl -u 'postgresql*'`.";
    const KERNEL: &str =
        "`journalctl -k | grep -i -E 'out of memory|oom|segfault'`, or `dmesg -T`, on the host shows whether the kernel killed it";
    let explanation = |title: &str, cause: &str, fix: String| Explanation {
        title: title.to_owned(),
        cause: cause.to_owned(),
        fix,
        ..Explanation::default()
    };
    match kind {
        "process-crash" => (
            "A process of the server crashed, and the server ended all sessions and recovered",
            explanation(
                "a process of the server crashed",
                "The kernel killed the process because memory ran out (signal 9), a person killed it, or PostgreSQL or an extension has a \
                 fault (signal 6 or 11).",
                format!(
                    "{LOG} The line `was terminated by signal` has the process and the signal, the line `Failed process was running` its \
                     statement. {KERNEL}: then set `work_mem` and the number of sessions lower, or give the host more memory."
                ),
            ),
        ),
        "unclean" => (
            "The server started without the statistics of the previous run, as after a crash,",
            explanation(
                "the server started after an unclean end",
                "The host or the container went down, the server was killed or stopped with `immediate`, or it was restored from a backup.",
                format!(
                    "{LOG} The line `database system was interrupted` there, and the end of the previous run's log, show a crash. \
                     {KERNEL}. Autovacuum has lost its counts of dead rows: run `ANALYZE;` in each database."
                ),
            ),
        ),
        _ => (
            "The server started",
            explanation(
                "the server restarted",
                "An operator, an update, or the service manager restarted it; or a failover.",
                format!("If the restart was planned, there is nothing to do. {LOG}"),
            ),
        ),
    }
}
