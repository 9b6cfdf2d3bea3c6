//! Since when replication slots have no consumer, also across restarts of the agent. Servers before PostgreSQL 17 do not report it.

use std::collections::BTreeMap;
use std::time::Duration;

use pharos_model::alert::Now;
use pharos_model::cluster::Cluster;
use pharos_model::duration::milliseconds;
use pharos_model::snapshot::PartId;
use serde::{Deserialize, Serialize};

use crate::collect::{NoteName, Notebook};

const NOTE: NoteName<'_> = NoteName { collector: PartId::Replication, topic: "idle slots" };
/// Shortest time between two notes about moved slots. A slot that is advanced without a connection moves at each reading.
const NOTE_PAUSE: Duration = Duration::from_mins(1);

/// Since when the slots of one server have no consumer.
#[derive(Debug, Default)]
pub(super) struct IdleSlots {
    slots: BTreeMap<String, SlotHistory>,
    cluster: Cluster,
    /// Whether the note of an earlier run of the agent was restored.
    is_restored: bool,
    /// The note that the store has.
    noted: Note,
    noted_at: Option<Duration>,
}

/// The history of one slot, over several readings.
#[derive(Debug, Default)]
pub(super) struct SlotHistory {
    /// Since when this run of the agent has observed no consumer.
    inactive_since: Option<Duration>,
    /// For how long an earlier run of the agent had observed no consumer.
    before: Duration,
    /// Position in the WAL up to which a consumer has read, in bytes.
    position: Option<i64>,
    /// When the position last moved without a connected consumer.
    moved_at: Option<Duration>,
    /// Whether this run of the agent observed a consumer or a move.
    is_used: bool,
}

/// The note about slots that is stored across restarts of the agent.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Note {
    cluster: Cluster,
    slots: BTreeMap<String, NotedSlot>,
}

/// A slot without a consumer, in the note.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct NotedSlot {
    /// Wall time, milliseconds since 1970.
    inactive_since_ms: u64,
    position: Option<i64>,
}

/// A slot as `pg_replication_slots` shows it.
#[derive(Debug, Clone, Copy)]
pub(super) struct SlotReading<'a> {
    pub name: &'a str,
    /// Whether a consumer is connected.
    pub is_active: bool,
    /// The position from which the slot keeps WAL, in bytes.
    pub position: Option<i64>,
    /// Seconds since the last consumer left, if the server reports them (PostgreSQL 17 and later).
    pub inactive_seconds: Option<f64>,
}

impl IdleSlots {
    /// Begins a reading. Restores the note of an earlier run of the agent as soon as the store returns it.
    pub(super) async fn restore(&mut self, cluster: &Cluster, notebook: &Notebook, now: Now) {
        if !self.cluster.may_be(cluster) {
            *self = Self { is_restored: true, ..Self::default() };
        }
        self.cluster.fill_from(cluster);
        if self.is_restored {
            return;
        }
        let Ok(earlier) = notebook.read::<Note>(NOTE, now).await else { return };
        self.is_restored = true;
        if let Some(note) = earlier.filter(|note| note.cluster.may_be(cluster)) {
            self.noted = note;
        }
    }

    /// Records a reading of a slot. Returns its history, and for how long it has had no consumer, in seconds.
    ///
    /// If the server does not report that time, it is unknown for an unused slot until the note of an earlier run of the agent is restored.
    pub(super) fn observe(&mut self, reading: &SlotReading<'_>, now: Now) -> (&SlotHistory, Option<f64>) {
        let SlotReading { name, is_active, position, inactive_seconds } = *reading;
        let slot = self.slots.entry(name.to_owned()).or_default();
        slot.observe(is_active, position, now.monotonic);
        if let Some(noted) = self.noted.slots.get(name) {
            slot.restore(noted, now);
        }
        let inactive = match slot.inactive(now.monotonic) {
            None => Some(0.0),
            Some(known) => {
                inactive_seconds.or((self.is_restored || slot.is_used).then_some(known.as_secs_f64())).map(|seconds| seconds.max(0.0))
            }
        };
        (slot, inactive)
    }

    /// Ends a reading. Removes slots that are gone, and stores the note if it changed.
    pub(super) async fn retain_and_store(&mut self, is_there: impl Fn(&str) -> bool, notebook: &Notebook, now: Now) {
        self.slots.retain(|name, _| is_there(name));
        if !self.is_restored {
            return;
        }
        let slots: BTreeMap<String, NotedSlot> =
            self.slots.iter().filter_map(|(name, slot)| Some((name.clone(), slot.note(now)?))).collect();
        let is_another_set = !slots.keys().eq(self.noted.slots.keys());
        let is_due = self.noted_at.is_none_or(|at| now.monotonic.saturating_sub(at) >= NOTE_PAUSE);
        let has_moved = slots.iter().any(|(name, slot)| self.noted.slots.get(name).is_some_and(|noted| noted.position != slot.position));
        if is_another_set || (has_moved && is_due) {
            let note = Note { cluster: self.cluster.clone(), slots };
            if notebook.write(NOTE, &note, Vec::new(), now).await.is_ok() {
                (self.noted, self.noted_at) = (note, Some(now.monotonic));
            }
        }
    }
}

impl SlotHistory {
    /// Records a reading. A position that moves shows a consumer, even one that never connects: a failover manager advances slots by a
    /// function. A move by a connected consumer is no evidence of such a manager.
    fn observe(&mut self, active: bool, position: Option<i64>, now: Duration) {
        let before = std::mem::replace(&mut self.position, position);
        let has_moved = before.zip(position).is_some_and(|(before, position)| before != position);
        let had_consumer = active || self.inactive_since.is_none();
        if has_moved && !had_consumer {
            self.moved_at = Some(now);
        }
        if active || has_moved {
            (self.before, self.is_used) = (Duration::ZERO, true);
        }
        self.inactive_since = match self.inactive_since {
            _ if active => None,
            Some(since) if !has_moved => Some(since),
            _ => Some(now),
        };
    }

    /// Restores the time of an earlier run. A slot that is still at its noted position had no consumer meanwhile.
    fn restore(&mut self, noted: &NotedSlot, now: Now) {
        let Some(since) = self.inactive_since.filter(|_| noted.position == self.position && !self.is_used) else { return };
        let whole = Duration::from_millis(now.wall_ms.saturating_sub(noted.inactive_since_ms));
        self.before = self.before.max(whole.saturating_sub(now.monotonic.saturating_sub(since)));
    }

    fn note(&self, now: Now) -> Option<NotedSlot> {
        let inactive_ms = milliseconds(self.inactive(now.monotonic)?);
        Some(NotedSlot { inactive_since_ms: now.wall_ms.saturating_sub(inactive_ms), position: self.position })
    }

    /// Returns for how long the slot has had no consumer, or nothing while it has one.
    fn inactive(&self, now: Duration) -> Option<Duration> {
        Some(now.saturating_sub(self.inactive_since?) + self.before)
    }

    /// Seconds since the slot moved without a connected consumer, if that was observed.
    pub(super) fn seconds_since_move(&self, now: Duration) -> Option<f64> {
        self.moved_at.map(|moved_at| now.saturating_sub(moved_at).as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;

    fn at(seconds: u64) -> Now {
        Now { monotonic: Duration::from_secs(seconds), wall_ms: (1_000_000 + seconds) * 1_000 }
    }

    fn reading(is_active: bool, position: i64, inactive_seconds: Option<f64>) -> SlotReading<'static> {
        SlotReading { name: "kept", is_active, position: Some(position), inactive_seconds }
    }

    fn observe(idle: &mut IdleSlots, now: Now, is_active: bool, position: i64) -> (f64, Option<f64>) {
        let (slot, inactive) = idle.observe(&reading(is_active, position, None), now);
        (inactive.unwrap(), slot.seconds_since_move(now.monotonic))
    }

    #[test]
    fn a_slot_is_inactive_since_its_last_move_or_since_its_first_reading() {
        let mut idle = IdleSlots { is_restored: true, ..IdleSlots::default() };
        assert_eq!(observe(&mut idle, at(10), false, 100), (0.0, None));
        assert_eq!(observe(&mut idle, at(20), false, 100), (10.0, None));
        assert_eq!(observe(&mut idle, at(30), false, 150), (0.0, Some(0.0)));
        assert_eq!(observe(&mut idle, at(50), false, 150), (20.0, Some(20.0)));
        assert_eq!(idle.observe(&reading(true, 150, Some(7.0)), at(60)).1, Some(0.0));
    }

    #[test]
    fn a_move_by_a_consumer_that_left_is_no_sign_of_another_consumer() {
        let mut idle = IdleSlots::default();
        assert_eq!(observe(&mut idle, at(10), true, 100), (0.0, None));
        assert_eq!(observe(&mut idle, at(20), true, 150), (0.0, None));
        assert_eq!(observe(&mut idle, at(30), false, 170), (0.0, None), "the consumer moved it between two readings, and left");
        assert_eq!(observe(&mut idle, at(60), false, 170), (30.0, None));
        assert_eq!(observe(&mut idle, at(70), false, 180), (0.0, Some(0.0)), "no consumer was connected");
    }

    /// Makes a run with the note of an earlier one that observed 90 s without a consumer. It starts 1,000 s later, with a new monotonic
    /// clock.
    fn restarted() -> (IdleSlots, Now) {
        let mut before = IdleSlots { is_restored: true, ..IdleSlots::default() };
        observe(&mut before, at(10), false, 100);
        observe(&mut before, at(100), false, 100);
        let slots = before.slots.iter().map(|(name, slot)| (name.clone(), slot.note(at(100)).unwrap())).collect();
        let note = serde_json::to_string(&Note { cluster: Cluster::new(Some("7412")), slots }).unwrap();
        let noted = serde_json::from_str(&note).unwrap();
        (
            IdleSlots { noted, is_restored: true, ..IdleSlots::default() },
            Now { monotonic: Duration::from_secs(3), wall_ms: at(1_100).wall_ms },
        )
    }

    #[test]
    fn an_outage_that_began_before_a_restart_goes_on() {
        let (mut idle, now) = restarted();
        assert_eq!(observe(&mut idle, now, false, 100), (1_090.0, None));
        let later = Now { monotonic: Duration::from_secs(13), wall_ms: now.wall_ms + 10_000 };
        assert_eq!(observe(&mut idle, later, false, 100), (1_100.0, None));
        assert_eq!(idle.slots["kept"].note(later).unwrap().inactive_since_ms, at(10).wall_ms);
    }

    #[test]
    fn a_slot_that_moved_while_the_agent_was_down_or_has_a_consumer_begins_anew() {
        let (mut idle, now) = restarted();
        assert_eq!(observe(&mut idle, now, false, 101), (0.0, None));
        let (mut idle, now) = restarted();
        assert_eq!(observe(&mut idle, now, true, 100), (0.0, None));
        let later = Now { monotonic: Duration::from_secs(5), wall_ms: now.wall_ms + 2_000 };
        assert_eq!(observe(&mut idle, later, false, 120).0, 0.0);
    }

    #[tokio::test]
    async fn without_the_note_only_the_server_shows_for_how_long_a_slot_has_no_consumer() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let cluster = Cluster::new(Some("7412"));
        let mut before = IdleSlots::default();
        let notebook = Notebook::new(store.clone(), "db1:5432".to_owned());
        before.restore(&cluster, &notebook, at(10)).await;
        assert_eq!(observe(&mut before, at(10), false, 100), (0.0, None));
        before.retain_and_store(|_| true, &notebook, at(10)).await;

        let (mut idle, notebook) = (IdleSlots::default(), Notebook::paused(store, "db1:5432", at(160)));
        let mut inactive = async |now: Now, active: bool, reported: Option<f64>| {
            idle.restore(&cluster, &notebook, now).await;
            idle.observe(&reading(active, 100, reported), now).1
        };
        assert_eq!(inactive(at(100), false, None).await, None);
        assert_eq!(inactive(at(110), false, Some(95.0)).await, Some(95.0), "the server reports it");
        assert_eq!(inactive(at(159), false, None).await, None);
        assert_eq!(inactive(at(160), false, None).await, Some(150.0));
        assert_eq!(inactive(at(170), true, None).await, Some(0.0));
    }

    #[tokio::test]
    async fn a_slot_with_a_consumer_needs_no_note() {
        let folder = tempfile::tempdir().unwrap();
        let notebook = Notebook::paused(Store::open(folder.path()).unwrap(), "db1:5432", at(60));
        let mut idle = IdleSlots::default();
        idle.restore(&Cluster::default(), &notebook, at(10)).await;
        assert_eq!(idle.observe(&reading(true, 100, None), at(10)).1, Some(0.0));
        assert_eq!(idle.observe(&reading(false, 100, None), at(20)).1, Some(0.0));
        assert_eq!(idle.observe(&reading(false, 100, None), at(50)).1, Some(30.0), "the time before the consumer does not count");
    }
}
