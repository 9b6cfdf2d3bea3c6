//! Needs of rules that no collector meets: a misspelt metric, or an unknown kind of subject.

use std::fmt;

use super::rule_spec::RuleSpec;
use crate::catalogue::metrics::Metrics;
use crate::catalogue::tables::Tables;
use crate::subject::SubjectKind;

/// A need of a rule that no collector meets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unmet {
    /// Id of the rule.
    pub rule: String,
    /// Kind of the rule's subjects.
    pub kind: SubjectKind,
    /// Name of the metric or table; `None` if the kind itself is unknown.
    pub need: Option<String>,
}

impl fmt::Display for Unmet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rule, kind, need } = self;
        match need {
            Some(need) => write!(f, "rule `{rule}` needs `{need}`, which no collector reads for a subject of kind `{kind}`"),
            None => write!(
                f,
                "rule `{rule}` is about subjects of kind `{kind}`, which the agent does not observe; kinds are {}",
                SubjectKind::NAMES.join(", ")
            ),
        }
    }
}

/// Unmet needs of these rules, in their order.
pub fn unmet(rules: &[RuleSpec]) -> Vec<Unmet> {
    rules.iter().flat_map(unmet_needs).collect()
}

fn unmet_needs(rule: &RuleSpec) -> Vec<Unmet> {
    let kind = &rule.subject_kind;
    let unmet = |need: Option<&String>| Unmet { rule: rule.id.clone(), kind: kind.clone(), need: need.cloned() };
    if !kind.is_observed() {
        return vec![unmet(None)];
    }
    let missing = rule.needs.iter().filter(|need| !collected(kind).any(|known| known == *need));
    missing.map(|need| unmet(Some(need))).collect()
}

/// Names of all metrics, then of all tables, collected for this kind of subject. A database also has those of its servers.
pub fn collected(kind: &SubjectKind) -> impl Iterator<Item = &'static str> + use<> {
    let kinds: Vec<SubjectKind> = std::iter::once(kind.clone()).chain(kind.members()).collect();
    let catalogue = Metrics::shipped();
    let metric_kinds = kinds.clone();
    let metrics = catalogue.iter().map(|(metric, _)| metric);
    let metrics = metrics.filter(move |metric| metric_kinds.iter().any(|kind| catalogue.part_of(metric, kind).is_some()));
    let tables = Tables::shipped().iter().filter(move |spec| kinds.iter().any(|kind| spec.is_of(kind)));
    metrics.chain(tables.map(|spec| spec.name.as_str()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[track_caller]
    fn check(kind: &str, needs: &[&str], expected: &[&str]) {
        let rule = RuleSpec {
            id: "r".into(),
            summary: String::new(),
            category: String::new(),
            subject_kind: kind.into(),
            needs: needs.iter().map(|need| (*need).to_owned()).collect(),
            for_: Duration::ZERO,
            keep_firing: Duration::ZERO,
            runbook: None,
        };
        let texts: Vec<String> = unmet(&[rule]).iter().map(ToString::to_string).collect();
        assert_eq!(texts, expected);
    }

    #[test]
    fn metrics_and_tables_of_the_kind_are_met() {
        check("postgres", &["pharos_postgres_up", "lock_waits"], &[]);
        check("agent", &["pharos_store_errors_total", "process_open_fds", "receivers"], &[]);
        check("redis", &[], &[]);
    }

    #[test]
    fn a_rule_about_a_database_may_need_metrics_and_tables_of_its_servers() {
        check("database", &["pharos_database_members", "members", "pharos_postgres_tables", "tables"], &[]);
        let why = "rule `r` needs `pharos_redis_up`, which no collector reads for a subject of kind `database`";
        check("database", &["pharos_redis_up"], &[why]);
        let why = "rule `r` needs `members`, which no collector reads for a subject of kind `postgres`";
        check("postgres", &["members"], &[why]);
    }

    #[test]
    fn an_unmet_need_is_named_with_the_kind() {
        check(
            "redis",
            &["pharos_redis_key", "pharos_redis_up", "lock_waits"],
            &[
                "rule `r` needs `pharos_redis_key`, which no collector reads for a subject of kind `redis`",
                "rule `r` needs `lock_waits`, which no collector reads for a subject of kind `redis`",
            ],
        );
        check("agent", &["pharos_redis_up"], &["rule `r` needs `pharos_redis_up`, which no collector reads for a subject of kind `agent`"]);
    }

    #[test]
    fn an_unknown_kind_is_reported_with_the_existing_ones() {
        check(
            "postgresql",
            &["pharos_postgres_up"],
            &[
                "rule `r` is about subjects of kind `postgresql`, which the agent does not observe; kinds are agent, database, postgres, redis",
            ],
        );
    }
}
