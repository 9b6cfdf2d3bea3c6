//! A round through all datnames of a server, with some visits.
//!
//! A round goes one datname further at a time, so that its driver can do something else in between, or end. A round is bounded in time.
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
use super::itinerary::{Itinerary, Listed, Other, list};
use super::round::{Failure, Round, Visited};
use crate::collect::postgres::ServerAccess;
use crate::collect::{CollectError, Missing};
use crate::postgres::monitor::{ConnectError, Session};

/// How long a round may go on; the first datname is visited in any case.
const ROUND_MAX: Duration = Duration::from_mins(2);

/// The results of one visit in a round.
pub struct Made {
    pub part: PartId,
    pub round: Round,
    pub cost: Cost,
    pub took: Duration,
}

/// A round that is under way.
pub struct Going {
    pub started: Instant,
    pub now: Now,
    pub made: Vec<Made>,
    left: VecDeque<Other>,
    patience: Patience<Failure>,
}

impl Going {
    /// Visits the datname that the monitor knows, and asks there for the others.
    pub async fn begin(access: &ServerAccess, visits: &mut [&mut dyn Visit], itinerary: &mut Itinerary, now: Now) -> Self {
        let made =
            |visit: &&mut dyn Visit| Made { part: visit.part(), round: Round::default(), cost: Cost::default(), took: Duration::ZERO };
        let made = visits.iter().map(made).collect();
        let mut going = Self { started: Instant::now(), now, made, left: VecDeque::new(), patience: Patience::default() };
        let (home, connector) = (access.datname(), &access.connector);
        let mut first = connector.connect().await;
        let listed = match &first {
            Ok(session) => list(session, home).await.map_err(NoList::of),
            Err(refused) => match connector.connect_elsewhere(refused).await {
                Some(session) => list(&session, home).await.map_err(|_| NoList::Datname),
                None if refused.reason().is_of_datname_alone() => Err(NoList::Datname),
                None => Err(NoList::Server(Failure::new(refused.reason().failure(), &chain(refused)))),
            },
        };
        if let Err(NoList::Session(_)) = &listed {
            // It leaves its place before another one is opened.
            drop(first);
            first = connector.connect().await;
        }
        going.visit(access, home, first, visits).await;
        match listed {
            Ok(Listed { others, numbers, unlisted }) => {
                for made in &mut going.made {
                    made.round.listed = Some(numbers.clone());
                    made.round.unlisted = unlisted;
                }
                itinerary.others = others;
                going.left = itinerary.way();
            }
            // Those that were there last are not gone because nobody can say so.
            Err(NoList::Datname) => going.left = itinerary.way(),
            Err(NoList::Server(failure) | NoList::Session(failure)) => {
                itinerary.others.iter().for_each(|other| going.fail(&other.datname, &failure));
            }
        }
        going
    }

    pub fn is_done(&self) -> bool {
        self.left.is_empty()
    }

    /// Goes to the next datname.
    pub async fn step(&mut self, access: &ServerAccess, visits: &mut [&mut dyn Visit], itinerary: &mut Itinerary) {
        if self.started.elapsed() >= ROUND_MAX {
            itinerary.resume_at = self.left.front().map(|other| other.datname.clone());
            let why = format!("a round takes {ROUND_MAX:?} at most and did not come here; the next one begins here");
            return self.fail_rest(&Failure::new(FailureReason::NotReached, &why));
        }
        if let Some(failure) = self.patience.lost() {
            let failure = failure.clone();
            return self.fail_rest(&failure);
        }
        let Some(Other { datname, is_escaped, is_template, hindrance }) = self.left.pop_front() else { return };
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
            access.connector.remember_as_entrance();
        }
        self.visit(&access, &datname, session, visits).await;
    }

    /// Makes all visits in one datname.
    async fn visit(&mut self, access: &ServerAccess, datname: &str, session: Result<Session, ConnectError>, visits: &mut [&mut dyn Visit]) {
        let mut session = match session {
            Ok(session) => Some(session),
            Err(source) => {
                let is_of_datname = source.reason().is_of_datname();
                let failure = Failure::of(&CollectError::Connect { collector: PartId::Visits, source });
                self.fail(datname, &failure);
                self.patience.learn((!is_of_datname).then_some(failure));
                return;
            }
        };
        self.patience.learn(None);
        for (visit, made) in visits.iter_mut().zip(&mut self.made) {
            if access.connector.stop.is_cancelled() {
                return;
            }
            let started = Instant::now();
            let mut outcome = visit_in(access, &mut session, *visit, made, self.now).await;
            // Somebody ended our session: that says nothing about the datname, so it is asked again at once.
            if outcome.as_ref().is_err_and(|err| err.reason() == FailureReason::Closed) {
                outcome = visit_in(access, &mut session, *visit, made, self.now).await;
            }
            made.took += started.elapsed();
            let failure = outcome.err().map(|err| Failure::of(&err));
            made.round.visited.push(Visited { datname: datname.to_owned(), failure });
        }
    }

    fn fail_rest(&mut self, failure: &Failure) {
        for other in std::mem::take(&mut self.left) {
            self.fail(&other.datname, failure);
        }
    }

    fn fail(&mut self, datname: &str, failure: &Failure) {
        for made in &mut self.made {
            made.round.visited.push(Visited { datname: datname.to_owned(), failure: Some(failure.clone()) });
        }
    }
}

/// Why the datnames are not known.
enum NoList {
    /// The configured one refuses, and so does any other that was tried: those that are known may still let sessions in.
    Datname,
    Server(Failure),
    /// The server did not list its datnames, and the session is of no use any more.
    Session(Failure),
}

impl NoList {
    fn of(err: CollectError) -> Self {
        let failure = Failure::of(&err);
        if err.ends_session() { Self::Session(failure) } else { Self::Server(failure) }
    }
}

/// Makes one visit in the session, or in a new one where it ended.
async fn visit_in(
    access: &ServerAccess,
    place: &mut Option<Session>,
    visit: &mut dyn Visit,
    made: &mut Made,
    now: Now,
) -> Result<(), CollectError> {
    let session = match place {
        Some(session) => session,
        None => place.insert(access.connector.connect().await.map_err(|source| CollectError::Connect { collector: visit.part(), source })?),
    };
    made.round.epoch = session.epoch();
    let outcome = read(access, session, visit, now).await;
    made.cost += session.take_cost();
    if outcome.as_ref().is_err_and(CollectError::ends_session) {
        // It leaves its place before another one is opened.
        *place = None;
    }
    outcome
}

async fn read(access: &ServerAccess, session: &mut Session, visit: &mut dyn Visit, now: Now) -> Result<(), CollectError> {
    access.begin(session, visit.part()).await?;
    session.ask_inside();
    visit.visit(session, now).await
}
