//! A notifier that posts messages to a URL. The body is an Alertmanager webhook (version 4), an event of our own, or made by a template.

mod event;
mod payload;
mod reply;
mod settings;
mod template;

use pharos_plugin::egress::{self, Header, Request, Signing, Text};
use pharos_plugin::{Description, Failure, Message, Notifier, Outcome, Plugin, export_notifier};

use crate::event::Event;
use crate::settings::{Format, Part, Settings, Value};
use crate::template::Template;

pub struct Webhook {
    settings: Settings,
    template: Option<Template>,
}

export_notifier!(Webhook);

impl Plugin for Webhook {
    type Settings = Settings;

    const DESCRIPTION: Description = Description {
        id: env!("CARGO_PKG_NAME"),
        version: env!("CARGO_PKG_VERSION"),
        summary: "posts alerts to a URL: as Alertmanager webhooks, as JSON of its own, or by a template",
        settings_schema: include_str!("../schema.json"),
        wants: &[("egress", "to post alerts to the host of the receiver's url")],
    };

    fn new(settings: Settings) -> Result<Self, Failure> {
        settings.check()?;
        let content_type = settings.content_type.as_deref().unwrap_or(JSON);
        let template = settings.template.as_deref().map(|source| Template::new(source, content_type)).transpose()?;
        Ok(Self { settings, template })
    }
}

impl Notifier for Webhook {
    fn deliver(&self, message: &Message) -> Result<Outcome, Failure> {
        match self.body(message) {
            Ok(body) => reply::outcome(egress::send(&self.request(message, body)), message.attempt),
            Err(outcome) => Ok(outcome),
        }
    }
}

const JSON: &str = "application/json";

impl Webhook {
    fn body(&self, message: &Message) -> Result<Vec<u8>, Outcome> {
        let max_alerts = self.settings.max_alerts;
        match (&self.template, self.settings.format) {
            (Some(template), _) => template.body(message, max_alerts),
            (None, Some(Format::Generic)) => Ok(Event::from_message(message, max_alerts).render()),
            (None, Some(Format::Alertmanager) | None) => Ok(payload::render(message, max_alerts)),
        }
    }

    fn request(&self, message: &Message, body: Vec<u8>) -> Request {
        let mut headers = vec![
            header("content-type", vec![Text::Plain(self.template.as_ref().map_or(JSON, |template| &template.content_type).to_owned())]),
            // Every try has the same id, so that the receiver can drop a message that it already has.
            header("webhook-id", vec![Text::Plain(message.id.clone())]),
        ];
        headers.extend(self.settings.secret.clone().map(|secret| header("authorization", vec![Text::Secret(secret)])));
        headers.extend(self.settings.headers.iter().map(|(name, value)| header(name, texts(value))));
        Request {
            method: "POST".to_owned(),
            url: texts(&self.settings.url),
            headers,
            body,
            signing: Some(self.settings.sign.0.clone()).filter(|keys| !keys.is_empty()).map(Signing::StandardWebhooks),
        }
    }
}

fn header(name: &str, value: Vec<Text>) -> Header {
    Header { name: name.to_owned(), value }
}

fn texts(value: &Value) -> Vec<Text> {
    let text = |part: &Part| match part {
        Part::Plain(text) => Text::Plain(text.clone()),
        Part::Secret(name) => Text::Secret(name.clone()),
    };
    value.0.iter().map(text).collect()
}

#[cfg(test)]
mod tests;
