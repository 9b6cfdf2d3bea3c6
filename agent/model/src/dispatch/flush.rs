//! The release of notifications: groups that are due are compared with what their receivers were sent.

use std::collections::BTreeSet;
use std::time::Duration;

use super::dispatcher::{Dispatcher, Incident, UNSENT_ENDS_MAX};
use super::hold::Hold;
use super::key::{GroupId, IncidentKey};
use super::ledger::{Entry, SentState};
use super::message_rows::{ended_alert, message_alert, repeat_at};
use crate::alert::{Alert, AlertBook, Now};
use crate::finding::Severity;
use crate::notification::MessageReason;
use crate::outbox::{IncidentPart, NewRow};

/// Result of one release of the groups that are due.
#[derive(Debug, Default)]
pub struct Release {
    /// Rows to store and to send, in this order.
    pub rows: Vec<NewRow>,
    /// Notifications that were held back, reported once for each reason.
    pub withheld: Vec<Withheld>,
}

/// A notification that was held back from one receiver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Withheld {
    /// Name of the receiver.
    pub receiver: String,
    /// Incident that is held back.
    pub key: IncidentKey,
    /// Reason that holds the notification back.
    pub why: Hold,
    /// True when the incident is over and is never sent to this receiver. False: it is sent when nothing holds it back.
    pub for_good: bool,
}

/// Result for one entry of a group that is due.
enum Decision {
    Nothing,
    Rows(Vec<NewRow>),
    Held(Hold),
}

impl Dispatcher {
    /// Makes the rows of all groups that are due. `has_room` returns whether a receiver's outbox takes more; `book` has the alerts of now.
    pub fn release(&mut self, book: &AlertBook, has_room: impl Fn(&str) -> bool, now: Now) -> Release {
        self.update_silences(now.wall_ms);
        if std::mem::take(&mut self.recheck) {
            self.recheck_held(now);
        }
        let mut release = Release::default();
        let due: Vec<GroupId> = self.dues.iter().take_while(|(due, _)| *due <= now.monotonic).map(|(_, id)| id.clone()).collect();
        for id in due {
            self.release_group(&id, book, &has_room, now, &mut release);
        }
        release
    }

    /// Schedules alerts that nothing holds back any more for this release: they have waited long enough.
    fn recheck_held(&mut self, now: Now) {
        let mut free = Vec::new();
        for (key, receiver) in &self.held {
            let Some(incident) = self.incidents.get(key) else { continue };
            let Some(entry) = incident.entries.get(receiver) else { continue };
            if entry.hold == Some(Hold::Behind) || self.suppression(*key, &incident.alert, now.wall_ms).is_none() {
                free.push((*key, receiver.clone(), entry.group_key.clone()));
            }
        }
        for (key, receiver, group_key) in free {
            let id = GroupId { receiver, group_key };
            if let Some(group) = self.groups.get_mut(&id) {
                group.news.insert(key);
                self.set_due(&id, Some(now.monotonic));
            }
        }
    }

    fn release_group(&mut self, id: &GroupId, book: &AlertBook, has_room: &impl Fn(&str) -> bool, now: Now, release: &mut Release) {
        let has_room = has_room(&id.receiver);
        if !has_room && self.waits_for_room(id) {
            return self.set_due(id, Some(now.monotonic + BEHIND_PAUSE));
        }
        let Some(group) = self.groups.get_mut(id) else { return };
        let (news, repeat) = (std::mem::take(&mut group.news), group.repeat);
        let mut rows = Vec::new();
        for key in news {
            let Some(mut incident) = self.incidents.remove(&key) else { continue };
            let Some(mut entry) = incident.entries.remove(&id.receiver) else {
                self.incidents.insert(key, incident);
                continue;
            };
            entry.due_at_ms = None;
            self.touched.entries.insert((key, id.receiver.clone()));
            self.incidents.insert(key, incident);
            match self.decide(&mut entry, book, has_room, repeat, now) {
                Decision::Nothing => self.free(&mut entry),
                Decision::Rows(decided) => {
                    self.free(&mut entry);
                    rows.extend(decided);
                }
                Decision::Held(why) => self.hold(&mut entry, why, release),
            }
            self.put_back(id, key, entry);
        }
        if has_room {
            self.remind(id, book, now, &mut rows);
        }
        self.close(id, &rows, has_room, now);
        let others_firing = self.others_firing(id, &rows);
        release.rows.extend(rows.into_iter().map(|row| NewRow { others_firing, ..row }));
    }

    /// Returns true if all news of a group already waited without room. Then nothing is to be decided or stored.
    fn waits_for_room(&self, id: &GroupId) -> bool {
        let Some(group) = self.groups.get(id) else { return false };
        let entry = |key: &IncidentKey| self.incidents.get(key).and_then(|incident| incident.entries.get(&id.receiver));
        let waits = |entry: &Entry| entry.hold == Some(Hold::Behind) && entry.due_at_ms.is_none();
        !group.news.is_empty() && group.news.iter().all(|key| entry(key).is_some_and(waits))
    }

    /// Compares what a receiver was sent with the present state of the alert.
    fn decide(&self, entry: &mut Entry, book: &AlertBook, has_room: bool, repeat: Duration, now: Now) -> Decision {
        if let Some(ended) = entry.ended.clone() {
            // A receiver that got the beginning gets the end, despite any silence. Otherwise people believe that the alert still fires.
            if entry.sent.is_some() {
                return Decision::Rows(vec![entry.row(IncidentPart::End, ended_alert(&ended))]);
            }
            // An alert that was held back until it ended is not sent afterwards.
            let held = entry.hold.clone().filter(|why| *why != Hold::Behind);
            if let Some(why) = held.or_else(|| self.suppression(entry.key(), &ended.alert, now.wall_ms)) {
                return Decision::Held(why);
            }
            if !has_room {
                return Decision::Held(Hold::Behind);
            }
            let begin = entry.row(IncidentPart::Begin, message_alert(&ended.alert, MessageReason::Firing));
            return Decision::Rows(vec![begin, entry.row(IncidentPart::End, ended_alert(&ended))]);
        }
        let Some(alert) = self.current(entry.key(), book) else { return Decision::Nothing };
        if entry.news(alert).is_none() {
            // The alert is as it was when it was sent.
            return Decision::Nothing;
        }
        if let Some(why) = self.suppression(entry.key(), alert, now.wall_ms) {
            return Decision::Held(why);
        }
        if !has_room {
            return Decision::Held(Hold::Behind);
        }
        let (part, reason) = match &entry.sent {
            None if alert.is_flapping() => (IncidentPart::Begin, MessageReason::Flapping),
            None => (IncidentPart::Begin, MessageReason::Firing),
            Some(sent) if sent.severity != alert.severity => (IncidentPart::Change, MessageReason::SeverityChanged),
            Some(_) => (IncidentPart::Change, MessageReason::Flapping),
        };
        let row = entry.row(part, message_alert(alert, reason));
        entry.sent = Some(state_sent_now(alert, repeat, now));
        Decision::Rows(vec![row])
    }

    /// Returns the open alert as the latest evaluation left it, or else as its latest transition left it.
    fn current<'a>(&'a self, key: IncidentKey, book: &'a AlertBook) -> Option<&'a Alert> {
        let known = &self.incidents.get(&key)?.alert;
        Some(book.find_open(known).filter(|alert| alert.incident == known.incident).unwrap_or(known))
    }

    /// Adds reminders of alerts that still fire. Reminders due within half the repeat interval go with the first one, as one message.
    fn remind(&mut self, id: &GroupId, book: &AlertBook, now: Now, rows: &mut Vec<NewRow>) {
        let Some(group) = self.groups.get(id) else { return };
        let repeat = group.repeat;
        let late = |entry: &Entry, by| entry.sent.as_ref().and_then(|sent| sent.repeat_at).is_some_and(|at| at <= now.monotonic + by);
        let open = |key: &IncidentKey| self.incidents.get(key)?.entries.get(&id.receiver).filter(|entry| entry.ended.is_none());
        if !group.members.iter().filter_map(open).any(|entry| late(entry, Duration::ZERO)) {
            return;
        }
        let due: Vec<IncidentKey> =
            group.members.iter().filter(|key| open(key).is_some_and(|entry| late(entry, repeat / 2))).copied().collect();
        for key in due {
            let Some(alert) = self.current(key, book).cloned() else { continue };
            let suppressed = self.suppression(key, &alert, now.wall_ms).is_some();
            let Some(entry) = self.incidents.get_mut(&key).and_then(|incident| incident.entries.get_mut(&id.receiver)) else { continue };
            if !suppressed {
                let reason = if alert.is_flapping() { MessageReason::Flapping } else { MessageReason::Repeated };
                rows.push(entry.row(IncidentPart::Change, message_alert(&alert, reason)));
                entry.sent = Some(state_sent_now(&alert, repeat, now));
                self.touched.entries.insert((key, id.receiver.clone()));
            } else if let Some(sent) = &mut entry.sent {
                sent.repeat_at = repeat_at(now.monotonic, repeat, Duration::ZERO);
            }
        }
    }

    fn hold(&mut self, entry: &mut Entry, why: Hold, release: &mut Release) {
        // An end without a sent beginning is never sent. Exception: a receiver without room may get both later.
        let for_good = entry.ended.is_some() && (why != Hold::Behind || self.is_too_far_behind(&entry.receiver));
        if for_good || entry.hold.as_ref() != Some(&why) {
            release.withheld.push(Withheld { receiver: entry.receiver.clone(), key: entry.key(), why: why.clone(), for_good });
        }
        let held = (entry.key(), entry.receiver.clone());
        if for_good {
            self.held.remove(&held);
            entry.sent = None;
            entry.hold = None;
        } else {
            self.held.insert(held);
            entry.hold = Some(why);
        }
    }

    fn is_too_far_behind(&self, receiver: &str) -> bool {
        self.held.len() >= UNSENT_ENDS_MAX && self.held.iter().filter(|(_, held)| held == receiver).count() >= UNSENT_ENDS_MAX
    }

    fn free(&mut self, entry: &mut Entry) {
        if entry.hold.take().is_some() {
            self.held.remove(&(entry.key(), entry.receiver.clone()));
        }
    }

    /// Puts an entry back into its incident, or removes it when nothing is left to send.
    fn put_back(&mut self, id: &GroupId, key: IncidentKey, entry: Entry) {
        let Some(incident) = self.incidents.get_mut(&key) else { return };
        if entry.ended.is_none() || entry.hold.is_some() {
            incident.entries.insert(id.receiver.clone(), entry);
            return;
        }
        if incident.entries.is_empty() && incident.ended {
            self.incidents.remove(&key);
        }
        if let Some(group) = self.groups.get_mut(id) {
            group.members.remove(&key);
        }
    }

    /// Schedules the next release of a group: a retry for lack of room, or a reminder. An empty group is removed once its interval has
    /// passed.
    fn close(&mut self, id: &GroupId, rows: &[NewRow], has_room: bool, now: Now) {
        let Some(group) = self.groups.get_mut(id) else { return };
        if !rows.is_empty() {
            group.intervals.record_message(gravest(rows), now.monotonic + group.interval);
        }
        let is_over = group.intervals.until().is_none_or(|until| until <= now.monotonic);
        if group.members.is_empty() && is_over {
            self.set_due(id, None);
            self.groups.remove(id);
            return;
        }
        let entry = |key: &IncidentKey| self.incidents.get(key).and_then(|incident: &Incident| incident.entries.get(&id.receiver));
        let mut due = group.members.is_empty().then_some(group.intervals.until()).flatten();
        let behind: Vec<IncidentKey> =
            group.members.iter().filter(|key| entry(key).is_some_and(|entry| entry.hold == Some(Hold::Behind))).copied().collect();
        if !behind.is_empty() {
            due = Some(now.monotonic + BEHIND_PAUSE);
        }
        let reminders = group.members.iter().filter_map(entry).filter(|entry| entry.ended.is_none());
        let reminder = reminders.filter_map(|entry| entry.sent.as_ref()?.repeat_at).min();
        // Reminders wait until the receiver has room.
        let soonest = if has_room { Duration::ZERO } else { now.monotonic + BEHIND_PAUSE };
        due = due.into_iter().chain(reminder.map(|at| at.max(soonest))).min();
        group.news.extend(behind);
        self.set_due(id, due);
    }

    /// Number of alerts in a group that fire for the receiver and are not part of these rows.
    fn others_firing(&self, id: &GroupId, rows: &[NewRow]) -> u32 {
        let Some(group) = self.groups.get(id) else { return 0 };
        let reported: BTreeSet<IncidentKey> = rows.iter().map(IncidentKey::from).collect();
        let fires = |key: &&IncidentKey| {
            let entry = self.incidents.get(key).and_then(|incident| incident.entries.get(&id.receiver));
            entry.is_some_and(|entry| entry.sent.is_some() && entry.ended.is_none()) && !reported.contains(key)
        };
        u32::try_from(group.members.iter().filter(fires).count()).unwrap_or(u32::MAX)
    }
}

/// Pause before a receiver without room is tried again.
pub(super) const BEHIND_PAUSE: Duration = Duration::from_secs(5);

/// Highest severity among the alerts that these rows report as firing; `None` if they report only ends.
fn gravest(rows: &[NewRow]) -> Option<Severity> {
    let over: BTreeSet<IncidentKey> = rows.iter().filter(|row| row.part == IncidentPart::End).map(IncidentKey::from).collect();
    rows.iter().filter(|row| !over.contains(&IncidentKey::from(*row))).map(|row| row.alert.severity).max()
}

fn state_sent_now(alert: &Alert, repeat: Duration, now: Now) -> SentState {
    SentState {
        severity: alert.severity,
        flapping: alert.is_flapping(),
        at_ms: now.wall_ms,
        repeat_at: repeat_at(now.monotonic, repeat, Duration::ZERO),
    }
}
