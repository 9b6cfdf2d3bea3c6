//! Delivers messages as Alertmanager webhooks (version 4), so that whatever receives those receives Pharos.

mod civil_date;
mod payload;
mod reply;
mod settings;

use pharos_plugin::egress::{self, Header, Request, Signing, Text};
use pharos_plugin::{Description, Failure, Message, Notifier, Outcome, Plugin, export_notifier};

use crate::settings::{Settings, Value};

pub struct Webhook {
    settings: Settings,
}

export_notifier!(Webhook);

impl Plugin for Webhook {
    type Settings = Settings;

    const DESCRIPTION: Description = Description {
        id: env!("CARGO_PKG_NAME"),
        version: env!("CARGO_PKG_VERSION"),
        summary: "posts alerts to a URL as Alertmanager webhooks",
        settings_schema: include_str!("../schema.json"),
        wants: &[("egress", "to post alerts to the host of the receiver's url")],
    };

    fn new(settings: Settings) -> Result<Self, Failure> {
        settings.check()?;
        Ok(Self { settings })
    }
}

impl Notifier for Webhook {
    fn deliver(&self, message: &Message) -> Result<Outcome, Failure> {
        let body = payload::render(message, self.settings.max_alerts);
        reply::outcome(egress::send(&self.request(message, body)))
    }
}

impl Webhook {
    fn request(&self, message: &Message, body: Vec<u8>) -> Request {
        let mut headers = vec![
            header("content-type", Text::Plain("application/json".to_owned())),
            // The same on every try, so that the receiver can drop what it already has.
            header("webhook-id", Text::Plain(message.id.clone())),
        ];
        headers.extend(self.settings.secret.clone().map(|secret| header("authorization", Text::Secret(secret))));
        headers.extend(self.settings.headers.iter().map(|(name, value)| header(name, text(value))));
        Request {
            method: "POST".to_owned(),
            url: vec![text(&self.settings.url)],
            headers,
            body,
            signing: self.settings.sign.clone().map(|key| Signing::StandardWebhooks(vec![key])),
        }
    }
}

fn header(name: &str, value: Text) -> Header {
    Header { name: name.to_owned(), value: vec![value] }
}

fn text(value: &Value) -> Text {
    match value {
        Value::Plain(text) => Text::Plain(text.clone()),
        Value::Secret(name) => Text::Secret(name.clone()),
    }
}

#[cfg(test)]
mod tests;
