//! What a restart cost the server: how many keys it had before, and how many of them are missing since.

use std::time::Duration;

use pharos_model::alert::Now;
use pharos_model::key_history::{KeyHistory, KeyReading, Restart};
use pharos_model::snapshot::Family;

use super::fields::{Fields, pair};
use super::info::NAME;
use crate::collect::Notebook;

/// How old the note in the store may be. A host that goes down takes the agent along, and then the note is all that is left.
const NOTE_AGE_MAX: Duration = Duration::from_mins(10);

/// The server's keys over its restarts and over those of the agent.
#[derive(Default)]
pub struct Restarts {
    history: KeyHistory,
    notebook: Notebook,
    /// Whether it is known what an earlier run of the agent had read.
    is_recalled: bool,
    noted: Option<Noted>,
}

/// What the note in the store is about.
struct Noted {
    run_id: String,
    at_ms: u64,
}

impl Restarts {
    pub fn new(notebook: Notebook) -> Self {
        Self { notebook, ..Self::default() }
    }

    /// Series about the latest restart; none while the server has not loaded all of its data.
    pub async fn read(&mut self, info: &Fields<'_>, now: Now) -> Vec<Family> {
        let Some(reading) = reading(info, now) else { return Vec::new() };
        if !self.is_recalled
            && let Ok(earlier) = self.notebook.read::<KeyHistory>(NAME, "", now).await
        {
            self.is_recalled = true;
            self.history = earlier.unwrap_or_else(|| std::mem::take(&mut self.history));
        }
        let run_id = reading.run_id.clone();
        self.history.observe(reading);
        self.note(run_id, now).await;
        self.history.restart().map(families).unwrap_or_default()
    }

    /// Writes down what the next run of the agent has to know, unless that is in the store already.
    async fn note(&mut self, run_id: String, now: Now) {
        let is_fresh = |noted: &Noted| noted.run_id == run_id && u128::from(now.wall_ms.abs_diff(noted.at_ms)) < NOTE_AGE_MAX.as_millis();
        // Before that, what was noted knows more.
        if !self.is_recalled || self.noted.as_ref().is_some_and(is_fresh) {
            return;
        }
        if self.notebook.write(NAME, "", &self.history, ("", Vec::new()), now).await.is_ok() {
            self.noted = Some(Noted { run_id, at_ms: now.wall_ms });
        }
    }
}

fn families(restart: &Restart) -> Vec<Family> {
    vec![
        Family::scalar("pharos_redis_keys_before_restart", restart.keys),
        Family::scalar("pharos_redis_keys_expiring_before_restart", restart.expiring),
        Family::scalar("pharos_redis_keys_missing_ratio", restart.missing_ratio()),
    ]
}

/// The keys of a server that has all of its data: one that loads, or waits for its master, will have more.
fn reading(info: &Fields<'_>, now: Now) -> Option<KeyReading> {
    let is_loading = info.number("loading") == Some(1.0);
    let has_no_master = info.text("master_link_status").is_some_and(|status| status != "up");
    if is_loading || has_no_master || !info.has_section("Keyspace") {
        return None;
    }
    let databases = info.numbered("db");
    let sum = |name: &str| databases.iter().filter_map(|(_, value)| pair(value, name)).sum::<f64>().clamp(0.0, f64::MAX);
    // The server says 0 where it does not know.
    let timed = databases.iter().filter_map(|(_, value)| Some((pair(value, "expires")?, pair(value, "avg_ttl").filter(|ttl| *ttl > 0.0)?)));
    let (count, total) = timed.fold((0.0, 0.0), |(count, total), (expires, ttl)| (count + expires, total + expires * ttl));
    let uptime_ms = (info.number("uptime_in_seconds")? * 1_000.0) as u64;
    Some(KeyReading {
        run_id: info.word("run_id")?.to_owned(),
        started_at_ms: now.wall_ms.saturating_sub(uptime_ms),
        read_at_ms: now.wall_ms,
        keys: sum("keys"),
        expiring: sum("expires"),
        mean_ttl_ms: (count > 0.0).then_some(total / count),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now(seconds: u64) -> Now {
        Now { monotonic: Duration::from_secs(seconds), wall_ms: (1_000_000 + seconds) * 1_000 }
    }

    /// `INFO` of a process that has run for so many seconds, with these lines more.
    fn info(run_id: &str, uptime: u64, more: &str) -> String {
        format!("# Server\r\nrun_id:{run_id}\r\nuptime_in_seconds:{uptime}\r\nloading:0\r\n# Keyspace\r\n{more}")
    }

    async fn missing(restarts: &mut Restarts, seconds: u64, info: &str) -> Vec<f64> {
        let families = restarts.read(&Fields::parse(info), now(seconds)).await;
        families.iter().map(|family| family.values[0]).collect()
    }

    const KEYS: &str = "db0:keys=100,expires=40,avg_ttl=900000\r\ndb3:keys=100,expires=0,avg_ttl=0\r\n";

    #[tokio::test]
    async fn keys_of_all_databases_are_compared_over_a_restart() {
        let mut restarts = Restarts::default();
        assert_eq!(missing(&mut restarts, 0, &info("a", 50, KEYS)).await, Vec::<f64>::new());
        let loading = info("b", 2, "").replace("loading:0", "loading:1");
        assert_eq!(missing(&mut restarts, 10, &loading).await, Vec::<f64>::new(), "nobody knows yet");
        assert_eq!(missing(&mut restarts, 20, &info("b", 12, "")).await, [200.0, 40.0, 1.0]);
        assert_eq!(missing(&mut restarts, 30, &info("b", 22, "db0:keys=50,expires=0,avg_ttl=0\r\n")).await, [200.0, 40.0, 0.75]);
    }

    #[tokio::test]
    async fn keys_whose_time_is_over_are_not_missing() {
        let mut restarts = Restarts::default();
        missing(&mut restarts, 0, &info("a", 50, KEYS)).await;
        assert_eq!(missing(&mut restarts, 901, &info("b", 12, "")).await, [160.0, 0.0, 1.0]);
    }

    #[tokio::test]
    async fn a_replica_that_waits_for_its_master_has_lost_nothing() {
        let mut restarts = Restarts::default();
        let replica = |info: String, status: &str| format!("{info}# Replication\r\nmaster_link_status:{status}\r\n");
        missing(&mut restarts, 0, &replica(info("a", 50, KEYS), "up")).await;
        assert_eq!(missing(&mut restarts, 10, &replica(info("b", 2, ""), "down")).await, Vec::<f64>::new());
        assert_eq!(missing(&mut restarts, 20, &replica(info("b", 12, KEYS), "up")).await, [200.0, 40.0, 0.0]);
    }

    #[tokio::test]
    async fn numbers_that_no_server_has_do_no_harm() {
        let mut restarts = Restarts::default();
        let strange = "db0:keys=1e308,expires=1e308,avg_ttl=1e308\r\ndb1:keys=1e308,expires=-1e308,avg_ttl=1\r\n";
        for (seconds, run_id, keys) in [(0, "a", strange), (10, "b", ""), (20, "c", strange), (30, "d", "db0:keys=-5,expires=7\r\n")] {
            let values = missing(&mut restarts, seconds, &info(run_id, 1, keys)).await;
            assert!(values.iter().all(|value| !value.is_nan()), "{values:?}");
        }
    }
}
