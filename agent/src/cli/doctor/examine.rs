//! Examines one server: connects, runs every collector once, visits every datname, and reads which rights the role lacks.

use std::collections::BTreeSet;

use pharos_model::postgres::privilege::{Datname, DatnameLacks, KnownDatname, NEEDS, Need, ServerLacks, script};
use pharos_model::snapshot::{FailureReason, Family, PartId, Table};
use pharos_model::subject::SubjectKind;

use super::report::{Lack, PartReport, Refused, ServerReport, State};
use crate::clock::Clock;
use crate::collect::postgres::{PostgresSource, privileges};
use crate::collect::redis::RedisSource;
use crate::collect::single_run::{Outcome, Outcomes, run_once};
use crate::collect::{CollectError, ConnectFailure, Source};

pub(super) async fn postgres(source: PostgresSource, clock: Clock) -> ServerReport {
    let mut report = ServerReport::new(SubjectKind::Postgres, source.id(), source.database.clone());
    if let Err(failure) = examine_postgres(&source, clock, &mut report).await {
        report.refused = Some(Refused { reason: failure.reason, why: failure.text });
    }
    report.conclude()
}

async fn examine_postgres(source: &PostgresSource, clock: Clock, report: &mut ServerReport) -> Result<(), ConnectFailure> {
    let session = source.connect().await?;
    report.version = Some(session.version().to_owned());
    report.caveat = session.caveat();
    let is_elsewhere = session.is_elsewhere();
    if is_elsewhere {
        let why =
            format!("`{}`, the datname of the URL, accepts no session; the server was read through another one", source.access.datname());
        report.caveat = Some(report.caveat.take().map_or(why.clone(), |caveat| format!("{why}; {caveat}")));
    }
    report.role = Some(session.role().to_owned());
    report.login = (session.login() != session.role()).then(|| session.login().to_owned());
    let (mut session, outcomes) = run_once(source, session, clock).await?;
    let lacks = match source.begin(&mut session, privileges::PART).await {
        Ok(()) => privileges::of_server(&session).await,
        Err(err) => Err(err),
    };
    // This session is in another datname, so it cannot see whether the extension is in the datname that needs it.
    let lacks = lacks.map(|lacks| if is_elsewhere { lacks.without_extension() } else { lacks });
    let visits = Visits::of(&outcomes);
    let lacks = lacks.inspect_err(|err| report.parts.push(failed(privileges::PART, None, err))).ok();
    let needs = lacks.as_ref().map(|lacks| lacks.needs.clone()).unwrap_or_default();
    // The part `visits` is left out: its rows are reported instead, one for each datname.
    let of_server = outcomes.iter().filter(|outcome| outcome.part != PartId::Visits && !visits.include(outcome.part));
    report.parts.extend(of_server.map(|outcome| report_part(outcome, &needs)));
    if let Some(lacks) = lacks {
        report.datname = Some(lacks.datname.clone());
        report.standby = Some(lacks.in_recovery);
        let datnames = visit_all(source, &lacks, &visits, report).await;
        report.script = script(session.role(), session.major(), &lacks, &datnames);
    }
    Ok(())
}

/// Reads in every datname which rights are missing there, and adds that to the results of the visits. Uses one session at a time.
async fn visit_all(source: &PostgresSource, server: &ServerLacks, visits: &Visits, report: &mut ServerReport) -> Vec<Datname> {
    let mut datnames = Vec::new();
    for KnownDatname { name, is_escaped, may_connect } in &server.datnames {
        if *is_escaped {
            // The visits report why. A script cannot contain such a name.
            report.parts.extend(visits.parts(name, &[]));
            continue;
        }
        let lacks = if *may_connect { lacks_in(source, name).await.map(Some) } else { Ok(None) };
        let needs = match &lacks {
            Ok(Some(lacks)) => [server.needs.as_slice(), &lacks.needs].concat(),
            Ok(None) => vec![Need::Connect],
            Err(_) => Vec::new(),
        };
        report.parts.extend(visits.parts(name, &needs));
        match lacks {
            Ok(lacks) => datnames.push(Datname { name: name.clone(), lacks }),
            Err(err) => report.parts.push(failed(privileges::PART, Some(name), &err)),
        }
    }
    for closed in visits.others(&server.datnames) {
        report.parts.extend(visits.parts(closed, &[]));
    }
    datnames
}

async fn lacks_in(source: &PostgresSource, datname: &str) -> Result<DatnameLacks, CollectError> {
    let session = source.access.connector.to(datname).connect().await;
    let mut session = session.map_err(|source| CollectError::Connect { collector: privileges::PART, source })?;
    source.begin(&mut session, privileges::PART).await?;
    privileges::of_datname(&session).await
}

/// Results of the visits: one for each part in each datname.
struct Visits {
    rows: Vec<Visit>,
}

struct Visit {
    part: PartId,
    datname: String,
    state: State,
    reason: Option<FailureReason>,
    why: Vec<String>,
    has_cure: bool,
}

impl Visits {
    /// Reads the visitor's own report.
    fn of(outcomes: &Outcomes) -> Self {
        let visits = outcomes.iter().filter(|outcome| outcome.part == PartId::Visits);
        let tables = visits.filter_map(|outcome| outcome.result.as_ref().ok()?.table("visits"));
        let rows = tables.flat_map(|table| (0..table.row_count as usize).filter_map(move |row| visit(table, row)));
        Self { rows: rows.collect() }
    }

    fn include(&self, part: PartId) -> bool {
        self.rows.iter().any(|visit| visit.part == part)
    }

    /// Datnames of the visits that are not in this list.
    fn others(&self, datnames: &[KnownDatname]) -> BTreeSet<&str> {
        let names = self.rows.iter().map(|visit| visit.datname.as_str());
        names.filter(|name| !datnames.iter().any(|datname| datname.name == *name)).collect()
    }

    /// Reports on the parts in one datname: the visited ones, and those for which something is missing.
    fn parts(&self, datname: &str, lacking: &[Need]) -> Vec<PartReport> {
        let visited = self.rows.iter().filter(|visit| visit.datname == datname);
        let mut parts: Vec<PartReport> = visited
            .map(|visit| {
                let lacks = Lack::of(visit.part, lacking);
                let state = (visit.state, visit.reason);
                PartReport::new(visit.part, Some(datname), state, visit.why.clone(), lacks).curable(visit.has_cure)
            })
            .collect();
        let in_datname = lacking.iter().filter(|need| need.is_per_datname());
        let others = NEEDS.iter().filter(|entry| in_datname.clone().any(|need| *need == entry.need)).flat_map(|entry| entry.parts);
        for part in others {
            if !parts.iter().any(|known| known.part == *part) {
                let state = if lacking.contains(&Need::Connect) { State::Unsupported } else { State::Ok };
                parts.push(PartReport::new(*part, Some(datname), (state, None), Vec::new(), Lack::of(*part, lacking)));
            }
        }
        parts
    }
}

fn visit(table: &Table, row: usize) -> Option<Visit> {
    let [part, datname, state] = ["collector", "datname", "state"].map(|column| table.text(column, row));
    let state = match state? {
        "ok" => State::Ok,
        "unsupported" => State::Unsupported,
        _ => State::Failed,
    };
    let reason = table.text("reason", row).and_then(FailureReason::named);
    let why = table.text("why", row).map(ToOwned::to_owned).into_iter().collect();
    let has_cure = table.text("cure", row).is_some();
    Some(Visit { part: PartId::named(part?)?, datname: datname?.to_owned(), state, reason, why, has_cure })
}

/// Reports the result of one part of the server, with what is missing for it.
fn report_part(outcome: &Outcome, lacking: &[Need]) -> PartReport {
    let Outcome { part, result } = outcome;
    let (state, why) = match result {
        Ok(_) => (State::Ok, Vec::new()),
        Err(CollectError::Unsupported(missing) | CollectError::Privilege(missing)) => (State::Unsupported, vec![missing.to_string()]),
        Err(err) => (State::Failed, vec![err.text()]),
    };
    let reason = result.as_ref().err().map(CollectError::reason);
    let has_cure = result.as_ref().is_err_and(|err| err.cure().is_some());
    PartReport::new(*part, None, (state, reason), why, Lack::of(*part, lacking)).curable(has_cure)
}

fn failed(part: PartId, datname: Option<&str>, err: &CollectError) -> PartReport {
    PartReport::new(part, datname, (State::Failed, Some(err.reason())), vec![err.text()], Lack::default())
}

pub(super) async fn redis(source: RedisSource, clock: Clock) -> ServerReport {
    let mut report = ServerReport::new(SubjectKind::Redis, source.id(), source.database.clone());
    let outcomes = match source.connect().await {
        Ok(session) => run_once(&source, session, clock).await.map(|(_, outcomes)| outcomes),
        Err(failure) => Err(failure),
    };
    match outcomes {
        Ok(outcomes) => {
            let facts = outcomes.iter().filter_map(|outcome| outcome.result.as_ref().ok());
            let families: Vec<&Family> = facts.flat_map(|facts| &facts.families).collect();
            report.version = label(&families, "pharos_redis_info", "version");
            report.standby = label(&families, "pharos_redis_info", "role").map(|role| role != "master");
            report.parts = outcomes.iter().map(|outcome| report_part(outcome, &[])).collect();
        }
        Err(failure) => report.refused = Some(Refused { reason: failure.reason, why: failure.text }),
    }
    report.conclude()
}

/// The text of a label in the first series of a metric.
fn label(families: &[&Family], metric: &str, label: &str) -> Option<String> {
    let family = families.iter().find(|family| family.metric == metric)?;
    let column = family.labels.iter().find(|column| column.name == label)?;
    column.values.text(0).map(ToOwned::to_owned)
}
