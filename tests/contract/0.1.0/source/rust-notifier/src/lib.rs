//! A notifier that calls everything its world offers, and posts what it was given to the `url` of its settings.

wit_bindgen::generate!({ path: "../../wit", world: "notifier-plugin", generate_all });

use exports::pharos::plugin::notifier::{Alert, Message, Outcome, Retry};
use exports::pharos::plugin::plugin::Description;
use pharos::plugin::egress::{self, EgressError, Header, Request, Signing, Text};
use pharos::plugin::log::{self, Level};
use pharos::plugin::mail::{self, Address, Mail};
use pharos::plugin::types::Failure;
use pharos::plugin::{config, state, telemetry};

struct RustNotifier;

export!(RustNotifier);

impl exports::pharos::plugin::plugin::Guest for RustNotifier {
    fn describe() -> Description {
        Description {
            id: "rust-notifier".to_owned(),
            version: "0.1.0".to_owned(),
            summary: "calls everything that contract 0.1.0 offers a notifier".to_owned(),
            settings_schema: r#"{"type":"object","required":["url"],"properties":{"url":{"type":"string"}}}"#.to_owned(),
            wants: vec![("egress".to_owned(), "to post what it was given".to_owned())],
        }
    }

    fn init() -> Result<(), Failure> {
        log::emit(Level::Debug, "begins", &[]);
        url().map(drop)
    }
}

impl exports::pharos::plugin::notifier::Guest for RustNotifier {
    fn deliver(message: Message) -> Result<Outcome, Failure> {
        telemetry::counter_add("deliveries_total", 1);
        let _ = state::put("latest", message.id.as_bytes(), Some(60));
        let alerts: Vec<String> = message.alerts.iter().map(alert).collect();
        let said = format!(
            "{} to {} by {} at attempt {}, {} left out, {} group labels, {} common labels, {}\n{}\nmail: {}\n",
            message.id,
            message.receiver,
            message.agent,
            message.attempt,
            message.truncated,
            message.group_labels.len(),
            message.common_labels.len(),
            message.external_url.as_deref().unwrap_or("no address"),
            alerts.join("\n"),
            mailed(),
        );
        outcome(egress::send(&request(url()?, &message.id, said)))
    }
}

fn request(url: String, id: &str, said: String) -> Request {
    Request {
        method: "POST".to_owned(),
        url: vec![Text::Plain(url)],
        headers: vec![
            Header { name: "content-type".to_owned(), value: vec![Text::Plain("text/plain".to_owned())] },
            Header { name: "authorization".to_owned(), value: vec![Text::Plain("Bearer ".to_owned()), Text::Secret("token".to_owned())] },
            Header { name: "webhook-id".to_owned(), value: vec![Text::Plain(id.to_owned())] },
        ],
        body: said.into_bytes(),
        signing: Some(Signing::StandardWebhooks(vec!["key".to_owned()])),
    }
}

fn alert(alert: &Alert) -> String {
    format!(
        "{} {} {} {} of {} {}: {} ({} labels, ended {:?} because {:?})",
        case(&alert.reason),
        case(&alert.severity),
        alert.fingerprint,
        alert.incident,
        alert.subject.kind,
        alert.subject.id,
        alert.title,
        alert.labels.len(),
        alert.ended_at_ms,
        alert.ended_because,
    )
}

fn outcome(sent: Result<egress::Response, EgressError>) -> Result<Outcome, Failure> {
    match sent {
        Ok(response) if (200..300).contains(&response.status) => Ok(Outcome::Accepted(Some("taken".to_owned()))),
        Ok(response) => Ok(Outcome::Retry(Retry { after_ms: None, why: format!("status {}", response.status) })),
        Err(EgressError::Denied(why)) => Err(Failure::Denied(why)),
        Err(EgressError::NotSent(why)) => Ok(Outcome::Retry(Retry { after_ms: None, why })),
        Err(EgressError::Ambiguous(why)) => Ok(Outcome::Ambiguous(why)),
        Err(EgressError::TooLarge(bytes)) => Ok(Outcome::Rejected(format!("more than {bytes} bytes"))),
    }
}

/// What came of a mail over a relay that nobody granted.
fn mailed() -> String {
    let mail = Mail {
        to: vec![Address { name: None, email: "ops@example.com".to_owned() }],
        subject: "contract".to_owned(),
        text: "0.1.0".to_owned(),
        html: None,
        headers: vec![("X-Contract".to_owned(), "0.1.0".to_owned())],
    };
    match mail::send("nowhere", &mail) {
        Ok(results) => format!("{} results", results.len()),
        Err(err) => case(&err),
    }
}

/// The case alone, without its type and what it carries.
fn case(value: &impl std::fmt::Debug) -> String {
    let text = format!("{value:?}");
    let name = text.split('(').next().unwrap_or_default();
    name.rsplit("::").next().unwrap_or_default().to_lowercase()
}

/// The settings are one object with one text, which needs no JSON library.
fn url() -> Result<String, Failure> {
    let settings = config::settings();
    let url = settings.split("\"url\":\"").nth(1).and_then(|rest| rest.split('"').next());
    url.map(str::to_owned).ok_or_else(|| Failure::InvalidConfig("settings.url: give an address".to_owned()))
}
