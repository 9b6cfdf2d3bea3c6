//! The subject: what a phone shows of a mail, so what matters comes first.

use pharos_plugin::{Alert, Message, Reason, Severity};

const TITLE_CHARS_MAX: usize = 120;

/// `[FIRING 2] critical: disk full in 3 h (db1:5432) and 1 more`
pub fn of(message: &Message) -> String {
    let Some(first) = worst(&message.alerts) else { return format!("[{}] nothing to tell", message.receiver) };
    let tag = tag(&message.alerts);
    let title = shortened(&first.title);
    let severity = match first.reason {
        // The tag says it already, or there is none.
        Reason::SeverityChanged if first.ended_at_ms.is_none() => String::new(),
        Reason::Test => String::new(),
        _ => format!("{}: ", severity(first.severity)),
    };
    let server = if first.subject.id.is_empty() { String::new() } else { format!(" ({})", first.subject.id) };
    let others = message.alerts.len() - 1 + message.truncated as usize;
    let others = if others == 0 { String::new() } else { format!(" and {others} more") };
    format!("{tag} {severity}{title}{server}{others}")
}

/// What still fires before what is over, then by severity.
pub fn worst(alerts: &[Alert]) -> Option<&Alert> {
    let mut alerts = alerts.iter();
    let first = alerts.next()?;
    Some(alerts.fold(first, |worst, alert| if rank(alert) > rank(worst) { alert } else { worst }))
}

pub fn rank(alert: &Alert) -> (bool, u8) {
    let severity = match alert.severity {
        Severity::Info => 0,
        Severity::Warning => 1,
        Severity::Critical => 2,
    };
    (alert.ended_at_ms.is_none(), severity)
}

pub fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "info",
        Severity::Warning => "warning",
        Severity::Critical => "critical",
    }
}

/// What is told of one alert, in a word or two.
pub fn state(alert: &Alert) -> &'static str {
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

/// `[FIRING]`, `[FIRING 2]`, `[FIRING 2, RESOLVED 1]`
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
