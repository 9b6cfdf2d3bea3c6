//! `GET /api/services/status`: the state of every part of the agent, and the cost of monitoring for each server.

use std::sync::Arc;

use axum::extract::State;
use pharos_model::agent_part::AgentPart;
use pharos_model::budget::{CollectorCosts, ServerCosts};

use crate::api::list::{List, Timestamp};
use crate::api::service::{CollectorCost, PartItem, PartStateName, ServerCost, ServiceItem};
use crate::board::{Board, PartHealth, PartStatus};
use crate::http::exchange::Answer;
use crate::http::route::{Area, Route};

pub(crate) fn area(board: &Arc<Board>) -> Area {
    let list = Route::get("/api/services/status", "listServices", list)
        .describes(
            "The state of every part of the agent",
            "Servers, receivers, plugins, their clock and reload, pipeline, store and API, by name. A PostgreSQL server also has the cost of \
             monitoring it.",
        )
        .answers::<List<ServiceItem>>(200, "All parts.");
    Area::new("services", "The parts of the agent.", board, [list])
}

async fn list(State(board): State<Arc<Board>>) -> Answer<List<ServiceItem>> {
    let service = |status: PartStatus| {
        let costs = match &status.part {
            AgentPart::Server(server) => board.costs(server),
            _ => None,
        };
        ServiceItem { part: part(status), cost: costs.map(cost) }
    };
    Answer::ok(List { items: board.parts().into_iter().map(service).collect(), next_cursor: None })
}

/// A part as the API shows it.
pub(crate) fn part(status: PartStatus) -> PartItem {
    let state = match status.state {
        PartHealth::Starting => PartStateName::Starting,
        PartHealth::Ok => PartStateName::Ok,
        PartHealth::Degraded => PartStateName::Degraded,
        PartHealth::Failed => PartStateName::Failed,
        PartHealth::Stopping => PartStateName::Stopping,
    };
    PartItem { name: status.part.to_string(), state, since: Timestamp(status.since), cause: status.cause }
}

fn cost(costs: ServerCosts) -> ServerCost {
    let ServerCosts { ratio, budget_ratio, collectors } = costs;
    let collectors = collectors.into_iter().map(|(name, costs)| (name, collector_cost(costs)));
    ServerCost { ratio, budget_ratio, collectors: collectors.collect() }
}

fn collector_cost(costs: CollectorCosts) -> CollectorCost {
    let CollectorCosts { seconds, statements, rows, interval_seconds, slowed, execution_seconds, blocks, temp_bytes } = costs;
    CollectorCost { seconds, statements, rows, interval_seconds, slowed, execution_seconds, blocks, temp_bytes }
}
