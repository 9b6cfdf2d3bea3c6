//! `GET /api/audit`: who did what, the newest first.

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::{Extension, Json};
use pharos_model::audit::AuditEntry;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::clock::rfc3339;
use crate::config::http::Role;
use crate::http::error::ApiError;
use crate::http::{Shared, Visitor};
use crate::store::AuditRow;
use crate::telemetry::logs::chain;

const LIMIT_DEFAULT: u32 = 100;
/// Most rows of one answer. More come with the next page.
const LIMIT_MAX: u32 = 1_000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Page {
    /// Only rows before this one.
    before: Option<u64>,
    limit: Option<u32>,
}

#[derive(Serialize)]
struct AuditItem {
    seq: u64,
    at: String,
    actor: String,
    action: String,
    subject: String,
    detail: Value,
    hash: String,
}

pub async fn list(
    State(api): Shared,
    Extension(visitor): Extension<Visitor>,
    query: Result<Query<Page>, QueryRejection>,
) -> Result<Json<Value>, ApiError> {
    if visitor.role < Role::Operator {
        return Err(ApiError::forbidden("the audit log is for operators").hint("use a token with the role operator or admin"));
    }
    let Query(page) = query.map_err(|err| ApiError::bad_request(err.body_text()))?;
    let limit = page.limit.unwrap_or(LIMIT_DEFAULT);
    if !(1..=LIMIT_MAX).contains(&limit) {
        return Err(ApiError::bad_request(format!("limit is {limit}")).hint(format!("ask for 1 to {LIMIT_MAX} rows")));
    }
    let rows = api.store.audit(page.before, limit).await.map_err(|err| ApiError::unavailable(chain(&err)))?;
    let items: Vec<AuditItem> = rows.into_iter().map(item).collect();
    Ok(Json(json!({ "items": items })))
}

fn item(AuditRow { seq, entry, hash, .. }: AuditRow) -> AuditItem {
    let AuditEntry { at_ms, actor, action, subject } = entry;
    AuditItem { seq, at: rfc3339(at_ms), actor, action: action.name(), subject, detail: action.stored_detail(), hash }
}
