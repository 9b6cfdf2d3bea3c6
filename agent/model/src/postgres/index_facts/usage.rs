//! Unused indexes by their scan counters, and bloated indexes.

use std::cmp::Reverse;
use std::time::Duration;

use super::foreign_keys::{ForeignKey, only_one_for};
use super::{IndexShape, Kinship};
use crate::postgres::bloat::Bloat;

/// Default of `collect.unused_after`: a use that comes once a week is contained in statistics of this age.
pub const STATISTICS_AGE_MIN: Duration = Duration::from_hours(7 * 24);

/// Thresholds of the advice about indexes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct UsageSettings {
    /// Least age of the statistics, in seconds. Younger ones may lack a use that comes once a week.
    pub statistics_age_min_seconds: f64,
    /// Least size of a table whose sequential reads are judged. Smaller tables are read as a whole for good reasons.
    pub scanned_size_min_bytes: i64,
    /// Least share of sequential reads among all reads of a table.
    pub sequential_share_min: f64,
    /// Fewest whole reads of a table in a day.
    pub whole_reads_min: f64,
    /// Least unused bytes of an index.
    pub bloat_min_bytes: f64,
    /// Least unused share of an index, from 0 to 1.
    pub bloat_share_min: f64,
}

impl Default for UsageSettings {
    fn default() -> Self {
        Self {
            statistics_age_min_seconds: STATISTICS_AGE_MIN.as_secs_f64(),
            scanned_size_min_bytes: 10 << 20,
            sequential_share_min: 0.5,
            whole_reads_min: 100.0,
            bloat_min_bytes: 10.0 * 1024.0 * 1024.0,
            bloat_share_min: 0.5,
        }
    }
}

/// Index without a scan.
#[derive(Debug, Clone, PartialEq)]
pub struct Unused<'a> {
    /// The unused index.
    pub index: &'a IndexShape,
    /// Evidence in numbers, for people.
    pub evidence: String,
    /// Reason not to drop the index; `None` if there is none.
    pub guard: Option<String>,
    /// Seconds for which its scans are counted; `None` if unknown.
    pub counted_seconds: Option<f64>,
    /// True if only `counted_seconds` is a reason not to drop it. A reset of the statistics makes no index used.
    pub is_too_young: bool,
}

/// How long scans of indexes have been counted.
pub struct CountedTime<F> {
    /// Age of the statistics in seconds; `None` if unknown.
    pub age_seconds: Option<f64>,
    /// Returns the seconds for which an index is known. Statistics can be older than an index, so both count.
    pub known_seconds: F,
}

/// Indexes without scans that enforce nothing. All without a guard may be dropped together, and together with all `superfluous` ones. So
/// two kinds have a guard: an index that does the work of a superfluous one, and the last index behind a foreign key.
pub fn unused<'a, F: Fn(u32) -> Option<f64>>(
    indexes: &'a [IndexShape],
    superfluous: &[(&IndexShape, &IndexShape, Kinship)],
    keys: &[ForeignKey],
    counted: &CountedTime<F>,
    settings: &UsageSettings,
) -> Vec<Unused<'a>> {
    let goes = |oid: u32| superfluous.iter().any(|(index, ..)| index.oid == oid && index.guard().is_none());
    let mut staying: Vec<&IndexShape> = indexes.iter().filter(|index| !goes(index.oid)).collect();
    let candidate = |index: &&IndexShape| index.scans == 0 && !index.enforces_something() && !index.is_attached && index.is_valid;
    let mut candidates: Vec<&IndexShape> = indexes.iter().filter(candidate).collect();
    // The order must be the same on all servers of a database, so it uses only keys and OIDs: widest first, then newest.
    candidates.sort_by_key(|index| Reverse((index.keys.len(), index.oid)));
    let mut judge = |index: &'a IndexShape| {
        let known_seconds = (counted.known_seconds)(index.oid);
        let known = [counted.age_seconds, known_seconds].into_iter().flatten().reduce(f64::min);
        let evidence = format!("no scan in {}, {} on disk", known.map_or("an unknown time".to_owned(), days), size_text(index.size_bytes));
        let stands_in = stands_in_for(index, superfluous);
        let too_young = too_young(counted.age_seconds, known_seconds, settings.statistics_age_min_seconds);
        let is_too_young = stands_in.is_none() && too_young.is_some();
        let guard = stands_in
            .or(too_young)
            .or_else(|| Some(format!("it is the only index behind the foreign key {}", only_one_for(index, keys, &staying)?.name)));
        if guard.is_none() {
            staying.retain(|staying| staying.oid != index.oid);
        }
        Unused { index, evidence, guard, counted_seconds: counted.age_seconds.and(known), is_too_young }
    };
    candidates.into_iter().map(&mut judge).collect()
}

/// Why an index must stay although it has no scans: it replaces a superfluous index, whose scans it gets once that one is dropped.
fn stands_in_for(index: &IndexShape, superfluous: &[(&IndexShape, &IndexShape, Kinship)]) -> Option<String> {
    let (gone, ..) = superfluous.iter().find(|(gone, stays, _)| stays.oid == index.oid && gone.guard().is_none())?;
    Some(format!(
        "it does the work of {} as well, which is superfluous: drop that one, and see in a while whether this one is used",
        gone.name
    ))
}

fn too_young(age_seconds: Option<f64>, known_seconds: Option<f64>, min: f64) -> Option<String> {
    match (age_seconds, known_seconds) {
        (None, _) => Some("statistics too young: it is unknown since when scans are counted".to_owned()),
        (Some(age), _) if age < min => {
            Some(format!("statistics too young: scans are counted for {}, required are {}", days(age), days(min)))
        }
        (_, Some(known)) if known < min => Some(format!("the index is new: known for {}, required are {}", days(known), days(min))),
        _ => None,
    }
}

/// Evidence that rebuilding an index would make it much smaller; `None` below the thresholds.
pub fn bloated(index_bytes: i64, bloat: &Bloat, settings: &UsageSettings) -> Option<String> {
    let counts = bloat.bytes >= settings.bloat_min_bytes && bloat.ratio >= settings.bloat_share_min;
    counts.then(|| {
        let (all, air) = (size_text(index_bytes), size_text(bloat.bytes as i64));
        format!("about {air} of {all} ({:.0} %) is air, estimated from the planner's statistics", bloat.ratio * 100.0)
    })
}

/// A duration of any length, for people.
pub(super) fn duration_text(seconds: f64) -> String {
    match seconds {
        ..120.0 => format!("{seconds:.0} seconds"),
        ..7_200.0 => format!("{:.0} minutes", seconds / 60.0),
        _ => days(seconds),
    }
}

/// A duration in days or hours, for people.
fn days(seconds: f64) -> String {
    if seconds >= 2.0 * 86_400.0 { format!("{:.0} days", seconds / 86_400.0) } else { format!("{:.1} hours", seconds / 3600.0) }
}

/// A size, for people.
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
