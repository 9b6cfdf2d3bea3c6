//! Replication slots: the WAL that they retain on disk, how long they have had no consumer, and what logical decoding wrote.

use pharos_model::alert::Now;
use pharos_model::cluster::Cluster;
use pharos_model::postgres::resets::Resets;
use pharos_model::snapshot::{Column, FamiliesBuilder, Family, Table};
use pharos_model::snapshot::{PartId, Unlisted};
use tokio_postgres::types::Type;

use super::idle_slots::{IdleSlots, SlotReading};
use crate::collect::postgres::row::{Fields, query_with};
use crate::collect::{CollectError, Notebook};
use crate::postgres::monitor::{Session, Versioned};

const PART: PartId = PartId::Replication;

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

/// Most slots that are read.
const READ_MAX: i64 = 200;

/// Reads replication slots, with their history.
pub(super) struct Slots {
    idle: IdleSlots,
    resets: Resets,
    notebook: Notebook,
}

/// The facts about slots that one reading gave.
pub(super) struct SlotFacts {
    pub families: Vec<Family>,
    pub table: Table,
    /// The epoch of the slots' counters.
    pub epoch: u64,
    /// Slots that were not read, and slots whose time without a consumer is not known yet.
    pub unlisted: Unlisted,
}

/// A replication slot in one reading.
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
    /// Seconds without a consumer. They are unknown until the note of an earlier run of the agent is restored.
    inactive_seconds: Option<f64>,
    /// Seconds since the slot moved without a connected consumer, if that was observed.
    seconds_since_move: Option<f64>,
    invalidation_reason: Option<&'a str>,
    failover: Option<bool>,
    synced: Option<bool>,
    spill_bytes: Option<f64>,
    stream_bytes: Option<f64>,
    stats_reset: Option<f64>,
}

impl Slots {
    pub(super) fn new(notebook: Notebook) -> Self {
        Self { idle: IdleSlots::default(), resets: Resets::default(), notebook }
    }

    pub(super) async fn read(&mut self, session: &Session, now: Now) -> Result<SlotFacts, CollectError> {
        let rows = query_with(session, PART, SLOTS.sql(session.major()), &[(&READ_MAX, Type::INT8)]).await?;
        self.idle.restore(&Cluster::new(session.system_identifier()), &self.notebook, now).await;
        let mut slots = Vec::new();
        for row in &rows {
            slots.push(self.slot(&Fields::new(PART, row), now)?);
        }
        self.idle.retain_and_store(|name| slots.iter().any(|slot| slot.name == name), &self.notebook, now).await;
        let resets = slots.iter().map(|slot| (slot.name.to_owned(), slot.stats_reset));
        let epoch = self.resets.epoch(session.epoch(), resets);
        let unlisted = if rows.len() >= READ_MAX as usize { Unlisted::Any } else { unlisted(&slots) };
        Ok(SlotFacts { families: families(&slots), table: table(&slots), epoch, unlisted })
    }

    fn slot<'a>(&mut self, row: &Fields<'a>, now: Now) -> Result<Slot<'a>, CollectError> {
        let name = row.text("slot")?;
        let active = row.field("active")?;
        let position = row.field("position_bytes")?;
        let reading = SlotReading { name, is_active: active, position, inactive_seconds: row.number("inactive_seconds")? };
        let (history, inactive_seconds) = self.idle.observe(&reading, now);
        let seconds_since_move = history.seconds_since_move(now.monotonic);
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

fn unlisted(slots: &[Slot<'_>]) -> Unlisted {
    let unknown = slots.iter().filter(|slot| slot.inactive_seconds.is_none());
    Unlisted::of(unknown.map(|slot| [("slot", slot.name), ("slot_type", slot.slot_type)]))
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
            slot.inactive_seconds,
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
            Column::float("inactive_seconds", "seconds", slots.iter().map(|slot| slot.inactive_seconds)),
            Column::float("seconds_since_move", "seconds", slots.iter().map(|slot| slot.seconds_since_move)),
            Column::text("invalidation_reason", slots.iter().map(|slot| slot.invalidation_reason)),
            Column::boolean("temporary", slots.iter().map(|slot| Some(slot.temporary))),
            Column::boolean("failover", slots.iter().map(|slot| slot.failover)),
            Column::boolean("synced", slots.iter().map(|slot| slot.synced)),
        ],
    )
}
