//! What the schedule asks of whatever it reads: a session, collectors, and what they may cost.

use futures_util::future::BoxFuture;
use pharos_model::budget::Cost;
use pharos_model::snapshot::{FailureReason, PartId, Table};
use pharos_model::subject::Subject;

use super::background::Background;
use super::spending::Spending;
use crate::clock::Clock;
use crate::collect::{CollectError, Collector, Facts};
use crate::dial::Trouble;

/// A server as the schedule sees it.
pub trait Source: Send + 'static {
    type Session: Send;

    /// Kind, id and labels; the version is known once a session was there.
    fn subject(&self) -> Subject;
    /// The metric that says whether the server was reached.
    fn up_metric(&self) -> &'static str;
    /// Opens a session within its own deadline; the error's reason is for labels, its text for people.
    fn connect(&self) -> BoxFuture<'_, Result<Self::Session, ConnectFailure>>;
    /// Gives the session to a run of this collector: what it asks is answered within the collector's deadline or not at all.
    fn begin<'a>(&'a self, session: &'a mut Self::Session, part: PartId) -> BoxFuture<'a, Result<(), CollectError>>;
    /// The server's version; none while the session has not asked for it.
    fn version(session: &Self::Session) -> Option<String>;
    /// What people should know who read facts of this version.
    fn caveat(_: &Self::Session) -> Option<String> {
        None
    }
    fn is_closed(session: &Self::Session) -> bool;
    fn collectors(&self) -> Vec<Box<dyn Collector<Self::Session>>>;
    /// What our statements may cost the server, as a share of one core.
    fn budget(&self) -> f64;
    /// What the session asked since this was called last.
    fn take_cost(_: &Self::Session) -> Cost {
        Cost::default()
    }
    /// Takes from fresh facts what the server itself says our statements cost it.
    fn account(_: &Facts, _: &Spending) {}
    /// Takes from fresh facts what is worth saying when there is no session any more.
    fn learn(&mut self, _: &Facts) {}
    /// What is known while there is no session, for rules that say what to do about it.
    fn tables_without_session(&self, _failure: &ConnectFailure) -> Vec<Table> {
        Vec::new()
    }
    /// The collectors that read beside the session.
    fn background(&self, _clock: Clock, _spending: &Spending) -> Option<Box<dyn Background>> {
        None
    }
}

/// Why there is no session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectFailure {
    pub reason: FailureReason,
    pub text: String,
    pub trouble: Trouble,
}
