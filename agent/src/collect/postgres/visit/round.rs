//! One way through all datnames of a server, with some visits.
//!
//! It goes one datname further at a time, so that whoever drives it can do something else in between, or end. It is bounded in time: those
//! that it did not reach are said, and come first in the next one.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use pharos_model::alert::Now;
use pharos_model::budget::Cost;
use pharos_model::postgres::privilege::sql::identifier;
use pharos_model::postgres::visits::{Patience, resume};
use pharos_model::snapshot::{FailureReason, PartId};
use tokio::time::Instant;

use super::Visit;
use crate::collect::postgres::ServerAccess;
use crate::collect::postgres::row::{Fields, query};
use crate::collect::{CollectError, Missing};
use crate::postgres::monitor::{ConnectError, Session};
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
    /// Datnames beyond those that are listed, which are not visited.
    pub unlisted: u64,
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
    /// One line.
    pub why: String,
    pub reason: FailureReason,
    /// The statement that mends it, where there is one.
    pub cure: Option<String>,
    /// Whether the datname does not offer it, so that asking again is no use.
    is_unsupported: bool,
}

impl Failure {
    fn new(reason: FailureReason, why: &str) -> Self {
        // A server answers in several lines.
        let why = why.split(['\n', '\r']).map(str::trim).collect::<Vec<_>>().join(" ");
        Self { why, reason, cure: None, is_unsupported: reason == FailureReason::Unsupported }
    }

    fn unsupported(reason: FailureReason, missing: Missing) -> Self {
        Self { is_unsupported: true, ..Self::new(reason, &missing.why) }.cured_by(missing.cure)
    }

    fn cured_by(self, cure: Option<String>) -> Self {
        Self { cure, ..self }
    }

    /// Why and with what cure, in one text.
    pub fn text(&self) -> String {
        self.missing().to_string()
    }

    fn missing(&self) -> Missing {
        Missing { why: self.why.clone(), cure: self.cure.clone() }
    }

    fn of(err: &CollectError) -> Self {
        match err {
            CollectError::Unsupported(missing) | CollectError::Privilege(missing) => Self::unsupported(err.reason(), missing.clone()),
            _ => Self::new(err.reason(), &err.text()),
        }
    }

    pub fn state(&self) -> &'static str {
        match self.reason {
            FailureReason::NotReached => self.reason.as_str(),
            _ if self.is_unsupported => "unsupported",
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
        let failure = failure.unwrap_or_else(|| Failure::new(FailureReason::Unsupported, "the server has no datname that can be visited"));
        let datname = first.map(|visited| visited.datname.clone()).unwrap_or_default();
        Some(match failure.reason {
            FailureReason::Privilege if failure.is_unsupported => CollectError::Privilege(failure.missing()),
            _ if failure.is_unsupported => CollectError::Unsupported(failure.missing()),
            _ => CollectError::Visit { datname, why: failure.why, reason: failure.reason },
        })
    }
}

/// What one visit did in a round.
pub struct Made {
    pub part: PartId,
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

impl Itinerary {
    fn way(&self) -> VecDeque<Other> {
        resume(self.others.clone(), self.resume_at.as_deref(), |other| &other.datname).into()
    }
}

#[derive(Debug, Clone)]
struct Other {
    datname: String,
    /// Whether the name holds bytes that are no text, and is shown in another way.
    is_escaped: bool,
    /// Whether new datnames are copies of it, for which nobody may be connected to it.
    is_template: bool,
    hindrance: Option<Hindrance>,
}

/// Why nobody, or not this role, can connect to a datname. It is known from the catalogue, so nobody knocks in vain.
#[derive(Debug, Clone, Copy)]
enum Hindrance {
    Invalid,
    Closed,
    Limit,
    Privilege,
}

impl Hindrance {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "invalid" => Self::Invalid,
            "closed" => Self::Closed,
            "limit" => Self::Limit,
            "privilege" => Self::Privilege,
            _ => return None,
        })
    }

    fn failure(self, datname: &str, is_escaped: bool, role: &str) -> Failure {
        // A name that is shown with escapes is not the server's own, and may be another datname's.
        let name = if is_escaped { format!("<{datname}>") } else { identifier(datname) };
        let (reason, missing) = match self {
            Self::Invalid => (
                FailureReason::DatnameInvalid,
                Missing::new("an interrupted DROP DATABASE left it behind, and its data is gone").cured_by(format!("DROP DATABASE {name}")),
            ),
            Self::Closed => (FailureReason::DatnameClosed, Missing::new("it takes no sessions at all: ALLOW_CONNECTIONS is false")),
            Self::Limit => {
                (FailureReason::DatnameLimit, Missing::new("its CONNECTION LIMIT is 0, so none but superusers can connect to it"))
            }
            Self::Privilege => (
                FailureReason::Privilege,
                Missing::new(format!("role `{role}` may not connect to it"))
                    .cured_by(format!("GRANT CONNECT ON DATABASE {name} TO {}", identifier(role))),
            ),
        };
        Failure::unsupported(reason, missing)
    }
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

/// Why nobody knows which datnames there are.
enum NoList {
    /// The configured one refuses, and so does any other that was tried: those that are known may still let sessions in.
    Datname,
    Server(Failure),
    /// The same, and the session is of no use any more.
    Session(Failure),
}

impl NoList {
    fn of(err: CollectError) -> Self {
        let failure = Failure::of(&err);
        if err.ends_session() { Self::Session(failure) } else { Self::Server(failure) }
    }
}

struct Listed {
    /// Besides the monitor's own, in the order of their names.
    others: Vec<Other>,
    /// Of all.
    numbers: BTreeSet<u32>,
    unlisted: u64,
}

async fn list(session: &Session, home: &str) -> Result<Listed, CollectError> {
    let rows = query(session, PartId::Datnames, include_str!("../sql/datnames.sql")).await?;
    let (mut others, mut numbers, mut total) = (Vec::new(), BTreeSet::new(), 0);
    for row in &rows {
        let fields = Fields::new(PartId::Datnames, row);
        numbers.insert(fields.field("oid")?);
        total = fields.field::<i64>("total")?.unsigned_abs();
        let datname = fields.text("datname")?;
        if datname != home {
            let is_escaped = fields.is_escaped("datname");
            let hindrance = fields.field::<Option<&str>>("hindrance")?.and_then(Hindrance::named);
            others.push(Other { datname: datname.to_owned(), is_escaped, is_template: fields.field("is_template")?, hindrance });
        }
    }
    others.sort_by(|a, b| a.datname.cmp(&b.datname));
    let unlisted = total.saturating_sub(rows.len() as u64);
    Ok(Listed { others, numbers, unlisted })
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
