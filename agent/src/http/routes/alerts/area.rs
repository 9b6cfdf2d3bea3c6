//! The routes of `/api/alerts`.

use super::list::AlertsState;
use super::{acknowledge, explain, history, list};
use crate::api::alert::{Acknowledged, AlertItem, AlertsQuery, NewAcknowledgement, Unacknowledged};
use crate::api::decision::{AlertExplanation, HistoryItem, HistoryQuery};
use crate::api::list::List;
use crate::http::operation::Limits;
use crate::http::route::{Area, Route};

const FINGERPRINT: &str = "Fingerprint of the alert: sixteen hex digits.";
const FINGERPRINT_PREFIX: &str =
    "Fingerprint of the alert, or its first digits. Open alerts are searched first, and then alerts that ended.";
const UNAVAILABLE: &str = "The store cannot be reached just now, the agent stops, or it is busy.";

pub(crate) fn area(state: &AlertsState) -> Area {
    let routes = lists().into_iter().chain(of_one_alert()).chain(acknowledgements());
    Area::new("alerts", "What is wrong, which receivers were notified, and why others were not.", state, routes)
}

fn lists() -> [Route<AlertsState>; 2] {
    let list = |path, id| {
        Route::get(path, id, list::list)
            .describes("Open alerts", "The gravest first, then those that began first.")
            .query::<AlertsQuery>()
            .answers::<List<AlertItem>>(200, "Open alerts, or one page of them.")
            .refuses(404, "No `[[database]]` or `[[redis]]` has that name.")
    };
    [list("/api/alerts", "listAlerts"), list("/api/database/alerts", "listDatabaseAlerts")]
}

fn of_one_alert() -> [Route<AlertsState>; 2] {
    let explain = Route::get("/api/alerts/{fingerprint}", "explainAlert", explain::explain)
        .describes(
            "One alert, with everything that was decided about it",
            "Which routes take it, what each receiver was sent and when the next message is due, what holds messages back, its history and its \
             notifications. An alert that ended can be read as long as its history is stored.",
        )
        .path_parameter("fingerprint", FINGERPRINT_PREFIX, Some("^[0-9a-fA-F]{1,16}$"))
        .limits(Limits::STORE)
        .answers::<AlertExplanation>(200, "The alert with its decisions.")
        .refuses(404, "No alert has that fingerprint, or a fingerprint that begins with these digits.")
        .refuses(409, "Several alerts have fingerprints that begin with these digits.")
        .refuses(503, UNAVAILABLE);
    let history = Route::get("/api/alerts/{fingerprint}/history", "listAlertHistory", history::list)
        .describes("The history of one alert", "Transitions and withheld notifications, the newest first. Empty where none is stored.")
        .path_parameter("fingerprint", FINGERPRINT_PREFIX, Some("^[0-9a-fA-F]{1,16}$"))
        .limits(Limits::STORE)
        .query::<HistoryQuery>()
        .answers::<List<HistoryItem>>(200, "One page of the history.")
        .refuses(404, "No alert has a fingerprint that begins with these digits.")
        .refuses(409, "Several alerts have fingerprints that begin with these digits.")
        .refuses(503, UNAVAILABLE);
    [explain, history]
}

fn acknowledgements() -> [Route<AlertsState>; 2] {
    let acknowledge = Route::put("/api/alerts/{fingerprint}/acknowledgement", "acknowledgeAlert", acknowledge::acknowledge)
        .describes(
            "Acknowledge an alert",
            "No receiver is reminded of it until it ends or becomes graver. A second acknowledgement replaces the first.",
        )
        .path_parameter("fingerprint", FINGERPRINT, Some("^[0-9a-fA-F]{16}$"))
        .limits(Limits::STORE)
        .body::<NewAcknowledgement>()
        .answers::<Acknowledged>(200, "The acknowledgement as it was stored.")
        .refuses(404, "No open alert has that fingerprint.")
        .refuses(503, UNAVAILABLE);
    let unacknowledge = Route::delete("/api/alerts/{fingerprint}/acknowledgement", "unacknowledgeAlert", acknowledge::unacknowledge)
        .describes("Withdraw an acknowledgement", "Receivers are reminded of the alert again.")
        .path_parameter("fingerprint", FINGERPRINT, Some("^[0-9a-fA-F]{16}$"))
        .limits(Limits::STORE)
        .answers::<Unacknowledged>(200, "The alert is no longer acknowledged.")
        .refuses(404, "No open alert has that fingerprint, or it is not acknowledged.")
        .refuses(503, UNAVAILABLE);
    [acknowledge, unacknowledge]
}
