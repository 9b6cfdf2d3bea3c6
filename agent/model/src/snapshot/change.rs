//! Snapshots, and changes between two of them. A snapshot of a database holds the changes of its members, so both are here.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::family::Family;
use super::part::{Part, PartState, Reading};
use super::part_id::PartId;
use super::table::{Column, Table};
use crate::subject::{Subject, SubjectKind};

/// Snapshot of one subject at one instant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Subject of the snapshot.
    pub subject: Subject,
    /// Wall time, milliseconds since 1970.
    pub taken_at_ms: u64,
    /// Time of the snapshot on the agent's monotonic clock.
    pub taken_at: Duration,
    /// Time that the snapshot's rates cover: the planned time between two snapshots, or the actual one if a server's snapshot came later.
    /// For a database it is the time since its snapshot before.
    pub interval: Duration,
    /// Parts by the name of their collector.
    pub parts: BTreeMap<String, Part>,
    /// The servers of a database, with their rates; empty for other kinds.
    #[serde(with = "members")]
    pub members: Vec<Arc<Change>>,
}

impl Snapshot {
    /// Creates a snapshot without facts, to call a plugin before anything was collected.
    pub fn empty(kind: impl Into<SubjectKind>) -> Self {
        Self {
            subject: Subject { kind: kind.into(), id: "none".to_owned(), version: String::new(), labels: Vec::new() },
            taken_at_ms: 0,
            taken_at: Duration::ZERO,
            interval: Duration::ZERO,
            parts: BTreeMap::new(),
            members: Vec::new(),
        }
    }

    /// Turns parts that are too old at `now` into stale ones, so that no rule judges outdated facts.
    pub fn expire(&mut self, now: Duration) {
        for part in self.parts.values_mut() {
            if let Some(reading) = part.reading.take_if(|reading| reading.fresh_until < now) {
                part.state = PartState::Stale(now.saturating_sub(reading.at));
            }
        }
        for member in self.members.iter_mut().filter(|member| member.snapshot.is_stale(now)) {
            Arc::make_mut(member).snapshot.expire(now);
        }
    }

    /// Server of a database that is known to be its primary; `None` if none is known.
    pub fn primary(&self) -> Option<&Arc<Change>> {
        let known = self.family("pharos_database_primary_info")?;
        let name = (0..known.values.len()).find_map(|row| known.label_texts(row).next())?;
        self.members.iter().find(|member| member.snapshot.subject.id == name)
    }

    fn is_stale(&self, now: Duration) -> bool {
        self.readings().any(|reading| reading.fresh_until < now)
    }

    /// The part that this collector fills; `None` before the collector's first run.
    pub fn part(&self, id: PartId) -> Option<&Part> {
        self.parts.get(id.as_str())
    }

    fn readings(&self) -> impl Iterator<Item = &Arc<Reading>> {
        self.parts.values().filter_map(|part| part.reading.as_ref())
    }

    /// Family of a metric; `None` if no part has it.
    pub fn family(&self, metric: &str) -> Option<&Family> {
        self.readings().flat_map(|reading| &reading.families).find(|family| family.metric == metric)
    }

    /// Table with this name; `None` if no part has it.
    pub fn table(&self, name: &str) -> Option<&Table> {
        self.readings().flat_map(|reading| &reading.tables).find(|table| table.name == name)
    }

    /// The value of a metric without labels.
    pub fn scalar(&self, metric: &str) -> Option<f64> {
        self.family(metric).and_then(|family| family.values.first().copied())
    }

    /// Returns whether the server could be reached; `None` if that is unknown or the subject is no server.
    pub fn is_reachable(&self) -> Option<bool> {
        self.scalar(self.subject.kind.up_metric()?).map(|up| up > 0.0)
    }
}

/// Members are shared in memory, but written out in a recorded snapshot.
mod members {
    use std::sync::Arc;

    use serde::{Deserialize, Deserializer, Serializer};

    use super::Change;

    /// Writes the members themselves.
    pub(super) fn serialize<S: Serializer>(members: &[Arc<Change>], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(members.iter().map(Arc::as_ref))
    }

    /// Reads the members.
    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Arc<Change>>, D::Error> {
        Ok(Vec::<Change>::deserialize(deserializer)?.into_iter().map(Arc::new).collect())
    }
}

/// Name of the table with the time spans of the rates: `part`, and `seconds` between its last two good readings.
pub const READINGS: &str = "readings";

/// A snapshot with the rates since the one before it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// The snapshot.
    pub snapshot: Snapshot,
    /// Rates by metric: one per series of the family, in its order.
    rates: BTreeMap<String, Vec<Option<f64>>>,
    /// Table [`READINGS`]; `None` before the second reading, and in recordings older than this table.
    #[serde(default)]
    readings: Option<Table>,
}

impl Change {
    /// Creates a change. `spans` has each part with known rates, and the time between its last two good readings.
    pub(crate) fn new(snapshot: Snapshot, rates: BTreeMap<String, Vec<Option<f64>>>, spans: &[(String, Duration)]) -> Self {
        let part = Column::text("part", spans.iter().map(|(part, _)| Some(part.as_str())));
        let seconds = Column::float("seconds", "seconds", spans.iter().map(|(_, elapsed)| Some(elapsed.as_secs_f64())));
        let readings = (!spans.is_empty()).then(|| Table::new(READINGS, vec![part, seconds]));
        Self { snapshot, rates, readings }
    }

    /// Creates a change for a snapshot without an earlier one; it has no rates.
    pub fn first(snapshot: Snapshot) -> Self {
        Self { snapshot, rates: BTreeMap::new(), readings: None }
    }

    /// Table with this name, [`READINGS`] included; `None` if there is none.
    pub fn table(&self, name: &str) -> Option<&Table> {
        if name == READINGS { self.readings.as_ref() } else { self.snapshot.table(name) }
    }

    /// The table [`READINGS`], if there is one.
    pub(super) fn readings(&self) -> &Option<Table> {
        &self.readings
    }

    /// Rates of a metric, one per series in the order of its family; `None` for a metric without rates.
    pub(super) fn rates_of(&self, metric: &str) -> Option<&[Option<f64>]> {
        self.rates.get(metric).map(Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_is_recorded_with_its_members_and_stale_parts_of_them_are_not_judged() {
        let reading = Reading { fresh_until: Duration::from_secs(20), ..Reading::default() };
        let mut member = Snapshot::empty("postgres");
        member.parts.insert("server".into(), Part::present(Arc::new(reading)));
        let mut database = Snapshot { members: vec![Arc::new(Change::first(member))], ..Snapshot::empty("database") };
        let recorded: Snapshot = serde_json::from_str(&serde_json::to_string(&database).unwrap()).unwrap();
        assert_eq!(recorded, database);
        let shown_elsewhere = Arc::clone(&database.members[0]);
        database.expire(Duration::from_secs(20));
        assert_eq!(database, recorded);
        database.expire(Duration::from_secs(21));
        assert_eq!(database.members[0].snapshot.parts["server"].state, PartState::Stale(Duration::from_secs(21)));
        assert_eq!(shown_elsewhere, recorded.members[0], "the copy of another reader stays as it is");
    }
}
