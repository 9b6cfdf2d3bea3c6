//! One way through all datnames of a server, with some visits.
//!
//! It goes one datname further at a time, so that whoever drives it can do something else in between, or end. It is bounded in time: those
//! that it did not reach are said, and come first in the next one.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use pharos_model::alert::Now;
use pharos_model::budget::Cost;
use pharos_model::privilege::sql::identifier;
use pharos_model::visits::{Patience, resume};
use tokio::time::Instant;

use super::Visit;
use crate::collect::CollectError;
use crate::collect::postgres::row::{Fields, query};
use crate::postgres::{ConnectError, Connector, RefusalReason, Session};
use crate::telemetry::logs::chain;

/// How long a round may go on; the first datname is visited in any case.
const ROUND_MAX: Duration = Duration::from_mins(2);

/// Who could be visited, and who could not.
#[derive(Debug, Default)]
pub struct Round {
    /// Of the server's counters.
    pub epoch: u64,
    /// Numbers of all datnames that are there; none where nobody knows.
    pub listed: Option<BTreeSet<u32>>,
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
    /// One of a closed set: for a session that was refused, [`RefusalReason`](crate::postgres::RefusalReason).
    pub reason: &'static str,
}

impl Failure {
    fn of(err: &CollectError) -> Self {
        Self { why: err.text(), reason: err.reason() }
    }

    pub fn state(&self) -> &'static str {
        match self.reason {
            "unsupported" | "not-reached" => self.reason,
            _ => "failed",
        }
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

/// What rounds know of each other.
#[derive(Debug, Default)]
pub struct Itinerary {
    /// Besides the monitor's own, as listed last.
    others: Vec<Other>,
    /// Where the next round goes on.
    resume_at: Option<String>,
}

#[derive(Debug, Clone)]
struct Other {
    datname: String,
    /// Whether the name holds bytes that are no text, and is shown in another way.
    is_escaped: bool,
    may_connect: bool,
    is_invalid: bool,
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
    pub async fn begin(connector: &Connector, visits: &mut [&mut dyn Visit], itinerary: &mut Itinerary, now: Now) -> Self {
        let made =
            |visit: &&mut dyn Visit| Made { name: visit.name(), round: Round::default(), cost: Cost::default(), took: Duration::ZERO };
        let made = visits.iter().map(made).collect();
        let mut going = Self { started: Instant::now(), now, made, left: VecDeque::new(), patience: Patience::default() };
        let home = &connector.address.datname;
        let mut first = connector.connect().await;
        let listed = match &first {
            Ok(session) => list(session, home).await.map_err(|err| (err.ends_session(), Failure::of(&err))),
            Err(err) => Err((false, Failure { why: chain(err), reason: err.reason().as_str() })),
        };
        if let Err((true, _)) = &listed {
            // It leaves its place before another one is opened.
            drop(first);
            first = connector.connect().await;
        }
        going.visit(connector, home, first, visits).await;
        match listed {
            Ok((others, numbers)) => {
                going.made.iter_mut().for_each(|made| made.round.listed = Some(numbers.clone()));
                itinerary.others = others;
                let others = itinerary.others.clone();
                going.left = resume(others, itinerary.resume_at.as_deref(), |other| &other.datname).into();
            }
            // Those that were there last are not gone because nobody can say so.
            Err((_, failure)) => itinerary.others.iter().for_each(|other| going.fail(&other.datname, &failure)),
        }
        going
    }

    pub fn is_done(&self) -> bool {
        self.left.is_empty()
    }

    /// Goes to the next datname.
    pub async fn step(&mut self, connector: &Connector, visits: &mut [&mut dyn Visit], itinerary: &mut Itinerary) {
        if self.started.elapsed() >= ROUND_MAX {
            itinerary.resume_at = self.left.front().map(|other| other.datname.clone());
            let why = format!("a round takes {ROUND_MAX:?} at most and did not come here; the next one begins here");
            return self.fail_rest(&Failure { why, reason: "not-reached" });
        }
        if let Some(failure) = self.patience.lost() {
            let failure = failure.clone();
            return self.fail_rest(&failure);
        }
        let Some(Other { datname, is_escaped, may_connect, is_invalid }) = self.left.pop_front() else { return };
        if is_invalid {
            let invalid = RefusalReason::DatnameInvalid;
            return self.fail(&datname, &Failure { why: invalid.meaning().to_owned(), reason: invalid.as_str() });
        }
        if is_escaped {
            let why = "its name is not UTF-8, so no session can ask for it; from a datname of the encoding in which the name was made, \
                       run: ALTER DATABASE ... RENAME TO ...";
            return self.fail(&datname, &Failure { why: why.to_owned(), reason: RefusalReason::Encoding.as_str() });
        }
        if !may_connect {
            let role = &connector.address.user;
            let (name, grantee) = (identifier(&datname), identifier(role));
            let why = format!("role `{role}` may not connect to it; run: GRANT CONNECT ON DATABASE {name} TO {grantee}");
            return self.fail(&datname, &Failure { why, reason: "unsupported" });
        }
        let connector = connector.to(&datname);
        let session = connector.connect().await;
        self.visit(&connector, &datname, session, visits).await;
    }

    /// Makes all visits in one datname.
    async fn visit(&mut self, connector: &Connector, datname: &str, session: Result<Session, ConnectError>, visits: &mut [&mut dyn Visit]) {
        let mut session = match session {
            Ok(session) => Some(session),
            Err(source) => {
                let is_of_datname = source.reason().is_of_datname();
                let failure = Failure::of(&CollectError::Connect { collector: "visits", source });
                self.fail(datname, &failure);
                self.patience.learn((!is_of_datname).then_some(failure));
                return;
            }
        };
        self.patience.learn(None);
        for (visit, made) in visits.iter_mut().zip(&mut self.made) {
            if connector.stop.is_cancelled() {
                return;
            }
            let started = Instant::now();
            let mut outcome = visit_in(connector, &mut session, *visit, made, self.now).await;
            // Somebody ended our session: that says nothing about the datname, so it is asked again at once.
            if outcome.as_ref().is_err_and(|err| err.reason() == "closed") {
                outcome = visit_in(connector, &mut session, *visit, made, self.now).await;
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

/// The datnames besides the monitor's own, in the order of their names, and the numbers of all.
async fn list(session: &Session, home: &str) -> Result<(Vec<Other>, BTreeSet<u32>), CollectError> {
    let rows = query(session, "datnames", include_str!("../sql/datnames.sql")).await?;
    let (mut others, mut numbers) = (Vec::new(), BTreeSet::new());
    for row in &rows {
        let fields = Fields::new("datnames", row);
        numbers.insert(fields.field("oid")?);
        let datname = fields.text("datname")?;
        if datname != home {
            let [may_connect, is_invalid] = [fields.field("may_connect")?, fields.field("is_invalid")?];
            let is_escaped = fields.is_escaped("datname");
            others.push(Other { datname: datname.to_owned(), is_escaped, may_connect, is_invalid });
        }
    }
    others.sort_by(|a, b| a.datname.cmp(&b.datname));
    Ok((others, numbers))
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
