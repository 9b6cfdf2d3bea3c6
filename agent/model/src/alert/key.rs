//! The identity of an alert within its group.

use super::overflow;
use crate::subject::Label;

/// The rule and the sorted labels of an alert, which tell the alerts of one group apart.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct AlertKey {
    pub rule: String,
    pub labels: Vec<Label>,
}

impl AlertKey {
    pub fn new(rule: &str, labels: &[Label]) -> Self {
        let mut labels = labels.to_vec();
        labels.sort();
        Self { rule: rule.to_owned(), labels }
    }

    pub fn is_summary(&self) -> bool {
        overflow::is_summary(&self.labels)
    }
}
