//! Standbys that are connected to this server, and how far each is behind it.

use std::collections::BTreeMap;
use std::time::Duration;

use pharos_model::postgres::lsn_history::LsnHistory;
use pharos_model::snapshot::{Column, FamiliesBuilder, Family, PartId, Table};

use crate::collect::CollectError;
use crate::collect::postgres::row::Fields;
use crate::postgres::monitor::Row;

const PART: PartId = PartId::Replication;

const METRICS: [&str; 7] = [
    "pharos_postgres_replication_lag_bytes",
    "pharos_postgres_replication_lag_seconds",
    "pharos_postgres_replication_write_lag_seconds",
    "pharos_postgres_replication_flush_lag_seconds",
    "pharos_postgres_replication_replay_lag_seconds",
    "pharos_postgres_replication_streaming",
    "pharos_postgres_replication_sync",
];

/// Most senders that are read.
pub(super) const READ_MAX: i64 = 200;

/// A connected standby.
struct Sender<'a> {
    standby: &'a str,
    client: &'a str,
    pid: Option<i32>,
    state: Option<&'a str>,
    sync_state: Option<&'a str>,
    /// Whether the client is a subscriber, or another client that decodes a logical slot.
    is_logical: bool,
    lag_bytes: Option<f64>,
    lag_seconds: Option<f64>,
    /// Whether the lag may be longer: the agent has not run for long enough to see its beginning.
    is_minimum: bool,
    /// Write, flush and replay lag as the server measures them.
    own_lags: [Option<f64>; 3],
}

/// Makes the metrics and the table of the connected standbys.
pub(super) fn facts(rows: &[Row], history: &LsnHistory, now: Duration) -> Result<(Vec<Family>, Table), CollectError> {
    let mut senders = Vec::new();
    for row in rows {
        let row = Fields::new(PART, row);
        // Without a standby the row describes this server alone.
        if row.field::<Option<i32>>("pid")?.is_some() {
            senders.push(sender(&row, history, now)?);
        }
    }
    Ok((families(&senders), table(&senders)))
}

fn sender<'a>(row: &Fields<'a>, history: &LsnHistory, now: Duration) -> Result<Sender<'a>, CollectError> {
    let lag_bytes = row.number("lag_bytes")?.map(|bytes| bytes.max(0.0));
    let is_caught_up = lag_bytes == Some(0.0);
    // The lags are null once a standby is caught up and idle.
    let own = |lag: Option<f64>| lag.map(|seconds| seconds.max(0.0)).or(is_caught_up.then_some(0.0));
    let own_lags = [own(row.number("write_lag_seconds")?), own(row.number("flush_lag_seconds")?), own(row.number("replay_lag_seconds")?)];
    let replayed: Option<i64> = row.field("replay_lsn_bytes")?;
    let lag = replayed.and_then(|lsn| history.lag(lsn.unsigned_abs(), now));
    let is_minimum = lag.is_some_and(|lag| lag.is_minimum);
    // Only the server has the lag from before the agent's first reading.
    let longest = own_lags.iter().copied().flatten().filter(|_| is_minimum).fold(0.0, f64::max);
    Ok(Sender {
        standby: row.text("standby")?,
        client: row.text("client")?,
        pid: row.field("pid")?,
        state: row.field("state")?,
        sync_state: row.field("sync_state")?,
        is_logical: row.field("is_logical")?,
        lag_bytes,
        lag_seconds: lag.map(|lag| lag.by.as_secs_f64().max(longest)),
        is_minimum,
        own_lags,
    })
}

/// Makes the metrics of standbys. Several senders may serve one standby under one name; then the worst values are shown.
fn families(senders: &[Sender<'_>]) -> Vec<Family> {
    let mut worst: BTreeMap<(&str, &str), [Option<f64>; METRICS.len()]> = BTreeMap::new();
    for sender in senders {
        let [write, flush, replay] = sender.own_lags;
        let flag = |is: bool| Some(f64::from(u8::from(is)));
        let streaming = flag(sender.state == Some("streaming"));
        let sync = flag(matches!(sender.sync_state, Some("sync" | "quorum")));
        let values = [sender.lag_bytes, sender.lag_seconds, write, flush, replay, streaming, sync];
        let known = worst.entry((sender.standby, sender.client)).or_insert(values);
        let [lags @ .., known_streaming, known_sync] = known;
        for (known, value) in lags.iter_mut().zip(values) {
            *known = known.iter().copied().chain(value).reduce(f64::max);
        }
        *known_streaming = known_streaming.iter().copied().chain(streaming).reduce(f64::min);
        *known_sync = known_sync.iter().copied().chain(sync).reduce(f64::max);
    }
    let mut families = FamiliesBuilder::new(&["standby", "client"], &METRICS);
    worst.into_iter().for_each(|((standby, client), values)| families.push(&[standby, client], &values));
    families.finish()
}

fn table(senders: &[Sender<'_>]) -> Table {
    let own_lag = |name: &str, place: usize| Column::float(name, "seconds", senders.iter().map(move |sender| sender.own_lags[place]));
    Table::new(
        "standbys",
        vec![
            Column::text("standby", senders.iter().map(|sender| Some(sender.standby))),
            Column::text("client", senders.iter().map(|sender| Some(sender.client))),
            Column::integer("pid", senders.iter().map(|sender| sender.pid.map(i64::from))),
            Column::text("state", senders.iter().map(|sender| sender.state)),
            Column::text("sync_state", senders.iter().map(|sender| sender.sync_state)),
            Column::boolean("logical", senders.iter().map(|sender| Some(sender.is_logical))),
            Column::integer("lag_bytes", senders.iter().map(|sender| sender.lag_bytes.map(|bytes| bytes as i64))),
            Column::float("lag_seconds", "seconds", senders.iter().map(|sender| sender.lag_seconds)),
            // The lag may be longer than the agent has run.
            Column::boolean("lag_is_minimum", senders.iter().map(|sender| Some(sender.is_minimum))),
            own_lag("write_lag_seconds", 0),
            own_lag("flush_lag_seconds", 1),
            own_lag("replay_lag_seconds", 2),
        ],
    )
}
