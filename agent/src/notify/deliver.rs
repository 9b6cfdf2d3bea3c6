//! The seam between delivery and the notifier plugins, and what all receivers' tasks share.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use pharos_model::notification::{Delivery, Message};
use serde_json::Value;

use crate::board::Board;
use crate::clock::Clock;
use crate::store::Store;
use crate::telemetry::metrics::SelfMetrics;

/// Brings one message to its receiver: the seam at which the agent connects the notifier plugins.
pub trait Deliver: Send + Sync + 'static {
    /// Whether this notifier is loaded.
    fn serves(&self, notifier: &str) -> bool;
    /// One attempt through a notifier, with the receiver's settings laid over the notifier's own.
    fn deliver<'a>(&'a self, notifier: &'a str, settings: &'a Value, message: &'a Message) -> BoxFuture<'a, Delivery>;
}

/// Whose messages they are.
#[derive(Debug)]
pub struct Signature {
    pub agent: String,
    pub external_url: Option<String>,
}

/// What receivers' tasks share.
#[derive(Clone)]
pub struct Means {
    pub notifiers: Arc<dyn Deliver>,
    pub signature: Arc<Signature>,
    pub store: Store,
    pub board: Arc<Board>,
    pub metrics: Arc<SelfMetrics>,
    pub clock: Clock,
}
