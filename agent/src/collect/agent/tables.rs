//! The agent's parts, receivers and plugins, one row each.

use std::path::PathBuf;

use pharos_model::agent_part::AgentPart;
use pharos_model::snapshot::{Column, FailureReason, Part, PartState, Snapshot, Table};
use pharos_model::subject::SubjectKey;

use super::plugin_facts::PluginFact;
use crate::board::{Board, PartHealth, PartStatus, Picture, ReceiverStatus};

/// Makes the table of the agent's parts, as `/api/services/status` shows them.
pub(super) fn parts(parts: &[PartStatus]) -> Table {
    let names: Vec<String> = parts.iter().map(|status| status.part.to_string()).collect();
    Table::new(
        "parts",
        vec![
            Column::text("name", names.iter().map(|name| Some(name.as_str()))),
            Column::text("state", parts.iter().map(|part| Some(part.state.as_str()))),
            Column::text("cause", parts.iter().map(|part| part.cause.as_deref())),
            Column::text("since", parts.iter().map(|part| Some(part.since.as_str()))),
        ],
    )
}

/// Makes the table of receivers: the breaker, how many messages wait and were given up, and why the last attempt failed.
pub(super) fn receivers(board: &Board) -> Table {
    let (receivers, parts) = (board.receivers(), board.parts());
    let why = |receiver: &str| {
        let status = parts.iter().find(|status| matches!(&status.part, AgentPart::Receiver(name) if name == receiver))?;
        status.cause.as_deref().filter(|_| status.state == PartHealth::Degraded)
    };
    let counts = |count: fn(&ReceiverStatus) -> usize| receivers.values().map(move |status| i64::try_from(count(status)).ok());
    Table::new(
        "receivers",
        vec![
            Column::text("name", receivers.keys().map(|receiver| Some(receiver.as_str()))),
            Column::text("breaker", receivers.values().map(|status| Some(status.breaker.as_str()))),
            Column::integer("waiting", counts(|status| status.waiting)),
            Column::integer("dead", counts(|status| status.dead)),
            Column::text("why", receivers.keys().map(|receiver| why(receiver))),
        ],
    )
}

/// Makes the table of plugins, each with its latest error.
pub(super) fn plugins(plugins: &[PluginFact]) -> Table {
    Table::new(
        "plugins",
        vec![
            Column::text("id", plugins.iter().map(|plugin| Some(plugin.id.as_str()))),
            Column::text("state", plugins.iter().map(|plugin| Some(plugin.state))),
            Column::text("stage", plugins.iter().map(|plugin| plugin.last_error.as_ref().map(|(stage, _)| stage.as_str()))),
            Column::text("error", plugins.iter().map(|plugin| plugin.last_error.as_ref().map(|(_, why)| why.as_str()))),
            Column::text("last_words", plugins.iter().map(|plugin| plugin.last_words.as_deref())),
            Column::text("ignored_settings", plugins.iter().map(|plugin| plugin.ignored_settings.as_deref())),
        ],
    )
}

/// Lists stores that were damaged at some start. A store is listed until its files are removed.
pub(super) fn damaged_stores(paths: &[PathBuf]) -> Table {
    let texts: Vec<(String, String)> = paths
        .iter()
        .map(|path| (path.file_name().unwrap_or_default().to_string_lossy().into_owned(), path.display().to_string()))
        .collect();
    Table::new(
        "damaged_stores",
        vec![
            Column::text("name", texts.iter().map(|(name, _)| Some(name.as_str()))),
            Column::text("path", texts.iter().map(|(_, path)| Some(path.as_str()))),
        ],
    )
}

/// A collector that fails.
struct Failing<'a> {
    server: &'a SubjectKey,
    is_reached: bool,
    is_shared: bool,
    name: &'a str,
    why: &'a str,
    part: &'a Part,
}

fn is(snapshot: &Snapshot, metric: &str) -> bool {
    snapshot.scalar(metric) == Some(1.0)
}

fn is_standby(snapshot: &Snapshot) -> bool {
    is(snapshot, "pharos_postgres_in_recovery")
}

/// Returns the primary of the database that a server belongs to, if it can be reached.
fn primary_of<'a>(picture: &'a Picture, server: &Snapshot) -> Option<(&'a SubjectKey, &'a Snapshot)> {
    let database = |snapshot: &Snapshot| snapshot.subject.labels.iter().find(|label| label.name == "database").cloned();
    let is_primary =
        |snapshot: &Snapshot| snapshot.is_reachable() == Some(true) && snapshot.scalar("pharos_postgres_in_recovery") == Some(0.0);
    let servers = picture.servers().map(|(key, change)| (key, &change.snapshot));
    servers.filter(|(_, other)| is_primary(other)).find(|(_, other)| database(other) == database(server))
}

/// Lists collectors whose last run failed, with the reason, and whether their server was reached: only then the collector is at fault.
/// Facts that a server does not offer are no failure. Facts that the role of the agent may not read are one.
pub(super) fn failing_collectors(board: &Board) -> Table {
    let picture = board.picture();
    let is_withheld = |part: &Part| part.reason == Some(FailureReason::Privilege);
    let lacks = |server: &Snapshot, part: &str| server.parts.get(part).is_some_and(is_withheld);
    // A standby has the rights of its primary, so a right that both lack is granted once.
    let is_shared =
        |server: &Snapshot, part: &str| is_standby(server) && primary_of(&picture, server).is_some_and(|(_, primary)| lacks(primary, part));
    let mut failing: Vec<Failing<'_>> = Vec::new();
    for (server, change) in picture.servers() {
        let is_reached = change.snapshot.is_reachable() == Some(true);
        failing.extend(change.snapshot.parts.iter().filter_map(|(name, part)| match &part.state {
            PartState::Failed(why) => Some(Failing { server, is_reached, is_shared: false, name, why, part }),
            PartState::Unsupported(why) if is_withheld(part) => {
                let is_shared = is_shared(&change.snapshot, name);
                Some(Failing { server, is_reached, is_shared, name, why, part })
            }
            PartState::Present | PartState::Unsupported(_) | PartState::Stale(_) => None,
        }));
    }
    Table::new(
        "failing_collectors",
        vec![
            Column::text("server", failing.iter().map(|failing| Some(failing.server.id.as_str()))),
            Column::text("kind", failing.iter().map(|failing| Some(failing.server.kind.as_str()))),
            Column::boolean("is_reached", failing.iter().map(|failing| Some(failing.is_reached))),
            Column::text("collector", failing.iter().map(|failing| Some(failing.name))),
            Column::text("reason", failing.iter().map(|failing| failing.part.reason.map(FailureReason::as_str))),
            Column::text("why", failing.iter().map(|failing| Some(failing.why))),
            Column::text("cure", failing.iter().map(|failing| failing.part.cure.as_deref())),
            // Whether the primary lacks the right as well, so that its row is enough for both.
            Column::boolean("is_shared", failing.iter().map(|failing| Some(failing.is_shared))),
        ],
    )
}

/// Most rows of hidden facts. More rows would not help to decide.
const HIDDEN_MAX: usize = 500;

/// Lists facts of reached PostgreSQL servers that were read only in part, because the role lacks a right. A standby has the rights of its
/// primary, so its rows are left out while the primary can be reached.
pub(super) fn hidden_facts(board: &Board) -> Table {
    let picture = board.picture();
    let mut rows: Vec<(&str, &Table, usize)> = Vec::new();
    for (server, change) in picture.servers() {
        let is_listed_with_primary = is_standby(&change.snapshot) && primary_of(&picture, &change.snapshot).is_some();
        let is_asked = change.snapshot.is_reachable() == Some(true) && !is_listed_with_primary;
        let hidden = change.snapshot.table("hidden_facts").filter(|_| is_asked);
        rows.extend(hidden.into_iter().flat_map(|table| (0..table.row_count as usize).map(move |row| (server.id.as_str(), table, row))));
    }
    rows.truncate(HIDDEN_MAX);
    let text = |name: &str| Column::text(name, rows.iter().map(|(_, table, row)| table.text(name, *row)));
    Table::new(
        "hidden_facts",
        vec![
            Column::text("server", rows.iter().map(|(server, ..)| Some(*server))),
            text("collector"),
            text("datname"),
            text("why"),
            Column::boolean("is_grave", rows.iter().map(|(_, table, row)| table.boolean("is_grave", *row))),
        ],
    )
}
