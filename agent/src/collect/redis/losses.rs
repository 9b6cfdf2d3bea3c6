//! Keys lost in a restart: how many keys the server had before, and how many of them are missing since.

use std::time::Duration;

use pharos_model::alert::Now;
use pharos_model::redis::key_history::{KeyHistory, KeyReading, Restart, Unjudged};
use pharos_model::snapshot::Unlisted;
use pharos_model::snapshot::{Family, PartId};
use tracing::warn;

use super::fields::{Fields, pair};
use crate::collect::{NoteName, Notebook};

const NOTE: NoteName<'_> = NoteName { collector: PartId::Info, topic: "" };

/// Greatest age of the note in the store. If the host goes down together with the agent, only the note remains. This age is far below the
/// age that the history accepts from an earlier run of the agent.
const NOTE_AGE_MAX: Duration = Duration::from_mins(5);

/// The number of keys of a server, across restarts of the server and of the agent.
#[derive(Default)]
pub(super) struct Losses {
    history: KeyHistory,
    notebook: Notebook,
    /// Whether the note of an earlier run of the agent was restored.
    is_restored: bool,
    /// The first reading and the latest one, until the note is restored.
    pending: Vec<KeyReading>,
    /// The note that the store has.
    noted: Option<Noted>,
}

/// The facts about the latest restart.
#[derive(Debug)]
pub(super) struct RestartLosses {
    pub families: Vec<Family>,
    /// Series that are unknown until the note of an earlier run of the agent is restored.
    pub unlisted: Unlisted,
}

/// The run of the server that the stored note is about.
struct Noted {
    run_id: String,
    at_ms: u64,
}

impl Losses {
    pub(super) fn new(notebook: Notebook) -> Self {
        Self { notebook, ..Self::default() }
    }

    /// Records the keys of a server that has loaded all of its data. While the server loads, the facts stay as they were: an open alert
    /// about a loss neither ends nor begins.
    pub(super) async fn read(&mut self, info: &Fields<'_>, now: Now) -> RestartLosses {
        if !self.is_restored
            && let Ok(earlier) = self.notebook.read::<KeyHistory>(NOTE, now).await
        {
            self.restore(earlier);
        }
        if let Some(reading) = reading(info, now) {
            let run_id = reading.run_id.clone();
            self.observe(reading);
            self.store(run_id, now).await;
        }
        self.latest()
    }

    fn observe(&mut self, reading: KeyReading) {
        if !self.is_restored {
            self.pending.truncate(1);
            self.pending.push(reading.clone());
        }
        self.compare(reading);
    }

    /// Compares a reading with the history. Logs losses that cannot be judged.
    fn compare(&mut self, reading: KeyReading) {
        let Some(Unjudged { keys, keys_since, away }) = self.history.observe(reading) else { return };
        let server = self.notebook.server().unwrap_or_default();
        warn!(
            server,
            keys,
            keys_since,
            "`{server}` restarted while it was not watched for {away:?} and has {keys_since} keys of {keys}: the agent does not know whether they \
             were lost or deleted, and raises no alert"
        );
    }

    /// Restores the history of an earlier run of the agent, and adds the pending readings to it.
    fn restore(&mut self, earlier: Option<KeyHistory>) {
        self.is_restored = true;
        let pending = std::mem::take(&mut self.pending);
        if let Some(earlier) = earlier {
            self.history = earlier;
            pending.into_iter().for_each(|reading| self.compare(reading));
        }
    }

    fn latest(&self) -> RestartLosses {
        let families = self.history.restart().map(families).unwrap_or_default();
        let unlisted = if self.is_restored { Unlisted::None } else { Unlisted::of([[]]) };
        RestartLosses { families, unlisted }
    }

    /// Stores the history for the next run of the agent, unless the stored note is still fresh.
    async fn store(&mut self, run_id: String, now: Now) {
        let is_fresh = |noted: &Noted| noted.run_id == run_id && u128::from(now.wall_ms.abs_diff(noted.at_ms)) < NOTE_AGE_MAX.as_millis();
        // Before the note was restored it may know more than this run, so it is not replaced.
        if !self.is_restored || self.noted.as_ref().is_some_and(is_fresh) {
            return;
        }
        if self.notebook.write(NOTE, &self.history, Vec::new(), now).await.is_ok() {
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

/// Reads the keys of a server that has all of its data. A server that loads or waits for its master has no reading yet.
fn reading(info: &Fields<'_>, now: Now) -> Option<KeyReading> {
    let is_loading = info.number("loading") == Some(1.0);
    let has_no_master = info.text("master_link_status").is_some_and(|status| status != "up");
    if is_loading || has_no_master || !info.has_section("Keyspace") {
        return None;
    }
    let databases = info.numbered("db");
    let sum = |name: &str| databases.iter().filter_map(|(_, value)| pair(value, name)).sum::<f64>().clamp(0.0, f64::MAX);
    // The server sends 0 where the mean time to live is unknown.
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

    /// Makes the `INFO` of a process that has run for `uptime` seconds, with the lines of `more` at its end.
    fn info(run_id: &str, uptime: u64, more: &str) -> String {
        format!("# Server\r\nrun_id:{run_id}\r\nuptime_in_seconds:{uptime}\r\nloading:0\r\n# Keyspace\r\n{more}")
    }

    fn values(losses: &RestartLosses) -> Vec<f64> {
        losses.families.iter().map(|family| family.values[0]).collect()
    }

    async fn missing(losses: &mut Losses, seconds: u64, info: &str) -> Vec<f64> {
        values(&losses.read(&Fields::parse(info), now(seconds)).await)
    }

    const KEYS: &str = "db0:keys=100,expires=40,avg_ttl=900000\r\ndb3:keys=100,expires=0,avg_ttl=0\r\n";

    #[tokio::test]
    async fn keys_of_all_databases_are_compared_over_a_restart() {
        let mut losses = Losses::default();
        assert_eq!(missing(&mut losses, 0, &info("a", 50, KEYS)).await, Vec::<f64>::new());
        let loading = info("b", 2, "").replace("loading:0", "loading:1");
        assert_eq!(missing(&mut losses, 10, &loading).await, Vec::<f64>::new(), "unknown until the server has loaded");
        assert_eq!(missing(&mut losses, 20, &info("b", 12, "")).await, [199.0, 39.0, 1.0]);
        let half = "db0:keys=100,expires=0,avg_ttl=0\r\n";
        assert_eq!(missing(&mut losses, 30, &info("b", 22, half)).await, [199.0, 39.0, 1.0 - 100.0 / 199.0]);
    }

    #[tokio::test]
    async fn a_loss_stands_while_the_server_loads_or_the_store_does_not_answer() {
        let mut losses = Losses::default();
        let keys = "db0:keys=200,expires=0,avg_ttl=0\r\n";
        missing(&mut losses, 0, &info("a", 50, keys)).await;
        assert_eq!(missing(&mut losses, 10, &info("b", 2, "")).await, [200.0, 0.0, 1.0]);
        let note = serde_json::to_string(&losses.history).unwrap();
        let loading = info("c", 2, "").replace("loading:0", "loading:1");
        for seconds in [20, 30, 40] {
            assert_eq!(missing(&mut losses, seconds, &loading).await, [200.0, 0.0, 1.0], "unknown until the server has loaded");
        }
        assert_eq!(missing(&mut losses, 50, &info("c", 32, keys)).await, [200.0, 0.0, 0.0]);

        // The agent restarts, and its store does not answer at once. That must not end the alert.
        let mut losses = Losses::default();
        assert!(losses.latest().unlisted.may_have(&[]) && values(&losses.latest()).is_empty());
        for (seconds, run_id) in [(60, "b"), (70, "b"), (80, "d")] {
            losses.observe(reading(&Fields::parse(&info(run_id, 2, "")), now(seconds)).unwrap());
        }
        losses.restore(Some(serde_json::from_str(&note).unwrap()));
        assert_eq!((values(&losses.latest()), losses.latest().unlisted), (vec![200.0, 0.0, 1.0], Unlisted::None));
    }

    #[tokio::test]
    async fn keys_that_expired_meanwhile_are_not_missing() {
        let mut losses = Losses::default();
        missing(&mut losses, 0, &info("a", 50, KEYS)).await;
        assert_eq!(missing(&mut losses, 9_000, &info("b", 12, "")).await, [160.0, 0.0, 1.0]);
    }

    #[tokio::test]
    async fn a_replica_that_waits_for_its_master_has_lost_nothing() {
        let mut losses = Losses::default();
        let replica = |info: String, status: &str| format!("{info}# Replication\r\nmaster_link_status:{status}\r\n");
        missing(&mut losses, 0, &replica(info("a", 50, KEYS), "up")).await;
        assert_eq!(missing(&mut losses, 10, &replica(info("b", 2, ""), "down")).await, Vec::<f64>::new());
        assert_eq!(missing(&mut losses, 20, &replica(info("b", 12, KEYS), "up")).await, [199.0, 39.0, 0.0]);
    }

    #[tokio::test]
    async fn impossible_numbers_do_no_harm() {
        let mut losses = Losses::default();
        let strange = "db0:keys=1e308,expires=1e308,avg_ttl=1e308\r\ndb1:keys=1e308,expires=-1e308,avg_ttl=1\r\n";
        for (seconds, run_id, keys) in [(0, "a", strange), (10, "b", ""), (20, "c", strange), (30, "d", "db0:keys=-5,expires=7\r\n")] {
            let values = missing(&mut losses, seconds, &info(run_id, 1, keys)).await;
            assert!(values.iter().all(|value| !value.is_nan()), "{values:?}");
        }
    }
}
