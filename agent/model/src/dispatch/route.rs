//! Which receivers hear of an alert, and in whose company.

use std::time::Duration;

use super::{Matchers, label_of};
use crate::subject::SubjectKind;
use crate::{alert::Alert, subject::Label};

/// Leads alerts that match to a receiver. The first that matches wins, unless it says that others may follow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    pub matchers: Matchers,
    pub receiver: String,
    pub continues: bool,
    /// Alerts that agree in these labels are told together.
    pub group_by: Vec<String>,
    /// How long the first of a group waits for others.
    pub group_wait: Duration,
    /// How long news of a group waits after it was told.
    pub group_interval: Duration,
    /// After how long a receiver is reminded of what still fires; zero: never.
    pub repeat_interval: Duration,
}

/// A label by which alerts about the agent say which receiver they are about.
const ABOUT_RECEIVER: &str = "receiver";

/// What became of one route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    Taken,
    /// The matcher that did not hold.
    Refused(String),
    /// It matches, but a route before it has taken the alert.
    TooLate,
    /// The alert is about the receiver itself, which may not hear.
    OwnTrouble,
    /// It matches, but the receiver has the alert by another route.
    Again,
}

/// The routes in their order, and every receiver there is.
#[derive(Debug, Clone, Default)]
pub struct Routes {
    pub routes: Vec<Route>,
    pub receivers: Vec<String>,
}

impl Routes {
    /// Each route and what became of it, for an alert as it is now.
    pub fn steps<'a>(&'a self, alert: &Alert) -> Vec<Step> {
        let mut receivers: Vec<&'a str> = Vec::new();
        let mut closed = false;
        let mut step = |route: &'a Route| {
            if let Some(why) = route.matchers.objection(alert) {
                return Step::Refused(why);
            }
            if closed {
                return Step::TooLate;
            }
            if is_about(alert, &route.receiver) {
                return Step::OwnTrouble;
            }
            closed = !route.continues;
            if receivers.contains(&route.receiver.as_str()) {
                return Step::Again;
            }
            receivers.push(&route.receiver);
            Step::Taken
        };
        self.routes.iter().map(&mut step).collect()
    }

    /// Who hears of it: a receiver and the route that says how. Trouble of a receiver that all routes lead to is told to another one.
    pub fn receivers(&self, alert: &Alert) -> Vec<(&str, &Route)> {
        let steps = self.steps(alert);
        let taken = self.routes.iter().zip(&steps).filter(|(_, step)| **step == Step::Taken);
        let mut all: Vec<(&str, &Route)> = taken.map(|(route, _)| (route.receiver.as_str(), route)).collect();
        if all.is_empty()
            && let Some(own) = steps.iter().position(|step| *step == Step::OwnTrouble)
            && let Some(other) = self.receivers.iter().find(|receiver| !is_about(alert, receiver))
        {
            all.push((other, &self.routes[own]));
        }
        all
    }
}

fn is_about(alert: &Alert, receiver: &str) -> bool {
    alert.subject.kind == SubjectKind::Agent && label_of(alert, ABOUT_RECEIVER) == Some(receiver)
}

impl Route {
    /// The group of an alert: a key that no other group of the receiver has, and the labels that its alerts share.
    pub fn group(&self, alert: &Alert) -> (String, Vec<Label>) {
        let labels: Vec<Label> = self.group_by.iter().filter_map(|name| Some(Label::new(name.clone(), label_of(alert, name)?))).collect();
        let shown: Vec<String> = labels.iter().map(|label| format!("{}={:?}", label.name, label.value)).collect();
        (format!("{}:{{{}}}", self.matchers, shown.join(",")), labels)
    }
}
