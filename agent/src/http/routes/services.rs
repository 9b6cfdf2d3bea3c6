//! `GET /api/services/status`: how every part of the agent is, and what watching a server costs it.

use axum::Json;
use axum::extract::State;
use pharos_model::agent_part::AgentPart;
use pharos_model::budget::ServerCosts;
use serde::Serialize;
use serde_json::{Value, json};

use crate::board::PartStatus;
use crate::http::Shared;

/// A part, and for a server its account.
#[derive(Serialize)]
struct Service {
    #[serde(flatten)]
    part: PartStatus,
    #[serde(skip_serializing_if = "Option::is_none")]
    cost: Option<ServerCosts>,
}

pub async fn list(State(api): Shared) -> Json<Value> {
    let service = |part: PartStatus| {
        let cost = match &part.part {
            AgentPart::Server(server) => api.board.costs(server),
            _ => None,
        };
        Service { part, cost }
    };
    let items: Vec<Service> = api.board.parts().into_iter().map(service).collect();
    Json(json!({ "items": items }))
}
