//! The check of a plugin's report: afterwards it is safe to store, show and send.
//!
//! A plugin may be wrong in any way that the types allow. A flaw is repaired and counted, because a dropped finding would resolve its
//! alert silently.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::report::{Cut, Finding, Report, Severity, SkipReason, Skipped, Strength};
use super::rule_spec::RuleSpec;
use crate::subject::Label;
use crate::text::{LINE_BYTES_MAX, block, identity, line, marked_block};

/// Most findings of one rule about one subject. The gravest stay, and the rule's other alerts freeze.
pub const FINDINGS_PER_RULE_MAX: usize = 1_000;
/// Most findings of one report.
pub const FINDINGS_MAX: usize = 10_000;
/// Most labels, and most items of evidence, of one finding.
pub const LABELS_MAX: usize = 16;
/// Most bytes of a label's name, far above the names that plugins use.
const LABEL_NAME_BYTES_MAX: usize = 100;
/// Most bytes of a label's value: several names of PostgreSQL, which have at most 63 bytes each.
const LABEL_VALUE_BYTES_MAX: usize = 500;
/// Most bytes of a text of several lines: about a screen, since people read it.
const BLOCK_BYTES_MAX: usize = 4_000;

/// A report in valid form, with the repairs that were made.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckedReport {
    /// The repaired report.
    pub report: Report,
    /// At most one repair per rule and kind. Empty for a correct plugin.
    pub repairs: Vec<Repair>,
}

/// Flaws of one kind in the findings of one rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repair {
    /// Id of a declared rule. Empty for [`RepairKind::UnknownRule`].
    pub rule: String,
    /// Kind of the flaw.
    pub kind: RepairKind,
    /// Number of flaws of this kind.
    pub count: u64,
    /// Text of the first flaw, bounded and without control characters.
    pub example: String,
}

impl fmt::Display for Repair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} ({}×): {}", self.rule, self.kind.as_str(), self.count, self.example)
    }
}

/// Kind of a flaw: a closed set, fit for a metric label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RepairKind {
    /// A finding or skip of an undeclared rule. It is dropped.
    UnknownRule,
    /// A number that is NaN or infinite. It counts as missing.
    NotANumber,
    /// A score outside 0 to 1. It is clamped.
    OutOfRange,
    /// Text that is too long or has control characters. It is cut or stripped.
    Text,
    /// Labels that are too many, repeated or nameless. They are dropped.
    Labels,
    /// Two findings with one identity. The graver one stays.
    Duplicate,
    /// More findings or skips than allowed. The gravest stay, and the rule's other alerts freeze.
    Overflow,
}

impl RepairKind {
    /// Name of the kind, fit for a metric label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UnknownRule => "unknown_rule",
            Self::NotANumber => "not_a_number",
            Self::OutOfRange => "out_of_range",
            Self::Text => "text",
            Self::Labels => "labels",
            Self::Duplicate => "duplicate",
            Self::Overflow => "overflow",
        }
    }
}

impl Report {
    /// Repairs a plugin's report. Its findings are unique by identity, and sorted by rule and labels.
    pub fn checked(self, rules: &[RuleSpec]) -> CheckedReport {
        let declared: BTreeSet<&str> = rules.iter().map(|rule| rule.id.as_str()).collect();
        let mut repairs = Repairs::default();
        let known = |rule: &str, repairs: &mut Repairs| {
            let known = declared.contains(rule);
            if !known {
                repairs.add("", RepairKind::UnknownRule, || line(rule, LINE_BYTES_MAX).into_owned());
            }
            known
        };

        let mut by_rule: BTreeMap<String, BTreeMap<Vec<Label>, Finding>> = BTreeMap::new();
        for finding in self.findings {
            if known(&finding.rule, &mut repairs) {
                let finding = repaired(finding, &mut repairs);
                insert_graver(by_rule.entry(finding.rule.clone()).or_default(), finding, &mut repairs);
            }
        }
        let mut skipped = Vec::new();
        let mut cut = Vec::new();
        let mut findings = bounded(by_rule, &mut skipped, &mut cut, &mut repairs);
        findings.sort_by(|a, b| (&a.rule, &a.labels).cmp(&(&b.rule, &b.labels)));

        let known_skips: Vec<Skipped> = self.skipped.into_iter().filter(|skip| known(&skip.rule, &mut repairs)).collect();
        skipped.extend(bounded_skips(known_skips, &mut repairs));
        CheckedReport { report: Report { findings, skipped, cut }, repairs: repairs.into_list() }
    }
}

fn repaired(mut finding: Finding, repairs: &mut Repairs) -> Finding {
    let rule = finding.rule.clone();
    let mut text = |text: &mut String, clean: fn(&str, usize) -> Cow<'_, str>, max: usize| {
        if let Cow::Owned(clean) = clean(text, max) {
            repairs.add(&rule, RepairKind::Text, || line(text, 80).into_owned());
            *text = clean;
        }
    };
    text(&mut finding.title, line, LINE_BYTES_MAX);
    text(&mut finding.detail, block, BLOCK_BYTES_MAX);
    if let Some(cause) = &mut finding.cause {
        text(cause, block, BLOCK_BYTES_MAX);
    }
    if let Some(fix) = &mut finding.fix {
        text(fix, marked_block, BLOCK_BYTES_MAX);
    }
    if finding.title.is_empty() {
        finding.title.clone_from(&rule);
    }
    for (name, number) in [
        ("score", &mut finding.score),
        ("value", &mut finding.value),
        ("raise-at", &mut finding.raise_at),
        ("clear-at", &mut finding.clear_at),
    ] {
        if let Some(bad) = number.take_if(|number| !number.is_finite()) {
            repairs.add(&rule, RepairKind::NotANumber, || format!("{name} is {bad}"));
        }
    }
    if let Some(score) = finding.score.as_mut().filter(|score| !(0.0..=1.0).contains(*score)) {
        repairs.add(&rule, RepairKind::OutOfRange, || format!("score is {score}"));
        *score = score.clamp(0.0, 1.0);
    }
    finding.labels = labels(&rule, finding.labels, repairs);
    finding.evidence = evidence(&rule, finding.evidence, repairs);
    finding
}

/// Sorts labels and drops repeated names. A changed value gets a digest of the original, so that long names with equal beginnings stay
/// separate alerts.
fn labels(rule: &str, labels: Vec<Label>, repairs: &mut Repairs) -> Vec<Label> {
    let mut kept: BTreeMap<String, String> = BTreeMap::new();
    for label in labels {
        let name = line(&label.name, LABEL_NAME_BYTES_MAX);
        let value = checked_value(&label.value);
        if value != label.value || name != label.name {
            repairs.add(rule, RepairKind::Text, || format!("label {name}"));
        }
        if name.is_empty() || kept.len() == LABELS_MAX || kept.contains_key(&*name) {
            repairs.add(rule, RepairKind::Labels, || format!("label {name}"));
        } else {
            kept.insert(name.into_owned(), value.into_owned());
        }
    }
    kept.into_iter().map(|(name, value)| Label { name, value }).collect()
}

/// A label's value after the check.
pub(crate) fn checked_value(value: &str) -> Cow<'_, str> {
    identity(value, LABEL_VALUE_BYTES_MAX)
}

/// Cleans the evidence. The plugin's order stays, since people read it.
fn evidence(rule: &str, mut evidence: Vec<Label>, repairs: &mut Repairs) -> Vec<Label> {
    if evidence.len() > LABELS_MAX {
        repairs.add(rule, RepairKind::Labels, || format!("{} items of evidence", evidence.len()));
        evidence.truncate(LABELS_MAX);
    }
    let clean = |item: Label| {
        let name = line(&item.name, LABEL_NAME_BYTES_MAX).into_owned();
        let value = line(&item.value, LABEL_VALUE_BYTES_MAX).into_owned();
        if name != item.name || value != item.value {
            repairs.add(rule, RepairKind::Text, || format!("evidence {name}"));
        }
        Label { name, value }
    };
    evidence.into_iter().map(clean).collect()
}

fn insert_graver(findings: &mut BTreeMap<Vec<Label>, Finding>, finding: Finding, repairs: &mut Repairs) {
    let Some(other) = findings.get_mut(&finding.labels) else {
        findings.insert(finding.labels.clone(), finding);
        return;
    };
    repairs.add(&finding.rule, RepairKind::Duplicate, || finding.title.clone());
    if gravity(&finding) > gravity(other) {
        *other = finding;
    }
}

/// Rank of a finding. A raise of any severity outranks a hold, because only a raise starts an alert.
fn gravity(finding: &Finding) -> impl Ord + use<> {
    (finding.strength, finding.severity)
}

/// The gravest findings of each rule within the limits. A rule that lost findings is skipped as a whole, so that its missing alerts freeze
/// instead of resolving.
fn bounded(
    by_rule: BTreeMap<String, BTreeMap<Vec<Label>, Finding>>,
    skipped: &mut Vec<Skipped>,
    cut: &mut Vec<Cut>,
    repairs: &mut Repairs,
) -> Vec<Finding> {
    let mut kept: Vec<Finding> = Vec::new();
    for (rule, findings) in by_rule {
        let found = findings.len();
        let room = FINDINGS_PER_RULE_MAX.min(FINDINGS_MAX - kept.len());
        let mut findings: Vec<Finding> = findings.into_values().collect();
        if found > room {
            let why = format!("{found} findings, of which {room} are kept");
            repairs.add_many(&rule, RepairKind::Overflow, (found - room) as u64, || why.clone());
            findings.sort_by_key(|finding| Reverse(gravity(finding)));
            let beyond: Vec<Severity> =
                findings.drain(room..).filter(|left| left.strength == Strength::Raise).map(|left| left.severity).collect();
            if let Some(severity) = beyond.iter().max() {
                cut.push(Cut { rule: rule.clone(), count: beyond.len() as u64, severity: *severity });
            }
            skipped.push(Skipped { rule, labels: Vec::new(), reason: SkipReason::PartFailed(why) });
        }
        kept.append(&mut findings);
    }
    kept
}

fn bounded_skips(skips: Vec<Skipped>, repairs: &mut Repairs) -> Vec<Skipped> {
    let mut by_rule: BTreeMap<String, BTreeMap<Vec<Label>, SkipReason>> = BTreeMap::new();
    for skip in skips {
        let labels = labels(&skip.rule, skip.labels, repairs);
        let reason = match skip.reason {
            SkipReason::NoData => SkipReason::NoData,
            SkipReason::PartFailed(why) => SkipReason::PartFailed(line(&why, LINE_BYTES_MAX).into_owned()),
            SkipReason::Unsupported(why) => SkipReason::Unsupported(line(&why, LINE_BYTES_MAX).into_owned()),
        };
        by_rule.entry(skip.rule).or_default().insert(labels, reason);
    }
    let mut kept = Vec::new();
    for (rule, skips) in by_rule {
        if skips.len() > FINDINGS_PER_RULE_MAX {
            // There are more label sets than alerts can exist. Skipping the whole rule freezes at least the same alerts.
            let why = format!("{} label sets skipped", skips.len());
            repairs.add(&rule, RepairKind::Overflow, || why.clone());
            kept.push(Skipped { rule, labels: Vec::new(), reason: SkipReason::PartFailed(why) });
            continue;
        }
        kept.extend(skips.into_iter().map(|(labels, reason)| Skipped { rule: rule.clone(), labels, reason }));
    }
    kept
}

#[derive(Default)]
struct Repairs(BTreeMap<(String, RepairKind), (u64, String)>);

impl Repairs {
    fn add(&mut self, rule: &str, kind: RepairKind, example: impl FnOnce() -> String) {
        self.add_many(rule, kind, 1, example);
    }

    fn add_many(&mut self, rule: &str, kind: RepairKind, count: u64, example: impl FnOnce() -> String) {
        let entry = self.0.entry((rule.to_owned(), kind)).or_insert_with(|| (0, example()));
        entry.0 += count;
    }

    fn into_list(self) -> Vec<Repair> {
        let repair = |((rule, kind), (count, example))| Repair { rule, kind, count, example };
        self.0.into_iter().map(repair).collect()
    }
}
