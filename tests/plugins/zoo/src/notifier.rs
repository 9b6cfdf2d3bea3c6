//! The zoo as a notifier: it sends a request to `url`, and what came of it to `report`; or a mail through `relay`, and what came of that is
//! its outcome.

use pharos_plugin::egress::{self, EgressError, Header, Request, Text};
use pharos_plugin::export::{notifier, plugin};
use pharos_plugin::mail::{self, Mail};
use pharos_plugin::{Failure, Message, Outcome, Retry, settings};
use plugin::pharos::plugin::config;

use crate::{Zoo, deeds, orders};

#[derive(serde::Deserialize)]
struct Settings {
    #[serde(default)]
    url: String,
    #[serde(default)]
    report: String,
    #[serde(default)]
    headers: Vec<String>,
    relay: Option<String>,
    #[serde(default)]
    to: Vec<String>,
}

impl notifier::exports::pharos::plugin::notifier::Guest for Zoo {
    fn deliver(_: Message) -> Result<Outcome, Failure> {
        deeds::act(&orders::text("deliver", ""));
        let settings: Settings = settings::parse(&config::settings())?;
        if let Some(relay) = &settings.relay {
            return Ok(Outcome::Rejected(format!("{:?}", post(relay, &settings))));
        }
        let headers = settings.headers.iter().map(|name| Header { name: name.clone(), value: vec![Text::Plain("x".to_owned())] }).collect();
        let said = match send("GET", &settings.url, headers, Vec::new()) {
            Ok(response) => format!("{} with {} bytes", response.status, response.body.len()),
            Err(EgressError::Denied(why)) => format!("denied: {why}"),
            Err(EgressError::NotSent(why)) => format!("not sent: {why}"),
            Err(EgressError::Ambiguous(why)) => format!("ambiguous: {why}"),
            Err(EgressError::TooLarge(bytes)) => format!("more than {bytes} bytes"),
        };
        match send("POST", &settings.report, Vec::new(), said.into_bytes()) {
            Ok(_) => Ok(Outcome::Accepted(None)),
            Err(err) => Ok(Outcome::Retry(Retry { after_ms: None, why: format!("{err:?}") })),
        }
    }
}

/// A mail whose headers are `Name: value`.
fn post(relay: &str, settings: &Settings) -> Result<Vec<mail::RecipientResult>, mail::MailError> {
    let header = |header: &String| header.split_once(": ").map(|(name, value)| (name.to_owned(), value.to_owned()));
    mail::send(
        relay,
        &Mail {
            to: settings.to.iter().map(|email| mail::Address { name: Some("The\r\nZoo".to_owned()), email: email.clone() }).collect(),
            subject: "two\r\nBcc: everybody@example.com".to_owned(),
            text: "text\r\n.\r\nQUIT\r\n".to_owned(),
            html: None,
            headers: settings.headers.iter().filter_map(header).collect(),
        },
    )
}

fn send(method: &str, url: &str, headers: Vec<Header>, body: Vec<u8>) -> Result<egress::Response, EgressError> {
    egress::send(&Request { method: method.to_owned(), url: vec![Text::Plain(url.to_owned())], headers, body, signing: None })
}

notifier::export! { Zoo with_types_in notifier }
