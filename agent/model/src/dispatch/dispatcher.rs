//! The dispatcher: its ledger of incidents and groups, and when each group is due.

use std::collections::{BTreeMap, BTreeSet, btree_map};
use std::time::Duration;

use super::hold::Hold;
use super::inhibit::{Inhibition, Inhibitions};
use super::key::{GroupId, IncidentKey};
use super::ledger::{Ended, Entry};
use super::message_intervals::{MessageIntervals, News};
use super::route::{Route, Routes};
use super::silence::{Acknowledgement, Silence};
use crate::alert::{Alert, AlertBook, AlertState, Now, Reason, Transition};
use crate::duration::milliseconds;
use crate::snapshot::Snapshot;

/// Entries held back for one receiver at which ended incidents are dropped instead of sent later. Only a receiver that accepts nothing for
/// long reaches this number.
pub(super) const UNSENT_ENDS_MAX: usize = 20_000;

/// Decides which notifications are made. Time is an argument: the same calls lead to the same rows.
#[derive(Debug, Clone, Default)]
pub struct Dispatcher {
    pub(super) routes: Routes,
    pub(super) inhibitions: Inhibitions,
    pub(super) silences: BTreeMap<String, Silence>,
    /// Ids of the silences that were active at the latest release.
    pub(super) active_silences: Vec<String>,
    pub(super) incidents: BTreeMap<IncidentKey, Incident>,
    pub(super) groups: BTreeMap<GroupId, Group>,
    /// Groups, ordered by the monotonic time at which they are due.
    pub(super) dues: BTreeSet<(Duration, GroupId)>,
    /// Entries that are held back, by incident and receiver.
    pub(super) held: BTreeSet<(IncidentKey, String)>,
    /// True when something that holds alerts back may have changed.
    pub(super) recheck: bool,
    pub(super) touched: Touched,
}

/// An incident that fired. Removed when every receiver was notified of its end.
#[derive(Debug, Clone)]
pub(super) struct Incident {
    /// The alert as the latest transition left it.
    pub(super) alert: Alert,
    pub(super) acknowledgement: Option<Acknowledgement>,
    pub(super) ended: bool,
    /// Ledger entries by receiver.
    pub(super) entries: BTreeMap<String, Entry>,
}

/// Alerts that one receiver gets in one message.
#[derive(Debug, Clone)]
pub(super) struct Group {
    pub(super) wait: Duration,
    pub(super) interval: Duration,
    pub(super) repeat: Duration,
    /// Incidents with an entry in this group.
    pub(super) members: BTreeSet<IncidentKey>,
    /// Members with news that is not sent yet.
    pub(super) news: BTreeSet<IncidentKey>,
    /// Monotonic time of the next release of this group; `None` without news and without reminders.
    pub(super) due: Option<Duration>,
    /// How long news waits after the latest message of the group.
    pub(super) intervals: MessageIntervals,
}

/// Changes that the store does not have yet.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Touched {
    pub(super) entries: BTreeSet<(IncidentKey, String)>,
    pub(super) silences: BTreeSet<String>,
    pub(super) acknowledgements: BTreeSet<IncidentKey>,
}

impl Dispatcher {
    /// Creates a dispatcher that has sent nothing. Silences of the config are present from the start. The inhibition of unreachable
    /// servers is always added first.
    pub fn new(routes: Routes, inhibitions: Vec<Inhibition>, configured: Vec<Silence>) -> Self {
        let rules = std::iter::once(Inhibition::unreachable()).chain(inhibitions).collect();
        let silences = configured.into_iter().map(|silence| (silence.id.clone(), silence)).collect();
        Self { routes, inhibitions: Inhibitions::new(rules), silences, ..Self::default() }
    }

    /// Records a transition of an alert. Notifications are made later, by [`release`](Self::release).
    pub fn observe(&mut self, transition: &Transition, now: Now) {
        let alert = &transition.alert;
        match transition.to {
            AlertState::Inactive | AlertState::Pending => {}
            AlertState::Firing | AlertState::Recovering => self.record_open(alert, now),
            AlertState::Resolved => {
                let because = (transition.reason != Reason::Resolved).then(|| transition.reason.to_string());
                self.record_end(Ended { alert: alert.clone(), at_ms: transition.at.wall_ms, because }, now);
            }
        }
    }

    /// Records that a plugin judged this snapshot; `book` has its alerts since then. The plugin's claim that a server is unreachable is
    /// compared with the agent's own reading.
    pub fn record_judged(&mut self, plugin: &str, snapshot: &Snapshot, book: &AlertBook) {
        self.recheck |= self.inhibitions.record_judged(plugin, snapshot, book);
    }

    /// Monotonic time at which to call [`release`](Self::release) next, if nothing else happens before; `None` if nothing is due.
    pub fn next_due(&self, now: Now) -> Option<Duration> {
        if self.recheck {
            return Some(now.monotonic);
        }
        let group = self.dues.first().map(|(due, _)| *due);
        let silence = self.silences.values().filter_map(|silence| silence.changes_at_ms(now.wall_ms)).min();
        let silence = silence.map(|at_ms| now.monotonic + Duration::from_millis(at_ms.saturating_sub(now.wall_ms)));
        group.into_iter().chain(silence).min()
    }

    /// Records that an alert fires, and schedules the receivers that have to be notified.
    pub(super) fn record_open(&mut self, alert: &Alert, now: Now) {
        let key = IncidentKey::from(alert);
        self.recheck |= self.inhibitions.record_firing(alert);
        let incident = self.incidents.entry(key).or_insert_with(|| Incident::new(alert));
        incident.alert.clone_from(alert);
        if incident.acknowledgement.as_ref().is_some_and(|acknowledgement| !acknowledgement.holds(alert)) {
            incident.acknowledgement = None;
            self.touched.acknowledgements.insert(key);
        }
        // The new severity may lead the alert to more receivers. Receivers that have an entry keep it until the incident ends.
        let routed: Vec<(String, Route)> =
            self.routes.receivers(alert).into_iter().map(|(receiver, route)| (receiver.to_owned(), route.clone())).collect();
        for (receiver, route) in routed {
            let btree_map::Entry::Vacant(vacant) = incident.entries.entry(receiver) else { continue };
            let receiver = vacant.key().clone();
            let (group_key, labels) = route.group(alert);
            let group = self.groups.entry(GroupId { receiver: receiver.clone(), group_key: group_key.clone() });
            group.or_insert_with(|| Group::new(&route)).members.insert(key);
            vacant.insert(Entry::new(&receiver, key, group_key, labels));
            self.touched.entries.insert((key, receiver));
        }
        for entry in incident.entries.values_mut() {
            if !alert.is_flapping() && entry.sent.as_mut().is_some_and(|sent| std::mem::take(&mut sent.flapping)) {
                self.touched.entries.insert((key, entry.receiver.clone()));
            }
        }
        let news: Vec<(String, News)> =
            incident.entries.values().filter_map(|entry| Some((entry.receiver.clone(), entry.news(alert)?))).collect();
        for (receiver, news) in news {
            self.schedule(key, &receiver, news, now);
        }
    }

    /// Records the end of an incident, and schedules its receivers.
    pub(super) fn record_end(&mut self, ended: Ended, now: Now) {
        let alert = &ended.alert;
        let key = IncidentKey::from(alert);
        self.recheck |= self.inhibitions.remove_source(alert.fingerprint);
        let Some(incident) = self.incidents.get_mut(&key) else { return };
        incident.ended = true;
        incident.alert.clone_from(alert);
        if incident.acknowledgement.take().is_some() {
            self.touched.acknowledgements.insert(key);
        }
        for entry in incident.entries.values_mut() {
            entry.ended = Some(Box::new(ended.clone()));
            self.touched.entries.insert((key, entry.receiver.clone()));
        }
        let receivers: Vec<String> = incident.entries.keys().cloned().collect();
        if receivers.is_empty() {
            self.incidents.remove(&key);
        }
        for receiver in receivers {
            self.schedule(key, &receiver, News::Calm, now);
        }
    }

    /// Schedules the group of an entry that has news, without delaying a release that is due earlier.
    pub(super) fn schedule(&mut self, key: IncidentKey, receiver: &str, news: News, now: Now) {
        let Some(entry) = self.incidents.get_mut(&key).and_then(|incident| incident.entries.get_mut(receiver)) else { return };
        let id = entry.group_id();
        let Some(group) = self.groups.get_mut(&id) else { return };
        group.news.insert(key);
        let due = group.intervals.due(news, group.wait, now.monotonic);
        let due = group.due.map_or(due, |earlier| earlier.min(due));
        entry.due_at_ms = Some(now.wall_ms + milliseconds(due.saturating_sub(now.monotonic)));
        self.touched.entries.insert((key, receiver.to_owned()));
        self.set_due(&id, Some(due));
    }

    pub(super) fn set_due(&mut self, id: &GroupId, due: Option<Duration>) {
        let Some(group) = self.groups.get_mut(id) else { return };
        if let Some(before) = std::mem::replace(&mut group.due, due) {
            self.dues.remove(&(before, id.clone()));
        }
        if let Some(due) = due {
            self.dues.insert((due, id.clone()));
        }
    }

    /// Returns what holds an alert back now for every receiver: a silence, an inhibition or an acknowledgement; `None` if nothing does.
    pub(super) fn suppression(&self, key: IncidentKey, alert: &Alert, now_ms: u64) -> Option<Hold> {
        if let Some(silence) = self.silences.values().find(|silence| silence.hides(alert, now_ms)) {
            let Silence { id, author, comment, ends_at_ms, .. } = silence;
            let (silence, author, comment) = (id.clone(), author.clone(), comment.clone());
            return Some(Hold::Silenced { silence, author, comment, until_ms: *ends_at_ms });
        }
        if let Some((rule, by)) = self.inhibitions.explanation(alert) {
            return Some(Hold::Inhibited { rule: rule.to_owned(), by });
        }
        let acknowledgement = self.incidents.get(&key)?.acknowledgement.as_ref().filter(|acknowledgement| acknowledgement.holds(alert))?;
        Some(Hold::Acknowledged { author: acknowledgement.author.clone(), at_ms: acknowledgement.at_ms })
    }
}
