//! SQL that differs between major versions of PostgreSQL.

/// SQL by the first major version that it fits.
#[derive(Debug, Clone, Copy)]
pub struct Versioned(&'static [(u32, &'static str)]);

impl Versioned {
    /// Makes versioned SQL from variants in rising order of their first major version.
    pub const fn new(variants: &'static [(u32, &'static str)]) -> Self {
        Self(variants)
    }

    /// Returns the newest variant that is not newer than the server.
    pub fn sql(&self, major: u32) -> &'static str {
        let fitting = self.0.iter().rev().find(|(first, _)| *first <= major);
        fitting.or(self.0.first()).map_or("", |(_, sql)| sql)
    }
}
