//! An alert and everything that was decided about it, for a terminal.

use std::fmt::Write as _;

use super::line;
use super::verdict::verdict;
use crate::api::decision::AlertExplanation;
use crate::cli::outbox;
use crate::cli::terminal::{shown, shown_number};

pub(super) fn text(answer: &AlertExplanation) -> String {
    let mut out = String::new();
    let AlertExplanation { alert, decision, history, notifications } = answer;
    let _ = writeln!(out, "{}", line::alert(alert));
    let facts = [
        ("began", Some(shown(&alert.started_at.0))),
        ("value", alert.value.map(shown_number)),
        ("raises at", alert.raise_at.map(shown_number)),
        ("clears at", alert.clear_at.map(shown_number)),
        ("not judged", alert.frozen.as_deref().map(shown)),
        (
            "acknowledged",
            alert
                .acknowledgement
                .as_ref()
                .map(|given| format!("{} at {}: {}", shown(&given.author), shown(&given.at.0), shown(&given.comment))),
        ),
    ];
    for (name, fact) in facts.into_iter().filter_map(|(name, fact)| Some((name, fact?))) {
        let _ = writeln!(out, "  {name:13} {fact}");
    }
    let _ = writeln!(out, "\n{}", verdict(answer));
    let is_reminded = alert.acknowledgement.is_none();
    section(&mut out, "routes", decision.routes.iter().map(line::route));
    section(&mut out, "receivers", decision.receivers.iter().map(|receiver| line::receiver(receiver, is_reminded)));
    section(&mut out, "silences that match", decision.silences.iter().map(line::silence));
    section(&mut out, "notifications", notifications.iter().map(outbox::line));
    section(&mut out, "history, newest first; each # is one occurrence", history.iter().map(line::history));
    out.trim_end().to_owned()
}

/// Writes a title with its lines. Writes nothing if there are no lines.
fn section(out: &mut String, title: &str, lines: impl Iterator<Item = String>) {
    let mut lines = lines.peekable();
    if lines.peek().is_some() {
        let _ = writeln!(out, "\n{title}");
        lines.for_each(|line| {
            let _ = writeln!(out, "  {line}");
        });
    }
}
