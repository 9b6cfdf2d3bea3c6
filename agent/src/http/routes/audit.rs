//! `GET /api/audit`: the log of actions, newest first.

use axum::extract::State;
use pharos_model::audit::AuditEntry;
use pharos_model::error_chain::chain;

use crate::api::audit::{AUDIT_LIMIT_DEFAULT, AUDIT_LIMIT_MAX, AuditItem, AuditQuery};
use crate::api::list::{List, Timestamp};
use crate::clock::rfc3339;
use crate::http::error::ApiError;
use crate::http::exchange::{Answer, Parameters};
use crate::http::operation::{Limits, Permission};
use crate::http::page;
use crate::http::route::{Area, Route};
use crate::store::{AuditRow, Store};

pub(crate) fn area(store: &Store) -> Area {
    let list = Route::get("/api/audit", "listAuditRows", list)
        .describes(
            "Changes and who made them",
            "The newest row first. Changes by the agent itself are listed as well, under the actor `agent`.",
        )
        .permission(Permission::Operator("the audit log is for operators"))
        .limits(Limits::STORE)
        .query::<AuditQuery>()
        .answers::<List<AuditItem>>(200, "One page of the audit log.")
        .refuses(503, "The store cannot be read just now, or the agent is busy.");
    Area::new("audit", "The log of changes, each row chained to the one before it by a hash.", store, [list])
}

async fn list(State(store): State<Store>, Parameters(query): Parameters<AuditQuery>) -> Result<Answer<List<AuditItem>>, ApiError> {
    let limit = page::limit(query.limit, AUDIT_LIMIT_DEFAULT, AUDIT_LIMIT_MAX)?;
    let cursor: Option<u64> = page::after(query.cursor.as_deref())?;
    if cursor.is_some() && query.before.is_some() {
        return Err(ApiError::bad_request("`before` and `cursor` both name the beginning of the page").hint("give only one of them"));
    }
    let rows = store.audit(cursor.or(query.before), limit + 1).await;
    let mut items: Vec<AuditItem> = rows.map_err(|err| ApiError::unavailable(chain(&err)))?.into_iter().map(item).collect();
    let next_cursor = page::trim(&mut items, limit, |item| item.seq);
    Ok(Answer::ok(List { items, next_cursor }))
}

fn item(AuditRow { seq, entry, hash, .. }: AuditRow) -> AuditItem {
    let AuditEntry { at_ms, actor, action, subject } = entry;
    let (at, detail) = (Timestamp(rfc3339(at_ms)), action.stored_detail());
    AuditItem { seq, at, actor, action: action.name(), subject, detail, hash }
}
