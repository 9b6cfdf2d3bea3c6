//! Test messages, which show a person whether a receiver can be reached.

use std::collections::BTreeMap;
use std::sync::Arc;

use pharos_model::finding::Severity;
use pharos_model::notification::{Delivery, Message, MessageAlert, MessageReason};
use pharos_model::subject::{Label, Subject};
use serde_json::Value;

use super::deliver::{Deliver, DeliveryContext, Signature};
use crate::clock::Clock;
use crate::config::notify::ReceiverConfig;

/// Sends test messages to receivers, independent of the notifications in their queues.
#[derive(Clone)]
pub(crate) struct Tester {
    notifiers: Arc<dyn Deliver>,
    signature: Arc<Signature>,
    clock: Clock,
    receivers: Arc<BTreeMap<String, (String, Value)>>,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum TestError {
    #[error("no receiver is named \"{name}\"; there {}", known(receivers))]
    Unknown { name: String, receivers: Vec<String> },
}

fn known(receivers: &[String]) -> String {
    if receivers.is_empty() { "are none".to_owned() } else { format!("are {}", receivers.join(", ")) }
}

impl Tester {
    pub(crate) fn new(receivers: &[ReceiverConfig], context: &DeliveryContext) -> Self {
        let settings = |config: &ReceiverConfig| serde_json::to_value(&config.settings).unwrap_or_default();
        let receivers = receivers.iter().map(|config| (config.name.clone(), (config.plugin.clone(), settings(config)))).collect();
        let (notifiers, signature) = (Arc::clone(&context.notifiers), Arc::clone(&context.signature));
        Self { notifiers, signature, clock: context.clock, receivers: Arc::new(receivers) }
    }

    /// Makes one attempt, and returns its result.
    pub(crate) async fn test(&self, receiver: &str) -> Result<Delivery, TestError> {
        let Some((plugin, settings)) = self.receivers.get(receiver) else {
            return Err(TestError::Unknown { name: receiver.to_owned(), receivers: self.receivers.keys().cloned().collect() });
        };
        Ok(self.notifiers.deliver(plugin, settings, &self.message(receiver)).await)
    }

    fn message(&self, receiver: &str) -> Message {
        let now_ms = self.clock.wall_ms();
        let agent = self.signature.agent.clone();
        let group_labels = vec![Label::new("rule", "test")];
        let alert = MessageAlert {
            fingerprint: format!("{:016x}", 0),
            incident: now_ms,
            reason: MessageReason::Test,
            severity: Severity::Info,
            subject: Subject::new("agent", &agent),
            labels: group_labels.clone(),
            title: format!("Test of receiver {receiver}"),
            detail: "This is a test message of the agent, which a person asked for. Nothing is wrong.".to_owned(),
            cause: None,
            fix: None,
            evidence: Vec::new(),
            runbook: None,
            value: None,
            raise_at: None,
            started_at_ms: now_ms,
            ended_at_ms: Some(now_ms),
            ended_because: None,
        };
        Message {
            id: format!("test-{now_ms}"),
            receiver: receiver.to_owned(),
            group_key: format!("test/{receiver}"),
            group_labels,
            alerts: vec![alert],
            others_firing: 0,
            attempt: 1,
            agent,
            external_url: self.signature.external_url.clone(),
        }
    }
}
