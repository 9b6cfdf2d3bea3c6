//! `/api/silences`: alerts that are sent to no receiver for a while.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::http::StatusCode;
use pharos_model::dispatch::{LabelMatcher, Matchers, Silence};
use pharos_model::duration::milliseconds;

use crate::api::list::{List, Timestamp};
use crate::api::silence::{AddedSilence, NewSilence, SilenceItem, SilenceSource};
use crate::board::Board;
use crate::clock::{Clock, parse_rfc3339, rfc3339};
use crate::config::labels;
use crate::http::access::Caller;
use crate::http::desk::refused;
use crate::http::error::ApiError;
use crate::http::exchange::{Answer, JsonBody, PathName};
use crate::http::operation::Limits;
use crate::http::route::{Area, Route};
use crate::pipeline::Desk;

/// The last instant that RFC 3339 can write, in milliseconds since 1970.
const LAST_INSTANT_MS: u64 = 253_402_300_799_999;

/// State of the routes about silences.
#[derive(Clone)]
pub(crate) struct SilencesState {
    pub desk: Desk,
    /// Open alerts, to count those that a new silence hides.
    pub board: Arc<Board>,
    pub clock: Clock,
}

pub(crate) fn area(state: &SilencesState) -> Area {
    let list = Route::get("/api/silences", "listSilences", list)
        .describes(
            "All silences, including those that are over",
            "By state - `active`, `expired`, `pending` - and then by their end, the next one first. At most 1,000.",
        )
        .answers::<List<SilenceItem>>(200, "All silences.");
    let add = Route::post("/api/silences", "addSilence", add)
        .describes(
            "Add a silence",
            "Alerts that match all matchers are sent to no receiver between two instants. Alerts that still fire at the end are reported then. A \
             silence that would match every alert is refused.",
        )
        .body::<NewSilence>()
        .answers::<AddedSilence>(201, "The silence as it was stored, and what it hides.")
        .refuses(400, "The silence has no valid matchers, no valid time, no author or no comment; or the request is malformed.")
        .refuses(409, "There are 1,000 silences, or all silences together would take too much memory.");
    let expire = Route::delete("/api/silences/{id}", "expireSilence", expire)
        .describes("End a silence now", "The silence stays in the list as `expired`.")
        .path_parameter("id", "Id of the silence, as it is listed.", None)
        .answers::<SilenceItem>(200, "The silence as it ended.")
        .refuses(404, "No silence has that id.")
        .refuses(409, "The silence is in the config file and can only be changed there.");
    let routes = [list, add, expire]
        .map(|route| route.limits(Limits::STORE).refuses(503, "The store cannot be written just now, the agent stops, or it is busy."));
    Area::new("silences", "Alerts that are sent to no receiver for a while.", state, routes)
}

async fn list(State(state): State<SilencesState>) -> Result<Answer<List<SilenceItem>>, ApiError> {
    let now_ms = state.clock.wall_ms();
    let mut silences = state.desk.silences().await.map_err(refused)?;
    silences.sort_by_key(|silence| (silence.state(now_ms).as_str(), silence.ends_at_ms));
    let items = silences.iter().map(|silence| item(silence, now_ms)).collect();
    Ok(Answer::ok(List { items, next_cursor: None }))
}

async fn add(
    State(state): State<SilencesState>,
    Extension(caller): Extension<Caller>,
    JsonBody(new): JsonBody<NewSilence>,
) -> Result<Answer<AddedSilence>, ApiError> {
    let now_ms = state.clock.wall_ms();
    let silence = silence(new, &caller, now_ms)?;
    let silence = state.desk.silence(silence, &caller.name).await.map_err(refused)?;
    let picture = state.board.picture();
    let added = AddedSilence {
        silence: item(&silence, now_ms),
        open_alerts_that_match: picture.alerts.iter().filter(|alert| silence.matchers.fit(alert)).count() as u64,
        notes: unknown_labels(&silence),
    };
    Ok(Answer::with_status(StatusCode::CREATED, added))
}

async fn expire(
    State(state): State<SilencesState>,
    Extension(caller): Extension<Caller>,
    PathName(id): PathName,
) -> Result<Answer<SilenceItem>, ApiError> {
    let silence = state.desk.expire_silence(&id, &caller.name).await.map_err(refused)?;
    Ok(Answer::ok(item(&silence, state.clock.wall_ms())))
}

fn silence(new: NewSilence, caller: &Caller, now_ms: u64) -> Result<Silence, ApiError> {
    let matchers = Matchers::parse(&new.matchers).map_err(|err| ApiError::bad_request(format!("`matchers`: {err}")))?;
    let starts_at_ms = new.starts_at.as_deref().map_or(Ok(now_ms), |text| instant("starts_at", text))?;
    let ends_at_ms = match (&new.ends_at, &new.duration) {
        (Some(text), None) => instant("ends_at", text)?,
        (None, Some(text)) => starts_at_ms.saturating_add(duration(text)?),
        _ => return Err(ApiError::bad_request("a silence needs an end: give `ends_at` or `duration`, and only one of them")),
    };
    if ends_at_ms > LAST_INSTANT_MS {
        return Err(ApiError::bad_request("the silence would end after the year 9999"));
    }
    Ok(Silence {
        id: format!("{now_ms:x}-{:04x}", fastrand::u16(..)),
        matchers,
        starts_at_ms,
        ends_at_ms,
        author: caller.author(new.author)?,
        comment: new.comment,
        created_at_ms: now_ms,
        over: false,
        configured: false,
    })
}

/// Labels of the silence that no alert of a shipped plugin has. They are probably misspelt, unless a plugin of the user has them.
fn unknown_labels(silence: &Silence) -> Vec<String> {
    let known = labels::known();
    let names = silence.matchers.0.iter().map(LabelMatcher::name).filter(|name| !known.contains(name));
    names.map(|name| labels::unknown_label(name, &known)).collect()
}

fn instant(key: &str, text: &str) -> Result<u64, ApiError> {
    parse_rfc3339(text)
        .ok_or_else(|| ApiError::bad_request(format!("`{key}`: `{text}` is no instant")).hint("write it like 2026-11-25T22:00:00Z"))
}

fn duration(text: &str) -> Result<u64, ApiError> {
    let duration: Duration = humantime::parse_duration(text)
        .map_err(|err| ApiError::bad_request(format!("`duration`: `{text}`: {err}")).hint("write it like 2h or 30m"))?;
    Ok(milliseconds(duration))
}

fn item(silence: &Silence, now_ms: u64) -> SilenceItem {
    SilenceItem {
        id: silence.id.clone(),
        state: silence.state(now_ms),
        matchers: silence.matchers.0.iter().map(ToString::to_string).collect(),
        starts_at: Timestamp(rfc3339(silence.starts_at_ms)),
        ends_at: Timestamp(rfc3339(silence.ends_at_ms)),
        author: silence.author.clone(),
        comment: silence.comment.clone(),
        created_at: Timestamp(rfc3339(silence.created_at_ms)),
        problem: silence.matchers.problem().map(ToOwned::to_owned),
        source: if silence.configured { SilenceSource::Config } else { SilenceSource::Api },
    }
}
