//! Checks of delivery: whether alerts reach people. The label `receiver` prevents that an alert about a receiver goes only to that
//! receiver.

use std::time::Duration;

use pharos_plugin::checks::{
    Case, Check, Direction, Explanation, Grading, Observation, Scope, Thresholds, each_increase, each_value, evidence,
};
use pharos_plugin::{Label, Reading, Severity, SkipReason, Snapshot, text};

use crate::label;

const BREAKER: &str = "pharos_receiver_breaker_state";
const DEAD: &str = "pharos_notifications_dead_total";
const DROPPED: &str = "pharos_notifications_dropped_total";
const OLDEST: &str = "pharos_notifications_oldest_timestamp_seconds";
const PENDING: &str = "pharos_notifications_pending";

pub(crate) const CHECKS: &[Check] = &[
    Check {
        id: "receiver-failing",
        summary: "a receiver cannot be reached",
        category: "delivery",
        scope: Scope::Each,
        labels: &["receiver"],
        needs: &[BREAKER],
        // A restart of a receiver takes less time.
        hold_off: Duration::from_mins(2),
        keep_firing: Duration::ZERO,
        grading: Grading::Fact(Severity::Critical),
        observe: failing,
        explain: receiver_failing,
    },
    Check {
        id: "receiver-gone",
        summary: "a receiver reported that it no longer exists",
        category: "delivery",
        scope: Scope::Each,
        labels: &["receiver"],
        needs: &[BREAKER],
        hold_off: Duration::ZERO,
        keep_firing: Duration::ZERO,
        grading: Grading::Fact(Severity::Critical),
        observe: |snapshot| Ok(receivers(snapshot).into_iter().filter(|receiver| receiver.breaker == "gone").map(observation).collect()),
        explain: receiver_gone,
    },
    Check {
        id: "dead-letters",
        summary: "notifications were given up",
        category: "delivery",
        scope: Scope::Each,
        labels: &["receiver"],
        needs: &[DEAD],
        hold_off: Duration::ZERO,
        // The increase is visible in a single snapshot, but a person should have time to read the alert.
        keep_firing: Duration::from_mins(30),
        grading: Grading::Scale(Direction::Rising, Thresholds { info: None, warning: Some(1.0), critical: Some(100.0), clear: 0.0 }),
        observe: |snapshot| each_increase(snapshot, DEAD),
        explain: dead_letters,
    },
    Check {
        id: "notifications-late",
        summary: "a notification has waited long",
        category: "delivery",
        scope: Scope::Each,
        labels: &["receiver"],
        needs: &[OLDEST],
        // No delay is needed: the thresholds are ages.
        hold_off: Duration::ZERO,
        keep_firing: Duration::ZERO,
        grading: Grading::rising(600.0, 3_600.0, 60.0),
        observe: waits,
        explain: notifications_late,
    },
];

/// A row of the agent's table `receivers`.
struct Receiver {
    name: String,
    breaker: String,
    waiting: i64,
    /// The reason of the last failed try. None after a success.
    why: Option<String>,
}

fn receivers(snapshot: &Snapshot) -> Vec<Receiver> {
    let Some(table) = snapshot.table("receivers") else { return Vec::new() };
    let (names, breakers, whys) = (table.texts("name"), table.texts("breaker"), table.texts("why"));
    let waiting = table.integers("waiting");
    let receiver = |row: usize| {
        Some(Receiver {
            name: names[row].clone()?,
            breaker: breakers[row].clone().unwrap_or_default(),
            waiting: waiting[row].unwrap_or(0),
            why: whys[row].clone(),
        })
    };
    (0..table.row_count()).filter_map(receiver).collect()
}

fn observation(receiver: Receiver) -> Observation {
    Observation::new(label("receiver", &receiver.name), receiver.waiting as f64)
}

/// Observes the receivers that do not answer, or that have a waiting notification after a failed try. A receiver that refuses a message
/// does answer, so it is not among them.
fn failing(snapshot: &Snapshot) -> Result<Vec<Observation>, SkipReason> {
    let is_failing = |receiver: &Receiver| match receiver.breaker.as_str() {
        "gone" => false,
        "open" | "half-open" => true,
        _ => receiver.waiting > 0 && receiver.why.is_some(),
    };
    Ok(receivers(snapshot).into_iter().filter(is_failing).map(observation).collect())
}

/// Observes the age of each receiver's oldest waiting notification, in seconds, at least 0.
fn waits(snapshot: &Snapshot) -> Result<Vec<Observation>, SkipReason> {
    let now = snapshot.taken_at_ms() as f64 / 1_000.0;
    let mut waits = each_value(snapshot, OLDEST)?;
    waits.iter_mut().for_each(|wait| wait.value = (now - wait.value).max(0.0));
    Ok(waits)
}

/// The name of a case's receiver, and the reason of its last failed try.
fn receiver_of_case(case: &Case) -> (String, Option<String>) {
    let name = case.label("receiver").to_owned();
    let why = receivers(case.snapshot).into_iter().find(|receiver| receiver.name == name).and_then(|receiver| receiver.why);
    (name, why)
}

fn reason(why: Option<String>) -> String {
    why.map(|why| format!(" The last try: {why}.")).unwrap_or_default()
}

fn receiver_failing(case: &Case) -> Explanation {
    let (name, why) = receiver_of_case(case);
    let waiting = text::counted(case.value, "notification waits", "notifications wait");
    Explanation {
        title: format!("receiver {name} is not reached"),
        detail: format!("{waiting} for `{name}`.{} They are stored, and sent once it answers.", reason(why)),
        cause: "The receiver or the network between is down, its address is wrong, or it does not accept our credentials.".to_owned(),
        fix: format!(
            "Try its address from this machine (`curl -i URL`). If it moved, correct `settings` of [[receiver]] \"{name}\"; if it refuses \
             egress, the log names the grant that would allow it."
        ),
        evidence: Vec::new(),
    }
}

fn receiver_gone(case: &Case) -> Explanation {
    let (name, why) = receiver_of_case(case);
    Explanation {
        title: format!("receiver {name} is gone for good"),
        detail: format!(
            "`{name}` answered that it is gone (HTTP 410), so nothing more is sent to it until the agent is restarted.{}",
            reason(why)
        ),
        cause: "Its channel, integration or account was deleted on the other side.".to_owned(),
        fix: format!(
            "Make a new one there, put its address into `settings` of [[receiver]] \"{name}\", or point its routes to another receiver; \
             then restart the agent."
        ),
        evidence: Vec::new(),
    }
}

fn dead_letters(case: &Case) -> Explanation {
    let (name, why) = receiver_of_case(case);
    let notifications = text::counted(case.value, "notification", "notifications");
    Explanation {
        title: format!("{notifications} to {name} given up"),
        detail: format!("{notifications} will never reach `{name}` unless they are sent again by hand.{}", reason(why)),
        cause:
            "The receiver refuses the message itself (HTTP 400, 404, 413, 422), refused our credentials for an hour, or was unreachable \
             for days."
                .to_owned(),
        fix: format!(
            "The log has the receiver's answer. Correct `settings` of [[receiver]] \"{name}\", or the receiver itself; notifications that \
             were given up stay in the outbox."
        ),
        evidence: given_up(case.snapshot, &name),
    }
}

/// The number of notifications to this receiver that were given up since the start of the agent, by reason.
fn given_up(snapshot: &Snapshot, receiver: &str) -> Vec<Label> {
    let dropped = snapshot.samples(DROPPED, &[], Reading::Value);
    let failures = dropped.rows().filter(|row| row.label("receiver") == Some(receiver) && row.label("reason") != Some("untold"));
    failures.map(|row| evidence(row.label("reason").unwrap_or_default(), text::count(row.value()))).collect()
}

fn notifications_late(case: &Case) -> Explanation {
    let (name, why) = receiver_of_case(case);
    let age = text::duration(case.value);
    let waiting = case.related_series(PENDING).map(|waiting| evidence("waiting", text::count(waiting)));
    Explanation {
        title: format!("notification to {name} has waited {age}"),
        detail: format!("The oldest notification to `{name}` was made {age} ago and has not been accepted.{}", reason(why)),
        cause: "The receiver is unreachable, asks for fewer requests (HTTP 429), or accepts fewer notifications than there are.".to_owned(),
        fix: format!(
            "If it is unreachable, see `receiver-failing`. If it asks for fewer requests, send it less: narrow the routes to \"{name}\", \
             or raise its limit on the other side."
        ),
        evidence: waiting.into_iter().collect(),
    }
}
