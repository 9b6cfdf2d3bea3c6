//! Samples in text lines, and their sums.
//!
//! `1000: 7 IO/DataFileRead q1 since 3, 8(7) CPU q1` is a sample at 1000 ms. Session 7 runs query 1 and waits; its state began 3 ms ago.
//! Session 8 is a parallel worker of 7. `7'` is another session with the same process id, `7!av` is an autovacuum worker, and `of 900` is
//! the number of all sessions.

use std::fmt::Write;

use expect_test::{Expect, expect};

use super::*;

const INTERVAL: Duration = Duration::from_secs(1);

fn session(words: &str, at_ms: u64) -> ActiveSession {
    let words: Vec<&str> = words.split_whitespace().collect();
    let (who, background) = words[0].strip_suffix("!av").map_or((words[0], false), |who| (who, true));
    let (who, leader_pid) = who.split_once('(').map_or((who, None), |(who, leader)| {
        let leader = leader.trim_end_matches(')').parse().unwrap();
        (who, Some(leader))
    });
    let started = who.matches('\'').count();
    let (class, event) = words[1].split_once('/').map_or((None, None), |(class, event)| (Some(class), Some(event)));
    let after = |word: &str| words.iter().position(|known| *known == word).map(|index| words[index + 1].parse::<u64>().unwrap());
    let age_ms = after("since");
    ActiveSession {
        identity: Identity { pid: who.trim_end_matches('\'').parse().unwrap(), backend_start_us: started as i64 },
        slice: match (background, leader_pid) {
            (true, _) => Slice::Autovacuum,
            (false, Some(_)) => Slice::ParallelWorker,
            (false, None) => Slice::Client,
        },
        leader_pid,
        work: Work {
            datname: Some("app".to_owned()),
            user: None,
            query_id: words.iter().find_map(|word| word.strip_prefix('q')?.parse().ok()),
        },
        wait: Wait::new(class, event),
        state_change_us: age_ms.map(|age| at_ms as i64 - age as i64),
        state_seconds: age_ms.map(|age| age as f64 / 1000.0),
    }
}

fn parse(line: &str) -> Sample {
    let (at, rest) = line.split_once(':').unwrap();
    let (sessions, active) = rest.split_once(" of ").unwrap_or((rest, ""));
    let at_ms = at.trim().parse().unwrap();
    let sessions: Vec<ActiveSession> =
        sessions.split(',').filter(|words| !words.trim().is_empty()).map(|words| session(words, at_ms)).collect();
    let active = active.trim().parse().unwrap_or(sessions.len() as u64);
    Sample { at: Duration::from_millis(at_ms), sessions, active }
}

fn observed(lines: &str) -> Sampler {
    let mut sampler = Sampler::new(INTERVAL);
    for line in lines.trim().lines() {
        sampler.observe(&parse(line));
    }
    sampler
}

fn check(lines: &str, expected: Expect) {
    let mut sampler = observed(lines);
    let mut text = format!("{} samples, {} missed, {} cut\n", sampler.samples, sampler.missed, sampler.cut);
    let window = sampler.report();
    for (class, average) in &window.average_by_class {
        writeln!(text, "{class} {average:.2}").unwrap();
    }
    for (slice, average) in window.average_by_slice.iter().filter(|(slice, _)| **slice != Slice::Client) {
        writeln!(text, "{} {average:.2}", slice.name()).unwrap();
    }
    for (work, wait, row) in &window.waits {
        let WaitRow { seconds, sessions_max, longest_seconds } = row;
        let query = work.query_id.unwrap_or_default();
        writeln!(text, "q{query} {}/{}: {seconds:.2}s, {sessions_max} at once, {longest_seconds:.2}s long", wait.class, wait.event)
            .unwrap();
    }
    expected.assert_eq(&text);
}

#[test]
fn averages_are_over_samples_and_seconds_over_the_time_between_them() {
    check(
        "1000: 7 CPU q1\n2000: 7 CPU q1, 8 IO/DataFileRead q2\n3000:\n4000: 8 IO/DataFileRead q2",
        expect![[r#"
            4 samples, 0 missed, 0 cut
            CPU 0.50
            IO 0.50
            q2 IO/DataFileRead: 2.00s, 1 at once, 1.00s long
            q1 CPU/CPU: 1.00s, 1 at once, 1.00s long
        "#]],
    );
}

#[test]
fn a_continued_wait_is_one_occurrence_from_the_sample_before_it() {
    // The state is 3.5 s old, but the session had another wait before.
    check(
        "1000: 7 CPU q1 since 500\n2000: 7 IO/Read q1 since 1500\n3000: 7 IO/Read q1 since 2500\n4000: 7 IO/Read q1 since 3500",
        expect![[r#"
            4 samples, 0 missed, 0 cut
            CPU 0.25
            IO 0.75
            q1 IO/Read: 3.00s, 1 at once, 3.00s long
            q1 CPU/CPU: 0.00s, 1 at once, 0.00s long
        "#]],
    );
    // For a state that began between two samples, its exact start is used.
    check(
        "1000:\n2000: 7 IO/Read q1 since 250\n3000: 7 IO/Read q1 since 1250",
        expect![[r#"
            3 samples, 0 missed, 0 cut
            IO 0.67
            q1 IO/Read: 2.00s, 1 at once, 1.25s long
        "#]],
    );
}

#[test]
fn the_same_statement_run_again_is_another_occurrence() {
    check(
        "1000:\n2000: 7 CPU q1 since 900\n3000: 7 CPU q1 since 100",
        expect![[r#"
            3 samples, 0 missed, 0 cut
            CPU 0.67
            q1 CPU/CPU: 2.00s, 1 at once, 0.90s long
        "#]],
    );
}

#[test]
fn a_process_id_that_is_used_again_is_another_session() {
    check(
        "1000:\n2000: 7 Lock/relation\n3000: 7 Lock/relation\n4000: 7' Lock/relation",
        expect![[r#"
            4 samples, 0 missed, 0 cut
            Lock 0.75
            q0 Lock/relation: 3.00s, 1 at once, 2.00s long
        "#]],
    );
}

#[test]
fn a_parallel_query_is_one_session_and_all_its_time_is_its_own() {
    check(
        "1000:\n2000: 7 IPC/ExecuteGather q1, 8(7) IO/Read q0, 9(7) IO/Read q0",
        expect![[r#"
            2 samples, 0 missed, 0 cut
            IPC 0.50
            parallel worker 1.00
            q1 IO/Read: 2.00s, 1 at once, 1.00s long
            q1 IPC/ExecuteGather: 1.00s, 1 at once, 1.00s long
        "#]],
    );
}

#[test]
fn background_work_is_no_load_of_users() {
    check(
        "1000: 5!av Timeout/VacuumDelay\n2000: 5!av CPU",
        expect![[r#"
            2 samples, 0 missed, 0 cut
            autovacuum 1.00
        "#]],
    );
}

#[test]
fn missed_samples_are_counted_and_not_averaged_over() {
    check(
        "1000: 7 CPU\n2000: 7 CPU\n6000: 7 CPU",
        expect![[r#"
            3 samples, 3 missed, 0 cut
            CPU 1.00
            q0 CPU/CPU: 5.00s, 1 at once, 5.00s long
        "#]],
    );
    // An hour without samples: one sample does not count for all of it.
    check(
        "1000: 7 CPU\n3601000: 7 CPU since 4000000",
        expect![[r#"
            2 samples, 3599 missed, 0 cut
            CPU 1.00
            q0 CPU/CPU: 5.00s, 1 at once, 3600.00s long
        "#]],
    );
}

#[test]
fn sessions_beyond_the_limit_are_scaled_and_counted() {
    check(
        "1000: 7 CPU q1\n2000: 7 CPU q1, 8 IO/Read q2 of 10",
        expect![[r#"
            2 samples, 0 missed, 1 cut
            CPU 3.00
            IO 2.50
            q1 CPU/CPU: 5.00s, 5 at once, 1.00s long
            q2 IO/Read: 5.00s, 5 at once, 1.00s long
        "#]],
    );
}

#[test]
fn a_server_that_started_anew_misses_nothing() {
    let mut sampler = observed("1000: 7 CPU");
    sampler.remove_sessions();
    sampler.observe(&parse("60000: 7 CPU"));
    assert_eq!((sampler.samples, sampler.missed), (2, 0));
    assert_eq!(sampler.totals()[&Wait::new(None, None)], 0.0);
}

#[test]
fn locks_are_read_when_a_wait_begins_and_not_while_sessions_queue_for_the_lock_manager() {
    let mut sampler = Sampler::new(INTERVAL);
    let mut wants = |line: &str| sampler.observe(&parse(line)).needs_locks_read();
    assert!(!wants("1000: 7 CPU"));
    assert!(wants("2000: 7 Lock/relation"));
    assert!(!wants("3000: 7 Lock/relation"));
    assert!(wants("4000: 7 Lock/relation, 8 Lock/tuple"));
    assert!(!wants("5000: 7 Lock/relation, 8 Lock/tuple"));
    let crowd = "1 LWLock/LockManager, 2 LWLock/LockManager";
    assert!(wants(&format!("6000: {crowd}, 9 Lock/relation")));
    assert!(!wants(&format!("7000: {crowd}, 3 LWLock/LockManager, 9 Lock/relation, 10 Lock/relation")));
}

#[test]
fn rows_beyond_the_limit_still_count_as_time() {
    let mut sampler = observed("1000:\n2000: 7 CPU q1, 8 CPU q1, 9 IO/Read q2");
    let mut window = sampler.report();
    window.truncate(1);
    assert_eq!((window.waits.len(), window.other_seconds), (1, 1.0));
    assert_eq!(sampler.report(), ActivityWindow::default(), "the next window begins empty");
}
