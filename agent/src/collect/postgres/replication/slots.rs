//! Replication slots: what they keep on disk, for how long nobody came for it, and what logical decoding wrote.

use std::collections::BTreeMap;
use std::time::Duration;

use pharos_model::resets::Resets;
use pharos_model::snapshot::{Column, FamiliesBuilder, Family, Table};

use super::super::row::{Fields, query};
use super::NAME;
use crate::collect::CollectError;
use crate::postgres::{Session, Versioned};

const SLOTS: Versioned = Versioned::new(&[
    (14, include_str!("../sql/slots.sql")),
    (16, include_str!("../sql/slots.16.sql")),
    (17, include_str!("../sql/slots.17.sql")),
]);

const METRICS: [&str; 9] = [
    "pharos_postgres_slot_active",
    "pharos_postgres_slot_retained_bytes",
    "pharos_postgres_slot_safe_bytes",
    "pharos_postgres_slot_wal_lost",
    "pharos_postgres_slot_inactive_seconds",
    "pharos_postgres_slot_invalidated",
    "pharos_postgres_slot_confirmed_lag_bytes",
    "pharos_postgres_slot_spill_bytes_total",
    "pharos_postgres_slot_stream_bytes_total",
];

#[derive(Default)]
pub struct Slots {
    /// What is known of each from reading to reading.
    known: BTreeMap<String, Known>,
    resets: Resets,
}

struct Known {
    /// Since when it was seen without a consumer, for servers that do not say so.
    inactive_since: Option<Duration>,
    /// Up to where its WAL was taken.
    position: Option<i64>,
    /// When that was seen to move last.
    moved_at: Option<Duration>,
}

struct Slot<'a> {
    name: &'a str,
    slot_type: &'a str,
    plugin: Option<&'a str>,
    datname: Option<&'a str>,
    active: bool,
    temporary: bool,
    wal_status: Option<&'a str>,
    retained_bytes: Option<i64>,
    safe_bytes: Option<i64>,
    confirmed_lag_bytes: Option<f64>,
    inactive_seconds: f64,
    /// None where it was not seen to move.
    seconds_since_move: Option<f64>,
    invalidation_reason: Option<&'a str>,
    failover: Option<bool>,
    synced: Option<bool>,
    spill_bytes: Option<f64>,
    stream_bytes: Option<f64>,
    stats_reset: Option<f64>,
}

impl Slots {
    /// With the epoch of their counters.
    pub async fn read(&mut self, session: &Session, now: Duration) -> Result<(Vec<Family>, Table, u64), CollectError> {
        let rows = query(session, NAME, SLOTS.sql(session.major())).await?;
        let mut slots = Vec::new();
        for row in &rows {
            slots.push(self.slot(&Fields::new(NAME, row), now)?);
        }
        self.known.retain(|name, _| slots.iter().any(|slot| slot.name == name));
        let resets = slots.iter().map(|slot| (slot.name.to_owned(), slot.stats_reset));
        let epoch = self.resets.epoch(session.epoch(), resets);
        Ok((families(&slots), table(&slots), epoch))
    }

    fn slot<'a>(&mut self, row: &Fields<'a>, now: Duration) -> Result<Slot<'a>, CollectError> {
        let name = row.text("slot")?;
        let active = row.field("active")?;
        let known = self.known.entry(name.to_owned()).or_insert(Known { inactive_since: None, position: None, moved_at: None });
        known.meet(active, row.field("position_bytes")?, now);
        let inactive_seconds = known.inactive_seconds(row.number("inactive_seconds")?, now);
        let seconds_since_move = known.moved_at.map(|moved_at| now.saturating_sub(moved_at).as_secs_f64());
        Ok(Slot {
            name,
            slot_type: row.text("slot_type")?,
            plugin: row.field("plugin")?,
            datname: row.field("datname")?,
            active,
            temporary: row.field("temporary")?,
            wal_status: row.field("wal_status")?,
            retained_bytes: row.field::<Option<i64>>("retained_bytes")?.map(|bytes| bytes.max(0)),
            safe_bytes: row.field("safe_bytes")?,
            confirmed_lag_bytes: row.number("confirmed_lag_bytes")?.map(|bytes| bytes.max(0.0)),
            inactive_seconds,
            seconds_since_move,
            invalidation_reason: row.field("invalidation_reason")?,
            failover: row.field("failover")?,
            synced: row.field("synced")?,
            spill_bytes: row.number("spill_bytes")?,
            stream_bytes: row.number("stream_bytes")?,
            stats_reset: row.number("stats_reset")?,
        })
    }
}

impl Known {
    /// A position that moves shows a consumer, even one that is never seen connected: a manager of failovers advances slots by a function.
    fn meet(&mut self, active: bool, position: Option<i64>, now: Duration) {
        let before = std::mem::replace(&mut self.position, position);
        let has_moved = before.zip(position).is_some_and(|(before, position)| before != position);
        if has_moved {
            self.moved_at = Some(now);
        }
        self.inactive_since = match self.inactive_since {
            _ if active => None,
            Some(since) if !has_moved => Some(since),
            _ => Some(now),
        };
    }

    /// As the server says, or since the agent saw it first; none of it before somebody came for it.
    fn inactive_seconds(&self, said: Option<f64>, now: Duration) -> f64 {
        let Some(since) = self.inactive_since else { return 0.0 };
        said.unwrap_or_else(|| now.saturating_sub(since).as_secs_f64()).max(0.0)
    }
}

fn families(slots: &[Slot<'_>]) -> Vec<Family> {
    let mut families = FamiliesBuilder::new(&["slot", "slot_type"], &METRICS);
    let flag = |is: bool| Some(f64::from(u8::from(is)));
    for slot in slots {
        let wal_lost = match slot.wal_status {
            Some("lost") => 1.0,
            Some("unreserved") => 0.5,
            _ => 0.0,
        };
        let values = [
            flag(slot.active),
            slot.retained_bytes.map(|bytes| bytes as f64),
            slot.safe_bytes.map(|bytes| bytes as f64),
            Some(wal_lost),
            Some(slot.inactive_seconds),
            flag(slot.invalidation_reason.is_some()),
            slot.confirmed_lag_bytes,
            slot.spill_bytes,
            slot.stream_bytes,
        ];
        families.push(&[slot.name, slot.slot_type], &values);
    }
    families.finish()
}

fn table(slots: &[Slot<'_>]) -> Table {
    Table::new(
        "slots",
        vec![
            Column::text("slot", slots.iter().map(|slot| Some(slot.name))),
            Column::text("slot_type", slots.iter().map(|slot| Some(slot.slot_type))),
            Column::text("plugin", slots.iter().map(|slot| slot.plugin)),
            Column::text("datname", slots.iter().map(|slot| slot.datname)),
            Column::boolean("active", slots.iter().map(|slot| Some(slot.active))),
            Column::text("wal_status", slots.iter().map(|slot| slot.wal_status)),
            Column::integer("retained_bytes", slots.iter().map(|slot| slot.retained_bytes)),
            Column::integer("safe_bytes", slots.iter().map(|slot| slot.safe_bytes)),
            Column::float("inactive_seconds", "seconds", slots.iter().map(|slot| Some(slot.inactive_seconds))),
            Column::float("seconds_since_move", "seconds", slots.iter().map(|slot| slot.seconds_since_move)),
            Column::text("invalidation_reason", slots.iter().map(|slot| slot.invalidation_reason)),
            Column::boolean("temporary", slots.iter().map(|slot| Some(slot.temporary))),
            Column::boolean("failover", slots.iter().map(|slot| slot.failover)),
            Column::boolean("synced", slots.iter().map(|slot| slot.synced)),
        ],
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_that_moves_is_inactive_since_its_last_move_and_one_that_stands_since_it_was_seen() {
        let mut known = Known { inactive_since: None, position: None, moved_at: None };
        let seen = |known: &mut Known, at: u64, position: i64| {
            let now = Duration::from_secs(at);
            known.meet(false, Some(position), now);
            (known.inactive_seconds(None, now), known.moved_at.map(|at| at.as_secs()))
        };
        assert_eq!(seen(&mut known, 10, 100), (0.0, None));
        assert_eq!(seen(&mut known, 20, 100), (10.0, None));
        assert_eq!(seen(&mut known, 30, 150), (0.0, Some(30)));
        assert_eq!(seen(&mut known, 50, 150), (20.0, Some(30)));
        known.meet(true, Some(150), Duration::from_secs(60));
        assert_eq!(known.inactive_seconds(Some(7.0), Duration::from_secs(60)), 0.0);
    }
}
