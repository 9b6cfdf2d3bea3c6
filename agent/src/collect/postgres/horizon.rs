//! Obstacles to the removal of dead rows by vacuum: running transactions, replication slots, prepared transactions, standbys.

use std::collections::BTreeMap;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use pharos_model::snapshot::{FamiliesBuilder, PartId, Table};

use super::rights::{self, Right};
use super::row::{Columns, Fields, query_planned};
use crate::collect::{CollectError, Facts};
use crate::postgres::monitor::{Row, Session};

const PART: PartId = PartId::Horizon;

const HOLDERS: [&str; 5] = ["backend", "slot", "slot_catalog", "prepared", "standby"];

pub(super) fn collect(session: &Session) -> BoxFuture<'_, Result<Facts, CollectError>> {
    read(session).boxed()
}

async fn read(session: &Session) -> Result<Facts, CollectError> {
    let mut held = rights::query_planned(session, PART, Right::Stats, include_str!("sql/horizon.sql")).await?;
    let prepared = query_planned(session, PART, include_str!("sql/prepared.sql")).await?;
    let mut families = ages(&held)?.finish();
    for row in prepared.iter().map(|row| Fields::new(PART, row)) {
        families.extend(row.scalars(&[
            ("pharos_postgres_prepared_transactions", "prepared"),
            ("pharos_postgres_prepared_transaction_age_max_seconds", "age_max"),
        ])?);
    }
    held.sort_by_key(|row| std::cmp::Reverse(row.get::<i64>("age_transactions").unwrap_or(0)));
    Ok(Facts { epoch: session.epoch(), families, tables: vec![table(&Columns::new(PART, &held))?], ..Facts::default() })
}

/// Computes the greatest age of each kind of holder. A kind that holds nothing back is 0.
fn ages(rows: &[Row]) -> Result<FamiliesBuilder, CollectError> {
    let mut ages: BTreeMap<&str, f64> = HOLDERS.map(|holder| (holder, 0.0)).into();
    for row in rows.iter().map(|row| Fields::new(PART, row)) {
        let oldest = ages.entry(row.text("holder")?).or_default();
        *oldest = oldest.max(row.field::<i64>("age_transactions")? as f64);
    }
    let mut families = FamiliesBuilder::new(&["holder"], &["pharos_postgres_horizon_age_transactions"]);
    ages.into_iter().for_each(|(holder, age)| families.push(&[holder], &[Some(age)]));
    Ok(families)
}

fn table(rows: &Columns<'_>) -> Result<Table, CollectError> {
    let mut columns = vec![rows.text("holder")?, rows.text("name")?, rows.integer("pid")?];
    for column in ["datname", "user", "application", "state"] {
        columns.push(rows.text(column)?);
    }
    columns.push(rows.integer("age_transactions")?);
    columns.push(rows.float("seconds", "seconds")?);
    columns.push(rows.float("backend_start", "seconds")?);
    Ok(Table::new("horizon", columns))
}
