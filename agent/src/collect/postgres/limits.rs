//! Roles and datnames with a limit of sessions, and how many sessions they have.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use pharos_model::snapshot::{Column, FamiliesBuilder, PartId, Table};

use super::rights::{Right, query_planned};
use super::row::Fields;
use crate::collect::{CollectError, Facts};
use crate::postgres::monitor::Session;

const PART: PartId = PartId::Limits;

pub(super) fn collect(session: &Session) -> BoxFuture<'_, Result<Facts, CollectError>> {
    read(session).boxed()
}

async fn read(session: &Session) -> Result<Facts, CollectError> {
    let rows = query_planned(session, PART, Right::Stats, include_str!("sql/limits.sql")).await?;
    let mut users = FamiliesBuilder::new(
        &["user"],
        &["pharos_postgres_role_connections", "pharos_postgres_role_connections_limit", "pharos_postgres_role_connections_used_ratio"],
    );
    let mut datnames = FamiliesBuilder::new(
        &["datname"],
        &["pharos_postgres_datname_connections_limit", "pharos_postgres_datname_connections_used_ratio"],
    );
    let mut own = Vec::new();
    for row in rows.iter().map(|row| Fields::new(PART, row)) {
        let (name, allowed, ratio) = (row.text("name")?, row.number("allowed")?, row.number("ratio")?);
        match row.text("kind")? {
            "user" => {
                users.push(&[name], &[row.number("used")?, allowed, ratio]);
                if row.field("is_own")? {
                    own.push((name, allowed, row.number("used")?));
                }
            }
            // The number of sessions of a datname is a fact of the part `activity`.
            _ => datnames.push(&[name], &[allowed, ratio]),
        }
    }
    let families = users.finish().into_iter().chain(datnames.finish()).collect();
    Ok(Facts { epoch: session.epoch(), families, tables: vec![own_role(&own)], ..Facts::default() })
}

/// Lists the agent's role, if it has a limit of sessions. Reaching that limit is no trouble of the server.
fn own_role(own: &[(&str, Option<f64>, Option<f64>)]) -> Table {
    Table::new(
        "own_role",
        vec![
            Column::text("user", own.iter().map(|(name, ..)| Some(*name))),
            Column::float("connections_limit", "", own.iter().map(|(_, allowed, _)| *allowed)),
            Column::float("connections", "", own.iter().map(|(.., used)| *used)),
        ],
    )
}
