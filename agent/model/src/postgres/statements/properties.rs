//! Comparison with a small simulated server that records the true counts. Nothing is counted twice, nothing observable is lost, and series
//! are few and never fall.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;

use super::tests::row;
use super::*;

const NAMES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

#[derive(Debug, Clone)]
enum Event {
    Call(usize, u64),
    Evict(usize),
    Reset(usize),
    ResetAll,
    Read,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let statement = || 0..NAMES.len();
    let event = prop_oneof![
        8 => (statement(), 1..50_u64).prop_map(|(statement, calls)| Event::Call(statement, calls)),
        1 => statement().prop_map(Event::Evict),
        1 => statement().prop_map(Event::Reset),
        1 => prop::bool::weighted(0.2).prop_map(|all| if all { Event::ResetAll } else { Event::Read }),
        5 => Just(Event::Read),
    ];
    vec(event, 1..200)
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    calls: u64,
    /// Calls that no read contained yet.
    unread: u64,
    since: f64,
}

struct Server {
    reports_since: bool,
    entries: BTreeMap<usize, Entry>,
    info: StatementsInfo,
    clock: f64,
    reads: u64,
    /// Calls that a read could contain, since the first read.
    observable: u64,
    /// Reads contain only changed entries if possible, but every n-th read is complete.
    whole_every: u64,
}

impl Server {
    fn new(reports_since: bool, whole_every: u64) -> Self {
        let info = StatementsInfo { dealloc: 0, stats_reset: Some(0.0) };
        Self { reports_since, entries: BTreeMap::new(), info, clock: 0.0, reads: 0, observable: 0, whole_every }
    }

    fn happen(&mut self, event: &Event, statements: &Statements) -> Option<StatementsRead> {
        self.clock += 1.0;
        match event {
            Event::Call(statement, calls) => {
                let entry = self.entries.entry(*statement).or_insert(Entry { calls: 0, unread: 0, since: self.clock });
                entry.calls += calls;
                entry.unread += calls;
            }
            Event::Evict(statement) => {
                self.entries.remove(statement);
                self.info.dealloc += 1;
            }
            Event::Reset(statement) => {
                self.entries.remove(statement);
            }
            Event::ResetAll => {
                self.entries.clear();
                self.info = StatementsInfo { dealloc: 0, stats_reset: Some(self.clock) };
            }
            Event::Read => return Some(self.read(statements)),
        }
        None
    }

    fn read(&mut self, statements: &Statements) -> StatementsRead {
        let unread: u64 = self.entries.values_mut().map(|entry| std::mem::take(&mut entry.unread)).sum();
        self.observable += if self.reads == 0 { 0 } else { unread };
        self.reads += 1;
        let since = |entry: &Entry| self.reports_since.then_some(entry.since);
        let row = |(statement, entry): (&usize, &Entry)| {
            let mut row = row(NAMES[*statement], entry.calls, since(entry));
            // The hash of an older server does not contain the entry's creation time.
            let made = since(entry).map_or(0, |since| since as i64);
            row.state = Some(*statement as i64 + 10 * (entry.calls as i64 + 100_000 * made));
            // Half of the statements write.
            row.counters.details[Detail::WalRecords] = if statement % 2 == 0 { entry.calls as f64 } else { 0.0 };
            row
        };
        let is_whole = self.reads.is_multiple_of(self.whole_every);
        let known = statements.known_states(self.info).filter(|_| !is_whole);
        let is_news = |row: &StatementRow| known.as_ref().is_none_or(|known| row.state.is_none_or(|state| !known.contains(&state)));
        let rows = self.entries.iter().map(row).filter(is_news).collect();
        StatementsRead { taken_at: self.clock, rows, is_partial: known.is_some(), hidden_rows: 0, info: Some(self.info) }
    }
}

type Exported = BTreeMap<Option<StatementKey>, u64>;

/// WAL records from the increases of series, and the number that was counted.
fn records(statements: &Statements) -> (BTreeMap<Option<StatementKey>, f64>, f64) {
    let shown = statements.series().filter(|series| series.shown.contains(Detail::WalRecords));
    let series = shown.map(|series| (series.key.cloned(), series.counters.details[Detail::WalRecords])).collect();
    (series, statements.total().details[Detail::WalRecords])
}

fn exported(statements: &Statements) -> Exported {
    statements.series().map(|series| (series.key.cloned(), series.counters.calls)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn every_call_that_can_be_seen_is_counted_once(events in events(), whole_every in 1..30_u64) {
        let (mut server, mut statements) = (Server::new(true, whole_every), Statements::new(2));
        for event in &events {
            let Some(read) = server.happen(event, &statements) else { continue };
            statements.observe(read);
        }
        prop_assert_eq!(statements.total().calls, server.observable);
    }

    #[test]
    fn an_older_server_never_makes_us_count_too_much(events in events(), whole_every in 1..30_u64) {
        let (mut server, mut statements) = (Server::new(false, whole_every), Statements::new(2));
        for event in &events {
            if let Some(read) = server.happen(event, &statements) {
                statements.observe(read);
                prop_assert!(statements.total().calls <= server.observable);
            }
        }
        // Only an entry that was created anew within one interval can hide its earlier counts.
        if !events.iter().any(|event| matches!(event, Event::Evict(_) | Event::Reset(_))) {
            prop_assert_eq!(statements.total().calls, server.observable);
        }
    }

    #[test]
    fn series_are_few_never_go_down_and_share_out_every_increment(
        events in events(),
        series_max in 0..4_usize,
        whole_every in 1..30_u64,
    ) {
        let (mut server, mut statements) = (Server::new(true, whole_every), Statements::new(series_max));
        let (mut before, mut total_before) = (Exported::new(), 0);
        for event in &events {
            let Some(read) = server.happen(event, &statements) else { continue };
            statements.observe(read);
            let now = exported(&statements);
            prop_assert!(now.len() <= series_max + 1 && now.contains_key(&None));
            let mut increases = 0;
            for (key, value) in &now {
                match before.get(key) {
                    Some(earlier) => {
                        prop_assert!(value >= earlier, "{:?} went from {} to {}", key, earlier, value);
                        increases += value - earlier;
                    }
                    None => prop_assert_eq!(*value, 0, "{:?} did not start at 0", key),
                }
            }
            let total = statements.total().calls;
            prop_assert_eq!(increases, total - total_before);
            prop_assert_eq!(now.values().sum::<u64>() + statements.retired().calls, total);
            (before, total_before) = (now, total);
        }
    }

    #[test]
    fn details_that_only_some_have_add_up_as_well(events in events(), series_max in 0..4_usize) {
        let (mut server, mut statements) = (Server::new(true, 3), Statements::new(series_max));
        let (mut before, mut total_before) = (BTreeMap::new(), 0.0);
        for event in &events {
            let Some(read) = server.happen(event, &statements) else { continue };
            statements.observe(read);
            let (now, total) = records(&statements);
            let mut increases = 0.0;
            for (key, value) in &now {
                match before.get(key) {
                    Some(earlier) => increases += value - earlier,
                    None => prop_assert_eq!(*value, 0.0, "{:?} did not start at 0", key),
                }
            }
            prop_assert_eq!(increases, total - total_before);
            (before, total_before) = (now, total);
        }
    }
}
