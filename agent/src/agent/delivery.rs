//! Delivery: messages leave through the notifier plugins.

use std::sync::Arc;

use super::ground::Ground;
use super::start_error::StartError;
use crate::notify::{DeliveryContext, Receivers, Signature, Tester};
use crate::plugin::PluginHost;

/// The parts that deliver messages.
pub(super) struct Delivery {
    pub receivers: Receivers,
    pub tester: Tester,
}

/// Starts one task per receiver.
pub(super) async fn start(ground: &Ground, plugins: &PluginHost) -> Result<Delivery, StartError> {
    let Ground { config, clock, board, metrics, store, lifecycle } = ground;
    let context = DeliveryContext {
        notifiers: Arc::new(plugins.clone()),
        signature: Arc::new(Signature { agent: config.agent.name.clone(), external_url: config.agent.external_url.clone() }),
        store: store.clone(),
        board: Arc::clone(board),
        metrics: Arc::clone(metrics),
        clock: *clock,
    };
    let receivers = Receivers::start(config.receiver.clone(), &context, lifecycle).await?;
    Ok(Delivery { receivers, tester: Tester::new(&config.receiver, &context) })
}
