//! For all samples at all instants: no time is lost or invented, and only a session that stayed has one occurrence.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const INTERVAL: Duration = Duration::from_secs(1);

fn any_session() -> impl Strategy<Value = ActiveSession> {
    let slice = prop_oneof![3 => Just(Slice::Client), 1 => Just(Slice::ParallelWorker), 1 => Just(Slice::Autovacuum)];
    (0..6_i32, 0..2_i64, slice, 0..2_i64, 0..3_usize, 0..3_i64, -5.0..5.0_f64).prop_map(
        |(pid, backend_start_us, slice, query_id, wait, state_change_us, state_seconds)| ActiveSession {
            identity: Identity { pid, backend_start_us },
            slice,
            leader_pid: (slice == Slice::ParallelWorker).then_some(0),
            work: Work { query_id: Some(query_id), ..Work::default() },
            wait: [Wait::new(None, None), Wait::new(Some("IO"), Some("Read")), Wait::new(Some("Lock"), Some("tuple"))][wait].clone(),
            state_change_us: Some(state_change_us),
            state_seconds: Some(state_seconds),
        },
    )
}

/// Samples at random gaps in milliseconds. All sessions of a sample differ, and some are left out.
fn any_samples() -> impl Strategy<Value = Vec<Sample>> {
    vec((1..8_000_u64, vec(any_session(), 0..6), 0..4_u64), 1..40).prop_map(|samples| {
        let mut at = 0;
        let sample = |(gap, mut sessions, hidden): (u64, Vec<ActiveSession>, u64)| {
            at += gap;
            sessions.sort_by_key(|session: &ActiveSession| session.identity);
            sessions.dedup_by_key(|session| session.identity);
            let active = sessions.len() as u64 + if sessions.is_empty() { 0 } else { hidden };
            Sample { at: Duration::from_millis(at), sessions, active }
        };
        samples.into_iter().map(sample).collect()
    })
}

/// Seconds for which a sample counts, by the definition.
fn speaks_for(before: Option<&Sample>, sample: &Sample) -> f64 {
    before.map_or(0.0, |before| (sample.at - before.at).as_secs_f64().min(5.0))
}

fn scaled(sample: &Sample, fits: impl Fn(&ActiveSession) -> bool) -> f64 {
    let count = sample.sessions.iter().filter(|session| fits(session)).count() as f64;
    if sample.sessions.is_empty() { 0.0 } else { count * sample.active as f64 / sample.sessions.len() as f64 }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn seconds_are_sessions_times_the_time_between_samples(samples in any_samples(), window in 1..12_usize) {
        let mut sampler = Sampler::new(INTERVAL);
        let (mut clients, mut users, mut reported, mut before) = (0.0, 0.0, 0.0, None);
        for (index, sample) in samples.iter().enumerate() {
            sampler.observe(sample);
            let seconds = speaks_for(before, sample);
            clients += seconds * scaled(sample, |session| session.slice == Slice::Client);
            users += seconds * scaled(sample, |session| matches!(session.slice, Slice::Client | Slice::ParallelWorker));
            before = Some(sample);
            if index % window == 0 || index + 1 == samples.len() {
                let mut window = sampler.report();
                window.truncate(index % 4);
                reported += window.other_seconds + window.waits.iter().map(|(_, _, row)| row.seconds).sum::<f64>();
            }
        }
        let total: f64 = sampler.totals().values().sum();
        prop_assert!((total - clients).abs() < 1e-6, "{total} {clients}");
        prop_assert!((reported - users).abs() < 1e-6, "{reported} {users}");
    }

    #[test]
    fn averages_are_over_the_samples_that_were_taken(samples in any_samples()) {
        let mut sampler = Sampler::new(INTERVAL);
        samples.iter().for_each(|sample| { sampler.observe(sample); });
        let window = sampler.report();
        let average: f64 = window.average_by_class.values().sum();
        let expected = samples.iter().map(|sample| scaled(sample, |session| session.slice == Slice::Client)).sum::<f64>();
        prop_assert!((average - expected / samples.len() as f64).abs() < 1e-9);
        prop_assert_eq!(window.samples, samples.len() as u64);
    }

    #[test]
    fn nothing_lasts_longer_than_one_session_was_seen_at_it(samples in any_samples()) {
        let mut sampler = Sampler::new(INTERVAL);
        for (index, sample) in samples.iter().enumerate() {
            sampler.observe(sample);
            for session in &sample.sessions {
                // The occurrence did not begin before the last sample without this state of the session.
                let same = |other: &ActiveSession| {
                    other.identity == session.identity
                        && other.wait == session.wait
                        && other.work.query_id == session.work.query_id
                        && other.state_change_us == session.state_change_us
                };
                let first = (0..=index).rev().take_while(|at| samples[*at].sessions.iter().any(same)).last().unwrap_or(index);
                let earliest = samples[first.saturating_sub(1)].at;
                let since = sampler.under_way[&session.identity].since;
                prop_assert!(since >= earliest && since <= samples[first].at, "{since:?} {earliest:?}");
            }
            prop_assert_eq!(sampler.under_way.len(), sample.sessions.len());
        }
    }
}
