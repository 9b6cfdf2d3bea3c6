//! The seam between the schedule and a product: sessions, collectors, and the cost that they may have.

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

/// A server, with everything that the schedule needs of its product.
pub(crate) trait Source: Send + 'static {
    type Session: Send;

    /// Kind, id and labels of the server. The version is known only after the first session.
    fn subject(&self) -> Subject;
    /// The metric that is 1 while the server can be reached, or else 0.
    fn up_metric(&self) -> &'static str;
    /// Opens a session within its own deadline; the error's reason is for labels, its text for people.
    fn connect(&self) -> BoxFuture<'_, Result<Self::Session, ConnectFailure>>;
    /// Prepares the session for a run of this collector, within the deadline of the collector.
    fn begin<'a>(&'a self, session: &'a mut Self::Session, part: PartId) -> BoxFuture<'a, Result<(), CollectError>>;
    /// The version of the server, once the session has read it.
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
    /// Charges the costs that the server itself counted, if fresh facts list them.
    fn account(_: &Facts, _: &Spending) {}
    /// Stores those of the fresh facts that are shown while there is no session.
    fn observe(&mut self, _: &Facts) {}
    /// Tables that are shown while there is no session, for rules that explain what to do.
    fn tables_without_session(&self, _failure: &ConnectFailure) -> Vec<Table> {
        Vec::new()
    }
    /// The collectors that use the second session.
    fn background(&self, _clock: Clock, _spending: &Spending) -> Option<Box<dyn Background>> {
        None
    }
}

/// Why there is no session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ConnectFailure {
    pub reason: FailureReason,
    pub text: String,
    pub trouble: Trouble,
}
