//! The whole decision about one alert: which receivers were notified, which were not, and why.

use serde::Serialize;

use super::dispatcher::Dispatcher;
use super::key::IncidentKey;
use super::ledger::{Entry, SentState};
use super::matchers::Matchers;
use super::route::Step;
use super::silence::{Acknowledgement, SilenceState};
use crate::alert::{Alert, Fingerprint, Now};
use crate::duration::milliseconds;

/// All decisions about one alert, with their reasons.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Trace {
    /// Every route of the config, in order, with its result.
    pub routes: Vec<RouteTrace>,
    /// Every receiver with an entry for the alert.
    pub receivers: Vec<ReceiverTrace>,
    /// Silences whose matchers fit the alert, in any state.
    pub silences: Vec<SilenceTrace>,
    /// Inhibition that holds the alert back; `None` without one.
    pub inhibited_by: Option<InhibitionTrace>,
    /// Acknowledgement of the incident; `None` without one.
    pub acknowledgement: Option<Acknowledgement>,
}

/// Result of one route for the alert.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RouteTrace {
    /// Position of the route in the config, from 1.
    pub number: usize,
    /// Matchers of the route.
    pub matchers: Matchers,
    /// Receiver to which the route leads.
    pub receiver: String,
    /// True if the route leads the alert to its receiver.
    pub taken: bool,
    /// Why the route was not taken; `None` if it was.
    pub why: Option<String>,
}

/// Silence that matches the alert.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SilenceTrace {
    /// Id of the silence.
    pub id: String,
    /// State of the silence now.
    pub state: SilenceState,
    /// Author of the silence.
    pub author: String,
    /// Comment of the silence.
    pub comment: String,
    /// End of the silence, in milliseconds since 1970.
    pub ends_at_ms: u64,
}

/// Inhibition that holds the alert back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InhibitionTrace {
    /// Name of the inhibition.
    pub rule: String,
    /// Fingerprint of the source alert.
    pub by: Fingerprint,
}

/// State of one alert at one receiver.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ReceiverTrace {
    /// Name of the receiver.
    pub receiver: String,
    /// Key of the alert's group at this receiver.
    pub group_key: String,
    /// Number of alerts in the receiver's group, this alert included.
    pub group_size: usize,
    /// Latest notification; `None` before the first one.
    #[serde(rename = "told")]
    pub sent: Option<SentState>,
    /// Milliseconds from now until the next reminder; `None` without reminders.
    pub repeats_in_ms: Option<u64>,
    /// Wall clock, milliseconds since 1970, at which the group is due; `None` without news.
    pub due_at_ms: Option<u64>,
    /// Why the alert is held back; `None` if nothing holds it.
    pub held: Option<String>,
}

impl Dispatcher {
    /// Explains the decisions about an alert that is open, or that ended and still has entries in the ledger.
    pub fn explain(&self, alert: &Alert, now: Now) -> Trace {
        let key = IncidentKey::from(alert);
        let incident = self.incidents.get(&key);
        let steps = self.routes.steps(alert);
        let routes = self.routes.routes.iter().zip(steps).enumerate().map(|(index, (route, step))| RouteTrace {
            number: index + 1,
            matchers: route.matchers.clone(),
            receiver: route.receiver.clone(),
            taken: step == Step::Taken,
            why: why_not(step),
        });
        let silences = self.silences.values().filter(|silence| silence.matchers.fit(alert)).map(|silence| SilenceTrace {
            id: silence.id.clone(),
            state: silence.state(now.wall_ms),
            author: silence.author.clone(),
            comment: silence.comment.clone(),
            ends_at_ms: silence.ends_at_ms,
        });
        let inhibited_by = self.inhibitions.explanation(alert);
        Trace {
            routes: routes.collect(),
            receivers: incident.into_iter().flat_map(|incident| incident.entries.values()).map(|entry| self.receiver(entry, now)).collect(),
            silences: silences.collect(),
            inhibited_by: inhibited_by.map(|(rule, by)| InhibitionTrace { rule: rule.to_owned(), by }),
            acknowledgement: incident.and_then(|incident| incident.acknowledgement.clone()),
        }
    }

    fn receiver(&self, entry: &Entry, now: Now) -> ReceiverTrace {
        let group = self.groups.get(&entry.group_id());
        let repeat_at = entry.sent.as_ref().filter(|_| entry.ended.is_none()).and_then(|sent| sent.repeat_at);
        ReceiverTrace {
            receiver: entry.receiver.clone(),
            group_key: entry.group_key.clone(),
            group_size: group.map_or(0, |group| group.members.len()),
            sent: entry.sent.clone(),
            repeats_in_ms: repeat_at.map(|at| milliseconds(at.saturating_sub(now.monotonic))),
            due_at_ms: entry.due_at_ms,
            held: entry.hold.as_ref().map(ToString::to_string),
        }
    }
}

fn why_not(step: Step) -> Option<String> {
    match step {
        Step::Taken => None,
        Step::Refused(why) => Some(format!("it requires {why}")),
        Step::TooLate => Some("a route before it took the alert and does not continue".to_owned()),
        Step::OwnTrouble => Some("the alert is about this receiver itself".to_owned()),
        Step::Again => Some("its receiver has the alert by a route before it".to_owned()),
    }
}
