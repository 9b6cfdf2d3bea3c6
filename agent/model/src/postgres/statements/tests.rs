//! Reads of the view in text lines, with their results.
//!
//! `20: a 100, b 5 since 12; dealloc 3; reset 15; hidden 1; changes` is a read at 20 s. It has the calls of each statement (0.1 s each)
//! and the creation time of an entry (PostgreSQL 17). After the semicolons follow evictions, the last reset, hidden rows, and a mark for a
//! read of only the changes.

use std::fmt::Write;

use expect_test::{Expect, expect};

use super::*;

pub(super) fn key(name: &str) -> StatementKey {
    let queryid = name.bytes().fold(0, |id, byte| id * 256 + i64::from(byte));
    StatementKey { datname: "app".into(), user: "web".into(), queryid, toplevel: true }
}

pub(super) fn row(name: &str, calls: u64, stats_since: Option<f64>) -> StatementRow {
    let counters = StatementCounters { calls, seconds: calls as f64 * 0.1, rows: calls * 2, ..StatementCounters::default() };
    StatementRow { key: key(name), counters, mean_seconds: 0.1, stddev_seconds: 0.0, stats_since, state: None }
}

fn parse(line: &str) -> StatementsRead {
    let (taken_at, rest) = line.split_once(':').unwrap();
    let mut read =
        StatementsRead { taken_at: taken_at.trim().parse().unwrap(), rows: Vec::new(), is_partial: false, hidden_rows: 0, info: None };
    let mut info = StatementsInfo { dealloc: 0, stats_reset: Some(0.0) };
    for part in rest.split(';') {
        match part.split_whitespace().collect::<Vec<_>>()[..] {
            ["dealloc", count] => info.dealloc = count.parse().unwrap(),
            ["reset", at] => info.stats_reset = Some(at.parse().unwrap()),
            ["changes"] => read.is_partial = true,
            ["hidden", rows] => read.hidden_rows = rows.parse().unwrap(),
            _ => {
                for entry in part.split(',').filter(|entry| !entry.trim().is_empty()) {
                    let words: Vec<&str> = entry.split_whitespace().collect();
                    let since = words.get(3).map(|since| since.parse().unwrap());
                    read.rows.push(row(words[0], words[1].parse().unwrap(), since));
                }
            }
        }
    }
    read.info = Some(info);
    read
}

fn check(reads: &str, expected: Expect) {
    let mut statements = Statements::default();
    let mut text = String::new();
    for line in reads.trim().lines() {
        let read = parse(line);
        write!(text, "{}:", read.taken_at).unwrap();
        let tick = statements.observe(read);
        for (is_set, word) in [(tick.first, "first"), (tick.reset, "reset")] {
            if is_set {
                write!(text, " {word}").unwrap();
            }
        }
        for (count, word) in [(tick.evictions.unwrap_or(0), "evictions"), (tick.vanished, "vanished")] {
            if count > 0 {
                write!(text, " {count} {word}").unwrap();
            }
        }
        for StatementDelta { key, basis, counters, .. } in &tick.deltas {
            let name = char::from(key.queryid as u8);
            write!(text, " {name} +{} {basis:?}", counters.calls).unwrap();
        }
        text.push('\n');
    }
    expected.assert_eq(&text);
}

#[test]
fn the_first_read_counts_nothing_and_idle_statements_are_left_out() {
    check(
        "10: a 100, b 5\n 20: a 107, b 5\n 30: a 107, b 6",
        expect![[r#"
        10: first
        20: a +7 Previous
        30: b +1 Previous
    "#]],
    );
}

#[test]
fn a_new_statement_counts_from_zero() {
    check(
        "10: a 100\n 20: a 100, b 5\n 30: a 100, b 8",
        expect![[r#"
        10: first
        20: b +5 New
        30: b +3 Previous
    "#]],
    );
    check(
        "10: a 100 since 1\n 20: a 100 since 1, b 5 since 15; dealloc 4",
        expect![[r#"
        10: first
        20: 4 evictions b +5 New
    "#]],
    );
}

#[test]
fn a_new_statement_among_evictions_is_marked() {
    check(
        "10: a 100\n 20: a 101, b 5; dealloc 1",
        expect![[r#"
        10: first
        20: 1 evictions a +1 Previous b +5 AfterEviction
    "#]],
    );
}

#[test]
fn a_statement_that_may_have_been_hidden_counts_for_nothing_until_the_next_read() {
    check(
        "10: a 100; hidden 40\n 20: a 100, b 90000\n 30: a 100, b 90001",
        expect![[r#"
        10: first
        20: b +0 Unknown
        30: b +1 Previous
    "#]],
    );
    check(
        "10: a 100 since 1; hidden 40\n 20: a 100 since 1, b 5 since 15, c 90000 since 2",
        expect![[r#"
        10: first
        20: b +5 New c +0 Unknown
    "#]],
    );
}

#[test]
fn a_counter_that_went_down_was_reset() {
    check(
        "10: a 100\n 20: a 7\n 30: a 9",
        expect![[r#"
        10: first
        20: a +7 Reset
        30: a +2 Previous
    "#]],
    );
}

#[test]
fn an_entry_made_anew_was_reset_even_if_it_counted_past_its_old_value() {
    check(
        "10: a 100 since 1\n 20: a 150 since 12",
        expect![[r#"
        10: first
        20: a +150 Reset
    "#]],
    );
}

#[test]
fn a_reset_of_everything_counts_everything_from_zero() {
    check(
        "10: a 100, b 5; dealloc 9\n 20: a 120, c 2; reset 15; dealloc 1",
        expect![[r#"
        10: first
        20: reset 1 evictions 1 vanished a +120 Reset c +2 Reset
    "#]],
    );
}

#[test]
fn an_evicted_statement_that_returns_counts_from_zero() {
    check(
        "10: a 100, b 5\n 20: a 100; dealloc 1\n 30: a 100, b 3; dealloc 1\n 40: a 100, b 4; dealloc 1",
        expect![[r#"
        10: first
        20: 1 evictions 1 vanished
        30: b +3 New
        40: b +1 Previous
    "#]],
    );
}

#[test]
fn entries_outside_a_partial_read_are_unchanged() {
    check(
        "
        10: a 100, b 5, c 1
        20: a 110; changes
        30: d 3; changes
        40: b 9; changes
        50: a 110, b 9, d 4",
        expect![[r#"
            10: first
            20: a +10 Previous
            30: d +3 New
            40: b +4 Previous
            50: 1 vanished d +1 Previous
        "#]],
    );
}

#[test]
fn states_are_known_while_nothing_was_evicted_or_reset() {
    let mut statements = Statements::default();
    let info = StatementsInfo { dealloc: 1, stats_reset: Some(0.0) };
    assert_eq!(statements.known_states(info), None);
    let mut read = parse("10: a 1, b 2; dealloc 1");
    read.rows[0].state = Some(7);
    statements.observe(read);
    assert_eq!(statements.known_states(info), Some(vec![7]));
    assert_eq!(statements.known_states(StatementsInfo { dealloc: 2, ..info }), None);
    assert_eq!(statements.known_states(StatementsInfo { stats_reset: Some(9.0), ..info }), None);
    assert_eq!(statements.tracked(), 2);
    statements.begin_anew();
    assert_eq!((statements.known_states(info), statements.tracked()), (None, 0));
    assert!(statements.observe(parse("20: a 9, b 9; dealloc 1")).first);
}

#[test]
fn a_window_covers_only_the_calls_between_two_reads() {
    let mut statements = Statements::default();
    let mut read = |calls, mean_seconds: f64, stddev_seconds| {
        let counters = StatementCounters { calls, seconds: mean_seconds * calls as f64, ..StatementCounters::default() };
        let row = StatementRow { key: key("a"), counters, mean_seconds, stddev_seconds, stats_since: None, state: None };
        statements.observe(StatementsRead { taken_at: calls as f64, rows: vec![row], is_partial: false, hidden_rows: 0, info: None })
    };
    // 900 calls of 10 ms, then 100 of 110 ms: an average of 20 ms, with a deviation of 30 ms.
    read(900, 0.01, 0.0);
    let window = read(1_000, 0.02, 0.03).deltas[0].window.unwrap();
    assert!((window.mean_seconds - 0.11).abs() < 1e-12, "{window:?}");
    assert!(window.stddev_seconds < 1e-6 && (window.p95_seconds - 0.11).abs() < 1e-6, "{window:?}");
}

#[test]
fn a_fingerprint_is_the_query_id_in_hex() {
    assert_eq!(StatementKey { queryid: -2, ..key("a") }.fingerprint(), "fffffffffffffffe");
}

fn exported(statements: &Statements) -> String {
    let name = |series: StatementSeries<'_>| series.key.map_or("other".to_owned(), |key| char::from(key.queryid as u8).to_string());
    statements.series().map(|series| format!("{} {}", name(series), series.counters.calls)).collect::<Vec<_>>().join(", ")
}

#[test]
fn a_member_is_replaced_only_by_one_that_clearly_beats_it() {
    let mut statements = Statements::new(1);
    let mut observe = |line: &str| {
        statements.observe(parse(line));
        exported(&statements)
    };
    assert_eq!(observe("10: a 0, b 0"), "other 0");
    assert_eq!(observe("20: a 10, b 9"), "a 0, other 19");
    assert_eq!(observe("30: a 20, b 20"), "a 10, other 30");
    assert_eq!(observe("40: a 30, b 32"), "a 20, other 42");
    assert_eq!(observe("50: a 30, b 50"), "b 0, other 60");
    assert_eq!(observe("60: a 31, b 51"), "b 1, other 61");
    assert_eq!(statements.retired().calls, 20);
}

#[test]
fn a_member_that_stays_away_leaves() {
    let mut statements = Statements::new(1);
    statements.observe(parse("0: a 0, b 0"));
    statements.observe(parse("1: a 9, b 1"));
    for second in 2..22 {
        statements.observe(parse(&format!("{second}: b 1")));
        assert_eq!(exported(&statements), "a 0, other 10");
    }
    statements.observe(parse("22: b 1"));
    assert_eq!(exported(&statements), "b 0, other 10");
}

#[test]
fn a_detail_has_a_series_from_the_first_time_that_it_counts_and_starts_at_zero() {
    let mut statements = Statements::new(1);
    let mut read = |calls: u64, plans: f64| {
        let mut row = row("a", calls, None);
        row.counters.details[Detail::Plans] = plans;
        statements.observe(StatementsRead { taken_at: calls as f64, rows: vec![row], is_partial: false, hidden_rows: 0, info: None });
        let shown = |series: StatementSeries<'_>| (series.shown.contains(Detail::Plans), series.counters.details[Detail::Plans]);
        statements.series().map(shown).collect::<Vec<_>>()
    };
    read(1, 0.0);
    assert_eq!(read(9, 0.0), [(false, 0.0), (true, 0.0)]);
    assert_eq!(read(10, 0.0), [(false, 0.0), (true, 0.0)]);
    assert_eq!(read(11, 2.0), [(true, 0.0), (true, 2.0)]);
    assert_eq!(read(12, 5.0), [(true, 3.0), (true, 2.0)]);
    assert_eq!(read(13, 5.0), [(true, 3.0), (true, 2.0)]);
    assert_eq!(read(14, 4.0), [(true, 7.0), (true, 2.0)], "it went down, so it was reset");
}
