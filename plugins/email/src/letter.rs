//! The body of a mail, as text and as HTML. Both are templates over the same view of the message.

use minijinja::value::Serde;
use minijinja::{Environment, UndefinedBehavior};
use pharos_plugin::civil_date::readable;
use pharos_plugin::{Alert, Failure, Message, Reason, Severity, detail_and_evidence, text};
use serde::Serialize;

use crate::subject;

/// Alerts that a mail describes. Further alerts are only counted.
const ALERTS_MAX: usize = 25;
/// Characters of a text of an alert. A longer text is cut, since a person reads the whole mail.
const TEXT_CHARS_MAX: usize = 4_000;

/// The compiled templates of a mail.
pub(crate) struct Letters(Environment<'static>);

#[derive(Serialize)]
struct Letter {
    headline: String,
    tone: Tone,
    alerts: Vec<Entry>,
    more: usize,
    agent: String,
    receiver: String,
    url: Option<String>,
}

/// Colours that are readable on white and on black.
#[derive(Serialize)]
struct Tone {
    strong: &'static str,
    soft: &'static str,
}

#[derive(Serialize)]
struct Entry {
    state: &'static str,
    tone: Tone,
    title: String,
    severity: &'static str,
    server: String,
    /// The names and texts of facts, in reading order.
    facts: Vec<(&'static str, String)>,
    note: Option<String>,
    detail: Option<String>,
    cause: Option<String>,
    fix: Option<String>,
    /// The names and values of measured facts.
    evidence: Vec<(String, String)>,
    runbook: Option<String>,
    labels: Vec<(String, String)>,
}

impl Letters {
    pub(crate) fn new() -> Self {
        let mut templates = Environment::new();
        templates.set_undefined_behavior(UndefinedBehavior::Strict);
        templates.add_template("letter.html", include_str!("letter.html")).expect("the template is right");
        templates.add_template("letter.txt", include_str!("letter.txt")).expect("the template is right");
        Self(templates)
    }

    /// Renders the text and the HTML of a mail. The template engine escapes markup in labels and titles.
    pub(crate) fn write(&self, message: &Message) -> Result<(String, String), Failure> {
        let letter = letter(message);
        let render = |name: &str| {
            let template = self.0.get_template(name).and_then(|template| template.render(Serde(&letter)));
            template.map_err(|err| Failure::Internal(format!("{name}: {err}")))
        };
        Ok((render("letter.txt")?, render("letter.html")?))
    }
}

fn letter(message: &Message) -> Letter {
    let mut alerts: Vec<&Alert> = message.alerts.iter().collect();
    alerts.sort_by_key(|alert| std::cmp::Reverse(subject::rank(alert)));
    let shown = alerts.len().min(ALERTS_MAX);
    Letter {
        headline: headline(&message.alerts),
        tone: alerts.first().map_or(Tone::CALM, |alert| Tone::from_alert(alert)),
        more: alerts.len() - shown + message.truncated as usize,
        alerts: alerts[..shown].iter().map(|alert| entry(alert)).collect(),
        agent: message.agent.clone(),
        receiver: message.receiver.clone(),
        url: message.external_url.clone().filter(|url| is_link(url)),
    }
}

/// The headline: the number of alerts that fire and the number of alerts that are over.
fn headline(alerts: &[Alert]) -> String {
    let firing = alerts.iter().filter(|alert| alert.ended_at_ms.is_none() && alert.reason != Reason::Test).count();
    let over = alerts.iter().filter(|alert| alert.ended_at_ms.is_some()).count();
    let count = |count: usize, what: &str| format!("{} {what}", text::counted(count as f64, "alert", "alerts"));
    match (firing, over) {
        (0, 0) => "This is a test: nothing is wrong".to_owned(),
        (0, over) => count(over, if over == 1 { "is over" } else { "are over" }),
        (firing, 0) => count(firing, if firing == 1 { "needs attention" } else { "need attention" }),
        (firing, over) => format!(
            "{}, {over} {}",
            count(firing, if firing == 1 { "needs attention" } else { "need attention" }),
            if over == 1 { "is over" } else { "are over" }
        ),
    }
}

fn entry(alert: &Alert) -> Entry {
    let mut labels: Vec<(String, String)> = Vec::new();
    for label in alert.subject.labels.iter().chain(&alert.labels) {
        if !labels.iter().any(|(name, _)| *name == label.name) {
            labels.push((label.name.clone(), shortened(&label.value)));
        }
    }
    let (detail, evidence) = detail_and_evidence(&alert.detail);
    Entry {
        state: subject::state(alert),
        tone: Tone::from_alert(alert),
        title: shortened(&alert.title),
        severity: subject::severity(alert.severity),
        server: alert.subject.id.clone(),
        facts: facts(alert),
        note: note(alert),
        detail: known(Some(detail)),
        cause: known(alert.cause.as_deref()),
        fix: known(alert.fix.as_deref()),
        evidence: evidence.into_iter().map(|(name, value)| (shortened(name), shortened(value))).collect(),
        runbook: known(alert.runbook.as_deref()),
        labels,
    }
}

fn facts(alert: &Alert) -> Vec<(&'static str, String)> {
    let value = alert.value.map(|value| match alert.raise_at {
        Some(limit) => format!("{} (limit {})", text::number(value), text::number(limit)),
        None => text::number(value),
    });
    let lasted = alert.ended_at_ms.map(|end| text::duration(end.saturating_sub(alert.started_at_ms) as f64 / 1_000.0));
    let server = format!("{} {}", alert.subject.kind, alert.subject.id);
    let all = [
        ("Severity", Some(subject::severity(alert.severity).to_owned())),
        ("Where", Some(server.trim().to_owned()).filter(|server| !server.is_empty())),
        ("Since", Some(readable(alert.started_at_ms))),
        ("Until", alert.ended_at_ms.map(|end| format!("{} ({})", readable(end), lasted.unwrap_or_default()))),
        ("Value", value),
        ("More", (alert.reason != Reason::Test).then(|| format!("pharos alerts show {}", alert.fingerprint))),
    ];
    all.into_iter().filter_map(|(name, text)| Some((name, text?))).collect()
}

/// A sentence for facts that the state cannot express. None if the state is enough.
fn note(alert: &Alert) -> Option<String> {
    let note = match (alert.reason, alert.ended_because.as_deref()) {
        (Reason::Test, _) => "This message tests the delivery. It arrived.".to_owned(),
        (Reason::Summary, None) => "It fired and ended before a message could be sent.".to_owned(),
        (Reason::Flapping, _) => "It comes and goes. No more messages about it until it is stable.".to_owned(),
        (_, Some("gone")) => "The object of this alert no longer exists.".to_owned(),
        (_, Some("rule-removed")) => "Its rule was removed. No check found that the problem is over.".to_owned(),
        (_, Some("plugin-removed")) => "Its plugin was removed. No check found that the problem is over.".to_owned(),
        (_, Some("subject-removed")) => "The server is no longer monitored. No check found that the problem is over.".to_owned(),
        (_, Some(other)) => format!("It ended because of this: {other}."),
        _ if alert.ended_at_ms.is_some() => "The text below describes the time before it ended.".to_owned(),
        _ => return None,
    };
    Some(note)
}

fn known(text: Option<&str>) -> Option<String> {
    text.map(|text| shortened(text.trim())).filter(|text| !text.is_empty())
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(TEXT_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Whether a URL may become a link. Other schemes such as `javascript:` could run code in the reader's mail client.
fn is_link(url: &str) -> bool {
    url.starts_with("https://") || url.starts_with("http://")
}

impl Tone {
    const CALM: Self = Self { strong: "#1a7f4b", soft: "#e7f5ed" };
    /// The colours of an alert that ended although no check found the subject fine.
    const GREY: Self = Self { strong: "#5b6670", soft: "#eef1f3" };

    fn from_alert(alert: &Alert) -> Self {
        match (alert.reason, alert.ended_at_ms, alert.severity) {
            (Reason::Test, ..) | (_, None, Severity::Info) => Self { strong: "#2563a8", soft: "#e8f0fa" },
            (_, Some(_), _) if alert.ended_because.is_some() => Self::GREY,
            (_, Some(_), _) => Self::CALM,
            (_, None, Severity::Warning) => Self { strong: "#b45309", soft: "#fdf3e3" },
            (_, None, Severity::Critical) => Self { strong: "#b91c1c", soft: "#fdeaea" },
        }
    }
}
