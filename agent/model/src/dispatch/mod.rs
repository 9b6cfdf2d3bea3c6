//! Who is told of an alert, when, in whose company, and why not.
//!
//! The alert book says what is wrong; this decides what of it people hear. Each receiver that a route leads to has an entry in the ledger
//! for each incident: what it was told, and what it still has to hear. Nothing is sent on an event, everything on a difference: a group is
//! looked at when it is due, and what its receivers know is compared with what is true then. So an alert that was silenced, explained by
//! another one, or for which there was no room is told as soon as nothing is in its way, and never lost on the way there.
//!
//! Entries are stored with the change that made them, and rows with the entry that says so.

mod explain;
mod flush;
mod inhibit;
mod ledger;
mod matcher;
mod matchers;
mod pattern;
mod quiet;
mod route;
mod saved;
mod silence;
mod tell;
mod words;

#[cfg(test)]
mod properties;
#[cfg(test)]
pub(crate) mod stories;

use std::{
    collections::{BTreeMap, BTreeSet, btree_map},
    time::Duration,
};

use crate::alert::{Alert, AlertBook, AlertState, Fingerprint, Now, Reason, Transition};
use crate::snapshot::Snapshot;

use inhibit::Inhibitions;
use ledger::Ended;
use quiet::{News, Quiet};

pub use explain::{ReceiverTrace, RouteTrace, Trace};
pub use flush::{Release, Withheld};
pub use inhibit::Inhibition;
pub use ledger::{Entry, Hold, HoldReason, Told};
pub use matcher::{Matcher, MatcherError, label_of};
pub use matchers::{MATCHERS_BYTES_MAX, MATCHERS_MAX, Matchers, Never};
pub use route::{Route, Routes};
pub use saved::{Changes, SavedDispatch};
pub use silence::{Acknowledgement, SILENCES_BYTES_MAX, SILENCES_MAX, Silence, SilenceError, SilenceState};
pub use tell::message_alert;
pub use words::AcknowledgeError;

/// An alert's identity and which time it is.
pub type IncidentKey = (Fingerprint, u64);

/// Receiver and group key.
type GroupId = (String, String);

/// Ended incidents that one receiver still has to hear of. More can only be while nothing goes out at all.
const UNTOLD_ENDS_MAX: usize = 20_000;

/// Pure: time is an argument, and the same calls lead to the same rows.
#[derive(Debug, Clone, Default)]
pub struct Dispatcher {
    routes: Routes,
    inhibitions: Inhibitions,
    silences: BTreeMap<String, Silence>,
    /// Ids of those that were active at the latest release.
    active_silences: Vec<String>,
    incidents: BTreeMap<IncidentKey, Incident>,
    groups: BTreeMap<GroupId, Group>,
    /// Groups by when they are to be looked at.
    dues: BTreeSet<(Duration, GroupId)>,
    /// Entries that do not hear something, by incident and receiver.
    held: BTreeSet<(IncidentKey, String)>,
    /// What kept alerts back may have changed.
    recheck: bool,
    touched: Touched,
}

/// An incident that fired, until every receiver knows its end.
#[derive(Debug, Clone)]
struct Incident {
    /// As the latest transition left it.
    alert: Alert,
    acknowledgement: Option<Acknowledgement>,
    ended: bool,
    /// By receiver.
    entries: BTreeMap<String, Entry>,
}

/// Alerts that one receiver is told of together.
#[derive(Debug, Clone)]
struct Group {
    wait: Duration,
    interval: Duration,
    repeat: Duration,
    /// Incidents with an entry in it.
    members: BTreeSet<IncidentKey>,
    /// Members of which there is something to tell.
    news: BTreeSet<IncidentKey>,
    /// Monotonic: when it is looked at; none: nothing to tell and nobody to remind.
    due: Option<Duration>,
    /// How long its news wait, since it has been told lately.
    quiet: Quiet,
}

/// What the store does not have as it is.
#[derive(Debug, Clone, Default, PartialEq)]
struct Touched {
    entries: BTreeSet<(IncidentKey, String)>,
    silences: BTreeSet<String>,
    acknowledgements: BTreeSet<IncidentKey>,
}

impl Dispatcher {
    /// Nothing told yet. Silences of the config are there from the beginning; a server that cannot be reached always explains what else it has.
    pub fn new(routes: Routes, inhibitions: Vec<Inhibition>, configured: Vec<Silence>) -> Self {
        let rules = std::iter::once(Inhibition::unreachable()).chain(inhibitions).collect();
        let silences = configured.into_iter().map(|silence| (silence.id.clone(), silence)).collect();
        Self { routes, inhibitions: Inhibitions::new(rules), silences, ..Self::default() }
    }

    /// Takes in a change of an alert. Nothing is told before [`release`](Self::release).
    pub fn observe(&mut self, transition: &Transition, now: Now) {
        let alert = &transition.alert;
        match transition.to {
            AlertState::Inactive | AlertState::Pending => {}
            AlertState::Firing | AlertState::Recovering => self.stands(alert, now),
            AlertState::Resolved => {
                let because = (transition.reason != Reason::Resolved).then(|| transition.reason.to_string());
                self.ends(Ended { alert: alert.clone(), at_ms: transition.at.wall_ms, because }, now);
            }
        }
    }

    /// A plugin was asked about this snapshot, and `book` has its alerts since: what it says is compared with what the agent knows itself.
    pub fn asked(&mut self, plugin: &str, snapshot: &Snapshot, book: &AlertBook) {
        self.recheck |= self.inhibitions.asked(plugin, snapshot, book);
    }

    /// When to [`release`](Self::release) again, if nothing else happens before.
    pub fn next_due(&self, now: Now) -> Option<Duration> {
        if self.recheck {
            return Some(now.monotonic);
        }
        let group = self.dues.first().map(|(due, _)| *due);
        let silence = self.silences.values().filter_map(|silence| silence.changes_at_ms(now.wall_ms)).min();
        let silence = silence.map(|at_ms| now.monotonic + Duration::from_millis(at_ms.saturating_sub(now.wall_ms)));
        group.into_iter().chain(silence).min()
    }

    fn stands(&mut self, alert: &Alert, now: Now) {
        let key = (alert.fingerprint, alert.incident);
        self.recheck |= self.inhibitions.fires(alert);
        let incident = self.incidents.entry(key).or_insert_with(|| Incident::new(alert));
        incident.alert.clone_from(alert);
        if incident.acknowledgement.as_ref().is_some_and(|acknowledgement| !acknowledgement.holds(alert)) {
            incident.acknowledgement = None;
            self.touched.acknowledgements.insert(key);
        }
        // Its severity may lead it to others than before; who heard of it stays with it to its end.
        let routed: Vec<(String, Route)> =
            self.routes.receivers(alert).into_iter().map(|(receiver, route)| (receiver.to_owned(), route.clone())).collect();
        for (receiver, route) in routed {
            let btree_map::Entry::Vacant(vacant) = incident.entries.entry(receiver) else { continue };
            let receiver = vacant.key().clone();
            let (group_key, labels) = route.group(alert);
            let group = self.groups.entry((receiver.clone(), group_key.clone()));
            group.or_insert_with(|| Group::new(&route)).members.insert(key);
            vacant.insert(Entry::new(&receiver, key, group_key, labels));
            self.touched.entries.insert((key, receiver));
        }
        for entry in incident.entries.values_mut() {
            if !alert.is_flapping() && entry.told.as_mut().is_some_and(|told| std::mem::take(&mut told.flapping)) {
                self.touched.entries.insert((key, entry.receiver.clone()));
            }
        }
        let news: Vec<(String, News)> =
            incident.entries.values().filter_map(|entry| Some((entry.receiver.clone(), entry.news(alert)?))).collect();
        for (receiver, news) in news {
            self.schedule(key, &receiver, news, now);
        }
    }

    fn ends(&mut self, ended: Ended, now: Now) {
        let alert = &ended.alert;
        let key = (alert.fingerprint, alert.incident);
        self.recheck |= self.inhibitions.ended(alert.fingerprint);
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

    /// An entry has news: its group is told when it is due, or earlier if it is told anyway.
    fn schedule(&mut self, key: IncidentKey, receiver: &str, news: News, now: Now) {
        let Some(entry) = self.incidents.get_mut(&key).and_then(|incident| incident.entries.get_mut(receiver)) else { return };
        let id = (receiver.to_owned(), entry.group_key.clone());
        let Some(group) = self.groups.get_mut(&id) else { return };
        group.news.insert(key);
        let due = group.quiet.due(news, group.wait, now.monotonic);
        let due = group.due.map_or(due, |earlier| earlier.min(due));
        entry.due_at_ms = Some(now.wall_ms + millis(due.saturating_sub(now.monotonic)));
        self.touched.entries.insert((key, receiver.to_owned()));
        self.set_due(&id, Some(due));
    }

    fn set_due(&mut self, id: &GroupId, due: Option<Duration>) {
        let Some(group) = self.groups.get_mut(id) else { return };
        if let Some(before) = std::mem::replace(&mut group.due, due) {
            self.dues.remove(&(before, id.clone()));
        }
        if let Some(due) = due {
            self.dues.insert((due, id.clone()));
        }
    }

    /// What keeps an alert from being told now, whoever the receiver is.
    fn suppression(&self, key: IncidentKey, alert: &Alert, now_ms: u64) -> Option<Hold> {
        if let Some(silence) = self.silences.values().find(|silence| silence.hides(alert, now_ms)) {
            let Silence { id, author, comment, ends_at_ms, .. } = silence;
            let (silence, author, comment) = (id.clone(), author.clone(), comment.clone());
            return Some(Hold::Silenced { silence, author, comment, until_ms: *ends_at_ms });
        }
        if let Some((rule, by)) = self.inhibitions.explains(alert) {
            return Some(Hold::Inhibited { rule: rule.to_owned(), by });
        }
        let acknowledgement = self.incidents.get(&key)?.acknowledgement.as_ref().filter(|acknowledgement| acknowledgement.holds(alert))?;
        Some(Hold::Acknowledged { author: acknowledgement.author.clone(), at_ms: acknowledgement.at_ms })
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
