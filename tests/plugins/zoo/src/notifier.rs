//! The zoo as a notifier: it sends a request to `url`, in which `{name}` stands for a secret, and what came of it to `report`; without
//! `report`, and for a mail through `relay`, that is its outcome.

use pharos_plugin::egress::{self, EgressError, Header, Request, Signing, Text};
use pharos_plugin::export::{notifier, plugin};
use pharos_plugin::mail::{self, Mail};
use pharos_plugin::{Failure, Message, Outcome, Retry, settings};
use plugin::pharos::plugin::config;

use crate::{Zoo, deeds, orders, rants};

#[derive(serde::Deserialize)]
struct Settings {
    #[serde(default)]
    url: String,
    #[serde(default)]
    report: String,
    /// Names, or `name: value`.
    #[serde(default)]
    headers: Vec<String>,
    /// The header of an HMAC, and its secret.
    signing: Option<(String, String)>,
    relay: Option<String>,
    #[serde(default)]
    to: Vec<String>,
}

impl notifier::exports::pharos::plugin::notifier::Guest for Zoo {
    fn deliver(_: Message) -> Result<Outcome, Failure> {
        deeds::act(&orders::text("deliver", ""));
        if let Some(outcome) = ranted() {
            return Ok(outcome);
        }
        let settings: Settings = settings::parse(&config::settings())?;
        if let Some(relay) = &settings.relay {
            return Ok(Outcome::Rejected(format!("{:?}", post(relay, &settings))));
        }
        let header = |header: &String| {
            let (name, value) = header.split_once(": ").unwrap_or((header, "x"));
            Header { name: name.to_owned(), value: parts(value) }
        };
        let headers = settings.headers.iter().map(header).collect();
        let signing = settings.signing.map(Signing::HmacSha256);
        let is_alone = settings.report.is_empty();
        let said = match send("GET", &settings.url, headers, Vec::new(), signing) {
            Ok(response) if is_alone => {
                format!("{} {:?} {}", response.status, response.headers, String::from_utf8_lossy(&response.body))
            }
            Ok(response) => format!("{} with {} bytes", response.status, response.body.len()),
            Err(EgressError::Denied(why)) => format!("denied: {why}"),
            Err(EgressError::NotSent(why)) => format!("not sent: {why}"),
            Err(EgressError::Ambiguous(why)) => format!("ambiguous: {why}"),
            Err(EgressError::TooLarge(bytes)) => format!("more than {bytes} bytes"),
        };
        if is_alone {
            return Ok(Outcome::Rejected(said));
        }
        match send("POST", &settings.report, Vec::new(), said.into_bytes(), None) {
            Ok(_) => Ok(Outcome::Accepted(None)),
            Err(err) => Ok(Outcome::Retry(Retry { after_ms: None, why: format!("{err:?}") })),
        }
    }
}

/// An outcome with rants for its reason, as `retries`, `rejects`, `gone` and so on order.
fn ranted() -> Option<Outcome> {
    let partial = |rant: String| Outcome::Partial((0..10_000).map(|index| (index, rant.clone())).collect());
    let retry = |why| Outcome::Retry(Retry { after_ms: Some(0), why });
    rants::ordered("retries")
        .map(retry)
        .or_else(|| rants::ordered("rejects").map(Outcome::Rejected))
        .or_else(|| rants::ordered("refuses").map(partial))
        .or_else(|| rants::ordered("gone").map(Outcome::Gone))
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

fn send(method: &str, url: &str, headers: Vec<Header>, body: Vec<u8>, signing: Option<Signing>) -> Result<egress::Response, EgressError> {
    egress::send(&Request { method: method.to_owned(), url: parts(url), headers, body, signing })
}

/// `plain {secret} plain` in its parts.
fn parts(text: &str) -> Vec<Text> {
    let pieces = text.split(['{', '}']).enumerate();
    pieces.map(|(index, piece)| if index % 2 == 1 { Text::Secret(piece.to_owned()) } else { Text::Plain(piece.to_owned()) }).collect()
}

notifier::export! { Zoo with_types_in notifier }
