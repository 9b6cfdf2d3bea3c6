//! Routes lead alerts to receivers and sort them into groups.

use std::time::Duration;

use super::matcher::label_of;
use super::matchers::Matchers;
use crate::alert::Alert;
use crate::subject::Label;
use crate::subject::SubjectKind;

/// Leads matching alerts to a receiver. The first matching route wins, unless it continues with the routes after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Matchers of the alerts that the route takes.
    pub matchers: Matchers,
    /// Name of the receiver.
    pub receiver: String,
    /// True if the routes after this one are tried too.
    pub continues: bool,
    /// Labels whose equal values put alerts into one group.
    pub group_by: Vec<String>,
    /// How long the first alert of a group waits for others.
    pub group_wait: Duration,
    /// How long news of a group waits after the group's latest message.
    pub group_interval: Duration,
    /// Time between reminders of alerts that still fire; zero turns them off.
    pub repeat_interval: Duration,
}

/// Label with which alerts about the agent name a receiver.
const ABOUT_RECEIVER: &str = "receiver";

/// Result of one route for one alert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// The route leads the alert to its receiver.
    Taken,
    /// A matcher does not fit; the text describes it.
    Refused(String),
    /// The route matches, but a route before it took the alert and does not continue.
    TooLate,
    /// The alert is about the receiver itself, which may be broken.
    OwnTrouble,
    /// The route matches, but the receiver has the alert through another route.
    Again,
}

/// All routes in their order, and the names of all receivers.
#[derive(Debug, Clone, Default)]
pub struct Routes {
    /// Routes in the order of the config.
    pub routes: Vec<Route>,
    /// Names of all receivers.
    pub receivers: Vec<String>,
}

impl Routes {
    /// Returns the result of each route for an alert, in the order of the routes.
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

    /// Receivers of an alert, each with its route. When every matching route leads to the receiver in trouble, another receiver is used.
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
    /// Group of an alert: a key that is unique within the receiver, and the labels that its alerts share.
    pub fn group(&self, alert: &Alert) -> (String, Vec<Label>) {
        let labels: Vec<Label> = self.group_by.iter().filter_map(|name| Some(Label::new(name.clone(), label_of(alert, name)?))).collect();
        let shown: Vec<String> = labels.iter().map(|label| format!("{}={:?}", label.name, label.value)).collect();
        (format!("{}:{{{}}}", self.matchers, shown.join(",")), labels)
    }
}
