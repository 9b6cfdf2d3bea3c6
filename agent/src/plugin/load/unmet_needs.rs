//! Needs of rules that no collector meets.

use pharos_model::finding::{RuleSpec, Unmet, collected, unmet};
use pharos_model::subject::SubjectKind;

use crate::config::shape::did_you_mean;

/// Warnings that are shown of one plugin. More would only repeat themselves.
const WARNINGS_MAX: usize = 20;

/// Warnings about rules that can never match.
pub(super) fn warnings(rules: &[RuleSpec]) -> Vec<String> {
    let unmet = unmet(rules);
    let mut warnings: Vec<String> = unmet.iter().take(WARNINGS_MAX).map(with_hint).collect();
    if unmet.len() > WARNINGS_MAX {
        warnings.push(format!("{} more of its needs are not met either", unmet.len() - WARNINGS_MAX));
    }
    warnings
}

/// A need that is not met, with a name that its author may have meant.
pub(super) fn with_hint(unmet: &Unmet) -> String {
    let hint = match &unmet.need {
        Some(need) => did_you_mean(need, collected(&unmet.kind)),
        None => did_you_mean(unmet.kind.as_str(), SubjectKind::NAMES.into_iter()),
    };
    format!("{unmet}, so it can never match{hint}")
}
