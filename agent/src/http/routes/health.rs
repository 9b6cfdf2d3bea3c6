//! `GET /healthz` and `GET /readyz`: whether the process answers, and whether the agent does its work.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;

use super::services::part;
use crate::api::service::{Alive, PartItem, PartStateName, Readiness};
use crate::board::Board;
use crate::http::exchange::Answer;
use crate::http::operation::Permission;
use crate::http::route::{Area, Route};

pub(crate) fn area(board: &Arc<Board>) -> Area {
    let alive = Route::get("/healthz", "readHealth", alive)
        .describes("Whether the agent's process answers", "For a supervisor that restarts processes that do not answer.")
        .permission(Permission::Anyone)
        .answers::<Alive>(200, "The process answers.");
    let ready = Route::get("/readyz", "readReadiness", ready)
        .describes(
            "Whether the agent does its work",
            "Ready once every part was tried once, and as long as none of them has failed or stops. A database or a receiver that is down is \
             degraded, and leaves the agent ready.",
        )
        .answers::<Readiness>(200, "The agent is ready.")
        .answers::<Readiness>(503, "A part is starting, stopping or failed. Or an error: no answer was possible.");
    Area::new("health", "Whether the agent answers and does its work.", board, [alive, ready])
}

async fn alive() -> Answer<Alive> {
    Answer::ok(Alive { status: "alive".to_owned() })
}

async fn ready(State(board): State<Arc<Board>>) -> Answer<Readiness> {
    let items: Vec<PartItem> = board.parts().into_iter().map(part).collect();
    let in_state = |state| items.iter().filter(move |part| part.state == state).map(|part| part.name.clone()).collect();
    let (waiting_for, failed) = (in_state(PartStateName::Starting), in_state(PartStateName::Failed));
    let ready = items.iter().all(|part| matches!(part.state, PartStateName::Ok | PartStateName::Degraded));
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    Answer::with_status(status, Readiness { ready, waiting_for, failed, items })
}
