//! Imports through which notifiers reach other machines: `egress` and `mail`.

use std::sync::Arc;

use super::imports::Imports;
use crate::plugin::contract::bindings::notifier::pharos::plugin::{egress, mail};

impl egress::Host for Imports {
    async fn send(&mut self, request: egress::Request) -> wasmtime::Result<Result<egress::Response, egress::EgressError>> {
        let plugin = Arc::clone(&self.plugin);
        Ok(plugin.capabilities.egress.send(request).await)
    }
}

impl mail::Host for Imports {
    async fn send(&mut self, relay: String, mail: mail::Mail) -> wasmtime::Result<Result<Vec<mail::RecipientResult>, mail::MailError>> {
        let plugin = Arc::clone(&self.plugin);
        Ok(plugin.capabilities.mail.send(&relay, &mail).await)
    }
}
