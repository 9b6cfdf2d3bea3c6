//! The subject line of a mail. A phone shows only its beginning, so the most important part comes first.

use pharos_plugin::{Alert, Message, Reason, Severity};

/// Characters of a title in the subject. A longer title is cut, so that a mail client shows the rest of the subject.
const TITLE_CHARS_MAX: usize = 120;

/// The subject line: `[FIRING 2] critical: disk full in 3 h (db1:5432) and 1 more`.
pub(crate) fn line(message: &Message) -> String {
    let Some(first) = worst(&message.alerts) else { return format!("[{}] no alerts", message.receiver) };
    let tag = tag(&message.alerts);
    let title = shortened(&first.title);
    let severity = match first.reason {
        // The tag contains the severity already, and a test has none.
        Reason::SeverityChanged if first.ended_at_ms.is_none() => String::new(),
        Reason::Test => String::new(),
        _ => format!("{}: ", severity(first.severity)),
    };
    let server = if first.subject.id.is_empty() { String::new() } else { format!(" ({})", first.subject.id) };
    let others = message.alerts.len() - 1 + message.truncated as usize;
    let others = if others == 0 { String::new() } else { format!(" and {others} more") };
    format!("{tag} {severity}{title}{server}{others}")
}

/// The gravest alert: an alert that fires comes before an alert that is over, then the severity decides.
pub(crate) fn worst(alerts: &[Alert]) -> Option<&Alert> {
    let mut alerts = alerts.iter();
    let first = alerts.next()?;
    Some(alerts.fold(first, |worst, alert| if rank(alert) > rank(worst) { alert } else { worst }))
}

pub(crate) fn rank(alert: &Alert) -> (bool, u8) {
    let severity = match alert.severity {
        Severity::Info => 0,
        Severity::Warning => 1,
        Severity::Critical => 2,
    };
    (alert.ended_at_ms.is_none(), severity)
}

pub(crate) fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "info",
        Severity::Warning => "warning",
        Severity::Critical => "critical",
    }
}

/// The state of an alert, in one or two words.
pub(crate) fn state(alert: &Alert) -> &'static str {
    match (alert.reason, alert.ended_at_ms.is_some()) {
        (Reason::Test, _) => "TEST",
        (Reason::Summary, _) => "WAS FIRING",
        (_, true) if alert.ended_because.is_some() => "ENDED",
        (Reason::Resolved, _) | (_, true) => "RESOLVED",
        (Reason::Firing, _) => "FIRING",
        (Reason::Repeated, _) => "STILL FIRING",
        (Reason::Flapping, _) => "FLAPPING",
        (Reason::SeverityChanged, _) => match alert.severity {
            Severity::Info => "NOW INFO",
            Severity::Warning => "NOW WARNING",
            Severity::Critical => "NOW CRITICAL",
        },
    }
}

/// The states of all alerts with their numbers: `[FIRING]`, `[FIRING 2]`, `[FIRING 2, RESOLVED 1]`.
fn tag(alerts: &[Alert]) -> String {
    let mut counts: Vec<(&str, usize)> = Vec::new();
    for alert in alerts {
        let state = state(alert);
        match counts.iter_mut().find(|(known, _)| *known == state) {
            Some((_, count)) => *count += 1,
            None => counts.push((state, 1)),
        }
    }
    let alone = alerts.len() == 1;
    let texts: Vec<String> =
        counts.iter().map(|(state, count)| if alone { (*state).to_owned() } else { format!("{state} {count}") }).collect();
    format!("[{}]", texts.join(", "))
}

fn shortened(title: &str) -> String {
    let words: Vec<&str> = title.split_whitespace().collect();
    let title = words.join(" ");
    match title.char_indices().nth(TITLE_CHARS_MAX) {
        Some((end, _)) => format!("{}…", title[..end].trim_end()),
        None => title,
    }
}
