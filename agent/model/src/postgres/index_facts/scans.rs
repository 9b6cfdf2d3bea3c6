//! Recent reads of large tables: by index, or sequential reads of the whole table.
//!
//! Counters since a reset never fall, so they would leave an alert open long after its index was created. This history turns them into
//! reads of the last day. A scan that stops early (`LIMIT 1`, `EXISTS`) counts as a scan, and each worker of a parallel scan counts as one
//! more. So whole reads are counted by rows: reading a table once reads each row once, for any number of workers.

use std::cmp::Reverse;
use std::collections::{HashMap, VecDeque};

use super::usage::{UsageSettings, duration_text, size_text};

/// Seconds over which whole reads are counted. A table that is read every few minutes reaches the minimum without a break.
const WINDOW_SECONDS: f64 = 86_400.0;
/// Seconds of the latest part of the window. An alert ends once this part has no whole reads, or more reads by index.
const LATELY_SECONDS: f64 = 3_600.0;
/// Seconds of readings that are summed up in one slice. The latest part of the window is longer by up to this time.
const SLICE_SECONDS: f64 = 1_800.0;
/// Most tables of one datname with a history, largest first.
const TABLES_MAX: usize = 2_000;
/// Smallest share of the rows, and fewest rows, of a whole scan. A scan below both has stopped early. A parallel scan is divided among the
/// leader and its workers, so the share is far below a half.
const SHARE_OF_A_SCAN_MIN: f64 = 0.05;
const ROWS_OF_A_SCAN_MIN: f64 = 10_000.0;

/// Counters of a table's reads, from `pg_stat_user_tables`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ScanCounters {
    /// Each worker of a parallel scan counts as a scan.
    pub sequential_scans: i64,
    /// Rows that sequential scans read.
    pub sequential_rows: i64,
    /// The sum over the indexes that the table has now.
    pub index_scans: i64,
}

/// Table in one reading.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ScannedTable {
    /// OID of the table.
    pub oid: u32,
    /// Size in bytes.
    pub size_bytes: i64,
    /// Estimated number of rows; `None` before the first vacuum or analyze.
    pub rows: Option<f64>,
    /// Counters of the table's reads.
    pub counters: ScanCounters,
}

/// Judgement of a table's reads.
#[derive(Debug, Clone, PartialEq)]
pub enum Reads {
    /// The table is often read as a whole, and more often than by index. The text has the numbers.
    Whole(String),
    /// The table is read by index, a few rows at a time, or rarely.
    Fine,
    /// The history is not long enough or missing. The text is the reason.
    Unknown(&'static str),
}

/// History of the reads of all large tables of one datname.
#[derive(Debug, Default)]
pub struct ScanHistory {
    /// Number that changes with the server process and with the cluster at the address. Counters do not continue over a change.
    epoch: u64,
    /// Time of the latest reading, in seconds on the server's clock.
    read_at: f64,
    tables: HashMap<u32, TableHistory>,
}

#[derive(Debug)]
struct TableHistory {
    since: f64,
    latest: ScanCounters,
    /// Slices without a read are left out.
    slices: VecDeque<Slice>,
}

/// Reads between two readings.
#[derive(Debug, Clone, Copy, Default)]
struct Slice {
    from: f64,
    until: f64,
    reads: Counted,
}

#[derive(Debug, Clone, Copy, Default)]
struct Counted {
    sequential_scans: f64,
    sequential_rows: f64,
    index_scans: f64,
}

impl ScanHistory {
    /// Adds a reading of all tables of the datname. Tables far below the minimum size get no history.
    pub fn observe(&mut self, epoch: u64, at: f64, tables: impl Iterator<Item = ScannedTable>, settings: &UsageSettings) {
        // History begins at half the minimum size, so that a table has one when it grows past the minimum.
        let mut large: Vec<ScannedTable> = tables.filter(|table| table.size_bytes >= settings.scanned_size_min_bytes / 2).collect();
        large.sort_unstable_by_key(|table| (Reverse(table.size_bytes), table.oid));
        large.truncate(TABLES_MAX);
        let is_set_back = at < self.read_at;
        let mut before = if is_set_back { HashMap::new() } else { std::mem::take(&mut self.tables) };
        let goes_on = epoch == self.epoch;
        let advance = |table: ScannedTable| {
            let history = match before.remove(&table.oid) {
                Some(history) => history.advanced(self.read_at, at, &table.counters, goes_on),
                None => TableHistory { since: at, latest: table.counters, slices: VecDeque::new() },
            };
            (table.oid, history)
        };
        self.tables = large.into_iter().map(advance).collect();
        (self.epoch, self.read_at) = (epoch, at);
    }

    /// Judges the reads of a table of the latest reading.
    pub fn reads(&self, table: &ScannedTable, settings: &UsageSettings) -> Reads {
        if table.size_bytes < settings.scanned_size_min_bytes {
            return Reads::Fine;
        }
        let Some(history) = self.tables.get(&table.oid) else {
            return Reads::Unknown("its datname has more large tables than the agent stores reads of");
        };
        let observed_seconds = self.read_at - history.since;
        let lately = history.counted_since(self.read_at - LATELY_SECONDS);
        let rows = match table.rows {
            Some(rows) => rows.max(1.0),
            None if lately.sequential_rows > 0.0 => return Reads::Unknown("neither vacuum nor analyse has counted its rows"),
            None => 1.0,
        };
        if !lately.is_mostly_whole(rows, settings) {
            let is_enough = lately.whole_reads(rows) + lately.index_scans >= settings.whole_reads_min;
            let is_known = observed_seconds >= LATELY_SECONDS || is_enough;
            return if is_known { Reads::Fine } else { Reads::Unknown("its reads are watched for less than an hour") };
        }
        let counted = history.counted_since(self.read_at - WINDOW_SECONDS);
        let whole_reads = counted.whole_reads(rows);
        if whole_reads >= settings.whole_reads_min {
            return Reads::Whole(format!(
                "read as a whole about {whole_reads:.0} times in {}, and {:.0} times by an index; a scan reads {:.0} of \
                 {rows:.0} rows, {} on disk",
                duration_text(observed_seconds.min(WINDOW_SECONDS)),
                counted.index_scans,
                counted.rows_of_a_scan(),
                size_text(table.size_bytes)
            ));
        }
        let is_known = observed_seconds >= WINDOW_SECONDS;
        if is_known { Reads::Fine } else { Reads::Unknown("it is read as a whole, and its reads are watched for less than a day") }
    }
}

impl TableHistory {
    /// Continues the history with one reading. Reads across a restart of the server are left out: another server may answer at the
    /// address.
    fn advanced(mut self, from: f64, until: f64, counters: &ScanCounters, goes_on: bool) -> Self {
        let reads = counters.since(&self.latest);
        self.latest = *counters;
        self.slices.retain(|slice| slice.until > until - WINDOW_SECONDS);
        if !goes_on || reads.is_none() {
            return self;
        }
        match self.slices.back_mut().filter(|slice| until - slice.from <= SLICE_SECONDS) {
            Some(slice) => (slice.until, slice.reads) = (until, slice.reads.plus(&reads)),
            None => self.slices.push_back(Slice { from, until, reads }),
        }
        self
    }

    /// Reads of all slices that end after `from`.
    fn counted_since(&self, from: f64) -> Counted {
        let slices = self.slices.iter().filter(|slice| slice.until > from);
        slices.fold(Counted::default(), |sum, slice| sum.plus(&slice.reads))
    }
}

impl ScanCounters {
    /// Reads since an earlier reading of the same server process. After a reset, lower counters are the reads since the reset.
    fn since(&self, before: &Self) -> Counted {
        let is_reset = self.sequential_scans < before.sequential_scans || self.sequential_rows < before.sequential_rows;
        let growth = |now: i64, before: i64| if is_reset { now } else { now.saturating_sub(before) }.max(0) as f64;
        Counted {
            sequential_scans: growth(self.sequential_scans, before.sequential_scans),
            sequential_rows: growth(self.sequential_rows, before.sequential_rows),
            // The sum of index scans may fall alone when an index is dropped.
            index_scans: growth(self.index_scans, before.index_scans),
        }
    }
}

impl Counted {
    fn is_none(&self) -> bool {
        self.sequential_scans == 0.0 && self.index_scans == 0.0
    }

    fn plus(&self, other: &Self) -> Self {
        Self {
            sequential_scans: self.sequential_scans + other.sequential_scans,
            sequential_rows: self.sequential_rows + other.sequential_rows,
            index_scans: self.index_scans + other.index_scans,
        }
    }

    /// Number of times that all `rows` were read. A scan reads a row once at most, so it is never more than the number of scans.
    fn whole_reads(&self, rows: f64) -> f64 {
        (self.sequential_rows / rows).min(self.sequential_scans)
    }

    fn rows_of_a_scan(&self) -> f64 {
        self.sequential_rows / self.sequential_scans.max(1.0)
    }

    fn is_mostly_whole(&self, rows: f64, settings: &UsageSettings) -> bool {
        let whole_reads = self.whole_reads(rows);
        whole_reads > 0.0
            && self.rows_of_a_scan() >= (SHARE_OF_A_SCAN_MIN * rows).min(ROWS_OF_A_SCAN_MIN)
            && whole_reads >= settings.sequential_share_min * (whole_reads + self.index_scans)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROWS: i64 = 100_000;
    const MINUTE: f64 = 60.0;
    const HOUR: f64 = 60.0 * MINUTE;

    /// A table of 50 MiB with readers, and its history.
    struct Story {
        history: ScanHistory,
        table: ScannedTable,
        epoch: u64,
        now: f64,
    }

    impl Story {
        /// Begins with large counters from before the agent's start.
        fn begin() -> Self {
            let counters = ScanCounters { sequential_scans: 1_000_000, sequential_rows: 1_000_000 * ROWS, index_scans: 7 };
            let table = ScannedTable { oid: 1, size_bytes: 50 << 20, rows: Some(ROWS as f64), counters };
            let mut story = Self { history: ScanHistory::default(), table, epoch: 1, now: 1e9 };
            story.reads();
            story
        }

        fn reads(&mut self) -> Reads {
            self.history.observe(self.epoch, self.now, [self.table].into_iter(), &UsageSettings::default());
            self.history.reads(&self.table, &UsageSettings::default())
        }

        fn scans(&mut self, count: i64, rows_each: i64) -> &mut Self {
            self.table.counters.sequential_scans += count;
            self.table.counters.sequential_rows += count * rows_each;
            self
        }

        fn by_index(&mut self, count: i64) -> &mut Self {
            self.table.counters.index_scans += count;
            self
        }

        fn after(&mut self, seconds: f64) -> Reads {
            self.now += seconds;
            self.reads()
        }
    }

    fn is_whole(reads: &Reads) -> bool {
        matches!(reads, Reads::Whole(_))
    }

    fn is_unknown(reads: &Reads) -> bool {
        matches!(reads, Reads::Unknown(_))
    }

    #[test]
    fn a_table_that_is_mostly_read_as_a_whole_is_reported_with_the_numbers() {
        let reads = Story::begin().scans(150, ROWS).by_index(50).after(5.0 * MINUTE);
        let expected =
            "read as a whole about 150 times in 5 minutes, and 50 times by an index; a scan reads 100000 of 100000 rows, 50 MB on disk";
        assert_eq!(reads, Reads::Whole(expected.to_owned()));
    }

    #[test]
    fn reads_before_the_first_reading_are_unknown_and_neither_fine_nor_bad() {
        let mut story = Story::begin();
        assert!(is_unknown(&story.reads()), "a million scans, of any age");
        assert!(is_unknown(&story.after(59.0 * MINUTE)));
        assert_eq!(story.after(MINUTE), Reads::Fine);
        // A table that is read by index is judged at once.
        assert_eq!(Story::begin().by_index(500).after(MINUTE), Reads::Fine);
    }

    #[test]
    fn scans_that_stop_early_are_no_reads_of_the_whole_table() {
        let mut story = Story::begin();
        for _ in 0..24 {
            let reads = story.scans(1_000_000, 1).after(HOUR);
            assert!(!is_whole(&reads), "{reads:?}");
        }
        assert_eq!(story.scans(1_000_000, 4_000).after(HOUR), Reads::Fine, "a queue that is read by pieces, however often");
    }

    #[test]
    fn workers_of_a_parallel_scan_are_no_reads_of_their_own() {
        // Sixty reads by a leader and two workers are 180 scans, each of a third of the rows.
        let mut story = Story::begin();
        assert!(is_unknown(&story.scans(180, ROWS / 3).after(5.0 * MINUTE)), "sixty are too few");
        assert!(is_whole(&story.scans(180, ROWS / 3).after(5.0 * MINUTE)), "and a hundred and twenty are not");
        assert!(is_whole(&Story::begin().scans(1_800, ROWS / 17).after(5.0 * MINUTE)), "nor are they with sixteen workers");
    }

    #[test]
    fn an_alert_ends_when_its_index_is_used_and_when_reads_stop() {
        let mut story = Story::begin();
        assert!(is_whole(&story.scans(150, ROWS).after(5.0 * MINUTE)));
        assert_eq!(story.by_index(151).after(5.0 * MINUTE), Reads::Fine);

        let mut story = Story::begin();
        story.scans(150, ROWS).after(5.0 * MINUTE);
        let mut minutes = 0.0;
        while is_whole(&story.after(5.0 * MINUTE)) {
            minutes += 5.0;
            assert!(minutes < 90.0, "it never ends");
        }
        assert_eq!(story.reads(), Reads::Fine);
    }

    #[test]
    fn a_table_that_is_read_every_few_minutes_is_reported_without_a_break() {
        for (every_minutes, visit_minutes) in [(3, 5), (7, 5), (13, 5), (14, 60)] {
            let mut story = Story::begin();
            let mut was_told = false;
            for minute in 1..4 * 1_440 {
                if minute % every_minutes == 0 {
                    story.scans(1, ROWS);
                }
                if minute % visit_minutes != 0 {
                    continue;
                }
                let reads = story.after(visit_minutes as f64 * MINUTE);
                assert!(is_whole(&reads) || !was_told && is_unknown(&reads), "every {every_minutes} minutes, {minute}: {reads:?}");
                was_told |= is_whole(&reads);
            }
            assert!(was_told, "every {every_minutes} minutes");
        }
    }

    #[test]
    fn a_table_that_is_read_once_an_hour_is_fine_after_a_day() {
        let mut story = Story::begin();
        for hour in 1..72 {
            let reads = story.scans(1, ROWS).after(HOUR);
            assert_eq!(is_unknown(&reads), hour < 24, "{hour}: {reads:?}");
        }
    }

    #[test]
    fn a_reset_of_the_counters_removes_no_earlier_reads() {
        let mut story = Story::begin();
        story.scans(90, ROWS).after(5.0 * MINUTE);
        story.table.counters = ScanCounters { sequential_scans: 20, sequential_rows: 20 * ROWS, index_scans: 3 };
        let reads = story.after(5.0 * MINUTE);
        assert!(matches!(&reads, Reads::Whole(why) if why.contains("110 times") && why.contains("3 times by")), "{reads:?}");
        // Dropping an index removes its scans from the sum; the others' scans remain.
        story.table.counters.index_scans = 0;
        assert!(is_whole(&story.after(5.0 * MINUTE)));
    }

    #[test]
    fn counters_of_another_run_of_the_server_are_no_reads() {
        let mut story = Story::begin();
        story.epoch = 2;
        assert!(is_unknown(&story.scans(5_000, ROWS).after(5.0 * MINUTE)), "another server may answer at this address");
        assert!(is_whole(&story.scans(150, ROWS).after(5.0 * MINUTE)));
        story.epoch = 3;
        assert!(is_whole(&story.after(5.0 * MINUTE)), "a restart forgets nothing");
    }

    #[test]
    fn a_clock_that_is_set_back_begins_anew() {
        let mut story = Story::begin();
        story.scans(150, ROWS).after(5.0 * MINUTE);
        assert!(is_unknown(&story.after(-2.0 * HOUR)));
        assert_eq!(story.after(HOUR), Reads::Fine);
    }

    #[test]
    fn a_scanned_table_without_a_row_estimate_is_not_judged() {
        let mut story = Story::begin();
        story.table.rows = None;
        assert_eq!(story.after(HOUR), Reads::Fine);
        assert!(is_unknown(&story.scans(500, ROWS).after(5.0 * MINUTE)));
        story.table.rows = Some(0.0);
        assert!(is_whole(&story.reads()), "it was emptied a moment ago");
    }

    #[test]
    fn the_history_is_bounded() {
        let mut story = Story::begin();
        for minutes in 0..4 * 1_440 {
            story.scans(1, ROWS).after(if minutes % 2 == 0 { MINUTE } else { 29.0 * MINUTE });
        }
        assert!(story.history.tables[&1].slices.len() <= (2.0 * WINDOW_SECONDS / SLICE_SECONDS) as usize);
        let of = |oid: u32| ScannedTable { oid, size_bytes: i64::from(oid) << 20, ..story.table };
        story.history.observe(1, story.now, (1..4_000).map(of), &UsageSettings::default());
        assert_eq!(story.history.tables.len(), TABLES_MAX);
        assert!(is_unknown(&story.history.reads(&of(100), &UsageSettings::default())));
        assert_eq!(story.history.reads(&of(9), &UsageSettings::default()), Reads::Fine, "it is too small to be judged");
    }
}
