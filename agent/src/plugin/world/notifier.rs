//! Notifiers: plugins that deliver messages to receivers.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use pharos_model::notification::{Delivery, Message, UndeliveredReason};
use wasmtime::component::{InstancePre, Linker};

use super::definition::World;
use crate::plugin::contract::bindings::notifier::exports::pharos::plugin::notifier::Outcome;
use crate::plugin::contract::bindings::notifier::{NotifierPlugin, NotifierPluginIndices};
use crate::plugin::contract::{convert, message};
use crate::plugin::import::imports::Data;
use crate::plugin::run::budget::Budget;
use crate::plugin::run::call_error::{CallError, Export};
use crate::plugin::run::generation::Generation;
use crate::plugin::run::instance::Usage;
use crate::plugin::run::linked::{InstanceState, Linked};
use crate::plugin::run::turns::SHARE;

/// The world `notifier-plugin`.
pub(crate) const NOTIFIER: &dyn World = &Notifier;

#[derive(Debug)]
struct Notifier;

impl World for Notifier {
    fn name(&self) -> &'static str {
        "notifier-plugin"
    }

    fn marker(&self) -> &'static str {
        "notifier"
    }

    fn imports(&self) -> &'static [&'static str] {
        &["types", "log", "telemetry", "config", "state", "egress", "mail"]
    }

    /// A notifier waits for other machines, so its wall time is longer.
    fn call_budget(&self) -> Budget {
        Budget { cpu: Duration::from_millis(100), wall: Duration::from_secs(10) }
    }

    /// Each call waits for another machine, and a call that hangs should not delay the others.
    fn calls_max(&self) -> usize {
        4 * SHARE
    }

    fn add_imports(&self, linker: &mut Linker<InstanceState>) -> wasmtime::Result<()> {
        NotifierPlugin::add_to_linker::<_, Data>(linker, InstanceState::imports)
    }

    fn link(&self, pre: InstancePre<InstanceState>) -> wasmtime::Result<Linked> {
        let exports = NotifierPluginIndices::new(&pre)?;
        Linked::new(pre, move |store, instance| exports.load(store, instance))
    }

    fn runs_per_receiver(&self) -> bool {
        true
    }
}

impl Generation {
    /// Delivers one message with a receiver's settings, in an instance of its own.
    pub async fn deliver(&self, settings: Arc<str>, message: &Message) -> (Usage, Result<Outcome, CallError>) {
        let mut usage = Usage::default();
        let message = message::message(message);
        let outcome = self.call_with(settings, Export::Deliver, &mut usage, |store, exports: &NotifierPlugin| {
            async move { exports.pharos_plugin_notifier().call_deliver(store, &message).await }.boxed()
        });
        let outcome = outcome.await;
        (usage, outcome.map(convert::outcome))
    }
}

/// Converts the result of [`Generation::deliver`] to a delivery.
pub(crate) fn delivery(called: Result<Outcome, CallError>) -> Delivery {
    match called {
        Ok(outcome) => message::delivery(outcome),
        Err(CallError::Refused(why)) => Delivery::Rejected { reason: UndeliveredReason::Denied, why },
        // A call that was stopped may already have sent its request.
        Err(err) if err.is_offence() => Delivery::Ambiguous(err.to_string()),
        Err(CallError::Excused(why)) => Delivery::Retry { after: None, why },
        Err(err) => Delivery::Unavailable(err.to_string()),
    }
}
