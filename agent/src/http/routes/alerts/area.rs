//! The routes of `/api/alerts`.

use super::list::AlertsState;
use super::{acknowledge, explain, history, list};
use crate::api::alert::{Acknowledged, AlertItem, AlertsQuery, NewAcknowledgement, Unacknowledged};
use crate::api::decision::{AlertExplanation, HistoryItem, HistoryQuery};
use crate::api::list::List;
use crate::http::operation::Limits;
use crate::http::route::{Area, Route};

const FINGERPRINT: &str = "Fingerprint of the alert: sixteen hex digits.";
const BEGINNING: &str = "Fingerprint of the alert, or how it begins: of open alerts, and where none begins so, of those that ended.";
const UNAVAILABLE: &str = "The store cannot be reached just now, the agent stops, or it is busy.";

pub fn area(state: &AlertsState) -> Area {
    let routes = lists().into_iter().chain(of_one_alert()).chain(acknowledgements());
    Area::new("alerts", "What is wrong, who was notified of it, and why not.", state, routes)
}

fn lists() -> [Route<AlertsState>; 2] {
    let list = |path, id| {
        Route::get(path, id, list::list)
            .says("Open alerts", "The gravest first, then those that began first.")
            .query::<AlertsQuery>()
            .answers::<List<AlertItem>>(200, "Open alerts, or one page of them.")
            .refuses(404, "No `[[database]]` or `[[redis]]` has that name.")
    };
    [list("/api/alerts", "listAlerts"), list("/api/database/alerts", "listDatabaseAlerts")]
}

fn of_one_alert() -> [Route<AlertsState>; 2] {
    let explain = Route::get("/api/alerts/{fingerprint}", "explainAlert", explain::explain)
        .says(
            "One alert, with everything that was decided about it",
            "Which routes take it, what each receiver was sent and when the next message is due, what holds messages back, its history and its \
             notifications. An alert that ended can be asked for as long as its history is kept.",
        )
        .path_parameter("fingerprint", BEGINNING, Some("^[0-9a-fA-F]{1,16}$"))
        .limits(Limits::STORE)
        .answers::<AlertExplanation>(200, "The alert with its decisions.")
        .refuses(404, "No alert has that fingerprint, or none that begins so.")
        .refuses(409, "Several alerts have fingerprints that begin so.")
        .refuses(503, UNAVAILABLE);
    let history = Route::get("/api/alerts/{fingerprint}/history", "listAlertHistory", history::list)
        .says("The history of one alert", "Transitions and withheld notifications, the newest first. Empty where none is stored.")
        .path_parameter("fingerprint", BEGINNING, Some("^[0-9a-fA-F]{1,16}$"))
        .limits(Limits::STORE)
        .query::<HistoryQuery>()
        .answers::<List<HistoryItem>>(200, "One page of the history.")
        .refuses(404, "No alert has a fingerprint that begins so.")
        .refuses(409, "Several alerts have fingerprints that begin so.")
        .refuses(503, UNAVAILABLE);
    [explain, history]
}

fn acknowledgements() -> [Route<AlertsState>; 2] {
    let acknowledge = Route::put("/api/alerts/{fingerprint}/acknowledgement", "acknowledgeAlert", acknowledge::acknowledge)
        .says(
            "Take care of an alert",
            "No receiver is reminded of it until it ends or becomes graver. A second acknowledgement replaces the first.",
        )
        .path_parameter("fingerprint", FINGERPRINT, Some("^[0-9a-fA-F]{16}$"))
        .limits(Limits::STORE)
        .body::<NewAcknowledgement>()
        .answers::<Acknowledged>(200, "The acknowledgement as it was stored.")
        .refuses(404, "No open alert has that fingerprint.")
        .refuses(503, UNAVAILABLE);
    let unacknowledge = Route::delete("/api/alerts/{fingerprint}/acknowledgement", "unacknowledgeAlert", acknowledge::unacknowledge)
        .says("Take care of an alert no more", "Its receivers are reminded of it again.")
        .path_parameter("fingerprint", FINGERPRINT, Some("^[0-9a-fA-F]{16}$"))
        .limits(Limits::STORE)
        .answers::<Unacknowledged>(200, "Nobody takes care of it any more.")
        .refuses(404, "No open alert has that fingerprint, or nobody takes care of it.")
        .refuses(503, UNAVAILABLE);
    [acknowledge, unacknowledge]
}
