//! Losses of a restart: how many keys the server had before, and how many of them are missing since.

use std::time::Duration;

use pharos_model::alert::Now;
use pharos_model::redis::key_history::{KeyHistory, KeyReading, Restart, Unjudged};
use pharos_model::snapshot::Unlisted;
use pharos_model::snapshot::{Family, PartId};
use tracing::warn;

use super::fields::{Fields, pair};
use crate::collect::Notebook;

const PART: PartId = PartId::Info;

/// How old the note in the store may be. A host that goes down takes the agent along, and then the note is all that is left.
/// This age is far below what the history accepts from an earlier run of the agent.
const NOTE_AGE_MAX: Duration = Duration::from_mins(5);

/// The server's keys over its restarts and over those of the agent.
#[derive(Default)]
pub struct Losses {
    history: KeyHistory,
    notebook: Notebook,
    /// Whether it is known what an earlier run of the agent had read.
    is_recalled: bool,
    /// The first reading and the latest one, as long as that is not known.
    unrecalled: Vec<KeyReading>,
    noted: Option<Noted>,
}

/// The facts about the latest restart.
#[derive(Debug)]
pub struct Known {
    pub families: Vec<Family>,
    /// The series that are unknown, where an earlier run of the agent may have noted a restart and the store has not answered.
    pub unlisted: Unlisted,
}

/// The run of the server that the note in the store is about.
struct Noted {
    run_id: String,
    at_ms: u64,
}

impl Losses {
    pub fn new(notebook: Notebook) -> Self {
        Self { notebook, ..Self::default() }
    }

    /// Takes in the keys of a server that has loaded all of its data. While the server loads, what was known before is still so: an open
    /// alert about a loss neither ends nor begins.
    pub async fn read(&mut self, info: &Fields<'_>, now: Now) -> Known {
        if !self.is_recalled
            && let Ok(earlier) = self.notebook.read::<KeyHistory>(PART, "", now).await
        {
            self.recall(earlier);
        }
        if let Some(reading) = reading(info, now) {
            let run_id = reading.run_id.clone();
            self.observe(reading);
            self.note(run_id, now).await;
        }
        self.known()
    }

    fn observe(&mut self, reading: KeyReading) {
        if !self.is_recalled {
            self.unrecalled.truncate(1);
            self.unrecalled.push(reading.clone());
        }
        self.take(reading);
    }

    /// Losses that cannot be judged are reported all the same.
    fn take(&mut self, reading: KeyReading) {
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

    /// Goes on with what an earlier run of the agent noted.
    fn recall(&mut self, earlier: Option<KeyHistory>) {
        self.is_recalled = true;
        let unrecalled = std::mem::take(&mut self.unrecalled);
        if let Some(earlier) = earlier {
            self.history = earlier;
            unrecalled.into_iter().for_each(|reading| self.take(reading));
        }
    }

    fn known(&self) -> Known {
        let families = self.history.restart().map(families).unwrap_or_default();
        let unlisted = if self.is_recalled { Unlisted::None } else { Unlisted::of([[]]) };
        Known { families, unlisted }
    }

    /// Writes down what the next run of the agent has to know, unless that is in the store already.
    async fn note(&mut self, run_id: String, now: Now) {
        let is_fresh = |noted: &Noted| noted.run_id == run_id && u128::from(now.wall_ms.abs_diff(noted.at_ms)) < NOTE_AGE_MAX.as_millis();
        // Before that, what was noted knows more.
        if !self.is_recalled || self.noted.as_ref().is_some_and(is_fresh) {
            return;
        }
        if self.notebook.write(PART, "", &self.history, Vec::new(), now).await.is_ok() {
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

    fn values(known: &Known) -> Vec<f64> {
        known.families.iter().map(|family| family.values[0]).collect()
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
        assert_eq!(missing(&mut losses, 10, &loading).await, Vec::<f64>::new(), "nobody knows yet");
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
            assert_eq!(missing(&mut losses, seconds, &loading).await, [200.0, 0.0, 1.0], "nobody knows yet what comes back");
        }
        assert_eq!(missing(&mut losses, 50, &info("c", 32, keys)).await, [200.0, 0.0, 0.0]);

        // The agent restarts, and its store does not answer at once: its alert may not take that for the end.
        let mut losses = Losses::default();
        assert!(losses.known().unlisted.may_have(&[]) && values(&losses.known()).is_empty());
        for (seconds, run_id) in [(60, "b"), (70, "b"), (80, "d")] {
            losses.observe(reading(&Fields::parse(&info(run_id, 2, "")), now(seconds)).unwrap());
        }
        losses.recall(Some(serde_json::from_str(&note).unwrap()));
        assert_eq!((values(&losses.known()), losses.known().unlisted), (vec![200.0, 0.0, 1.0], Unlisted::None));
    }

    #[tokio::test]
    async fn keys_whose_time_is_over_are_not_missing() {
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
    async fn numbers_that_no_server_has_do_no_harm() {
        let mut losses = Losses::default();
        let strange = "db0:keys=1e308,expires=1e308,avg_ttl=1e308\r\ndb1:keys=1e308,expires=-1e308,avg_ttl=1\r\n";
        for (seconds, run_id, keys) in [(0, "a", strange), (10, "b", ""), (20, "c", strange), (30, "d", "db0:keys=-5,expires=7\r\n")] {
            let values = missing(&mut losses, seconds, &info(run_id, 1, keys)).await;
            assert!(values.iter().all(|value| !value.is_nan()), "{values:?}");
        }
    }
}
