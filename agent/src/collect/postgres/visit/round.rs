//! One way through all datnames of a server, with some visits.

use std::time::Duration;

use pharos_model::alert::Now;
use pharos_model::budget::Cost;
use tokio::time::Instant;

use super::Visit;
use crate::collect::CollectError;
use crate::collect::postgres::row::{Fields, query};
use crate::postgres::{ConnectError, Connector, Session};

/// Who could be visited, and who could not.
#[derive(Debug, Default)]
pub struct Round {
    /// Of the server's counters.
    pub epoch: u64,
    pub visited: Vec<Visited>,
}

#[derive(Debug, Clone)]
pub struct Visited {
    pub datname: String,
    /// None: all went well.
    pub failure: Option<Failure>,
}

/// Why a datname gave nothing.
#[derive(Debug, Clone)]
pub struct Failure {
    pub why: String,
    reason: &'static str,
}

impl Failure {
    fn of(err: &CollectError) -> Self {
        Self { why: err.text(), reason: err.reason() }
    }

    pub fn state(&self) -> &'static str {
        if self.reason == "unsupported" { "unsupported" } else { "failed" }
    }
}

impl Round {
    /// Nobody could be visited: then there are no facts, only the first reason.
    pub fn whole_failure(&self) -> Option<CollectError> {
        if self.visited.iter().any(|visited| visited.failure.is_none()) {
            return None;
        }
        let first = self.visited.first();
        let failure = first.and_then(|visited| visited.failure.clone());
        let failure =
            failure.unwrap_or_else(|| Failure { why: "the server has no datname that can be visited".to_owned(), reason: "unsupported" });
        let datname = first.map(|visited| visited.datname.clone()).unwrap_or_default();
        Some(match failure.state() {
            "unsupported" => CollectError::Unsupported(failure.why),
            _ => CollectError::Visit { datname, why: failure.why, reason: failure.reason },
        })
    }
}

/// What one visit did in a round.
pub struct Made {
    pub name: &'static str,
    pub round: Round,
    pub cost: Cost,
    pub took: Duration,
}

/// Makes these visits in every datname. The first session is with the datname that the monitor knows, and asks for the others.
pub async fn go(connector: &Connector, mut visits: Vec<&mut dyn Visit>, now: Now) -> Vec<Made> {
    let mut made: Vec<Made> = visits
        .iter()
        .map(|visit| Made { name: visit.name(), round: Round::default(), cost: Cost::default(), took: Duration::ZERO })
        .collect();
    let home = connector.address.datname.clone();
    let first = connector.connect().await;
    let datnames = match &first {
        Ok(session) => others(session, &home).await,
        Err(_) => Vec::new(),
    };
    let mut reached = visit(connector, &home, first, &mut visits, &mut made, now).await;
    for (datname, may_connect) in datnames {
        if !may_connect {
            let role = connector.address.user.replace('"', "\"\"");
            let why = format!(
                "role `{}` may not connect to it; run: GRANT CONNECT ON DATABASE \"{}\" TO \"{role}\"",
                connector.address.user,
                datname.replace('"', "\"\"")
            );
            fail_all(&mut made, &datname, &CollectError::Unsupported(why));
            continue;
        }
        if let Err(failure) = &reached {
            // The server does not answer: to knock for each of its datnames would take all day.
            made.iter_mut().for_each(|made| made.round.visited.push(Visited { datname: datname.clone(), failure: Some(failure.clone()) }));
            continue;
        }
        let connector = connector.to(&datname);
        let session = connector.connect().await;
        reached = visit(&connector, &datname, session, &mut visits, &mut made, now).await;
    }
    made
}

/// The datnames besides the monitor's own, each with whether the role may connect to it. Where they cannot be read there are none, and
/// the visit to the first one will say why.
async fn others(session: &Session, home: &str) -> Vec<(String, bool)> {
    let rows = query(session, "datnames", include_str!("../sql/datnames.sql")).await.unwrap_or_default();
    let row = |row| {
        let fields = Fields::new("datnames", row);
        Some((fields.field::<String>("datname").ok()?, fields.field::<bool>("may_connect").ok()?))
    };
    rows.iter().filter_map(row).filter(|(datname, _)| datname != home).collect()
}

/// Makes all visits in one datname. An error means that the server itself did not answer.
async fn visit(
    connector: &Connector,
    datname: &str,
    session: Result<Session, ConnectError>,
    visits: &mut [&mut dyn Visit],
    made: &mut [Made],
    now: Now,
) -> Result<(), Failure> {
    let mut session = match session {
        Ok(session) => Some(session),
        Err(source) => {
            let is_of_datname = matches!(source.reason(), "refused" | "authentication" | "privilege" | "datname" | "too-many-connections");
            let err = CollectError::Connect { collector: "visits", source };
            fail_all(made, datname, &err);
            return if is_of_datname { Ok(()) } else { Err(Failure::of(&err)) };
        }
    };
    for (visit, made) in visits.iter_mut().zip(made) {
        let started = Instant::now();
        let mut outcome = visit_in(connector, &mut session, *visit, made, now).await;
        // Somebody ended our session: that says nothing about the datname, so it is asked again at once.
        if outcome.as_ref().is_err_and(|err| err.reason() == "closed") {
            outcome = visit_in(connector, &mut session, *visit, made, now).await;
        }
        made.took += started.elapsed();
        let failure = outcome.err().map(|err| Failure::of(&err));
        made.round.visited.push(Visited { datname: datname.to_owned(), failure });
    }
    Ok(())
}

/// Makes one visit in the session, or in a new one where it ended.
async fn visit_in(
    connector: &Connector,
    place: &mut Option<Session>,
    visit: &mut dyn Visit,
    made: &mut Made,
    now: Now,
) -> Result<(), CollectError> {
    let session = match place {
        Some(session) => session,
        None => place.insert(connector.connect().await.map_err(|source| CollectError::Connect { collector: visit.name(), source })?),
    };
    made.round.epoch = session.epoch();
    let outcome = read(connector, session, visit, now).await;
    made.cost += session.take_cost();
    if outcome.as_ref().is_err_and(CollectError::ends_session) {
        // It leaves its place before another one is opened.
        *place = None;
    }
    outcome
}

async fn read(connector: &Connector, session: &mut Session, visit: &mut dyn Visit, now: Now) -> Result<(), CollectError> {
    let collector = visit.name();
    let deadline = connector.collect.deadline_of(collector);
    let begun = session.begin(collector, deadline, connector.collect.statement_timeout_within(deadline)).await;
    begun.map_err(|source| CollectError::Query { collector, source })?;
    visit.visit(session, now).await
}

fn fail_all(made: &mut [Made], datname: &str, err: &CollectError) {
    for made in made {
        made.round.visited.push(Visited { datname: datname.to_owned(), failure: Some(Failure::of(err)) });
    }
}
