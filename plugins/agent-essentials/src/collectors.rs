//! Whether what is to be known of servers can be read.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use pharos_plugin::checks::{Case, Check, Explanation, Grading, Observation, Scope, evidence, label};
use pharos_plugin::{Label, Reading, Severity, SkipReason, Snapshot, Table, text};

const COLLECT_UP: &str = "pharos_collect_up";
const COLLECT_FAILURES: &str = "pharos_collect_failures_total";
/// The agent's table of collectors that fail.
const FAILING: &str = "failing_collectors";
/// The agent's table of what is read in part, for want of a right.
const HIDDEN: &str = "hidden_facts";
const NOT_REACHED: &str = "the server is not reached";
/// More parts help nobody to decide.
const PARTS_TOLD_MAX: usize = 6;
const STATEMENTS_MAX: usize = 4;

pub const CHECKS: &[Check] = &[
    Check {
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
    },
    Check {
        id: "rights-missing",
        summary: "the role of Pharos may not read what it watches",
        category: "collection",
        scope: Scope::Each,
        labels: &["server"],
        needs: &[COLLECT_UP],
        // Two readings of most parts.
        hold_off: Duration::from_mins(1),
        keep_firing: Duration::ZERO,
        grading: Grading::Fact(Severity::Warning),
        observe: rights_missing,
        explain: explain_rights_missing,
    },
    Check {
        id: "rights-partial",
        summary: "the role of Pharos reads facts of a server in part; a warning where something may go wrong unseen",
        category: "collection",
        scope: Scope::Each,
        labels: &["server"],
        needs: &[COLLECT_UP],
        hold_off: Duration::from_mins(1),
        keep_firing: Duration::ZERO,
        grading: Grading::Fact(Severity::Warning),
        observe: rights_partial,
        explain: explain_rights_partial,
    },
];

/// Whether a row is told by `rights-missing`: one right more brings many parts back, and of a Redis server all of them.
fn lacks_right(failing: &Table, row: usize) -> bool {
    failing.has("reason", row, "privilege")
}

/// How many parts of each server are not read for want of a right.
fn rights_missing(snapshot: &Snapshot) -> Result<Vec<Observation>, SkipReason> {
    let Some(failing) = snapshot.table(FAILING) else { return Ok(Vec::new()) };
    let mut servers: BTreeMap<String, (bool, f64)> = BTreeMap::new();
    for row in 0..failing.row_count() {
        let server = servers.entry(failing.text("server", row).unwrap_or_default()).or_insert((true, 0.0));
        server.0 &= failing.is("is_reached", row);
        server.1 += f64::from(u8::from(lacks_right(&failing, row)));
    }
    let observe = |(server, (is_reached, parts)): (String, (bool, f64))| match is_reached {
        true => (parts > 0.0).then(|| Observation::new(vec![label("server", server)], parts)),
        false => Some(Observation::unknown(vec![label("server", server)], SkipReason::PartFailed(NOT_REACHED.to_owned()))),
    };
    Ok(servers.into_iter().filter_map(observe).collect())
}

fn explain_rights_missing(case: &Case) -> Explanation {
    let server = case.label("server");
    let mut parts = Vec::new();
    let mut statements = BTreeSet::new();
    let mut is_redis = false;
    if let Some(failing) = case.snapshot.table(FAILING) {
        for row in (0..failing.row_count()).filter(|row| failing.has("server", *row, server) && lacks_right(&failing, *row)) {
            let why = failing.text("why", row).unwrap_or_default();
            is_redis |= failing.has("kind", row, "redis");
            let end = if is_redis { "" } else { ";" };
            statements.extend(failing.text("cure", row).map(|statement| format!("`{statement}{end}`")));
            parts.push(evidence(&failing.text("collector", row).unwrap_or_default(), why));
        }
    }
    let count = text::counted(case.value, "part is", "parts are");
    let statements: Vec<String> = statements.into_iter().take(STATEMENTS_MAX).collect();
    let first = parts.first().map(|part| format!(" {}: {}.", part.name, part.value.trim_end_matches('.'))).unwrap_or_default();
    let (who, by) = if is_redis { ("user", "On the server, as one who may") } else { ("role", "On the primary, as superuser") };
    Explanation {
        title: format!("the {who} of Pharos may not read all of {server}"),
        detail: format!(
            "{count} not read for want of a right. Rules that need them are not judged, and their alerts stand still: no news is no good \
             news.{first}"
        ),
        cause: format!("A right was taken from the {who}, or was never granted."),
        fix: format!(
            "{by}: {}. `pharos doctor --server {server}` prints all that is missing.",
            if statements.is_empty() { "grant what the evidence names".to_owned() } else { statements.join(" and ") }
        ),
        evidence: first_of(parts),
    }
}

/// Not all of them; how many were left out is said.
fn first_of(mut parts: Vec<Label>) -> Vec<Label> {
    let left_out = parts.len().saturating_sub(PARTS_TOLD_MAX);
    parts.truncate(PARTS_TOLD_MAX);
    parts.extend((left_out > 0).then(|| evidence("and", format!("{left_out} more"))));
    parts
}

/// How many facts of each server are read in part, for want of a right.
fn rights_partial(snapshot: &Snapshot) -> Result<Vec<Observation>, SkipReason> {
    let Some(hidden) = snapshot.table(HIDDEN) else { return Ok(Vec::new()) };
    let mut servers: BTreeMap<String, (f64, bool)> = BTreeMap::new();
    for row in 0..hidden.row_count() {
        let server = servers.entry(hidden.text("server", row).unwrap_or_default()).or_default();
        server.0 += 1.0;
        server.1 |= hidden.is("is_grave", row);
    }
    let mut all: Vec<Observation> = servers
        .into_iter()
        .map(|(server, (facts, is_grave))| {
            let severity_max = if is_grave { Severity::Warning } else { Severity::Info };
            Observation::new(vec![label("server", server)], facts).at_most(severity_max)
        })
        .collect();
    // Of a server that is not reached nothing is known.
    let Some(failing) = snapshot.table(FAILING) else { return Ok(all) };
    let unreached: BTreeSet<String> =
        (0..failing.row_count()).filter(|row| !failing.is("is_reached", *row)).filter_map(|row| failing.text("server", row)).collect();
    let unknown = |server| Observation::unknown(vec![label("server", server)], SkipReason::PartFailed(NOT_REACHED.to_owned()));
    all.extend(unreached.into_iter().map(unknown));
    Ok(all)
}

fn explain_rights_partial(case: &Case) -> Explanation {
    let server = case.label("server");
    let mut facts = Vec::new();
    if let Some(hidden) = case.snapshot.table(HIDDEN) {
        let mut rows: Vec<usize> = (0..hidden.row_count()).filter(|row| hidden.has("server", *row, server)).collect();
        rows.sort_by_key(|row| !hidden.is("is_grave", *row));
        for row in rows {
            let cell = |column: &str| hidden.text(column, row).unwrap_or_default();
            facts.push(evidence(&format!("{} of {}", cell("collector"), cell("datname")), cell("why")));
        }
    }
    let gravest = facts.first().map(|fact| format!(" {}: {}.", fact.name, fact.value)).unwrap_or_default();
    Explanation {
        title: format!("the role of Pharos sees some of {server} in part"),
        detail: format!("The server answers with less than there is, and without an error. What is hidden is not judged.{gravest}"),
        cause: "The role has pg_monitor alone, or something was made since by an owner whose default privileges leave the role out."
            .to_owned(),
        fix: format!(
            "`pharos doctor --server {server}` prints a script with what is missing. If it is meant so, turn the check off: \
             `[plugin.agent-essentials.settings.checks]`, `rights-partial = {{ enabled = false }}`."
        ),
        evidence: first_of(facts),
    }
}

/// Collectors that fail although their server answers, be it all of them. Where it does not, the rules about servers say so, and what
/// failed before stands still.
fn failing_collectors(snapshot: &Snapshot) -> Result<Vec<Observation>, SkipReason> {
    let Some(failing) = snapshot.table(FAILING) else { return Ok(Vec::new()) };
    let observe = |row| match failing.is("is_reached", row) {
        true => Observation::new(failing.labels(&["server", "collector"], row), 1.0).of_row(row),
        false => {
            let server = failing.text("server", row).unwrap_or_default();
            Observation::unknown(vec![label("server", server)], SkipReason::PartFailed(NOT_REACHED.to_owned()))
        }
    };
    let others = (0..failing.row_count()).filter(|row| !failing.is("is_reached", *row) || !lacks_right(&failing, *row));
    let mut observed: Vec<Observation> = others.map(observe).collect();
    // A server that is not reached is said once.
    observed.dedup_by(|one, other| one.unknown.is_some() && other.unknown.is_some() && one.labels == other.labels);
    Ok(observed)
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

/// The cause and the cure of a failure. A statement of the agent is the best cure. No statement is searched for in a text, since others
/// write parts of the text.
fn cure(kind: &str, reason: &str, statement: Option<String>, server: &str, collector: &str) -> (&'static str, String) {
    let doctor = format!("`pharos doctor --server {server}` asks the server itself, and says why and what mends it.");
    let run = statement.map(|statement| format!("On the server, as one who may: `{statement}`."));
    match (kind, reason) {
        ("redis", "privilege") => ("The user that Pharos logs in as may not run a command.", run.unwrap_or(doctor)),
        ("redis", "query") => (
            "The command has another name or is switched off, or what answers is a proxy.",
            "Remove the line `rename-command INFO` from redis.conf and restart the server, or put the address of the server itself in the place \
             of the proxy's in `nodes`."
                .to_owned(),
        ),
        (_, "timeout" | "statement-timeout") => (
            "The server is slow, or the statement takes longer than it may.",
            format!("If the server is well otherwise, give it more time: `[collect] deadlines = {{ {collector} = \"10s\" }}`."),
        ),
        (_, "lock-timeout") => ("A lock is in the way of a statement of Pharos.", doctor),
        (_, "role-limit" | "datname-limit" | "too-many-connections" | "no-place") => (
            "A limit of connections leaves no room for the second session that Pharos needs.",
            format!("Raise the limit that the detail names, or end sessions that count towards it. {doctor}"),
        ),
        (_, "own-limit") => ("The machine of the agent has no room for a connection.", "See the alert `own-limit`.".to_owned()),
        (_, "privilege" | "authentication" | "pg-hba") => ("The role of Pharos lacks a privilege.", run.unwrap_or(doctor)),
        _ => ("The detail has what the server said.", run.unwrap_or(doctor)),
    }
}

/// How often the collector failed since the agent started, by reason.
fn reasons(snapshot: &Snapshot, server: &str, collector: &str) -> Vec<Label> {
    let failures = snapshot.samples(COLLECT_FAILURES, &[], Reading::Value);
    let of_collector = failures.rows().filter(|row| row.label("server") == Some(server) && row.label("collector") == Some(collector));
    of_collector.map(|row| evidence(row.label("reason").unwrap_or_default(), text::count(row.value()))).collect()
}
