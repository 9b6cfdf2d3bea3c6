//! An alert rule that calls everything its world offers, and finds whatever it was told.

wit_bindgen::generate!({ path: "../../wit", world: "alert-rule-plugin", generate_all });

use exports::pharos::plugin::alert_rule::{Finding, Report, Rule, SkipReason, Skipped, Strength};
use exports::pharos::plugin::plugin::Description;
use pharos::plugin::log::{self, Field, Level};
use pharos::plugin::snapshots::{ColumnKind, Matcher, PartState, Pattern, Reading, Snapshot, Table};
use pharos::plugin::types::{Failure, Label, Severity};
use pharos::plugin::{config, state, telemetry};

struct RustRule;

export!(RustRule);

const KINDS: [&str; 2] = ["postgres", "redis"];

impl exports::pharos::plugin::plugin::Guest for RustRule {
    fn describe() -> Description {
        Description {
            id: "rust-rule".to_owned(),
            version: "0.1.0".to_owned(),
            summary: "calls everything that contract 0.1.0 offers a rule".to_owned(),
            settings_schema: r#"{"type":"object","properties":{"metric":{"type":"string"}}}"#.to_owned(),
            wants: vec![("state".to_owned(), "to count its calls".to_owned())],
        }
    }

    fn init() -> Result<(), Failure> {
        if log::enabled(Level::Debug) {
            log::emit(Level::Debug, "begins", &[Field { name: "settings".to_owned(), value: config::settings() }]);
        }
        if config::settings().contains("refuse") { Err(Failure::InvalidConfig("the settings say so".to_owned())) } else { Ok(()) }
    }
}

impl exports::pharos::plugin::alert_rule::Guest for RustRule {
    fn rules() -> Result<Vec<Rule>, Failure> {
        let rule = |id: String, kind: &str| Rule {
            id,
            summary: "what was seen".to_owned(),
            category: "contract".to_owned(),
            subject_kind: kind.to_owned(),
            needs: vec![format!("pharos_{kind}_up")],
            for_ms: 0,
            keep_firing_ms: 0,
            runbook: Some("https://example.com/runbook".to_owned()),
        };
        Ok(KINDS.iter().flat_map(|kind| [rule(format!("seen-{kind}"), kind), rule(format!("unseen-{kind}"), kind)]).collect())
    }

    fn evaluate(at: Snapshot) -> Result<Report, Failure> {
        let subject = at.subject();
        let calls = count_calls();
        telemetry::counter_add("calls_total", 1);
        telemetry::gauge_set("parts", at.parts().len() as f64);
        let title = format!("{} of {}: {}", subject.kind, subject.labels.len(), seen(&at, &subject.kind));
        let evidence = vec![
            Label { name: "calls".to_owned(), value: calls },
            Label { name: "clock".to_owned(), value: format!("{} every {}", at.taken_at_ms(), at.interval_ms()) },
        ];
        let finding = Finding {
            rule: format!("seen-{}", subject.kind),
            labels: vec![Label { name: "by".to_owned(), value: "rust".to_owned() }],
            severity: Severity::Warning,
            strength: Strength::Raise,
            score: Some(0.5),
            value: Some(at.samples(&format!("pharos_{}_up", subject.kind), &[], Reading::Value).values.iter().sum()),
            raise_at: Some(1.0),
            clear_at: Some(0.0),
            title,
            detail: "everything that the contract offers was asked for".to_owned(),
            cause: Some("a test".to_owned()),
            fix: Some("none is needed".to_owned()),
            evidence,
        };
        let reasons = [SkipReason::NoData, SkipReason::PartFailed("failed".to_owned()), SkipReason::Unsupported("unsupported".to_owned())];
        let skipped = reasons.into_iter().map(|reason| Skipped { rule: format!("unseen-{}", subject.kind), labels: Vec::new(), reason });
        Ok(Report { findings: vec![finding], skipped: skipped.collect() })
    }
}

/// Parts, samples, rates and rows, as one line.
fn seen(at: &Snapshot, kind: &str) -> String {
    let (metric, counter, label) = match kind {
        "postgres" => ("pharos_postgres_backends", "pharos_postgres_commits_total", "datname"),
        _ => ("pharos_redis_keys", "pharos_redis_commands_total", "db"),
    };
    let parts: Vec<String> = at.parts().into_iter().map(|part| format!("{} {}", part.name, state_of(&part.state))).collect();
    let source = at.source(metric).map_or("nobody", |part| state_of(&part.state));
    let one = |pattern| at.samples(metric, &[Matcher { label: label.to_owned(), pattern }], Reading::Value).values.len();
    let matched = [
        one(Pattern::Equals("app".to_owned())),
        one(Pattern::OneOf(vec!["app".to_owned(), "shop".to_owned()])),
        one(Pattern::Prefix("s".to_owned())),
    ];
    let samples = at.samples(metric, &[], Reading::Value);
    let names: Vec<&str> = samples.labels.iter().map(|column| column.name.as_str()).collect();
    let rates = at.samples(counter, &[], Reading::Rate).values;
    let members: usize = at.members().iter().filter(|member| at.member(&member.id).is_some()).count();
    let rows = at.table("lock_waits").map_or_else(|| "no table".to_owned(), |table| rows(&table));
    format!(
        "{}; {source}; {matched:?} of {} with {}; rates {rates:?}; {members} members; {rows}",
        parts.join(", "),
        samples.values.len(),
        names.join(" ")
    )
}

fn state_of(state: &PartState) -> &'static str {
    match state {
        PartState::Present => "present",
        PartState::Failed(_) => "failed",
        PartState::Unsupported(_) => "unsupported",
        PartState::Stale(_) => "stale",
    }
}

fn rows(table: &Table) -> String {
    let count = table.row_count();
    let columns = table.columns().into_iter().zip(0..).map(|(column, index)| {
        let cells = match column.kind {
            ColumnKind::Float => format!("{:?}", table.floats(index, 0, count).values),
            ColumnKind::Integer | ColumnKind::Boolean => format!("{:?}", table.integers(index, 0, count).values),
            ColumnKind::Text => table.texts(index, 0, count).words.join(" "),
        };
        format!("{} {cells}", column.name)
    });
    columns.collect::<Vec<_>>().join(", ")
}

/// Through every function of `state`. Outside an agent there is none, and that is said.
fn count_calls() -> String {
    let before = match state::get("calls") {
        Ok(before) => before,
        Err(err) => return format!("{err:?}"),
    };
    let calls: u64 = before.as_deref().and_then(|bytes| String::from_utf8_lossy(bytes).parse().ok()).unwrap_or_default();
    let next = (calls + 1).to_string().into_bytes();
    let swapped = state::compare_and_swap("calls", before.as_deref(), &next);
    let kept = state::put("calls", &next, None).and_then(|()| state::put("scratch", b"x", Some(60)));
    let gone = kept.and_then(|()| state::delete("scratch"));
    match (swapped, gone) {
        (Ok(_), Ok(())) => (calls + 1).to_string(),
        (swapped, gone) => format!("{swapped:?} {gone:?}"),
    }
}
