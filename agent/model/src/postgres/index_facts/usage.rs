//! What counters say of indexes: which ones nobody used, and which ones are mostly air.

use std::cmp::Reverse;

use super::foreign_keys::{ForeignKey, only_one_for};
use super::{IndexShape, Kinship};
use crate::postgres::bloat::Bloat;

/// From when on counters mean something.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct UsageSettings {
    /// Statistics younger than this have not seen the weekly report yet.
    pub statistics_age_min_seconds: f64,
    /// A table smaller than this is read from one end to the other for good reasons.
    pub scanned_size_min_bytes: i64,
    /// Of all reads of a table.
    pub sequential_share_min: f64,
    /// Reads of a whole table in a day before anything is said.
    pub whole_reads_min: f64,
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
            whole_reads_min: 100.0,
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
    /// For how long its scans are counted; none if nobody knows.
    pub counted_seconds: Option<f64>,
    /// Nothing but that time speaks against it: a reset of the statistics makes no index used.
    pub is_too_young: bool,
}

/// Since when scans of indexes are counted.
pub struct Counted<F> {
    /// None if nobody knows.
    pub age_seconds: Option<f64>,
    /// For how long an index is known: statistics can be older than an index, so both count.
    pub seen_seconds: F,
}

/// Those that nobody used and that keep no promise. All that have no guard may go together with all `superfluous` ones: an index that
/// does the work of a superfluous one is guarded, and so is the last index behind a foreign key.
pub fn unused<'a, F: Fn(u32) -> Option<f64>>(
    indexes: &'a [IndexShape],
    superfluous: &[(&IndexShape, &IndexShape, Kinship)],
    keys: &[ForeignKey],
    counted: &Counted<F>,
    settings: &UsageSettings,
) -> Vec<Unused<'a>> {
    let goes = |oid: u32| superfluous.iter().any(|(index, ..)| index.oid == oid && index.guard().is_none());
    let mut staying: Vec<&IndexShape> = indexes.iter().filter(|index| !goes(index.oid)).collect();
    let candidate = |index: &&IndexShape| index.scans == 0 && !index.keeps_a_promise() && !index.is_attached && index.is_valid;
    let mut candidates: Vec<&IndexShape> = indexes.iter().filter(candidate).collect();
    // Servers of one database decide alike, so nothing that they may differ in counts: the widest go first, then the newest.
    candidates.sort_by_key(|index| Reverse((index.keys.len(), index.oid)));
    let mut judge = |index: &'a IndexShape| {
        let seen_seconds = (counted.seen_seconds)(index.oid);
        let known = [counted.age_seconds, seen_seconds].into_iter().flatten().reduce(f64::min);
        let evidence = format!("no scan in {}, {} on disk", known.map_or("an unknown time".to_owned(), days), size_text(index.size_bytes));
        let stands_in = stands_in_for(index, superfluous);
        let too_young = too_young(counted.age_seconds, seen_seconds, settings.statistics_age_min_seconds);
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

/// Its own queries begin when the superfluous one is dropped.
fn stands_in_for(index: &IndexShape, superfluous: &[(&IndexShape, &IndexShape, Kinship)]) -> Option<String> {
    let (gone, ..) = superfluous.iter().find(|(gone, stays, _)| stays.oid == index.oid && gone.guard().is_none())?;
    Some(format!(
        "it does the work of {} as well, which is superfluous: drop that one, and see in a while whether this one is used",
        gone.name
    ))
}

fn too_young(age_seconds: Option<f64>, seen_seconds: Option<f64>, min: f64) -> Option<String> {
    match (age_seconds, seen_seconds) {
        (None, _) => Some("statistics too young: nobody knows since when scans are counted".to_owned()),
        (Some(age), _) if age < min => Some(format!("statistics too young: scans are counted for {}, wanted are {}", days(age), days(min))),
        (_, Some(seen)) if seen < min => Some(format!("the index is new: known for {}, wanted are {}", days(seen), days(min))),
        _ => None,
    }
}

/// The evidence, where making an index anew would make it much smaller.
pub fn bloated(index_bytes: i64, bloat: &Bloat, settings: &UsageSettings) -> Option<String> {
    let counts = bloat.bytes >= settings.bloat_min_bytes && bloat.ratio >= settings.bloat_share_min;
    counts.then(|| {
        let (all, air) = (size_text(index_bytes), size_text(bloat.bytes as i64));
        format!("about {air} of {all} ({:.0} %) is air, estimated from the planner's statistics", bloat.ratio * 100.0)
    })
}

/// A time of any length as people say it.
pub(super) fn duration_text(seconds: f64) -> String {
    match seconds {
        ..120.0 => format!("{seconds:.0} seconds"),
        ..7_200.0 => format!("{:.0} minutes", seconds / 60.0),
        _ => days(seconds),
    }
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
