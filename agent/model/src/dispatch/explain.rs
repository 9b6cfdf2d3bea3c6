//! The whole decision about one alert: who was told, who was not, and why.

use serde::Serialize;

use super::{Acknowledgement, Dispatcher, Entry, Matchers, SilenceState, Told, route::Step};
use crate::alert::{Alert, Fingerprint, Now};

/// What is decided about an alert, and by what.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Trace {
    pub routes: Vec<RouteTrace>,
    pub receivers: Vec<ReceiverTrace>,
    /// Silences that match it, with their state.
    pub silences: Vec<SilenceTrace>,
    pub inhibited_by: Option<InhibitionTrace>,
    pub acknowledgement: Option<Acknowledgement>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RouteTrace {
    /// From 1, in the order of the config.
    pub number: usize,
    pub matchers: Matchers,
    pub receiver: String,
    pub taken: bool,
    /// Why not.
    pub why: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SilenceTrace {
    pub id: String,
    pub state: SilenceState,
    pub author: String,
    pub comment: String,
    pub ends_at_ms: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InhibitionTrace {
    pub rule: String,
    pub by: Fingerprint,
}

/// What one receiver knows of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ReceiverTrace {
    pub receiver: String,
    pub group_key: String,
    /// Alerts of its group at this receiver, itself included.
    pub group_size: usize,
    pub told: Option<Told>,
    /// When its receiver is reminded, counted from now, in milliseconds.
    pub repeats_in_ms: Option<u64>,
    /// When its news is told.
    pub due_at_ms: Option<u64>,
    /// Why it is not.
    pub held: Option<String>,
}

impl Dispatcher {
    /// Explains an alert that is open, or one that ended and is not forgotten yet.
    pub fn explain(&self, alert: &Alert, now: Now) -> Trace {
        let key = (alert.fingerprint, alert.incident);
        let incident = self.incidents.get(&key);
        let steps = self.routes.steps(alert);
        let routes = self.routes.routes.iter().zip(steps).enumerate().map(|(index, (route, step))| RouteTrace {
            number: index + 1,
            matchers: route.matchers.clone(),
            receiver: route.receiver.clone(),
            taken: step == Step::Taken,
            why: why_not(step),
        });
        let silences = self.silences.values().filter(|silence| silence.matchers.hold(alert)).map(|silence| SilenceTrace {
            id: silence.id.clone(),
            state: silence.state(now.wall_ms),
            author: silence.author.clone(),
            comment: silence.comment.clone(),
            ends_at_ms: silence.ends_at_ms,
        });
        let inhibited_by = self.inhibitions.explains(alert);
        Trace {
            routes: routes.collect(),
            receivers: incident.into_iter().flat_map(|incident| incident.entries.values()).map(|entry| self.receiver(entry, now)).collect(),
            silences: silences.collect(),
            inhibited_by: inhibited_by.map(|(rule, by)| InhibitionTrace { rule: rule.to_owned(), by }),
            acknowledgement: incident.and_then(|incident| incident.acknowledgement.clone()),
        }
    }

    fn receiver(&self, entry: &Entry, now: Now) -> ReceiverTrace {
        let group = self.groups.get(&(entry.receiver.clone(), entry.group_key.clone()));
        let repeat_at = entry.told.as_ref().filter(|_| entry.ended.is_none()).and_then(|told| told.repeat_at);
        ReceiverTrace {
            receiver: entry.receiver.clone(),
            group_key: entry.group_key.clone(),
            group_size: group.map_or(0, |group| group.members.len()),
            told: entry.told.clone(),
            repeats_in_ms: repeat_at.map(|at| super::millis(at.saturating_sub(now.monotonic))),
            due_at_ms: entry.due_at_ms,
            held: entry.hold.as_ref().map(ToString::to_string),
        }
    }
}

fn why_not(step: Step) -> Option<String> {
    match step {
        Step::Taken => None,
        Step::Refused(why) => Some(format!("it wants {why}")),
        Step::TooLate => Some("a route before it took the alert and does not continue".to_owned()),
        Step::OwnTrouble => Some("the alert is about this receiver itself".to_owned()),
        Step::Again => Some("its receiver has the alert by a route before it".to_owned()),
    }
}
