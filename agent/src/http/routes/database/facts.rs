//! `GET /api/database/metrics`: the latest snapshot of each server.

use pharos_model::snapshot::{Family, Part, PartState, Snapshot};

use super::snapshots::{Selection, label};
use crate::api::facts::{FactsState, SeriesItem, ServerFacts, ServerLabels};
use crate::api::list::{DatabaseQuery, List, Timestamp};
use crate::clock::rfc3339;
use crate::http::exchange::Answer;

pub(super) async fn list(selection: Selection<DatabaseQuery>) -> Answer<List<ServerFacts>> {
    Answer::ok(List { items: selection.snapshots.iter().map(server).collect(), next_cursor: None })
}

fn server(snapshot: &Snapshot) -> ServerFacts {
    let readings = snapshot.parts.values().filter_map(|part| part.reading.as_ref());
    let families = readings.flat_map(|reading| &reading.families);
    ServerFacts {
        labels: ServerLabels { database: label(snapshot, "database"), server: label(snapshot, "server") },
        kind: snapshot.subject.kind.as_str().to_owned(),
        version: snapshot.subject.version.clone(),
        taken_at: Timestamp(rfc3339(snapshot.taken_at_ms)),
        up: snapshot.is_reachable() == Some(true),
        parts: snapshot.parts.iter().map(|(name, part)| (name.clone(), state(part))).collect(),
        metrics: families.map(|family| (family.metric.clone(), series(family))).collect(),
    }
}

fn state(part: &Part) -> FactsState {
    match &part.state {
        PartState::Present => FactsState::Present,
        PartState::Failed(why) => FactsState::Failed { why: why.clone() },
        PartState::Unsupported(why) => FactsState::Unsupported { why: why.clone() },
        PartState::Stale(age) => FactsState::Stale { age_seconds: age.as_secs_f64() },
    }
}

fn series(family: &Family) -> Vec<SeriesItem> {
    let one = |(row, value): (usize, &f64)| {
        let labels = family.labels.iter().map(|label| (label.name.clone(), label.values.text(row).map(ToOwned::to_owned)));
        SeriesItem { labels: labels.collect(), value: Some(*value) }
    };
    family.values.iter().enumerate().map(one).collect()
}
