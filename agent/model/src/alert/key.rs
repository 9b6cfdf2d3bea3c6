//! The identity of an alert within its group.

use crate::subject::Label;

/// The rule and the sorted labels of an alert, which distinguish the alerts of one group.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct AlertKey {
    /// Id of the rule.
    pub rule: String,
    /// Labels, sorted by name.
    pub labels: Vec<Label>,
}

impl AlertKey {
    /// The key of an alert. The labels may be in any order.
    pub(super) fn new(rule: &str, labels: &[Label]) -> Self {
        let mut labels = labels.to_vec();
        labels.sort();
        Self { rule: rule.to_owned(), labels }
    }

    /// True for the key of a summary.
    pub(super) fn is_summary(&self) -> bool {
        is_summary(&self.labels)
    }
}

/// The labels of a summary. A finding of a plugin with the same labels counts among the findings without room.
pub(super) fn summary_labels() -> Vec<Label> {
    vec![Label::new("overflow", "true")]
}

/// True for the labels of a summary, the alert that counts the findings of a rule without room.
pub(super) fn is_summary(labels: &[Label]) -> bool {
    matches!(labels, [label] if label.name == "overflow" && label.value == "true")
}
