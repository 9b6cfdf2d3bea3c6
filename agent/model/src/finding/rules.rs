//! The check of a plugin's rules when it is loaded.

use std::collections::BTreeSet;
use std::time::Duration;

use super::rule_spec::RuleSpec;
use crate::text::{LINE_BYTES_MAX, line};

/// Most rules of one plugin. More would come from a program that generates them.
pub const RULES_MAX: usize = 500;
/// Most bytes of a rule's id, which is also a file name and a metric label.
const RULE_ID_BYTES_MAX: usize = 100;
/// Most needs of one rule, above the number that a rule can use sensibly.
const NEEDS_MAX: usize = 100;
/// Longest `for` and `keep-firing`. A longer time is a mistake in units, with which alerts would never fire or resolve.
const HOLD_MAX: Duration = Duration::from_secs(31 * 24 * 3600);

/// Why a plugin's rules are refused at load.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    #[error("{0} rules, more than {RULES_MAX}")]
    TooMany(usize),
    #[error("rule id `{0}` is not 1 to {RULE_ID_BYTES_MAX} of letters, digits, `-`, `_` and `.`")]
    BadId(String),
    #[error("rule id `{0}` is declared twice")]
    Duplicate(String),
    #[error("rule `{rule}`: {name} of {ms} ms is longer than a month")]
    TooLong { rule: String, name: &'static str, ms: u128 },
}

/// Checks the rules of a plugin. Ids become metric labels, file names and parts of identities, so a bad id is an error. Long texts are
/// only cut.
pub fn check_rules(rules: Vec<RuleSpec>) -> Result<Vec<RuleSpec>, RuleError> {
    if rules.len() > RULES_MAX {
        return Err(RuleError::TooMany(rules.len()));
    }
    let mut ids = BTreeSet::new();
    let mut checked = Vec::with_capacity(rules.len());
    for mut rule in rules {
        let fits = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if rule.id.is_empty() || rule.id.len() > RULE_ID_BYTES_MAX || !rule.id.chars().all(fits) {
            return Err(RuleError::BadId(line(&rule.id, RULE_ID_BYTES_MAX).into_owned()));
        }
        for (name, time) in [("for", rule.for_), ("keep-firing", rule.keep_firing)] {
            if time > HOLD_MAX {
                return Err(RuleError::TooLong { rule: rule.id, name, ms: time.as_millis() });
            }
        }
        if !ids.insert(rule.id.clone()) {
            return Err(RuleError::Duplicate(rule.id));
        }
        for text in [&mut rule.summary, &mut rule.category].into_iter().chain(&mut rule.runbook) {
            *text = line(text, LINE_BYTES_MAX).into_owned();
        }
        rule.subject_kind = line(rule.subject_kind.as_str(), LINE_BYTES_MAX).as_ref().into();
        rule.needs.truncate(NEEDS_MAX);
        for need in &mut rule.needs {
            *need = line(need, LINE_BYTES_MAX).into_owned();
        }
        checked.push(rule);
    }
    Ok(checked)
}
