//! Logical subscriptions of every datname: whether their workers run, receive messages of the publisher, and fail (pg_subscription,
//! pg_stat_subscription, pg_stat_subscription_stats).
//!
//! The catalogue is shared, so no datname has to be visited. Its connection strings have passwords, so they are not read.

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use pharos_model::alert::Now;
use pharos_model::postgres::resets::Resets;
use pharos_model::snapshot::{Column, FamiliesBuilder, Family, Table};
use pharos_model::snapshot::{PartId, Unlisted};
use tokio_postgres::types::Type;

use super::row::{Fields, query_with};
use crate::collect::{CollectError, Collector, Facts};
use crate::postgres::monitor::{Row, Session, Versioned};

const PART: PartId = PartId::Subscriptions;

const SUBSCRIPTIONS: Versioned = Versioned::new(&[
    (14, include_str!("sql/subscriptions.sql")),
    (15, include_str!("sql/subscriptions.15.sql")),
    (16, include_str!("sql/subscriptions.16.sql")),
]);

const METRICS: [&str; 5] = [
    "pharos_postgres_subscription_up",
    "pharos_postgres_subscription_enabled",
    "pharos_postgres_subscription_message_age_seconds",
    "pharos_postgres_subscription_apply_errors_total",
    "pharos_postgres_subscription_sync_errors_total",
];

/// Most subscriptions that are read.
const READ_MAX: i64 = 200;

/// Reads the subscriptions of all datnames.
pub(super) struct Subscriptions {
    interval: Duration,
    resets: Resets,
}

/// A subscription in one reading.
struct Subscription<'a> {
    datname: &'a str,
    name: &'a str,
    enabled: bool,
    worker_runs: bool,
    slot: Option<&'a str>,
    message_age: Option<f64>,
    apply_errors: Option<f64>,
    sync_errors: Option<f64>,
    stats_reset: Option<f64>,
}

impl Subscriptions {
    pub(super) fn new(interval: Duration) -> Self {
        Self { interval, resets: Resets::default() }
    }

    async fn read(&mut self, session: &Session) -> Result<Facts, CollectError> {
        let rows = query_with(session, PART, SUBSCRIPTIONS.sql(session.major()), &[(&READ_MAX, Type::INT8)]).await?;
        let subscriptions = rows.iter().map(subscription).collect::<Result<Vec<_>, _>>()?;
        let resets = subscriptions.iter().map(|it| (format!("{} {}", it.datname, it.name), it.stats_reset));
        let epoch = self.resets.epoch(session.epoch(), resets);
        let unlisted = if rows.len() >= READ_MAX as usize { Unlisted::Any } else { Unlisted::None };
        Ok(Facts { epoch, families: families(&subscriptions), tables: vec![table(&subscriptions)], unlisted, ..Facts::default() })
    }
}

fn subscription(row: &Row) -> Result<Subscription<'_>, CollectError> {
    let row = Fields::new(PART, row);
    Ok(Subscription {
        datname: row.text("datname")?,
        name: row.text("subscription")?,
        enabled: row.field("enabled")?,
        worker_runs: row.field("worker_runs")?,
        slot: row.field("slot")?,
        message_age: row.number("message_age")?.map(|age| age.max(0.0)),
        apply_errors: row.number("apply_errors")?,
        sync_errors: row.number("sync_errors")?,
        stats_reset: row.number("stats_reset")?,
    })
}

fn families(subscriptions: &[Subscription<'_>]) -> Vec<Family> {
    let mut families = FamiliesBuilder::new(&["datname", "subscription"], &METRICS);
    let flag = |is: bool| Some(f64::from(u8::from(is)));
    for it in subscriptions {
        let values = [flag(it.enabled && it.worker_runs), flag(it.enabled), it.message_age, it.apply_errors, it.sync_errors];
        families.push(&[it.datname, it.name], &values);
    }
    families.finish()
}

fn table(subscriptions: &[Subscription<'_>]) -> Table {
    let count = |count: Option<f64>| count.map(|count| count as i64);
    Table::new(
        "subscriptions",
        vec![
            Column::text("datname", subscriptions.iter().map(|it| Some(it.datname))),
            Column::text("subscription", subscriptions.iter().map(|it| Some(it.name))),
            Column::boolean("enabled", subscriptions.iter().map(|it| Some(it.enabled))),
            Column::boolean("worker_runs", subscriptions.iter().map(|it| Some(it.worker_runs))),
            Column::text("slot", subscriptions.iter().map(|it| it.slot)),
            Column::float("message_age_seconds", "seconds", subscriptions.iter().map(|it| it.message_age)),
            Column::integer("apply_errors", subscriptions.iter().map(|it| count(it.apply_errors))),
            Column::integer("sync_errors", subscriptions.iter().map(|it| count(it.sync_errors))),
        ],
    )
}

impl Collector<Session> for Subscriptions {
    fn part(&self) -> PartId {
        PART
    }

    fn interval(&self) -> Duration {
        self.interval
    }

    fn collect<'a>(&'a mut self, session: &'a mut Session, _: Now) -> BoxFuture<'a, Result<Facts, CollectError>> {
        self.read(session).boxed()
    }
}
