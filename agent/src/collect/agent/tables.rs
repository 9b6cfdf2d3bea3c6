//! The agent's parts, receivers and plugins, one row each.

use std::path::PathBuf;

use pharos_model::snapshot::{Column, Family, Table};

use super::PluginFact;
use crate::board::{PartHealth, PartStatus};

/// Every part as `/api/services/status` shows it.
pub fn parts(parts: &[PartStatus]) -> Table {
    Table::new(
        "parts",
        vec![
            Column::text("name", parts.iter().map(|part| Some(part.name.as_str()))),
            Column::text("state", parts.iter().map(|part| Some(part.state.as_str()))),
            Column::text("cause", parts.iter().map(|part| part.cause.as_deref())),
            Column::text("since", parts.iter().map(|part| Some(part.since.as_str()))),
        ],
    )
}

/// Every receiver: what its breaker lets through, what waits, what was given up, and why the last try failed (null once one succeeded).
pub fn receivers(families: &[Family], parts: &[PartStatus]) -> Table {
    let breakers: Vec<(&str, &str)> = rows(families, "pharos_receiver_breaker_state")
        .filter_map(|(labels, value)| match labels[..] {
            [receiver, state] if value == 1.0 => Some((receiver, state)),
            _ => None,
        })
        .collect();
    let number = |metric: &str, receiver: &str| {
        let value = rows(families, metric).find(|(labels, _)| labels.first() == Some(&receiver)).map(|(_, value)| value);
        value.map(|value| value as i64)
    };
    let why = |receiver: &str| {
        let part = parts.iter().find(|part| part.name.strip_prefix("receiver ") == Some(receiver))?;
        part.cause.as_deref().filter(|_| part.state == PartHealth::Degraded)
    };
    Table::new(
        "receivers",
        vec![
            Column::text("name", breakers.iter().map(|(receiver, _)| Some(*receiver))),
            Column::text("breaker", breakers.iter().map(|(_, state)| Some(*state))),
            Column::integer("waiting", breakers.iter().map(|(receiver, _)| number("pharos_notifications_pending", receiver))),
            Column::integer("dead", breakers.iter().map(|(receiver, _)| number("pharos_notifications_dead_total", receiver))),
            Column::text("why", breakers.iter().map(|(receiver, _)| why(receiver))),
        ],
    )
}

/// Every plugin, and what went wrong with it last.
pub fn plugins(plugins: &[PluginFact]) -> Table {
    Table::new(
        "plugins",
        vec![
            Column::text("id", plugins.iter().map(|plugin| Some(plugin.id.as_str()))),
            Column::text("state", plugins.iter().map(|plugin| Some(plugin.state))),
            Column::text("stage", plugins.iter().map(|plugin| plugin.last_error.as_ref().map(|(stage, _)| stage.as_str()))),
            Column::text("error", plugins.iter().map(|plugin| plugin.last_error.as_ref().map(|(_, why)| why.as_str()))),
        ],
    )
}

/// Stores that were found damaged at some start, until somebody removes their files.
pub fn damaged_stores(paths: &[PathBuf]) -> Table {
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

/// The series of a metric: the texts of their labels, and their values.
fn rows<'a>(families: &'a [Family], metric: &str) -> impl Iterator<Item = (Vec<&'a str>, f64)> + use<'a> {
    let family = families.iter().find(|family| family.metric == metric);
    family.into_iter().flat_map(|family| family.values.iter().enumerate().map(|(row, value)| (family.label_texts(row).collect(), *value)))
}
