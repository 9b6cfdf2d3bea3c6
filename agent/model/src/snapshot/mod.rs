//! One subject at one instant, in parts that fail on their own.
//!
//! Facts are stored in columns with dictionary-coded text, because that is the shape in which plugins pull them: a call crosses the
//! sandbox once for a thousand series.

mod family;
mod table;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub(crate) use self::family::label_value;
pub use self::family::{FamiliesBuilder, Family, LabelColumn, NULL_CODE, TextColumn, TextColumnBuilder, unite_twins};
pub use self::table::{Column, ColumnValues, Table};
use crate::delta::Change;
use crate::subject::{Subject, SubjectKind};
use crate::unlisted::Unlisted;

/// What one run of one collector read.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Reading {
    /// When it was read, on the agent's monotonic clock.
    pub at: Duration,
    /// From then on it is stale: its collector should have run again by then.
    pub fresh_until: Duration,
    /// Changes when the server restarts or its statistics are reset as a whole; rates never span two epochs.
    pub epoch: u64,
    pub families: Vec<Family>,
    pub tables: Vec<Table>,
    /// What is there and has no series of its own.
    #[serde(default, skip_serializing_if = "Unlisted::is_none")]
    pub unlisted: Unlisted,
}

/// Whether a part can be judged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "state", content = "why")]
pub enum PartState {
    Present,
    Failed(String),
    Unsupported(String),
    /// Time since the last good read.
    Stale(Duration),
}

/// One collector's share of a snapshot. `reading` is there exactly while the part is present.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Part {
    pub state: PartState,
    #[serde(with = "shared")]
    pub reading: Option<Arc<Reading>>,
    /// When it was last read, on the agent's monotonic clock, whatever happened since.
    pub last_read: Option<Duration>,
    /// The statement or command that brings a missing part back, where the agent knows one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cure: Option<String>,
    /// Why a missing part is missing, one of a closed set: the `reason` of `pharos_collect_failures_total`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A recorded snapshot spells out what a live one shares.
mod shared {
    use std::sync::Arc;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::Reading;

    pub fn serialize<S: Serializer>(reading: &Option<Arc<Reading>>, serializer: S) -> Result<S::Ok, S::Error> {
        reading.as_deref().serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Arc<Reading>>, D::Error> {
        Ok(Option::<Reading>::deserialize(deserializer)?.map(Arc::new))
    }
}

/// As above, for the members of a database.
mod members {
    use std::sync::Arc;

    use serde::{Deserialize, Deserializer, Serializer};

    use crate::delta::Change;

    pub fn serialize<S: Serializer>(members: &[Arc<Change>], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(members.iter().map(Arc::as_ref))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Arc<Change>>, D::Error> {
        Ok(Vec::<Change>::deserialize(deserializer)?.into_iter().map(Arc::new).collect())
    }
}

impl Part {
    pub fn present(reading: Arc<Reading>) -> Self {
        Self { state: PartState::Present, last_read: Some(reading.at), reading: Some(reading), cure: None, reason: None }
    }

    pub fn failed(why: impl Into<String>) -> Self {
        Self { state: PartState::Failed(why.into()), reading: None, last_read: None, cure: None, reason: None }
    }

    pub fn unsupported(why: impl Into<String>) -> Self {
        Self { state: PartState::Unsupported(why.into()), reading: None, last_read: None, cure: None, reason: None }
    }

    pub fn cured_by(self, cure: Option<&str>) -> Self {
        Self { cure: cure.map(ToOwned::to_owned), ..self }
    }

    pub fn for_reason(self, reason: &str) -> Self {
        Self { reason: Some(reason.to_owned()), ..self }
    }

    /// The part as it follows another one: what fails now may have been read before.
    pub fn after(mut self, earlier: Option<&Self>) -> Self {
        self.last_read = self.last_read.or(earlier.and_then(|earlier| earlier.last_read));
        self
    }
}

/// One subject at one instant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    pub subject: Subject,
    /// Wall time, milliseconds since 1970.
    pub taken_at_ms: u64,
    /// The same instant on the agent's monotonic clock.
    pub taken_at: Duration,
    /// Time for which the snapshot's rates stand: that which is planned between two snapshots of the subject, or more where a server's came
    /// later. A database is looked at as a whole, so there it is the time since the one before.
    pub interval: Duration,
    /// By collector.
    pub parts: BTreeMap<String, Part>,
    /// The servers of a database, with their rates; empty for other kinds.
    #[serde(with = "members")]
    pub members: Vec<Arc<Change>>,
}

impl Snapshot {
    /// A snapshot without facts, for a first look at a plugin before anything was collected.
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

    /// Turns what is too old at `now` into stale parts, so that nobody judges the past.
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

    /// The server of a database that is known to be its primary.
    pub fn primary(&self) -> Option<&Arc<Change>> {
        let known = self.family("pharos_database_primary_info")?;
        let name = (0..known.values.len()).find_map(|row| known.label_texts(row).next())?;
        self.members.iter().find(|member| member.snapshot.subject.id == name)
    }

    fn is_stale(&self, now: Duration) -> bool {
        self.readings().any(|reading| reading.fresh_until < now)
    }

    fn readings(&self) -> impl Iterator<Item = &Arc<Reading>> {
        self.parts.values().filter_map(|part| part.reading.as_ref())
    }

    pub fn family(&self, metric: &str) -> Option<&Family> {
        self.readings().flat_map(|reading| &reading.families).find(|family| family.metric == metric)
    }

    pub fn table(&self, name: &str) -> Option<&Table> {
        self.readings().flat_map(|reading| &reading.tables).find(|table| table.name == name)
    }

    /// The value of a metric without labels.
    pub fn scalar(&self, metric: &str) -> Option<f64> {
        self.family(metric).and_then(|family| family.values.first().copied())
    }

    /// Whether the server could be reached; none where that is not known, or where it is no snapshot of a server.
    pub fn is_reachable(&self) -> Option<bool> {
        self.scalar(self.subject.kind.up_metric()?).map(|up| up > 0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_is_recorded_with_its_members_and_what_is_stale_of_them_is_not_judged() {
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
        assert_eq!(shown_elsewhere, recorded.members[0], "what others hold stays as it is");
    }
}
