//! Connections between parts that do not use each other directly.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use pharos_model::notification::{Delivery, Message};
use serde_json::Value;

use crate::collect::agent::{PluginFact, PluginFacts};
use crate::notify::Deliver;
use crate::plugin::{PluginHost, PluginStatus};

/// Messages leave through the notifier plugins.
impl Deliver for PluginHost {
    fn serves(&self, notifier: &str) -> bool {
        self.serves_notifier(notifier)
    }

    fn deliver<'a>(&'a self, notifier: &'a str, settings: &'a Value, message: &'a Message) -> BoxFuture<'a, Delivery> {
        self.deliver(notifier, settings, message).boxed()
    }
}

/// The agent's own snapshot shows the state of the plugins.
impl PluginFacts for PluginHost {
    fn plugins(&self) -> Vec<PluginFact> {
        let fact = |plugin: PluginStatus| PluginFact {
            id: plugin.id,
            state: plugin.state.as_str(),
            last_words: plugin.last_error.as_ref().and_then(|err| err.last_words.clone()),
            last_error: plugin.last_error.map(|err| (err.stage.as_str().to_owned(), err.message)),
            ignored_settings: (!plugin.ignored_settings.is_empty()).then(|| plugin.ignored_settings.join("; ")),
        };
        self.status(&BTreeMap::new()).into_iter().map(fact).collect()
    }

    fn ticker_age(&self) -> Duration {
        self.ticker_age()
    }
}
