//! Bodies from a template of the operator, in Jinja. Steps, memory and output are bounded, and an unknown name is an error.
//!
//! The template is rendered with sample messages when the settings are read. A mistake is therefore an error of the settings. Otherwise
//! the first alert would reveal it, and would be lost.

use std::io;

use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, ErrorKind, UndefinedBehavior};
use pharos_plugin::{Alert, Failure, Label, Message, Outcome, Reason, Severity, Subject};

use crate::event::Event;

/// Bytes of a body. A larger body is a mistake: no chat or pager accepts it.
const BODY_BYTES_MAX: usize = 256 << 10;
/// Steps of a template, called fuel by the engine. An instruction costs a step, and so do 64 bytes of data that the template creates. A
/// body of 200 alerts with 40 steps each needs a fiftieth.
const FUEL: u64 = 400_000;
const NAME: &str = "template";

#[derive(Debug)]
pub(crate) struct Template {
    environment: Environment<'static>,
    is_json: bool,
    pub content_type: String,
}

impl Template {
    pub(crate) fn new(source: &str, content_type: &str) -> Result<Self, Failure> {
        let kind = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let is_json = kind == "application/json" || kind.ends_with("+json");
        let escape = match kind.as_str() {
            _ if is_json => AutoEscape::Json,
            "text/html" | "application/xml" | "text/xml" | "application/xhtml+xml" => AutoEscape::Html,
            _ => AutoEscape::None,
        };
        let mut environment = Environment::new();
        environment.set_fuel(Some(FUEL));
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_auto_escape_callback(move |_| escape.clone());
        let invalid = |why: String| Failure::InvalidConfig(format!("settings.template: {why}"));
        environment.add_template_owned(NAME, source.to_owned()).map_err(|err| invalid(explain(&err)))?;
        let template = Self { environment, is_json, content_type: content_type.to_owned() };
        for sample in [sample(None), sample(Some(1_700_000_060_000))] {
            template.render(&sample, None).map_err(|why| invalid(format!("with a sample message: {why}")))?;
        }
        Ok(template)
    }

    pub(crate) fn body(&self, message: &Message, max_alerts: Option<usize>) -> Result<Vec<u8>, Outcome> {
        self.render(message, max_alerts).map_err(|why| Outcome::Rejected(format!("settings.template: {why}")))
    }

    fn render(&self, message: &Message, max_alerts: Option<usize>) -> Result<Vec<u8>, String> {
        let template = self.environment.get_template(NAME).map_err(|err| explain(&err))?;
        let mut body = Bounded(Vec::new());
        template.render_captured_to(Serde(Event::from_message(message, max_alerts)), &mut body).map_err(|err| explain(&err))?;
        if self.is_json {
            serde_json::from_slice::<serde::de::IgnoredAny>(&body.0)
                .map_err(|err| format!("its output is no JSON: {err}; write values without quotes around them, as {{{{ id }}}}"))?;
        }
        Ok(body.0)
    }
}

/// Explains an error of a template, with its line.
fn explain(err: &minijinja::Error) -> String {
    let line = err.line().map(|line| format!("line {line}: ")).unwrap_or_default();
    let why = match err.kind() {
        ErrorKind::OutOfFuel => format!("it takes more than {FUEL} steps, or creates too much data; are loops nested?"),
        ErrorKind::WriteFailure => format!("its output is longer than {BODY_BYTES_MAX} bytes; list fewer alerts with `max_alerts`"),
        ErrorKind::UndefinedError => {
            "a name is unknown there; known are id, type, timestamp and what is in data, as the README lists it".to_owned()
        }
        kind => err.detail().map_or_else(|| kind.to_string(), |detail| format!("{kind}: {detail}")),
    };
    format!("{line}{why}")
}

/// A buffer that refuses more than [`BODY_BYTES_MAX`] bytes.
struct Bounded(Vec<u8>);

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > BODY_BYTES_MAX {
            return Err(io::Error::from(io::ErrorKind::FileTooLarge));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A sample message with every optional text, for the trial of a template. The alert is resolved if `ended_at_ms` is given.
fn sample(ended_at_ms: Option<u64>) -> Message {
    let text = |text: &str| text.to_owned();
    let labels = || vec![Label { name: text("rule"), value: text("sample") }];
    let alert = Alert {
        fingerprint: text("00c0ffee00c0ffee"),
        incident: 1,
        reason: if ended_at_ms.is_none() { Reason::Firing } else { Reason::Resolved },
        severity: Severity::Warning,
        subject: Subject { kind: text("postgres"), id: text("db1:5432"), version: text("17"), labels: Vec::new() },
        labels: labels(),
        title: text("a sample"),
        detail: text("with \"quotes\",\na second line and <markup>\n\nEvidence:\n- size: 3 GiB"),
        cause: Some(text("none")),
        fix: Some(text("none")),
        runbook: Some(text("https://example.com")),
        value: Some(1.5),
        raise_at: Some(1.0),
        started_at_ms: 1_700_000_000_000,
        ended_at_ms,
        ended_because: None,
    };
    Message {
        id: text("sample"),
        receiver: text("sample"),
        group_key: text("sample"),
        group_labels: labels(),
        common_labels: labels(),
        alerts: vec![alert],
        truncated: 0,
        others_firing: 0,
        attempt: 1,
        agent: text("sample"),
        external_url: Some(text("https://pharos.example.com")),
    }
}
