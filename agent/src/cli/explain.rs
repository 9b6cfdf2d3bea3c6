//! An alert and everything that was decided about it, for a terminal.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::Value;

use super::outbox;
use super::reach::shown;

/// One alert in a list.
pub fn line(alert: &Value) -> String {
    let [fingerprint, state, severity, since, title] = ["fingerprint", "state", "severity", "since", "title"].map(|key| shown(&alert[key]));
    let is_over = alert["state"] == "resolved" || alert["state"] == "inactive";
    let stands_still = !alert["frozen"].is_null() && !is_over;
    let has = |key: &str| !alert[key].is_null();
    let notes = [(stands_still, "stands still"), (has("flapping_since"), "flaps"), (has("acknowledgement"), "acknowledged")];
    let mut notes: Vec<&str> = notes.iter().filter(|(is_so, _)| *is_so).map(|(_, note)| *note).collect();
    notes.extend(alert["silenced_by"].as_array().filter(|silences| !silences.is_empty()).map(|_| "silenced"));
    let notes = if notes.is_empty() { String::new() } else { format!("  [{}]", notes.join(", ")) };
    format!("{fingerprint}  {severity:8}  {state:10}  since {since}  {}: {title}{notes}", subject(alert))
}

fn subject(alert: &Value) -> String {
    let part = |value: &Value| shown(value);
    format!("{}/{} of {} {}", part(&alert["plugin"]), part(&alert["rule"]), part(&alert["subject"]["kind"]), part(&alert["subject"]["id"]))
}

/// The whole answer of `/api/alerts/{fingerprint}`.
pub fn text(answer: &Value) -> String {
    let mut out = String::new();
    let (alert, decision) = (&answer["alert"], &answer["decision"]);
    let _ = writeln!(out, "{}", line(alert));
    let _ = writeln!(out, "  {:13} {}", "began", shown(&alert["started_at"]));
    for (name, key) in [("value", "value"), ("raises at", "raise_at"), ("clears at", "clear_at"), ("stands still", "frozen")] {
        if !alert[key].is_null() {
            let _ = writeln!(out, "  {name:13} {}", shown(&alert[key]));
        }
    }
    let word = &alert["acknowledgement"];
    if !word.is_null() {
        let _ = writeln!(out, "  {:13} {} at {}: {}", "acknowledged", shown(&word["author"]), shown(&word["at"]), shown(&word["comment"]));
    }
    let _ = writeln!(out, "\n{}", verdict(answer));
    section(&mut out, "routes", list(&decision["routes"]).map(route));
    let is_reminded = word.is_null();
    section(&mut out, "receivers", list(&decision["receivers"]).map(|one| receiver(one, is_reminded)));
    section(&mut out, "silences that match", list(&decision["silences"]).map(silence));
    section(&mut out, "notifications", list(&answer["notifications"]).map(outbox::line));
    section(&mut out, "history, newest first; the same # is the same time that it was wrong", history(&answer["history"]));
    out.trim_end().to_owned()
}

fn section(out: &mut String, title: &str, lines: impl IntoIterator<Item = String>) {
    let lines: Vec<String> = lines.into_iter().collect();
    if !lines.is_empty() {
        let _ = writeln!(out, "\n{title}");
        lines.iter().for_each(|line| {
            let _ = writeln!(out, "  {line}");
        });
    }
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// The answer in one sentence.
fn verdict(answer: &Value) -> String {
    let (alert, decision) = (&answer["alert"], &answer["decision"]);
    // What was told of it last week is no answer to whether anybody knows that it is wrong again.
    let of_incident = |thing: &&Value| thing["incident"] == alert["incident"];
    let notifications: Vec<&Value> = list(&answer["notifications"]).filter(of_incident).collect();
    let delivered: Vec<String> =
        notifications.iter().filter(|row| row["state"] == "delivered").map(|row| shown(&row["receiver"])).collect();
    let mut told: Vec<&String> = delivered.iter().collect();
    told.sort();
    told.dedup();
    let mut why = Vec::new();
    let mut is_unknown = false;
    for receiver in list(&decision["receivers"]) {
        let name = shown(&receiver["receiver"]);
        // The agent remembers that it made a message; whether that arrived, only the store knows, which keeps the newest.
        if !receiver["told"].is_null() && !notifications.iter().any(|row| shown(&row["receiver"]) == name) {
            is_unknown = true;
            why.push(format!("a message to `{name}` was made at {}; how it ended is no longer stored", shown(&receiver["told"]["at"])));
        }
        if !receiver["held"].is_null() {
            why.push(format!("`{name}` does not hear of it: {}", shown(&receiver["held"])));
        } else if !receiver["due_at"].is_null() {
            why.push(format!("`{name}` hears at {}, with its group", shown(&receiver["due_at"])));
        }
    }
    for row in notifications {
        let (name, reason) = (shown(&row["receiver"]), shown(&row["why"]));
        match row["state"].as_str() {
            Some("dead") => {
                why.push(format!("`{name}` was not reached, and #{} was given up ({}): {reason}", row["id"], shown(&row["reason"])))
            }
            Some("waiting" | "sending") if !reason.is_empty() => {
                why.push(format!("`{name}` is tried again at {}: {reason}", shown(&row["due_at"])))
            }
            _ => {}
        }
    }
    let never_told = |event: &&Value| event["what"] == "withheld" && event["for_good"] == true;
    for event in list(&answer["history"]).filter(never_told).filter(of_incident) {
        why.push(format!("`{}` was never told of it: {}", shown(&event["receiver"]), shown(&event["why"])));
    }
    if alert["state"] == "pending" {
        why.push("it is pending: its rule asks to wait before anybody is told".to_owned());
    } else if list(&decision["routes"]).all(|route| route["taken"] == false) && list(&decision["receivers"]).next().is_none() {
        why.push("no route takes it".to_owned());
    }
    let told = match told[..] {
        [] if is_unknown => "No delivery is stored any more.".to_owned(),
        [] => "Nobody was told.".to_owned(),
        _ => format!("Told: {}.", told.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(", ")),
    };
    why.iter().fold(told, |text, why| format!("{text}\n  {why}"))
}

fn route(route: &Value) -> String {
    let matchers: Vec<String> = list(&route["matchers"]).map(shown).collect();
    let taken = if route["taken"] == true { "taken".to_owned() } else { format!("not taken: {}", shown(&route["why"])) };
    format!("{} {{{}}} -> {}: {taken}", route["number"], matchers.join(","), shown(&route["receiver"]))
}

/// Nobody is reminded of what somebody has acknowledged.
fn receiver(receiver: &Value, is_reminded: bool) -> String {
    let mut line = format!("{}: ", shown(&receiver["receiver"]));
    let told = &receiver["told"];
    let _ = match told.is_null() {
        true => write!(line, "not told yet"),
        false => write!(line, "a message was made at {}, {}", shown(&told["at"]), shown(&told["severity"])),
    };
    if !receiver["held"].is_null() {
        let _ = write!(line, "; held: {}", shown(&receiver["held"]));
    }
    if !receiver["due_at"].is_null() {
        let _ = write!(line, "; its group is told at {}", shown(&receiver["due_at"]));
    }
    if let Some(ms) = receiver["repeats_in_ms"].as_u64().filter(|_| is_reminded) {
        let _ = write!(line, "; reminded in {}", humantime::format_duration(Duration::from_secs(ms / 1_000)));
    }
    let _ = write!(line, "; group {} of {} alerts", shown(&receiver["group"]), receiver["group_size"]);
    line
}

fn silence(silence: &Value) -> String {
    let [id, state, ends, author, comment] = ["id", "state", "ends_at", "author", "comment"].map(|key| shown(&silence[key]));
    format!("{id}: {state}, until {ends}, by {author}: {comment}")
}

/// A line for each thing that happened.
pub fn history(history: &Value) -> Vec<String> {
    let line = |event: &Value| {
        let [at, from, to, severity, reason, why] = ["at", "from", "to", "severity", "reason", "why"].map(|key| shown(&event[key]));
        // One time that it was wrong, from beginning to end. All alerts of an agent are numbered together.
        let incident = shown(&event["incident"]);
        match event["what"].as_str() {
            Some("withheld") => {
                let how = if event["for_good"] == true { "never told" } else { "not told for now" };
                format!("{at}  #{incident}  {}: {how}, {why}", shown(&event["receiver"]))
            }
            _ => format!("{at}  #{incident}  {from} -> {to}  {severity}  ({reason})"),
        }
    };
    list(history).map(line).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_no_longer_stored_is_called_neither_told_nor_untold() {
        let told = json!({ "receiver": "ops", "told": { "at": "2026-11-30T10:00:00Z", "severity": "critical" } });
        let with = |notifications: Value| {
            let decision = json!({ "receivers": [told], "routes": [] });
            verdict(&json!({ "alert": { "incident": 7, "state": "firing" }, "decision": decision, "notifications": notifications }))
        };
        let unknown = "a message to `ops` was made at 2026-11-30T10:00:00Z; how it ended is no longer stored";
        assert_eq!(with(json!([])), format!("No delivery is stored any more.\n  {unknown}"));
        let other = json!([{ "id": 1, "incident": 7, "receiver": "dba", "state": "delivered" }]);
        assert_eq!(with(other), format!("Told: dba.\n  {unknown}"));
        let dead = json!([{ "id": 1, "incident": 7, "receiver": "ops", "state": "dead", "reason": "rejected", "why": "status 404" }]);
        assert_eq!(with(dead), "Nobody was told.\n  `ops` was not reached, and #1 was given up (rejected): status 404");
    }
}
