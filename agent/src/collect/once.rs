//! Everything that is read of a server once, for whoever asks now instead of waiting for a schedule.

use std::sync::Arc;

use super::schedule::{ConnectFailure, Source, Spending, read_whole};
use super::{CollectError, Facts};
use crate::clock::Clock;
use crate::telemetry::metrics::SelfMetrics;

/// What was said by each collector, those beside the session last.
pub type Outcomes = Vec<(&'static str, Result<Facts, CollectError>)>;

/// Runs every collector of `source`, in a new session where one ended the last.
pub async fn once<S: Source>(source: &S, mut session: S::Session, clock: Clock) -> Result<(S::Session, Outcomes), ConnectFailure> {
    let mut outcomes = Vec::new();
    for mut collector in source.collectors() {
        let outcome = match source.begin(&mut session, collector.name()).await {
            Ok(()) => collector.collect(&mut session, clock.now()).await,
            Err(err) => Err(err),
        };
        if outcome.as_ref().is_err_and(CollectError::ends_session) || S::is_closed(&session) {
            // It leaves its place first.
            drop(session);
            session = source.connect().await?;
        }
        outcomes.push((collector.name(), outcome));
    }
    let spending = Spending::new(&source.subject().id, source.budget(), Arc::new(SelfMetrics::default()));
    if let Some(mut aside) = source.aside(clock, &spending) {
        outcomes.extend(read_whole(&mut *aside).await.into_iter().map(|read| (read.collector, read.outcome)));
    }
    Ok((session, outcomes))
}
