//! Collects the mistakes in a file of cases, each with its place.

use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use pharos_model::rule_case::TICKS_MAX;

use crate::config::problem::{Problem, position};
use crate::config::shape::Places;

/// Collects the mistakes in one file.
pub(super) struct Check<'a> {
    pub(super) text: &'a str,
    pub(super) places: Places,
    pub(super) problems: Vec<Problem>,
    pub folder: &'a Path,
}

impl Check<'_> {
    /// Records a mistake in the value at this path.
    pub(super) fn report(&mut self, path: &str, message: impl std::fmt::Display) {
        self.problems.push(Problem { place: self.places.find(path), message: format!("`{path}`: {message}") });
    }

    /// The line of the value at this path.
    pub(super) fn line(&self, path: &str) -> usize {
        position(self.text, self.place(path).start).0
    }

    fn place(&self, path: &str) -> Range<usize> {
        self.places.find(path)
    }

    /// The tick at this time. Reports a time between two ticks, since no snapshot is judged there.
    pub(super) fn tick(&mut self, path: &str, at: Duration, interval: Duration) -> u32 {
        let ticks = at.as_nanos() / interval.as_nanos().max(1);
        let Some(tick) = u32::try_from(ticks).ok().filter(|tick| *tick <= TICKS_MAX) else {
            self.report(path, format_args!("is tick {ticks} of the case, more than {TICKS_MAX}; give a longer interval"));
            return 0;
        };
        let before = interval * tick;
        if before != at {
            let [before, after, interval] = [before, before + interval, interval].map(humantime::format_duration);
            self.report(path, format_args!("is between two ticks, which are {interval} apart; give \"{before}\" or \"{after}\""));
        }
        tick
    }
}
