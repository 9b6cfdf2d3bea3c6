//! Checks of rights: facts that the role of Pharos may not read, and facts that servers silently hide.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use pharos_plugin::checks::{Case, Check, Explanation, Grading, Observation, Scope, evidence};
use pharos_plugin::{Label, Severity, SkipReason, Snapshot, Table, text};

use crate::collectors::{FAILING, unreached};
use crate::label;

const COLLECT_UP: &str = "pharos_collect_up";
/// The agent's table of facts that are read only in part because a right is missing.
const HIDDEN: &str = "hidden_facts";
/// Parts that an alert lists. More parts do not help a person to decide.
const PARTS_LISTED_MAX: usize = 6;
/// Statements that a fix contains. `pharos doctor` prints all of them.
const STATEMENTS_MAX: usize = 4;

pub(crate) const CHECKS: &[Check] = &[
    Check {
        id: "rights-missing",
        summary: "the role of Pharos may not read all monitored facts",
        category: "collection",
        scope: Scope::Each,
        labels: &["server"],
        needs: &[COLLECT_UP],
        // Most parts are read twice within this time.
        hold_off: Duration::from_mins(1),
        keep_firing: Duration::ZERO,
        grading: Grading::Fact(Severity::Warning),
        observe: missing,
        explain: explain_missing,
    },
    Check {
        id: "rights-partial",
        summary: "the role of Pharos reads facts of a server only in part; a warning where a problem may stay hidden",
        category: "collection",
        scope: Scope::Each,
        labels: &["server"],
        needs: &[COLLECT_UP],
        hold_off: Duration::from_mins(1),
        keep_firing: Duration::ZERO,
        grading: Grading::Fact(Severity::Warning),
        observe: partial,
        explain: explain_partial,
    },
];

/// Whether a row of failing collectors lacks a right. A single right restores many parts, so these rows form an alert per server.
pub(crate) fn is_missing(failing: &Table, row: usize) -> bool {
    failing.has("reason", row, "privilege")
}

/// Observes the number of each server's parts that are unreadable because a right is missing. A right that is missing on the primary as
/// well is reported for the primary alone.
fn missing(snapshot: &Snapshot) -> Result<Vec<Observation>, SkipReason> {
    let mut servers: BTreeMap<String, f64> = BTreeMap::new();
    if let Some(failing) = snapshot.table(FAILING) {
        for row in (0..failing.row_count())
            .filter(|row| failing.is("is_reached", *row) && is_missing(&failing, *row) && !failing.is("is_shared", *row))
        {
            *servers.entry(failing.text("server", row).unwrap_or_default()).or_default() += 1.0;
        }
    }
    let mut all: Vec<Observation> = servers.into_iter().map(|(server, parts)| Observation::new(label("server", &server), parts)).collect();
    all.extend(unreached(snapshot));
    Ok(all)
}

fn explain_missing(case: &Case) -> Explanation {
    let server = case.label("server");
    let mut parts = Vec::new();
    let mut statements = BTreeSet::new();
    let mut is_redis = false;
    if let Some(failing) = case.snapshot.table(FAILING) {
        for row in (0..failing.row_count())
            .filter(|row| failing.has("server", *row, server) && is_missing(&failing, *row) && !failing.is("is_shared", *row))
        {
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
    let (who, by) =
        if is_redis { ("user", "On the server, as a user with the right to do so") } else { ("role", "On the primary, as superuser") };
    Explanation {
        title: format!("the {who} of Pharos may not read all of {server}"),
        detail: format!(
            "{count} not read because a right is missing. Rules that need them are not judged, and their alerts stand still: no new alert \
             does not mean that all is well.{first}"
        ),
        cause: format!("A right was taken from the {who}, or was never granted."),
        fix: format!(
            "{by}: {}. `pharos doctor --server {server}` prints all that is missing.",
            if statements.is_empty() { "grant what the evidence names".to_owned() } else { statements.join(" and ") }
        ),
        evidence: shortened(parts),
    }
}

/// Limits a list to [`PARTS_LISTED_MAX`] lines. A last line has the number of those left out.
fn shortened(mut parts: Vec<Label>) -> Vec<Label> {
    let left_out = parts.len().saturating_sub(PARTS_LISTED_MAX);
    parts.truncate(PARTS_LISTED_MAX);
    parts.extend((left_out > 0).then(|| evidence("and", format!("{left_out} more"))));
    parts
}

/// Observes the number of each server's facts that are read only in part because a right is missing.
fn partial(snapshot: &Snapshot) -> Result<Vec<Observation>, SkipReason> {
    let mut servers: BTreeMap<String, (f64, bool)> = BTreeMap::new();
    if let Some(hidden) = snapshot.table(HIDDEN) {
        for row in 0..hidden.row_count() {
            let server = servers.entry(hidden.text("server", row).unwrap_or_default()).or_default();
            server.0 += 1.0;
            server.1 |= hidden.is("is_grave", row);
        }
    }
    let observe = |(server, (facts, is_grave)): (String, (f64, bool))| {
        let severity_max = if is_grave { Severity::Warning } else { Severity::Info };
        Observation::new(label("server", &server), facts).at_most(severity_max)
    };
    let mut all: Vec<Observation> = servers.into_iter().map(observe).collect();
    all.extend(unreached(snapshot));
    Ok(all)
}

fn explain_partial(case: &Case) -> Explanation {
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
        title: format!("the role of Pharos reads some facts of {server} only in part"),
        detail: format!("The server leaves facts out of its answers, without an error. Hidden facts are not judged.{gravest}"),
        cause: "The role has pg_monitor alone, or an object was created later by an owner whose default privileges leave the role out."
            .to_owned(),
        fix: format!(
            "`pharos doctor --server {server}` prints a script with what is missing. If this is intended, turn the check off: \
             `[plugin.agent-essentials.settings.checks]`, `rights-partial = {{ enabled = false }}`."
        ),
        evidence: shortened(facts),
    }
}
