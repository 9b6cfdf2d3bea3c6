//! Runs every collector of a server once, for commands that do not wait for a schedule.

use std::sync::Arc;

use pharos_model::snapshot::PartId;

use super::schedule::{ConnectFailure, Source, Spending, read_whole};
use super::{CollectError, Facts};
use crate::clock::Clock;
use crate::telemetry::metrics::SelfMetrics;

/// The outcome of each collector's run. Collectors of the second session come last.
pub(crate) type Outcomes = Vec<Outcome>;

/// The outcome of one collector's run.
pub(crate) struct Outcome {
    pub part: PartId,
    pub result: Result<Facts, CollectError>,
}

/// Runs every collector of `source`. Opens a new session if a run ended the last one.
pub(crate) async fn run_once<S: Source>(
    source: &S,
    mut session: S::Session,
    clock: Clock,
) -> Result<(S::Session, Outcomes), ConnectFailure> {
    let mut outcomes = Vec::new();
    for mut collector in source.collectors() {
        let result = match source.begin(&mut session, collector.part()).await {
            Ok(()) => collector.collect(&mut session, clock.now()).await,
            Err(err) => Err(err),
        };
        if result.as_ref().is_err_and(CollectError::ends_session) || S::is_closed(&session) {
            // The old session frees its place first.
            drop(session);
            session = source.connect().await?;
        }
        outcomes.push(Outcome { part: collector.part(), result });
    }
    let spending = Spending::new(&source.subject().id, source.budget(), Arc::new(SelfMetrics::default()));
    if let Some(mut background) = source.background(clock, &spending) {
        let reads = read_whole(&mut *background).await;
        outcomes.extend(reads.into_iter().map(|read| Outcome { part: read.part, result: read.outcome }));
    }
    Ok((session, outcomes))
}
