//! One evaluation: a plugin was asked about a subject.

use crate::finding::{Report, RuleSpec};
use crate::snapshot::Snapshot;

/// What came of asking one plugin about one subject.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// What it said, after [`Report::checked`].
    Judged(Report),
    /// The call failed: nothing is known.
    Failed(String),
}

/// One evaluation.
#[derive(Debug)]
pub struct Cycle<'a> {
    pub plugin: &'a str,
    /// What was judged.
    pub snapshot: &'a Snapshot,
    /// What the generation that judged declares. Alerts of rules that are no longer among them resolve.
    pub rules: &'a [RuleSpec],
    pub outcome: Outcome,
}
