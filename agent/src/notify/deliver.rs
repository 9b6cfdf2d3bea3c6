//! The interface between delivery and the notifier plugins, and the parts of the agent that all receiver tasks use.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use pharos_model::notification::{Delivery, Message};
use serde_json::Value;

use crate::board::Board;
use crate::clock::Clock;
use crate::store::Store;
use crate::telemetry::metrics::SelfMetrics;

/// Delivers one message to its receiver. The agent connects the notifier plugins here.
pub(crate) trait Deliver: Send + Sync + 'static {
    /// True while this notifier is loaded.
    fn serves(&self, notifier: &str) -> bool;
    /// Makes one attempt through a notifier. The settings of the receiver override those of the notifier.
    fn deliver<'a>(&'a self, notifier: &'a str, settings: &'a Value, message: &'a Message) -> BoxFuture<'a, Delivery>;
}

/// The agent as messages name their sender.
#[derive(Debug)]
pub(crate) struct Signature {
    pub agent: String,
    pub external_url: Option<String>,
}

/// The parts of the agent that all receiver tasks use.
#[derive(Clone)]
pub(crate) struct DeliveryContext {
    pub notifiers: Arc<dyn Deliver>,
    pub signature: Arc<Signature>,
    pub store: Store,
    pub board: Arc<Board>,
    pub metrics: Arc<SelfMetrics>,
    pub clock: Clock,
}
