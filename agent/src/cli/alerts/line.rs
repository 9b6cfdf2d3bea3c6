//! Lines for a terminal: an alert, a decision about it, or an entry of its history.

use std::fmt::Write as _;
use std::time::Duration;

use pharos_model::alert::AlertState;

use crate::api::alert::AlertItem;
use crate::api::decision::{HistoryItem, ReceiverDecision, RouteDecision, SilenceDecision};
use crate::cli::terminal::{shown, shown_list};

/// An alert in a list.
pub(super) fn alert(alert: &AlertItem) -> String {
    let is_over = matches!(alert.state, AlertState::Resolved | AlertState::Inactive);
    let notes = [
        (alert.frozen.is_some() && !is_over, "not judged"),
        (alert.flapping_since.is_some(), "flaps"),
        (alert.acknowledgement.is_some(), "acknowledged"),
        (!alert.silenced_by.is_empty(), "silenced"),
    ];
    let notes: Vec<&str> = notes.iter().filter(|(is_so, _)| *is_so).map(|(_, note)| *note).collect();
    let notes = if notes.is_empty() { String::new() } else { format!("  [{}]", notes.join(", ")) };
    let (severity, state, since) = (alert.severity, alert.state, &alert.since.0);
    let (fingerprint, title) = (shown(&alert.fingerprint), shown(&alert.title));
    format!("{fingerprint}  {severity:8}  {state:10}  since {}  {}: {title}{notes}", shown(since), about(alert))
}

fn about(alert: &AlertItem) -> String {
    let [plugin, rule, kind, id] = [&alert.plugin, &alert.rule, &alert.subject.kind, &alert.subject.id].map(|text| shown(text));
    format!("{plugin}/{rule} of {kind} {id}")
}

pub(super) fn route(route: &RouteDecision) -> String {
    let taken = match route.taken {
        true => "taken".to_owned(),
        false => format!("not taken: {}", shown(route.why.as_deref().unwrap_or_default())),
    };
    format!("{} {{{}}} -> {}: {taken}", route.number, shown_list(&route.matchers, ","), shown(&route.receiver))
}

/// The line of a receiver. `is_reminded` is false for an acknowledged alert, of which no receiver is reminded.
pub(super) fn receiver(receiver: &ReceiverDecision, is_reminded: bool) -> String {
    let mut line = format!("{}: ", shown(&receiver.receiver));
    let _ = match &receiver.told {
        None => write!(line, "not notified yet"),
        Some(told) => write!(line, "a message was made at {}, {}", shown(&told.at.0), told.severity),
    };
    if let Some(why) = &receiver.held {
        let _ = write!(line, "; held: {}", shown(why));
    }
    if let Some(at) = &receiver.due_at {
        let _ = write!(line, "; its group is notified at {}", shown(&at.0));
    }
    if let Some(seconds) = receiver.repeats_in_seconds.filter(|_| is_reminded) {
        let _ = write!(line, "; reminded in {}", humantime::format_duration(Duration::from_secs(seconds as u64)));
    }
    let _ = write!(line, "; group {} of {} alerts", shown(&receiver.group), receiver.group_size);
    line
}

pub(super) fn silence(silence: &SilenceDecision) -> String {
    let [id, ends_at, author, comment] = [&silence.id, &silence.ends_at.0, &silence.author, &silence.comment].map(|text| shown(text));
    format!("{id}: {}, until {ends_at}, by {author}: {comment}", silence.state.as_str())
}

/// An entry of the history. The number after `#` is the incident; all alerts of an agent are numbered together.
pub(super) fn history(entry: &HistoryItem) -> String {
    match entry {
        HistoryItem::Withheld(withheld) => {
            let how = if withheld.for_good { "never notified" } else { "not notified for now" };
            let [at, receiver, why] = [&withheld.at.0, &withheld.receiver, &withheld.why].map(|text| shown(text));
            format!("{at}  #{}  {receiver}: {how}, {why}", withheld.incident)
        }
        HistoryItem::Transition(transition) => {
            let (from, to, severity) = (transition.from, transition.to, transition.severity);
            let (at, reason) = (shown(&transition.at.0), shown(&transition.reason));
            format!("{at}  #{}  {from} -> {to}  {severity}  ({reason})", transition.incident)
        }
        HistoryItem::Other(other) => format!("{}  {}  {}", shown(&other.at.0), shown(&other.what), shown(&other.detail.to_string())),
    }
}
