//! A visit reads one family of facts in every datname, one after the other.

use std::time::Duration;

use futures_util::future::BoxFuture;
use pharos_model::alert::Now;
use pharos_model::snapshot::PartId;

use super::round::Round;
use crate::collect::{CollectError, Facts};
use crate::postgres::monitor::Session;

/// Datnames that have a series each.
pub const SERIES_MAX: usize = 200;

/// Reads one family of facts in every datname, one after the other.
pub trait Visit: Send {
    /// The part of the snapshot that it fills.
    fn part(&self) -> PartId;
    fn interval(&self) -> Duration;
    /// Reads the datname that the session is connected to.
    fn visit<'a>(&'a mut self, session: &'a mut Session, now: Now) -> BoxFuture<'a, Result<(), CollectError>>;
    /// All datnames were tried: what they gave.
    fn finish(&mut self, round: &Round, now: Now) -> Facts;
}
