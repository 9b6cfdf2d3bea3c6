//! The seam between the schedule and a product: sessions, collectors, and what they may cost.

use futures_util::future::BoxFuture;
use pharos_model::budget::Cost;
use pharos_model::snapshot::{FailureReason, PartId, Table};
use pharos_model::subject::Subject;

use super::background::Background;
use super::spending::Spending;
use crate::clock::Clock;
use crate::collect::collect_error::CollectError;
use crate::collect::collector::{Collector, Facts};
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
    /// Gives the session to a run of this collector, within the collector's deadline.
    fn begin<'a>(&'a self, session: &'a mut Self::Session, part: PartId) -> BoxFuture<'a, Result<(), CollectError>>;
    /// The server's version; none before the session asked for it.
    fn version(session: &Self::Session) -> Option<String>;
    /// A warning about facts of this version, for people who read them.
    fn caveat(_: &Self::Session) -> Option<String> {
        None
    }
    fn is_closed(session: &Self::Session) -> bool;
    fn collectors(&self) -> Vec<Box<dyn Collector<Self::Session>>>;
    /// The cost that the agent's statements may have, as a share of one core.
    fn budget(&self) -> f64;
    /// Returns the cost of the session's statements since the last call.
    fn take_cost(_: &Self::Session) -> Cost {
        Cost::default()
    }
    /// Charges the costs that the server itself counted, as fresh facts list them.
    fn account(_: &Facts, _: &Spending) {}
    /// Learns from fresh facts what is shown once there is no session any more.
    fn learn(&mut self, _: &Facts) {}
    /// Tables that are shown while there is no session, for rules that explain what to do.
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
