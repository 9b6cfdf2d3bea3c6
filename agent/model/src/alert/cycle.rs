//! One evaluation: a plugin judged a subject.

use crate::finding::{Report, RuleSpec};
use crate::snapshot::Snapshot;

/// The result of calling one plugin for one subject.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// The report of the plugin, after [`Report::checked`].
    Judged(Report),
    /// The call failed with this error text, so the plugin judged nothing.
    Failed(String),
}

/// One evaluation: the input and the result of one call of a plugin.
#[derive(Debug)]
pub struct Cycle<'a> {
    /// Id of the plugin.
    pub plugin: &'a str,
    /// The judged snapshot.
    pub snapshot: &'a Snapshot,
    /// All rules that the plugin declares. Alerts of other rules of the plugin resolve.
    pub rules: &'a [RuleSpec],
    /// Result of the call.
    pub outcome: Outcome,
}
