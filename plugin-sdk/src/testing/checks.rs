//! Helpers for tests of a plugin that is a table of checks.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::Facts;
use crate::checks::{Family, Scope, Settings};
use crate::{AlertRule, Finding, Plugin, Report};

/// The report of a single check of a plugin on these facts, with all other checks turned off. A server gets the role that the check
/// judges: a primary, a standby, or the primary of a database. Facts that already state a role are not changed.
#[track_caller]
pub fn judge<P: Plugin<Settings = Settings> + AlertRule>(families: &[Family], check: &str, facts: &Facts) -> Report {
    let others = Family::all(families).filter(|other| other.id != check);
    let off: Vec<_> = others.map(|other| format!(r#""{}":{{"enabled":false}}"#, other.id)).collect();
    let settings = crate::settings::parse(&format!(r#"{{"checks":{{{}}}}}"#, off.join(","))).expect("well-formed");
    let plugin = P::new(settings).expect("every id exists");
    let family = families.iter().find(|family| family.checks.iter().any(|candidate| candidate.id == check)).expect("the check exists");
    let judged = Family::all(families).find(|candidate| candidate.id == check).expect("the check exists");
    let facts = match judged.scope {
        Scope::Each if family.subject_kind == "database" && facts.is_server() => facts.clone().into_database(),
        Scope::Each => facts.clone(),
        Scope::Primary => facts.clone().in_recovery(false),
        Scope::Standby => facts.clone().in_recovery(true),
        Scope::Shared => facts.clone().into_database(),
    };
    plugin.evaluate(&facts.snapshot()).expect("judging cannot fail")
}

/// Formats a whole finding for a comparison in a test: title, detail, cause, fix and evidence.
pub fn finding_text(finding: &Finding) -> String {
    let mut text = format!("{}\n{}\n", finding.title, finding.detail);
    for part in [&finding.cause, &finding.fix].into_iter().flatten() {
        let _ = writeln!(text, "> {part}");
    }
    for line in &finding.evidence {
        let _ = writeln!(text, "- {}: {}", line.name, line.value);
    }
    text
}

/// Checks that every check has a unique id and a test case, needs existing metrics, and is enabled by default. `cases` is the text of the
/// plugin's `tests.toml`, `catalogue` the text of the agent's `metrics.toml`.
#[track_caller]
pub fn complete<P: Plugin<Settings = Settings> + AlertRule>(families: &[Family], cases: &str, catalogue: &str) {
    let mut ids = BTreeSet::new();
    for check in Family::all(families) {
        assert!(ids.insert(check.id), "{} is there twice", check.id);
        assert!(cases.contains(&format!("rule = \"{}\"", check.id)), "{} has a case in tests.toml", check.id);
        for metric in check.needs.iter().filter(|need| need.starts_with("pharos_")) {
            assert!(catalogue.contains(&format!("[{metric}]")), "{metric} is in the catalogue");
        }
    }
    let plugin = P::new(Settings::default()).expect("defaults are in order");
    assert_eq!(plugin.rules().len(), ids.len());
}
