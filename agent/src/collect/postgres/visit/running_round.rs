//! A round through all datnames of a server, with some visits.
//!
//! Each step of a round visits one datname, so that the caller can do other work between two steps, or end. A round is bounded in time.
//! Datnames that were not reached are reported, and come first in the next round.

use std::collections::VecDeque;
use std::time::Duration;

use pharos_model::alert::Now;
use pharos_model::budget::Cost;
use pharos_model::error_chain::chain;
use pharos_model::postgres::visits::Patience;
use pharos_model::snapshot::{FailureReason, PartId};
use tokio::time::Instant;

use super::datname_visit::Visit;
use super::round::{Failure, Round, Visited};
use super::visit_order::{ListedDatnames, OtherDatname, VisitOrder, list};
use crate::collect::postgres::ServerAccess;
use crate::collect::{CollectError, Missing};
use crate::postgres::monitor::{ConnectError, Session};

/// Longest time of a round. The first datname is visited in any case.
const ROUND_MAX: Duration = Duration::from_mins(2);

/// The results of one visit in a round.
pub(super) struct VisitResult {
    pub part: PartId,
    pub round: Round,
    pub cost: Cost,
    pub took: Duration,
}

/// A round that is under way.
pub(super) struct RunningRound {
    pub started: Instant,
    pub now: Now,
    pub results: Vec<VisitResult>,
    remaining: VecDeque<OtherDatname>,
    patience: Patience<Failure>,
}

impl RunningRound {
    /// Visits the configured datname, and lists the other datnames there.
    pub(super) async fn begin(access: &ServerAccess, visits: &mut [&mut dyn Visit], order: &mut VisitOrder, now: Now) -> Self {
        let result = |visit: &&mut dyn Visit| VisitResult {
            part: visit.part(),
            round: Round::default(),
            cost: Cost::default(),
            took: Duration::ZERO,
        };
        let results = visits.iter().map(result).collect();
        let mut running = Self { started: Instant::now(), now, results, remaining: VecDeque::new(), patience: Patience::default() };
        let (home, connector) = (access.datname(), &access.connector);
        let mut first = connector.connect().await;
        let listed = match &first {
            Ok(session) => list(session, home).await.map_err(ListFailure::of),
            Err(refused) => match connector.connect_elsewhere(refused).await {
                Some(session) => list(&session, home).await.map_err(|_| ListFailure::Datname),
                None if refused.reason().is_of_datname_alone() => Err(ListFailure::Datname),
                None => Err(ListFailure::Server(Failure::new(refused.reason().failure(), &chain(refused)))),
            },
        };
        if let Err(ListFailure::Session(_)) = &listed {
            // The session frees its place before another one is opened.
            drop(first);
            first = connector.connect().await;
        }
        running.visit_datname(access, home, first, visits).await;
        match listed {
            Ok(ListedDatnames { others, numbers, unlisted }) => {
                for result in &mut running.results {
                    result.round.listed = Some(numbers.clone());
                    result.round.unlisted = unlisted;
                }
                order.others = others;
                running.remaining = order.datnames();
            }
            // Without a new list, the datnames of the last one are tried: they may still exist.
            Err(ListFailure::Datname) => running.remaining = order.datnames(),
            Err(ListFailure::Server(failure) | ListFailure::Session(failure)) => {
                order.others.iter().for_each(|other| running.fail(&other.datname, &failure));
            }
        }
        running
    }

    /// Whether every datname was tried.
    pub(super) fn is_done(&self) -> bool {
        self.remaining.is_empty()
    }

    /// Visits the next datname.
    pub(super) async fn step(&mut self, access: &ServerAccess, visits: &mut [&mut dyn Visit], order: &mut VisitOrder) {
        if self.started.elapsed() >= ROUND_MAX {
            order.resume_at = self.remaining.front().map(|other| other.datname.clone());
            let why = format!("a round takes {ROUND_MAX:?} at most and did not reach this datname; the next round begins with it");
            return self.fail_rest(&Failure::new(FailureReason::NotReached, &why));
        }
        if let Some(failure) = self.patience.exhausted() {
            let failure = failure.clone();
            return self.fail_rest(&failure);
        }
        let Some(OtherDatname { datname, is_escaped, is_template, hindrance }) = self.remaining.pop_front() else { return };
        if let Some(hindrance) = hindrance {
            return self.fail(&datname, &hindrance.failure(&datname, is_escaped, access.user()));
        }
        if is_escaped {
            let why = "its name is not UTF-8, or holds what looks like an escape, so no session can ask for it; rename it from a datname of the encoding in which the name was \
                       made";
            let missing = Missing::new(why).cured_by(format!("ALTER DATABASE <{datname}> RENAME TO <new name>"));
            return self.fail(&datname, &Failure::unsupported(FailureReason::Encoding, missing));
        }
        let access = access.to(&datname);
        let session = access.connector.connect().await;
        if session.is_ok() && !is_template {
            access.connector.record_accepting();
        }
        self.visit_datname(&access, &datname, session, visits).await;
    }

    /// Makes all visits in one datname.
    async fn visit_datname(
        &mut self,
        access: &ServerAccess,
        datname: &str,
        session: Result<Session, ConnectError>,
        visits: &mut [&mut dyn Visit],
    ) {
        let mut session = match session {
            Ok(session) => Some(session),
            Err(source) => {
                let is_of_datname = source.reason().is_of_datname();
                let failure = Failure::of(&CollectError::Connect { collector: PartId::Visits, source });
                self.fail(datname, &failure);
                self.patience.record((!is_of_datname).then_some(failure));
                return;
            }
        };
        self.patience.record(None);
        for (visit, result) in visits.iter_mut().zip(&mut self.results) {
            if access.connector.stop.is_cancelled() {
                return;
            }
            let started = Instant::now();
            let mut outcome = visit_in(access, &mut session, *visit, result, self.now).await;
            // A session that was ended from outside shows nothing about the datname, so the visit is repeated at once.
            if outcome.as_ref().is_err_and(|err| err.reason() == FailureReason::Closed) {
                outcome = visit_in(access, &mut session, *visit, result, self.now).await;
            }
            result.took += started.elapsed();
            let failure = outcome.err().map(|err| Failure::of(&err));
            result.round.visited.push(Visited { datname: datname.to_owned(), failure });
        }
    }

    fn fail_rest(&mut self, failure: &Failure) {
        for other in std::mem::take(&mut self.remaining) {
            self.fail(&other.datname, failure);
        }
    }

    fn fail(&mut self, datname: &str, failure: &Failure) {
        for result in &mut self.results {
            result.round.visited.push(Visited { datname: datname.to_owned(), failure: Some(failure.clone()) });
        }
    }
}

/// Why the datnames of the server could not be listed.
enum ListFailure {
    /// The configured datname refuses sessions, and so does every other that was tried. The others of the last list may accept them.
    Datname,
    /// The server did not list its datnames, or accepted no session at all.
    Server(Failure),
    /// The server did not list its datnames, and the session can no longer be used.
    Session(Failure),
}

impl ListFailure {
    fn of(err: CollectError) -> Self {
        let failure = Failure::of(&err);
        if err.ends_session() { Self::Session(failure) } else { Self::Server(failure) }
    }
}

/// Makes one visit in the session, or in a new session if the last one ended.
async fn visit_in(
    access: &ServerAccess,
    place: &mut Option<Session>,
    visit: &mut dyn Visit,
    result: &mut VisitResult,
    now: Now,
) -> Result<(), CollectError> {
    let session = match place {
        Some(session) => session,
        None => place.insert(access.connector.connect().await.map_err(|source| CollectError::Connect { collector: visit.part(), source })?),
    };
    result.round.epoch = session.epoch();
    let outcome = read(access, session, visit, now).await;
    result.cost += session.take_cost();
    if outcome.as_ref().is_err_and(CollectError::ends_session) {
        // The session frees its place before another one is opened.
        *place = None;
    }
    outcome
}

async fn read(access: &ServerAccess, session: &mut Session, visit: &mut dyn Visit, now: Now) -> Result<(), CollectError> {
    access.begin(session, visit.part()).await?;
    session.begin_visit();
    visit.visit(session, now).await
}
