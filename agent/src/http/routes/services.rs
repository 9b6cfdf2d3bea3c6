//! `GET /api/services/status`: how every part of the agent is, and what watching a server costs it.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use pharos_model::agent_part::AgentPart;
use pharos_model::snapshot::Family;
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
    cost: Option<ServerCost>,
}

/// What our statements cost one server.
#[derive(Debug, Default, Serialize)]
struct ServerCost {
    /// Share of one core at the intervals in force, and what it may be.
    ratio: f64,
    budget_ratio: f64,
    collectors: BTreeMap<String, CollectorCost>,
}

/// Since the agent started.
#[derive(Debug, Default, Serialize)]
struct CollectorCost {
    /// Time the server worked: round trips less the shortest one.
    seconds: f64,
    statements: f64,
    rows: f64,
    /// The interval in force, and whether the budget made it longer than the configured one.
    interval_seconds: f64,
    slowed: bool,
    /// As pg_stat_statements counts them; null where it is not there, or before it told.
    execution_seconds: Option<f64>,
    blocks: Option<f64>,
    temp_bytes: Option<f64>,
}

pub async fn list(State(api): Shared) -> Json<Value> {
    let mut costs = costs(&api.metrics.families());
    let service = |part: PartStatus| {
        let cost = match &part.part {
            AgentPart::Server(server) => costs.remove(&server.id),
            _ => None,
        };
        Service { part, cost }
    };
    let items: Vec<Service> = api.board.parts().into_iter().map(service).collect();
    Json(json!({ "items": items }))
}

/// By server.
fn costs(families: &[Family]) -> BTreeMap<String, ServerCost> {
    let mut costs: BTreeMap<String, ServerCost> = BTreeMap::new();
    for (server, _, ratio) in series(families, "pharos_collect_cost_ratio") {
        costs.entry(server.to_owned()).or_default().ratio = ratio;
    }
    for (server, _, ratio) in series(families, "pharos_collect_budget_ratio") {
        // A server that was not asked anything yet has no account.
        if let Some(cost) = costs.get_mut(server) {
            cost.budget_ratio = ratio;
        }
    }
    let mut fill = |metric: &str, set: fn(&mut CollectorCost, f64)| {
        for (server, collector, value) in series(families, metric) {
            let server = costs.entry(server.to_owned()).or_default();
            set(server.collectors.entry(collector.to_owned()).or_default(), value);
        }
    };
    fill("pharos_collect_cost_seconds_total", |cost, value| cost.seconds = value);
    fill("pharos_collect_cost_statements_total", |cost, value| cost.statements = value);
    fill("pharos_collect_cost_rows_total", |cost, value| cost.rows = value);
    fill("pharos_collect_interval_seconds", |cost, value| cost.interval_seconds = value);
    fill("pharos_collect_slowed", |cost, value| cost.slowed = value > 0.0);
    fill("pharos_collect_cost_execution_seconds_total", |cost, value| cost.execution_seconds = Some(value));
    fill("pharos_collect_cost_blocks_total", |cost, value| cost.blocks = Some(value));
    fill("pharos_collect_cost_temp_bytes_total", |cost, value| cost.temp_bytes = Some(value));
    costs
}

/// Server, collector and value of each series of a metric.
fn series<'a>(families: &'a [Family], metric: &str) -> impl Iterator<Item = (&'a str, &'a str, f64)> {
    let family = families.iter().find(|family| family.metric == metric);
    family.into_iter().flat_map(|family| {
        family.values.iter().enumerate().map(|(row, value)| {
            let mut labels = family.label_texts(row);
            (labels.next().unwrap_or_default(), labels.next().unwrap_or_default(), *value)
        })
    })
}
