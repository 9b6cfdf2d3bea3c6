//! Checks the facts of a case - series, parts and members - and makes a timeline of them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use pharos_model::catalogue::metrics::{MetricSpec, Metrics, UP_PART};
use pharos_model::rule_case::{PartStep, PartSteps, SeriesSteps, Steps, Timeline, Value};
use pharos_model::snapshot::Snapshot;
use pharos_model::subject::{Label, Subject, SubjectKind};

use super::check::Check;
use super::file::{CaseTable, MemberTable, PartTable, SeriesTable, SubjectTable};
use super::tables::tables;
use crate::cli::workbench::read_snapshot;
use crate::config::shape::did_you_mean;

const SERVER: [(&str, bool); 2] = [("up", true), ("down", false)];
const PART_STATES: [(&str, PartStep); 5] = [
    ("present", PartStep::Present),
    ("failed", PartStep::Failed),
    ("unsupported", PartStep::Unsupported),
    ("stale", PartStep::Stale),
    ("absent", PartStep::Absent),
];

/// Reason of a failed or unsupported part if the case gives none.
const WHY: &str = "set by the case";

pub(super) fn timeline(check: &mut Check<'_>, path: &str, case: &CaseTable, shared: &SubjectTable, interval: Duration) -> Option<Timeline> {
    let base = recorded(check, path, case.snapshot.as_deref());
    let Some(subject) = subject(&case.subject, shared, base.as_ref()) else {
        check.report(
            path,
            "the case has no subject; give the file a `[subject]` whose `kind` is \"postgres\", \"redis\", \"database\" or \"agent\"",
        );
        return None;
    };
    let server = server(check, path, case.server.as_deref())?;
    if !subject.kind.is_server() && case.server.is_some() {
        check.report(&format!("{path}.server"), format_args!("{} is no server that could be down; leave it out", subject.kind.described()));
    }
    let ticks = case.restarts.iter().enumerate();
    let restarts = ticks.map(|(index, at)| check.tick(&format!("{path}.restarts[{index}]"), **at, interval)).collect();
    Some(Timeline {
        interval,
        base,
        server,
        restarts,
        parts: parts(check, path, &case.part, &subject.kind),
        series: series(check, path, &case.series, &subject),
        tables: tables(check, path, &case.table, &subject.kind, interval),
        members: members(check, path, &case.member, &subject, interval),
        subject,
    })
}

fn server(check: &mut Check<'_>, path: &str, text: Option<&str>) -> Option<Steps<bool>> {
    match text.map(|text| Steps::words(text, "`up x3 down`", &SERVER)) {
        Some(Ok(server)) => Some(server),
        Some(Err(err)) => {
            check.report(&format!("{path}.server"), err);
            None
        }
        None => Some(Steps::always(true)),
    }
}

/// Members of a database: servers, each with its own facts at the ticks of the case.
fn members(check: &mut Check<'_>, path: &str, tables_of: &[MemberTable], database: &Subject, interval: Duration) -> Vec<Timeline> {
    let Some(kind) = database.kind.members() else {
        if !tables_of.is_empty() {
            check.report(&format!("{path}.member"), format_args!("{} has no members; a database does", database.kind.described()));
        }
        return Vec::new();
    };
    let mut members: Vec<Timeline> = Vec::new();
    for (index, member) in tables_of.iter().enumerate() {
        let path = format!("{path}.member[{index}]");
        if members.iter().any(|other| other.subject.id == member.id) {
            check.report(&format!("{path}.id"), "another member has this id");
        }
        let labels = [&database.labels[..], &[Label::new("server", &member.id)]].concat();
        let version = member.version.clone().unwrap_or_default();
        let subject = Subject { kind: kind.clone(), id: member.id.clone(), version, labels };
        let Some(server) = server(check, &path, member.server.as_deref()) else { continue };
        members.push(Timeline {
            interval,
            base: None,
            server,
            restarts: Vec::new(),
            parts: parts(check, &path, &member.part, &subject.kind),
            series: series(check, &path, &member.series, &subject),
            tables: tables(check, &path, &member.table, &subject.kind, interval),
            members: Vec::new(),
            subject,
        });
    }
    members
}

fn recorded(check: &mut Check<'_>, path: &str, snapshot: Option<&str>) -> Option<Snapshot> {
    match read_snapshot(&check.folder.join(snapshot?)) {
        Ok(change) => Some(change.snapshot),
        Err(err) => {
            check.report(&format!("{path}.snapshot"), format_args!("{err:#}"));
            None
        }
    }
}

/// The subject of a case. Each key comes from the case, else from the file, else from the recorded snapshot. `None` if no kind is given.
fn subject(own: &SubjectTable, shared: &SubjectTable, base: Option<&Snapshot>) -> Option<Subject> {
    let recorded = base.map(|base| base.subject.clone());
    let kind = own.kind.clone().or(shared.kind.clone()).or(recorded.as_ref().map(|subject| subject.kind.clone()))?;
    let example = kind.example();
    let recorded = recorded.unwrap_or_else(|| Subject::new(kind.clone(), &example.id));
    let id = own.id.clone().or(shared.id.clone()).unwrap_or(recorded.id);
    let labels = match own.labels.as_ref().or(shared.labels.as_ref()) {
        Some(labels) => labels.iter().map(|(name, value)| Label::new(name, value)).collect(),
        None if base.is_some() => recorded.labels,
        None => {
            let mut labels = example.labels;
            // The last label of each kind has the id.
            if let Some(label) = labels.last_mut() {
                label.value.clone_from(&id);
            }
            labels
        }
    };
    let version = own.version.clone().or(shared.version.clone()).unwrap_or(recorded.version);
    Some(Subject { kind, id, version, labels })
}

fn series(check: &mut Check<'_>, path: &str, tables: &[SeriesTable], subject: &Subject) -> Vec<SeriesSteps> {
    let mut seen = BTreeSet::new();
    let mut all = Vec::new();
    for (index, SeriesTable { metric, labels, values }) in tables.iter().enumerate() {
        let path = format!("{path}.series[{index}]");
        if let Err(why) = metric_of(metric, &subject.kind) {
            check.report(&format!("{path}.metric"), why);
            continue;
        }
        let known = Metrics::shipped().spec(metric).map_or(&[][..], |spec| &spec.labels);
        for name in labels.keys().filter(|name| !known.contains(name)) {
            let hint = did_you_mean(name, known.iter().map(String::as_str));
            let hint = match known {
                [] => "; it has no labels but those of the subject".to_owned(),
                _ if hint.is_empty() => format!("; it has {}", known.join(", ")),
                _ => hint,
            };
            check.report(&format!("{path}.labels.{name}"), format_args!("`{metric}` has no label `{name}`{hint}"));
        }
        if !seen.insert((metric, labels)) {
            check.report(&path, "another series of the case has the same metric and labels");
        }
        match Steps::<Value>::values(values) {
            Ok(values) => {
                let labels = labels.iter().map(|(name, value)| Label::new(name, value)).collect();
                all.push(SeriesSteps { metric: metric.clone(), labels, values });
            }
            Err(err) => check.report(&format!("{path}.values"), err),
        }
    }
    all
}

/// Checks that a subject of this kind can have the metric. An error says why it cannot.
fn metric_of(metric: &str, kind: &SubjectKind) -> Result<(), String> {
    if kind.up_metric() == Some(metric) {
        return Err(format!("`{metric}` follows from the server: write `server = \"up x3 down\"`, so that all else fails with it"));
    }
    let catalogue = Metrics::shipped();
    match catalogue.spec(metric) {
        Some(_) if catalogue.part_of(metric, kind).is_some() => Ok(()),
        Some(MetricSpec { part: None, .. }) => {
            Err(format!("`{metric}` is of the agent itself, and in no snapshot of {}", kind.described()))
        }
        Some(_) => Err(format!("`{metric}` is not of {}, which the case is about", kind.described())),
        None => {
            let known = catalogue.iter().map(|(name, _)| name).filter(|name| catalogue.part_of(name, kind).is_some());
            Err(format!("there is no metric `{metric}`{}", did_you_mean(metric, known)))
        }
    }
}

fn parts(check: &mut Check<'_>, path: &str, tables: &[PartTable], kind: &SubjectKind) -> BTreeMap<String, PartSteps> {
    let mut all = BTreeMap::new();
    for (index, PartTable { name, states, why }) in tables.iter().enumerate() {
        let path = format!("{path}.part[{index}]");
        if !is_part(check, &format!("{path}.name"), name, kind) {
            continue;
        }
        match Steps::words(states, "`present x3 failed`", &PART_STATES) {
            Ok(states) => {
                let why = why.clone().unwrap_or_else(|| WHY.to_owned());
                if all.insert(name.clone(), PartSteps { states, why }).is_some() {
                    check.report(&format!("{path}.name"), "another one of the case has this name");
                }
            }
            Err(err) => check.report(&format!("{path}.states"), err),
        }
    }
    all
}

fn is_part(check: &mut Check<'_>, path: &str, name: &str, kind: &SubjectKind) -> bool {
    let known: Vec<&str> = Metrics::shipped().parts_of(kind).into_iter().filter(|part| *part != UP_PART).collect();
    if known.contains(&name) {
        return true;
    }
    let hint = match did_you_mean(name, known.iter().copied()) {
        _ if name == UP_PART && kind.is_server() => "; write `server = \"up x3 down\"` instead".to_owned(),
        hint if hint.is_empty() => format!("; there are {}", known.join(", ")),
        hint => hint,
    };
    check.report(path, format_args!("no part of {} is named `{name}`{hint}", kind.described()));
    false
}
