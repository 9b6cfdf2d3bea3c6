//! What counters say: indexes that nobody used, tables that are read from one end to the other.

use super::IndexShape;
use super::foreign_keys::{ForeignKey, only_one_for};
use crate::bloat::Bloat;

/// From when on counters mean something.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct UsageSettings {
    /// Statistics younger than this have not seen the weekly report yet.
    pub statistics_age_min_seconds: f64,
    /// A table smaller than this is read from one end to the other for good reasons.
    pub scanned_size_min_bytes: i64,
    /// Of all scans of a table.
    pub sequential_share_min: f64,
    /// Scans before anything is said.
    pub scans_min: i64,
    /// Air in an index before anything is said: bytes, and share of it.
    pub bloat_min_bytes: f64,
    pub bloat_share_min: f64,
}

impl Default for UsageSettings {
    fn default() -> Self {
        Self {
            statistics_age_min_seconds: 7.0 * 86_400.0,
            scanned_size_min_bytes: 10 << 20,
            sequential_share_min: 0.5,
            scans_min: 100,
            bloat_min_bytes: 10.0 * 1024.0 * 1024.0,
            bloat_share_min: 0.5,
        }
    }
}

/// An index without a scan.
#[derive(Debug, Clone, PartialEq)]
pub struct Unused<'a> {
    pub index: &'a IndexShape,
    pub evidence: String,
    /// What speaks against dropping it.
    pub guard: Option<String>,
}

/// Those that nobody used and that keep no promise. `age_seconds` is how long scans were counted; `seen_seconds` for how long the index is
/// known, none if nobody knows: statistics can be older than an index, so both count.
pub fn unused<'a>(
    indexes: &'a [IndexShape],
    keys: &[ForeignKey],
    age_seconds: Option<f64>,
    seen_seconds: impl Fn(u32) -> Option<f64>,
    settings: &UsageSettings,
) -> Vec<Unused<'a>> {
    let candidate = |index: &&IndexShape| index.scans == 0 && !index.keeps_a_promise() && !index.is_attached && index.is_valid;
    let judge = |index: &'a IndexShape| {
        let known = [age_seconds, seen_seconds(index.oid)].into_iter().flatten().reduce(f64::min);
        let evidence = format!("no scan in {}, {} on disk", known.map_or("an unknown time".to_owned(), days), size_text(index.size_bytes));
        let min = settings.statistics_age_min_seconds;
        let guard = match (age_seconds, seen_seconds(index.oid)) {
            (None, _) => Some("statistics too young: nobody knows since when scans are counted".to_owned()),
            (Some(age), _) if age < min => {
                Some(format!("statistics too young: scans are counted for {}, wanted are {}", days(age), days(min)))
            }
            (_, Some(seen)) if seen < min => Some(format!("the index is new: known for {}, wanted are {}", days(seen), days(min))),
            _ => only_one_for(index, keys, indexes).map(|key| format!("it is the only index behind the foreign key {}", key.name)),
        };
        Unused { index, evidence, guard }
    };
    indexes.iter().filter(candidate).map(judge).collect()
}

/// How a table was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SequentialScans {
    pub size_bytes: i64,
    pub sequential_scans: i64,
    pub sequential_rows: i64,
    pub index_scans: i64,
}

/// The evidence, where a table of some size is read mostly from one end to the other.
pub fn sequential_scans(table: &SequentialScans, settings: &UsageSettings) -> Option<String> {
    let scans = table.sequential_scans.saturating_add(table.index_scans);
    let share = table.sequential_scans as f64 / scans.max(1) as f64;
    let counts = table.size_bytes >= settings.scanned_size_min_bytes
        && table.sequential_scans >= settings.scans_min
        && share >= settings.sequential_share_min;
    counts.then(|| {
        let rows = table.sequential_rows / table.sequential_scans.max(1);
        format!(
            "{} of {scans} scans ({:.0} %) were sequential, {rows} rows each, {} on disk",
            table.sequential_scans,
            share * 100.0,
            size_text(table.size_bytes)
        )
    })
}

/// The evidence, where making an index anew would make it much smaller.
pub fn bloated(index_bytes: i64, bloat: &Bloat, settings: &UsageSettings) -> Option<String> {
    let counts = bloat.bytes >= settings.bloat_min_bytes && bloat.ratio >= settings.bloat_share_min;
    counts.then(|| {
        let (all, air) = (size_text(index_bytes), size_text(bloat.bytes as i64));
        format!("about {air} of {all} ({:.0} %) is air, estimated from the planner's statistics", bloat.ratio * 100.0)
    })
}

/// A time as people say it.
fn days(seconds: f64) -> String {
    if seconds >= 2.0 * 86_400.0 { format!("{:.0} days", seconds / 86_400.0) } else { format!("{:.1} hours", seconds / 3600.0) }
}

/// A size as people say it.
pub fn size_text(bytes: i64) -> String {
    const UNITS: [&str; 5] = ["kB", "MB", "GB", "TB", "PB"];
    let mut size = bytes as f64 / 1024.0;
    let mut unit = 0;
    while size >= 1024.0 && unit + 1 < UNITS.len() {
        size /= 1024.0;
        unit += 1;
    }
    format!("{size:.0} {}", UNITS[unit])
}
