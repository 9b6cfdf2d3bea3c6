//! The stored form of the ledger: changes that the store writes, and the state that a start reads.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::dispatcher::{Dispatcher, Group, Incident, Touched};
use super::flush::Withheld;
use super::hold::Hold;
use super::key::IncidentKey;
use super::ledger::Entry;
use super::matcher::Room;
use super::message_intervals::MessageIntervals;
use super::message_rows::repeat_at;
use super::route::Route;
use super::silence::{Acknowledgement, SILENCES_BYTES_MAX, Silence, SilenceState};
use crate::alert::{Alert, AlertBook, AlertState, Fingerprint, Now};

/// Most memory of the patterns that a start compiles, in bytes, with those that are then dropped. This limits their time to about a second.
const COMPILED_AT_START_MAX: usize = 32 << 20;
/// Longest time after a start without reminders; shorter if the reminder interval is shorter. The agent must read its servers first.
/// Otherwise a due reminder would report alerts about a server that is down, which `server-down` explains.
const FIRST_COLLECTIONS_MAX: Duration = Duration::from_mins(2);

/// Everything that a new process needs to continue.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SavedDispatch {
    /// All entries of the ledger.
    pub entries: Vec<Entry>,
    /// All silences that are not configured.
    pub silences: Vec<Silence>,
    /// The acknowledgement of each incident that has one.
    pub acknowledgements: Vec<(IncidentKey, Acknowledgement)>,
}

/// Writes that make the store equal to the ledger.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Changes {
    /// Entries to insert or replace.
    pub entries: Vec<Entry>,
    /// Receiver and incident of entries that were removed.
    pub removed: Vec<(String, IncidentKey)>,
    /// Silences to insert or replace.
    pub silences: Vec<Silence>,
    /// Ids of silences to delete.
    pub removed_silences: Vec<String>,
    /// Acknowledgements to insert or replace.
    pub acknowledgements: Vec<(IncidentKey, Acknowledgement)>,
    /// Incidents whose acknowledgement is to be deleted.
    pub removed_acknowledgements: Vec<IncidentKey>,
    touched: Touched,
}

impl Changes {
    /// Returns true if there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.touched == Touched::default()
    }
}

impl Dispatcher {
    /// Returns the changes since the last call, and marks them as written.
    pub fn take_changes(&mut self) -> Changes {
        let touched = std::mem::take(&mut self.touched);
        let mut changes = Changes::default();
        for (key, receiver) in &touched.entries {
            match self.incidents.get(key).and_then(|incident| incident.entries.get(receiver)) {
                Some(entry) => changes.entries.push(entry.clone()),
                None => changes.removed.push((receiver.clone(), *key)),
            }
        }
        for id in &touched.silences {
            match self.silences.get(id) {
                Some(silence) => changes.silences.push(silence.clone()),
                None => changes.removed_silences.push(id.clone()),
            }
        }
        for key in &touched.acknowledgements {
            match self.acknowledgement(*key) {
                Some(acknowledgement) => changes.acknowledgements.push((*key, acknowledgement.clone())),
                None => changes.removed_acknowledgements.push(*key),
            }
        }
        changes.touched = touched;
        changes
    }

    /// Returns changes that the store could not write. The next [`take_changes`](Self::take_changes) includes them.
    pub fn give_back(&mut self, changes: Changes) {
        self.touched.entries.extend(changes.touched.entries);
        self.touched.silences.extend(changes.touched.silences);
        self.touched.acknowledgements.extend(changes.touched.acknowledgements);
    }

    /// Restores what another process stored, under the present routes. Returns notifications that are dropped because no route leads to
    /// their receiver.
    pub fn restore(&mut self, saved: SavedDispatch, book: &AlertBook, now: Now) -> Vec<Withheld> {
        self.restore_silences(saved.silences, now.wall_ms);
        let open: Vec<&Alert> = book.alerts().filter(|alert| alert.state != AlertState::Pending).collect();
        let proven: BTreeSet<Fingerprint> = saved.entries.iter().filter_map(|entry| entry.hold.as_ref()?.by_unreachable()).collect();
        for alert in &open {
            if proven.contains(&alert.fingerprint) {
                self.inhibitions.restore_proof(alert);
            }
            self.inhibitions.record_firing(alert);
            self.incidents.insert(IncidentKey::from(*alert), Incident::new(alert));
        }
        let mut unrouted = Vec::new();
        for entry in saved.entries {
            unrouted.extend(self.restore_entry(entry, now));
        }
        for (key, acknowledgement) in saved.acknowledgements {
            match self.incidents.get_mut(&key) {
                Some(incident) => incident.acknowledgement = Some(acknowledgement),
                None => drop(self.touched.acknowledgements.insert(key)),
            }
        }
        // Receivers that a new route leads to are notified of alerts that still fire.
        open.into_iter().for_each(|alert| self.record_open(alert, now));
        self.recheck = true;
        unrouted
    }

    /// Restores every silence. A silence whose patterns do not compile or find no room hides nothing, and reports that as its problem.
    fn restore_silences(&mut self, mut saved: Vec<Silence>, now_ms: u64) {
        // Small silences come first, so that a large one takes no room from them.
        saved.sort_by_key(Silence::bytes);
        let kept: usize = self.silences.values().chain(&saved).map(Silence::bytes).sum();
        let mut room = Room { bytes: SILENCES_BYTES_MAX.saturating_sub(kept), work: COMPILED_AT_START_MAX };
        for mut silence in saved {
            if silence.state(now_ms) != SilenceState::Expired {
                silence.matchers.compile(&mut room);
            }
            self.silences.entry(silence.id.clone()).or_insert(silence);
        }
    }

    fn restore_entry(&mut self, mut entry: Entry, now: Now) -> Option<Withheld> {
        let key = entry.key();
        let done = (key, entry.receiver.clone());
        if let Some(ended) = &entry.ended {
            self.incidents.entry(key).or_insert_with(|| Incident { ended: true, ..Incident::new(&ended.alert) });
        }
        // No alert has this entry's incident: the store was repaired. The entry is removed.
        let Some(alert) = self.incidents.get(&key).map(|incident| incident.alert.clone()) else {
            self.touched.entries.insert(done);
            return None;
        };
        let leads = |route: &&Route| route.receiver == entry.receiver;
        let by_route = self.routes.receivers(&alert).into_iter().find(|(receiver, _)| *receiver == entry.receiver);
        // A receiver that got the beginning gets the end, even if no route leads new alerts there.
        let route = by_route.map(|(_, route)| route).or_else(|| self.routes.routes.iter().find(leads).filter(|_| entry.sent.is_some()));
        let is_known = self.routes.receivers.contains(&entry.receiver);
        let Some(route) = route.filter(|_| is_known) else {
            self.touched.entries.insert(done);
            return Some(Withheld { receiver: entry.receiver, key, why: Hold::Unrouted, for_good: true });
        };
        let group = Group::new(route);
        let longest = group.wait.max(group.interval);
        let id = entry.group_id();
        let group = self.groups.entry(id.clone()).or_insert(group);
        group.members.insert(key);
        if let Some(sent) = &mut entry.sent {
            let elapsed = Duration::from_millis(now.wall_ms.saturating_sub(sent.at_ms));
            let soonest = now.monotonic + group.repeat.min(FIRST_COLLECTIONS_MAX);
            sent.repeat_at = repeat_at(now.monotonic, group.repeat, elapsed).map(|at| at.max(soonest));
            // A time in the future means that the clock was set back. The real time is unknown, so that message does not make grave news
            // wait.
            let gravest = (sent.at_ms <= now.wall_ms).then_some(sent.severity);
            group.intervals.record_message(gravest, now.monotonic + group.interval.saturating_sub(elapsed));
        }
        let waits = entry.due_at_ms.map(|due_at_ms| Duration::from_millis(due_at_ms.saturating_sub(now.wall_ms)).min(longest));
        let due = match waits {
            Some(wait) => Some(now.monotonic + wait),
            None => entry.sent.as_ref().and_then(|sent| sent.repeat_at),
        };
        if waits.is_some() || entry.ended.is_some() {
            group.news.insert(key);
        }
        let due = group.due.into_iter().chain(due).chain(entry.ended.is_some().then_some(now.monotonic + longest)).min();
        if entry.hold.is_some() {
            self.held.insert(done);
        }
        if let Some(incident) = self.incidents.get_mut(&key) {
            incident.entries.insert(entry.receiver.clone(), entry);
        }
        self.set_due(&id, due);
        None
    }

    /// Returns everything in its stored form.
    pub fn export(&self) -> SavedDispatch {
        let entries = self.incidents.values().flat_map(|incident| incident.entries.values().cloned()).collect();
        let silences = self.silences.values().filter(|silence| !silence.configured).cloned().collect();
        let acknowledged = |(key, incident): (&IncidentKey, &Incident)| Some((*key, incident.acknowledgement.clone()?));
        SavedDispatch { entries, silences, acknowledgements: self.incidents.iter().filter_map(acknowledged).collect() }
    }
}

impl Incident {
    pub(super) fn new(alert: &Alert) -> Self {
        Self { alert: alert.clone(), acknowledgement: None, ended: false, entries: BTreeMap::new() }
    }
}

impl Group {
    pub(super) fn new(route: &Route) -> Self {
        Self {
            wait: route.group_wait,
            interval: route.group_interval,
            repeat: route.repeat_interval,
            members: BTreeSet::new(),
            news: BTreeSet::new(),
            due: None,
            intervals: MessageIntervals::default(),
        }
    }
}
