//! A case of `pharos rules test`: facts over time, written as text, and the alerts that the facts should lead to.
//!
//! [`steps`] reads the notation of values tick by tick. A [`Timeline`] has all facts and makes a snapshot for each tick. [`expectation`]
//! compares the alerts that a plugin raised with the expected ones. The caller runs the plugin.

pub mod expectation;
mod snapshots;
pub mod steps;
mod ticks;
mod timeline;

pub use self::expectation::{ComparedLine, ExpectedAlert, ExpectedTransition, Mark, TickOutcome};
pub use self::steps::{Steps, StepsError, Value};
pub use self::ticks::{TICKS_MAX, duration_text, tick_time};
pub use self::timeline::{PartStep, PartSteps, SeriesSteps, TableSteps, Timeline};
