//! Checks of collection: whether the agent can read the facts of its servers.

use std::collections::BTreeSet;
use std::time::Duration;

use pharos_plugin::checks::{Case, Check, Explanation, Grading, Observation, Scope, evidence};
use pharos_plugin::{Label, Reading, Severity, SkipReason, Snapshot, text};

use crate::{label, rights};

const COLLECT_UP: &str = "pharos_collect_up";
const COLLECT_FAILURES: &str = "pharos_collect_failures_total";
/// The agent's table of failing collectors.
pub(crate) const FAILING: &str = "failing_collectors";
const NOT_REACHED: &str = "the server is not reached";

pub(crate) const CHECKS: &[Check] = &[Check {
    id: "collector-failing",
    summary: "facts of a server cannot be read",
    category: "collection",
    scope: Scope::Each,
    labels: &["server", "collector"],
    needs: &[COLLECT_UP],
    hold_off: Duration::from_mins(10),
    keep_firing: Duration::ZERO,
    grading: Grading::Fact(Severity::Warning),
    observe: failing_collectors,
    explain: collector_failing,
}];

/// Observes the collectors that fail although their server answers. If a server does not answer, its own rules report that. The alerts
/// about its collectors then stay as they are. A missing right belongs to the check `rights-missing`.
fn failing_collectors(snapshot: &Snapshot) -> Result<Vec<Observation>, SkipReason> {
    let Some(failing) = snapshot.table(FAILING) else { return Ok(Vec::new()) };
    let is_reported = |row: &usize| failing.is("is_reached", *row) && !rights::is_missing(&failing, *row);
    let reported = (0..failing.row_count()).filter(is_reported);
    let mut all: Vec<Observation> =
        reported.map(|row| Observation::new(failing.labels(&["server", "collector"], row), 1.0).with_row(row)).collect();
    all.extend(unreached(snapshot));
    Ok(all)
}

/// Observes the unreachable servers as unknown, so that alerts about them stay as they are.
pub(crate) fn unreached(snapshot: &Snapshot) -> Vec<Observation> {
    let Some(failing) = snapshot.table(FAILING) else { return Vec::new() };
    let unreached = (0..failing.row_count()).filter(|row| !failing.is("is_reached", *row));
    let servers: BTreeSet<String> = unreached.filter_map(|row| failing.text("server", row)).collect();
    let unknown = |server: String| Observation::unknown(label("server", &server), SkipReason::PartFailed(NOT_REACHED.to_owned()));
    servers.into_iter().map(unknown).collect()
}

fn collector_failing(case: &Case) -> Explanation {
    let (server, collector) = (case.label("server"), case.label("collector"));
    let cells = case.cells(FAILING);
    let cell = |column| cells.as_ref().and_then(|cells| cells.text(column));
    let (kind, reason) = (cell("kind").unwrap_or_default(), cell("reason").unwrap_or_default());
    let why = cell("why").map(|why| format!(": {}", why.trim_end_matches('.'))).unwrap_or_default();
    let (cause, fix) = cure(&kind, &reason, cell("cure"), server, collector);
    Explanation {
        title: format!("{collector} of {server} cannot be read"),
        detail: format!(
            "The server answers, but `{collector}` fails{why}. Rules that need it are not judged, and their alerts stand still."
        ),
        cause: cause.to_owned(),
        fix,
        evidence: reasons(case.snapshot, server, collector),
    }
}

/// The cause and the fix of a failure. The best fix is the statement that the agent provides. A statement inside an error text is never
/// used: other people control parts of such a text.
fn cure(kind: &str, reason: &str, statement: Option<String>, server: &str, collector: &str) -> (&'static str, String) {
    let doctor = format!("`pharos doctor --server {server}` queries the server itself, and prints the reason and the fix.");
    let run = statement.map(|statement| format!("On the server, as a user with the right to do so: `{statement}`."));
    match (kind, reason) {
        ("redis", "query") => (
            "The command has another name or is disabled, or a proxy answers.",
            "Remove the line `rename-command INFO` from redis.conf and restart the server, or replace the proxy's address in `nodes` by \
             the server's own."
                .to_owned(),
        ),
        (_, "timeout" | "statement-timeout") => (
            "The server is slow, or the statement takes longer than allowed.",
            format!("If the server is healthy otherwise, give it more time: `[collect] deadlines = {{ {collector} = \"10s\" }}`."),
        ),
        (_, "lock-timeout") => ("A lock blocks a statement of Pharos.", doctor),
        (_, "role-limit" | "datname-limit" | "too-many-connections" | "no-place") => (
            "A limit of connections leaves no room for the second session that Pharos needs.",
            format!("Raise the limit that the detail names, or end sessions that count towards it. {doctor}"),
        ),
        (_, "own-limit") => ("The machine of the agent has no room for a connection.", "See the alert `own-limit`.".to_owned()),
        (_, "authentication" | "authentication-method" | "pg-hba") => ("The server refuses the role of Pharos.", run.unwrap_or(doctor)),
        _ => ("The detail has the server's error message.", run.unwrap_or(doctor)),
    }
}

/// The number of the collector's failures since the start of the agent, by reason.
fn reasons(snapshot: &Snapshot, server: &str, collector: &str) -> Vec<Label> {
    let failures = snapshot.samples(COLLECT_FAILURES, &[], Reading::Value);
    let of_collector = failures.rows().filter(|row| row.label("server") == Some(server) && row.label("collector") == Some(collector));
    of_collector.map(|row| evidence(row.label("reason").unwrap_or_default(), text::count(row.value()))).collect()
}
