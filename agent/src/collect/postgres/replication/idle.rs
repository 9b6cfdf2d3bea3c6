//! Since when replication slots have no consumer, over restarts of the agent: servers before PostgreSQL 17 do not say.

use std::collections::BTreeMap;
use std::time::Duration;

use pharos_model::alert::Now;
use pharos_model::cluster::Cluster;
use pharos_model::duration::milliseconds;
use pharos_model::snapshot::PartId;
use serde::{Deserialize, Serialize};

use crate::collect::Notebook;

const PART: PartId = PartId::Replication;

/// The subject of the note about slots.
const TOPIC: &str = "idle slots";
/// A slot that somebody advances without a connection moves at each reading. Its place is noted no more often than this.
const NOTE_PAUSE: Duration = Duration::from_mins(1);

/// The slots of one server.
#[derive(Debug, Default)]
pub struct Idle {
    slots: BTreeMap<String, Slot>,
    cluster: Cluster,
    /// The note of an earlier run of the agent, until it is recalled.
    is_recalled: bool,
    noted: Note,
    noted_at: Option<Duration>,
}

/// Knowledge of a slot that lasts from reading to reading.
#[derive(Debug, Default)]
pub struct Slot {
    /// Since when this run of the agent has seen it without a consumer.
    inactive_since: Option<Duration>,
    /// For how long an earlier run had.
    before: Duration,
    /// Up to where its WAL was taken.
    position: Option<i64>,
    /// When that was last seen to move without a consumer.
    moved_at: Option<Duration>,
    /// Whether this run of the agent saw a consumer or a move.
    is_used: bool,
}

/// The note that outlives a restart of the agent.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Note {
    cluster: Cluster,
    slots: BTreeMap<String, Noted>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Noted {
    /// Wall time, milliseconds since 1970.
    inactive_since_ms: u64,
    position: Option<i64>,
}

impl Idle {
    /// Begins a reading: what an earlier run of the agent noted is known as soon as the store gives it.
    pub async fn recall(&mut self, cluster: &Cluster, notebook: &Notebook, now: Now) {
        if !self.cluster.may_be(cluster) {
            *self = Self { is_recalled: true, ..Self::default() };
        }
        self.cluster.learn(cluster);
        if self.is_recalled {
            return;
        }
        let Ok(earlier) = notebook.read::<Note>(PART, TOPIC, now).await else { return };
        self.is_recalled = true;
        if let Some(note) = earlier.filter(|note| note.cluster.may_be(cluster)) {
            self.noted = note;
        }
    }

    /// Takes what a reading says of a slot: what the agent knows of it from then on, and for how long the slot has had no consumer. `said` is
    /// what the server says about that, where it does. Otherwise, as long as an earlier run of the agent may know more, that is unknown of a
    /// slot that was not used since.
    pub fn meet(&mut self, name: &str, active: bool, position: Option<i64>, said: Option<f64>, now: Now) -> (&Slot, Option<f64>) {
        let slot = self.slots.entry(name.to_owned()).or_default();
        slot.meet(active, position, now.monotonic);
        if let Some(noted) = self.noted.slots.get(name) {
            slot.recall(noted, now);
        }
        let inactive = match slot.inactive(now.monotonic) {
            None => Some(0.0),
            Some(known) => said.or((self.is_recalled || slot.is_used).then_some(known.as_secs_f64())).map(|seconds| seconds.max(0.0)),
        };
        (slot, inactive)
    }

    /// Ends a reading: slots that are gone are forgotten, and what must outlive the process is noted.
    pub async fn keep(&mut self, is_there: impl Fn(&str) -> bool, notebook: &Notebook, now: Now) {
        self.slots.retain(|name, _| is_there(name));
        if !self.is_recalled {
            return;
        }
        let slots: BTreeMap<String, Noted> = self.slots.iter().filter_map(|(name, slot)| Some((name.clone(), slot.note(now)?))).collect();
        let is_another_set = !slots.keys().eq(self.noted.slots.keys());
        let is_due = self.noted_at.is_none_or(|at| now.monotonic.saturating_sub(at) >= NOTE_PAUSE);
        let has_moved = slots.iter().any(|(name, slot)| self.noted.slots.get(name).is_some_and(|noted| noted.position != slot.position));
        if is_another_set || (has_moved && is_due) {
            let note = Note { cluster: self.cluster.clone(), slots };
            if notebook.write(PART, TOPIC, &note, Vec::new(), now).await.is_ok() {
                (self.noted, self.noted_at) = (note, Some(now.monotonic));
            }
        }
    }
}

impl Slot {
    /// A position that moves shows a consumer, even one that is never seen connected: a manager of failovers advances slots by a function.
    /// A slot that a connected consumer moved proves nothing about such a manager.
    fn meet(&mut self, active: bool, position: Option<i64>, now: Duration) {
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

    /// A slot that stands where it was noted to stand had no consumer meanwhile.
    fn recall(&mut self, noted: &Noted, now: Now) {
        let Some(since) = self.inactive_since.filter(|_| noted.position == self.position && !self.is_used) else { return };
        let whole = Duration::from_millis(now.wall_ms.saturating_sub(noted.inactive_since_ms));
        self.before = self.before.max(whole.saturating_sub(now.monotonic.saturating_sub(since)));
    }

    fn note(&self, now: Now) -> Option<Noted> {
        let inactive_ms = milliseconds(self.inactive(now.monotonic)?);
        Some(Noted { inactive_since_ms: now.wall_ms.saturating_sub(inactive_ms), position: self.position })
    }

    /// For how long it is known to have had no consumer; none while it has one.
    fn inactive(&self, now: Duration) -> Option<Duration> {
        Some(now.saturating_sub(self.inactive_since?) + self.before)
    }

    /// None where it was not seen to move.
    pub fn seconds_since_move(&self, now: Duration) -> Option<f64> {
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

    fn seen(idle: &mut Idle, now: Now, active: bool, position: i64) -> (f64, Option<f64>) {
        let (slot, inactive) = idle.meet("kept", active, Some(position), None, now);
        (inactive.unwrap(), slot.seconds_since_move(now.monotonic))
    }

    #[test]
    fn a_slot_that_moves_is_inactive_since_its_last_move_and_one_that_stands_since_it_was_seen() {
        let mut idle = Idle { is_recalled: true, ..Idle::default() };
        assert_eq!(seen(&mut idle, at(10), false, 100), (0.0, None));
        assert_eq!(seen(&mut idle, at(20), false, 100), (10.0, None));
        assert_eq!(seen(&mut idle, at(30), false, 150), (0.0, Some(0.0)));
        assert_eq!(seen(&mut idle, at(50), false, 150), (20.0, Some(20.0)));
        assert_eq!(idle.meet("kept", true, Some(150), Some(7.0), at(60)).1, Some(0.0));
    }

    #[test]
    fn what_a_consumer_moved_before_it_left_is_no_sign_of_another_one() {
        let mut idle = Idle::default();
        assert_eq!(seen(&mut idle, at(10), true, 100), (0.0, None));
        assert_eq!(seen(&mut idle, at(20), true, 150), (0.0, None));
        assert_eq!(seen(&mut idle, at(30), false, 170), (0.0, None), "it moved between two looks, and left");
        assert_eq!(seen(&mut idle, at(60), false, 170), (30.0, None));
        assert_eq!(seen(&mut idle, at(70), false, 180), (0.0, Some(0.0)), "nobody was connected");
    }

    /// The note of a run that saw the slot inactive for 90 s, and a run that starts 1,000 s later with a clock of its own.
    fn restarted() -> (Idle, Now) {
        let mut before = Idle { is_recalled: true, ..Idle::default() };
        seen(&mut before, at(10), false, 100);
        seen(&mut before, at(100), false, 100);
        let slots = before.slots.iter().map(|(name, slot)| (name.clone(), slot.note(at(100)).unwrap())).collect();
        let note = serde_json::to_string(&Note { cluster: Cluster::new(Some("7412")), slots }).unwrap();
        let noted = serde_json::from_str(&note).unwrap();
        (Idle { noted, is_recalled: true, ..Idle::default() }, Now { monotonic: Duration::from_secs(3), wall_ms: at(1_100).wall_ms })
    }

    #[test]
    fn an_outage_that_began_before_a_restart_goes_on() {
        let (mut idle, now) = restarted();
        assert_eq!(seen(&mut idle, now, false, 100), (1_090.0, None));
        let later = Now { monotonic: Duration::from_secs(13), wall_ms: now.wall_ms + 10_000 };
        assert_eq!(seen(&mut idle, later, false, 100), (1_100.0, None));
        assert_eq!(idle.slots["kept"].note(later).unwrap().inactive_since_ms, at(10).wall_ms);
    }

    #[test]
    fn a_slot_that_moved_while_nobody_watched_or_has_a_consumer_begins_anew() {
        let (mut idle, now) = restarted();
        assert_eq!(seen(&mut idle, now, false, 101), (0.0, None));
        let (mut idle, now) = restarted();
        assert_eq!(seen(&mut idle, now, true, 100), (0.0, None));
        let later = Now { monotonic: Duration::from_secs(5), wall_ms: now.wall_ms + 2_000 };
        assert_eq!(seen(&mut idle, later, false, 120).0, 0.0);
    }

    #[tokio::test]
    async fn while_the_store_gives_no_note_only_the_server_knows_for_how_long_a_slot_has_no_consumer() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let cluster = Cluster::new(Some("7412"));
        let mut before = Idle::default();
        let notebook = Notebook::new(store.clone(), "db1:5432".to_owned());
        before.recall(&cluster, &notebook, at(10)).await;
        assert_eq!(seen(&mut before, at(10), false, 100), (0.0, None));
        before.keep(|_| true, &notebook, at(10)).await;

        let (mut idle, notebook) = (Idle::default(), Notebook::resting(store, "db1:5432", at(160)));
        let mut inactive = async |now: Now, active: bool, said: Option<f64>| {
            idle.recall(&cluster, &notebook, now).await;
            idle.meet("kept", active, Some(100), said, now).1
        };
        assert_eq!(inactive(at(100), false, None).await, None);
        assert_eq!(inactive(at(110), false, Some(95.0)).await, Some(95.0), "the server's own word");
        assert_eq!(inactive(at(159), false, None).await, None);
        assert_eq!(inactive(at(160), false, None).await, Some(150.0));
        assert_eq!(inactive(at(170), true, None).await, Some(0.0));
    }

    #[tokio::test]
    async fn a_slot_with_a_consumer_needs_no_note() {
        let folder = tempfile::tempdir().unwrap();
        let notebook = Notebook::resting(Store::open(folder.path()).unwrap(), "db1:5432", at(60));
        let mut idle = Idle::default();
        idle.recall(&Cluster::default(), &notebook, at(10)).await;
        assert_eq!(idle.meet("kept", true, Some(100), None, at(10)).1, Some(0.0));
        assert_eq!(idle.meet("kept", false, Some(100), None, at(20)).1, Some(0.0));
        assert_eq!(idle.meet("kept", false, Some(100), None, at(50)).1, Some(30.0), "whatever was before");
    }
}
