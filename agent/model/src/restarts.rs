//! Restarts of a server, including those that are over before the next reading.
//!
//! A new process has another start time or, with Redis, another run id. When one process of PostgreSQL crashes, the postmaster stays, ends
//! all sessions and restarts the other processes, so the checkpointer is new. A PostgreSQL server that was not shut down cleanly starts
//! without its statistics.

use serde::{Deserialize, Serialize};

use crate::cluster::Cluster;

/// How long a restart is reported, in seconds.
const REPORTED_SECONDS: f64 = 15.0 * 60.0;
/// Most stored restarts. A server that crashes constantly has many.
const RESTARTS_MAX: usize = 20;
/// Greatest difference of two times of one start, in seconds, from conversions to JSON. A real second would be too much: a server may
/// crash again at once.
const SAME_SECONDS: f64 = 0.001;
/// Error of a Redis start time, in seconds: Redis reports its age in whole seconds, on a clock that it reads ten times a second.
const ROUNDED_SECONDS: f64 = 1.5;

/// Start times of the server and its parts, in seconds since 1970 on one clock.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunReading {
    /// Time of the reading.
    pub read_at: f64,
    /// Start of the process, or of the postmaster.
    pub started_at: f64,
    /// Id of the process, if the server has one. Then the start time may be rounded.
    #[serde(default)]
    pub run_id: Option<String>,
    /// Start of the checkpointer, which ends and starts with all other processes. `None` if the role may not read it or it does not run
    /// yet.
    pub checkpointer_started_at: Option<f64>,
    /// Start of the statistics of the whole server; `None` if the server does not report it.
    pub statistics_began_at: Option<f64>,
}

/// Kind of a restart, as far as it is visible from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RestartKind {
    /// The postmaster is new, and nothing shows that the old one was not shut down cleanly.
    Restart,
    /// The postmaster is new and found no statistics. The server crashed, was stopped immediately, or was restored from a backup.
    Unclean,
    /// A process of the server crashed. The postmaster ended all sessions and restarted the other processes.
    ProcessCrash,
}

impl RestartKind {
    /// Name of the kind in tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Restart => "restart",
            Self::Unclean => "unclean",
            Self::ProcessCrash => "process-crash",
        }
    }
}

/// Restart of a server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServerRestart {
    /// Seconds since 1970 on the server's clock.
    pub at: f64,
    /// Kind of the restart.
    pub kind: RestartKind,
}

/// Restarts of the server at one address, over restarts of the agent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RestartHistory {
    cluster: Cluster,
    latest: Option<RunReading>,
    restarts: Vec<ServerRestart>,
}

impl RestartHistory {
    /// Adds a reading of this cluster. Returns true if the server is another run than in the reading before.
    pub fn observe(&mut self, cluster: &Cluster, reading: RunReading) -> bool {
        if !self.cluster.may_be(cluster) {
            *self = Self::default();
        }
        self.cluster.fill_from(cluster);
        let now = reading.read_at;
        let found = self.latest.as_ref().and_then(|before| restart(before, &reading));
        let is_new_run = self.latest.as_ref().is_none_or(|before| !before.is_same_run(&reading));
        self.restarts.extend(found);
        self.restarts.retain(|restart| now - restart.at < REPORTED_SECONDS);
        let excess = self.restarts.len().saturating_sub(RESTARTS_MAX);
        self.restarts.drain(..excess);
        // A checkpointer that is missing for a moment counts as unchanged.
        let checkpointer_before = self.latest.take().filter(|before| before.is_same_process(&reading));
        let checkpointer_started_at =
            reading.checkpointer_started_at.or_else(|| checkpointer_before.and_then(|before| before.checkpointer_started_at));
        self.latest = Some(RunReading { checkpointer_started_at, ..reading });
        is_new_run
    }

    /// Restarts of the last 15 minutes, oldest first.
    pub fn restarts(&self) -> &[ServerRestart] {
        &self.restarts
    }
}

impl RunReading {
    /// Returns true if the same processes served at another reading.
    pub fn is_same_run(&self, other: &Self) -> bool {
        let is_same_checkpointer = match (self.checkpointer_started_at, other.checkpointer_started_at) {
            (Some(one), Some(other)) => is_same(one, other),
            (None, Some(_)) => false,
            (_, None) => true,
        };
        self.is_same_process(other) && is_same_checkpointer
    }

    fn is_same_process(&self, other: &Self) -> bool {
        match self.run_id.as_ref().zip(other.run_id.as_ref()) {
            Some((one, other)) => one == other,
            None => is_same(self.started_at, other.started_at),
        }
    }
}

fn restart(before: &RunReading, after: &RunReading) -> Option<ServerRestart> {
    if before.is_same_process(after) {
        let (one, other) = before.checkpointer_started_at.zip(after.checkpointer_started_at)?;
        return (!is_same(one, other)).then_some(ServerRestart { at: other, kind: RestartKind::ProcessCrash });
    }
    // A process that ran while the old one answered is another server at the same address.
    let slack = if after.run_id.is_some() { ROUNDED_SECONDS } else { SAME_SECONDS };
    if after.started_at + slack < before.read_at {
        return None;
    }
    let is_unclean = after.statistics_began_at.is_some_and(|began| began + SAME_SECONDS >= after.started_at);
    Some(ServerRestart { at: after.started_at, kind: if is_unclean { RestartKind::Unclean } else { RestartKind::Restart } })
}

fn is_same(one: f64, other: f64) -> bool {
    (one - other).abs() < SAME_SECONDS
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: f64 = 3_600.0;
    /// Start of the statistics of a server that was always shut down cleanly.
    const LONG_AGO: Option<f64> = Some(1.0);

    fn reading(read_at: f64, started_at: f64, checkpointer: f64) -> RunReading {
        RunReading { read_at, started_at, run_id: None, checkpointer_started_at: Some(checkpointer), statistics_began_at: LONG_AGO }
    }

    /// Reading of a process with an id, whose start is known to the second.
    fn named(run_id: &str, read_at: f64, started_at: f64) -> RunReading {
        let run_id = Some(run_id.to_owned());
        RunReading { read_at, started_at, run_id, checkpointer_started_at: None, statistics_began_at: None }
    }

    fn cluster() -> Cluster {
        Cluster::new(Some("7412"))
    }

    fn history(readings: impl IntoIterator<Item = RunReading>) -> RestartHistory {
        let mut history = RestartHistory::default();
        readings.into_iter().for_each(|reading| _ = history.observe(&cluster(), reading));
        history
    }

    fn found(history: &RestartHistory) -> Vec<(f64, RestartKind)> {
        history.restarts().iter().map(|restart| (restart.at, restart.kind)).collect()
    }

    #[test]
    fn the_first_two_readings_of_a_server_report_no_restart() {
        let mut history = RestartHistory::default();
        let crashed = RunReading { statistics_began_at: Some(HOUR), ..reading(HOUR + 1.0, HOUR, HOUR + 0.7) };
        assert!(history.observe(&cluster(), crashed.clone()));
        assert!(!history.observe(&cluster(), RunReading { read_at: HOUR + 11.0, ..crashed }));
        assert_eq!(found(&history), []);
    }

    #[test]
    fn a_new_postmaster_is_a_restart_and_an_unclean_one_without_statistics() {
        let clean = history([reading(HOUR, 10.0, 10.0), reading(HOUR + 10.0, HOUR + 5.0, HOUR + 5.0)]);
        assert_eq!(found(&clean), [(HOUR + 5.0, RestartKind::Restart)]);
        let lost = RunReading { statistics_began_at: Some(HOUR + 5.2), ..reading(HOUR + 10.0, HOUR + 5.0, HOUR + 5.0) };
        assert_eq!(found(&history([reading(HOUR, 10.0, 10.0), lost.clone()])), [(HOUR + 5.0, RestartKind::Unclean)]);
        let unknown = RunReading { statistics_began_at: None, ..lost };
        assert_eq!(found(&history([reading(HOUR, 10.0, 10.0), unknown])), [(HOUR + 5.0, RestartKind::Restart)]);
    }

    #[test]
    fn only_another_run_id_is_a_restart_of_a_process_that_has_one() {
        let same = history([named("a", HOUR, 10.0), named("a", HOUR + 10.0, 11.9)]);
        assert_eq!(found(&same), []);
        let restarted = history([named("a", HOUR, 10.0), named("b", HOUR + 10.0, HOUR + 5.0)]);
        assert_eq!(found(&restarted), [(HOUR + 5.0, RestartKind::Restart)]);
        // The process stopped and started within the second of the reading.
        let at_once = history([named("a", HOUR, 10.0), named("b", HOUR + 0.3, HOUR - 0.7)]);
        assert_eq!(found(&at_once), [(HOUR - 0.7, RestartKind::Restart)]);
        let other = history([named("a", HOUR, 10.0), named("b", HOUR + 10.0, HOUR - 60.0)]);
        assert_eq!(found(&other), [], "it ran while the other one answered");
    }

    #[test]
    fn a_new_checkpointer_below_the_same_postmaster_is_a_crash() {
        let crashed = history([reading(HOUR, 10.0, 10.0), reading(HOUR + 10.0, 10.0, HOUR + 5.0)]);
        assert_eq!(found(&crashed), [(HOUR + 5.0, RestartKind::ProcessCrash)]);
        // The checkpointer is missing for a moment, or hidden from a role that lost a right.
        let hidden = RunReading { checkpointer_started_at: None, ..reading(HOUR + 1.0, 10.0, 10.0) };
        let crashed = history([reading(HOUR, 10.0, 10.0), hidden.clone(), reading(HOUR + 10.0, 10.0, HOUR + 5.0)]);
        assert_eq!(found(&crashed), [(HOUR + 5.0, RestartKind::ProcessCrash)]);
        assert_eq!(
            found(&history([hidden, reading(HOUR + 10.0, 10.0, HOUR + 5.0)])),
            [],
            "the start of the earlier checkpointer is unknown"
        );
    }

    #[test]
    fn a_restart_is_reported_for_a_quarter_of_an_hour() {
        let mut history = history([reading(HOUR, 10.0, 10.0), reading(HOUR + 10.0, HOUR + 5.0, HOUR + 5.0)]);
        history.observe(&cluster(), reading(HOUR + 5.0 + 899.0, HOUR + 5.0, HOUR + 5.0));
        assert_eq!(found(&history).len(), 1);
        history.observe(&cluster(), reading(HOUR + 5.0 + 900.0, HOUR + 5.0, HOUR + 5.0));
        assert_eq!(found(&history), []);
    }

    #[test]
    fn another_server_behind_the_address_is_no_restart() {
        let older = history([reading(HOUR, 10.0, 10.0), reading(HOUR + 10.0, HOUR - 60.0, HOUR - 60.0)]);
        assert_eq!(found(&older), [], "it ran while the other one answered");
        let mut other = history([reading(HOUR, 10.0, 10.0)]);
        other.observe(&Cluster::new(Some("8")), reading(HOUR + 10.0, HOUR + 5.0, HOUR + 5.0));
        assert_eq!(found(&other), [], "another cluster");
    }

    #[test]
    fn a_restart_of_the_server_is_found_after_a_restart_of_the_agent() {
        let before = history([reading(HOUR, 10.0, 10.0)]);
        let noted = || serde_json::from_str::<RestartHistory>(&serde_json::to_string(&before).unwrap()).unwrap();
        let mut same = noted();
        assert!(!same.observe(&cluster(), reading(3.0 * HOUR, 10.0, 10.0)));
        assert_eq!(found(&same), []);
        let mut crashed = noted();
        crashed.observe(&cluster(), reading(3.0 * HOUR, 10.0, 3.0 * HOUR - 60.0));
        assert_eq!(found(&crashed), [(3.0 * HOUR - 60.0, RestartKind::ProcessCrash)]);
        let mut long_ago = noted();
        long_ago.observe(&cluster(), reading(3.0 * HOUR, 2.0 * HOUR, 2.0 * HOUR));
        assert_eq!(found(&long_ago), [], "it is over for longer than it is reported");
    }

    #[test]
    fn the_number_of_stored_restarts_is_limited() {
        let crashes = (1..1_000).map(|second| reading(HOUR + f64::from(second), 10.0, HOUR + f64::from(second) - 0.2));
        assert_eq!(found(&history(crashes)).len(), RESTARTS_MAX);
    }
}
