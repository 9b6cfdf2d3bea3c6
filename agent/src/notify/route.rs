//! Which receiver hears of an alert: the first route that matches.

use pharos_model::alert::Alert;

use crate::config::notify::RouteConfig;

#[derive(Debug)]
pub struct Routes(Vec<RouteConfig>);

impl Routes {
    pub fn new(routes: Vec<RouteConfig>) -> Self {
        Self(routes)
    }

    /// The receiver of an alert, if any route takes it.
    pub fn receiver(&self, alert: &Alert) -> Option<&str> {
        let takes = |route: &&RouteConfig| {
            route
                .matchers
                .iter()
                .all(|(label, wanted)| label_of(alert, label).is_some_and(|value| wanted.0.iter().any(|text| text == value)))
        };
        self.0.iter().find(takes).map(|route| route.receiver.as_str())
    }
}

/// A label of the finding or of its subject; severity, rule, plugin and subject count as labels too.
fn label_of<'a>(alert: &'a Alert, name: &str) -> Option<&'a str> {
    match name {
        "severity" => Some(alert.severity.as_str()),
        "rule" => Some(&alert.rule),
        "plugin" => Some(&alert.plugin),
        "subject" => Some(&alert.subject.id),
        _ => {
            let labels = alert.labels.iter().chain(&alert.subject.labels);
            labels.into_iter().find(|label| label.name == name).map(|label| label.value.as_str())
        }
    }
}
