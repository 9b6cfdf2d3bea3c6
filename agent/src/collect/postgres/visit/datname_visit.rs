//! A visit reads one family of facts in every datname, one after the other.

use std::time::Duration;

use futures_util::future::BoxFuture;
use pharos_model::alert::Now;
use pharos_model::snapshot::PartId;

use super::round::Round;
use crate::collect::{CollectError, Facts};
use crate::postgres::monitor::Session;

/// Most datnames that have series of their own.
pub(super) const SERIES_MAX: usize = 200;

/// Reads one family of facts in every datname, one after the other.
pub(super) trait Visit: Send {
    /// The part of the snapshot that the visit fills.
    fn part(&self) -> PartId;
    fn interval(&self) -> Duration;
    /// Reads the datname that the session is connected to.
    fn visit<'a>(&'a mut self, session: &'a mut Session, now: Now) -> BoxFuture<'a, Result<(), CollectError>>;
    /// Returns the facts of a round after all its datnames were tried.
    fn finish(&mut self, round: &Round, now: Now) -> Facts;
}
