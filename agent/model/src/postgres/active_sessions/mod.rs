//! Active session history: which sessions worked or waited, and for what, from a sample about once a second.
//!
//! A sample counts for the time since the sample before, but for at most a few intervals: longer gaps were not observed. The same state of
//! one session in consecutive samples is one [`Occurrence`]. It ends when the server gives the process id to another session. Time is
//! measured on the agent's monotonic clock. The server's clock only dates the start of a state within a gap.

mod window;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use self::window::WindowSums;
pub use self::window::{ActivityWindow, WaitRow};

/// Number of sessions in the queue for the lock manager itself at which the lock table is not read any more.
pub const CROWD: u64 = 3;
/// Most intervals for which one sample counts.
const COUNTED_INTERVALS_MAX: u32 = 5;
/// Most waits with a total of their own. Servers have about 250; extensions may add more.
const WAITS_MAX: usize = 400;

/// Identity of a session. Process ids are used again, start times are not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Identity {
    /// Process id.
    pub pid: i32,
    /// Microseconds since 1970 on the server's clock.
    pub backend_start_us: i64,
}

/// Kind of a backend. Only client backends are load that users make.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Slice {
    /// The session of a client.
    Client,
    /// A worker of a parallel query, which counts for its leader.
    ParallelWorker,
    /// A worker of autovacuum, or its launcher.
    Autovacuum,
    /// A process that sends WAL to a standby or a subscriber.
    WalSender,
    /// Any other process of the server.
    Other,
}

impl Slice {
    /// All kinds but client backends.
    pub const BACKGROUND: [Self; 4] = [Self::ParallelWorker, Self::Autovacuum, Self::WalSender, Self::Other];

    /// Reads the kind from `backend_type` of `pg_stat_activity`.
    pub fn of(backend_type: &str) -> Self {
        match backend_type {
            "client backend" => Self::Client,
            "parallel worker" => Self::ParallelWorker,
            "autovacuum worker" | "autovacuum launcher" => Self::Autovacuum,
            "walsender" => Self::WalSender,
            _ => Self::Other,
        }
    }

    /// Name of the kind: a closed set, for metric labels.
    pub fn name(self) -> &'static str {
        match self {
            Self::Client => "client backend",
            Self::ParallelWorker => "parallel worker",
            Self::Autovacuum => "autovacuum",
            Self::WalSender => "walsender",
            Self::Other => "other",
        }
    }
}

/// Work of a session: its datname, user and statement.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Work {
    /// Datname of the session; `None` for backends without one.
    pub datname: Option<String>,
    /// Role of the session; `None` for backends without one.
    pub user: Option<String>,
    /// Query id of the statement; `None` if the server does not compute it.
    pub query_id: Option<i64>,
}

/// Wait of a session: its class and its event.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Wait {
    /// Class of the wait, such as `Lock`; `CPU` for a session that does not wait.
    pub class: String,
    /// Event within the class.
    pub event: String,
}

impl Wait {
    /// Creates a wait from `pg_stat_activity`. An active session without a wait event computes, or waits for something that the server
    /// does not name; it counts as `CPU`.
    pub fn new(class: Option<&str>, event: Option<&str>) -> Self {
        let class = class.unwrap_or("CPU");
        Self { class: class.to_owned(), event: event.unwrap_or(class).to_owned() }
    }

    fn other() -> Self {
        Self { class: "other".to_owned(), event: "other".to_owned() }
    }

    fn is_lock(&self) -> bool {
        self.class == "Lock"
    }

    fn is_lock_manager(&self) -> bool {
        self.class == "LWLock" && self.event == "LockManager"
    }
}

/// Session in a sample.
#[derive(Debug, Clone, PartialEq)]
pub struct ActiveSession {
    /// Identity of the session.
    pub identity: Identity,
    /// Kind of the backend.
    pub slice: Slice,
    /// Process id of the leader, for a parallel worker.
    pub leader_pid: Option<i32>,
    /// Work of the session.
    pub work: Work,
    /// Wait of the session.
    pub wait: Wait,
    /// Start of the state on the server's clock, in microseconds since 1970. It stays the same while a statement changes its waits.
    pub state_change_us: Option<i64>,
    /// Age of the state in seconds, on the server's clock.
    pub state_seconds: Option<f64>,
}

/// All sessions that are not idle, at one instant.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Time on the agent's monotonic clock.
    pub at: Duration,
    /// Sessions that were read.
    pub sessions: Vec<ActiveSession>,
    /// Number of all sessions that are not idle; `sessions` may have only some of them.
    pub active: u64,
}

/// What a sample shows about waits for locks. It decides whether the lock table is read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LockSigns {
    /// Sessions that wait for a lock now and did not in the sample before.
    pub lock_waits_begun: u64,
    /// Sessions that queue for the lock manager.
    pub lock_manager_waits: u64,
}

impl LockSigns {
    /// Returns true if the lock table should be read. It is read when a wait begins, but not while sessions queue for the lock manager.
    pub fn needs_locks_read(self) -> bool {
        self.lock_waits_begun > 0 && !self.is_crowded()
    }

    /// Returns true if so many sessions queue for the lock manager that the lock table must not be read.
    pub fn is_crowded(self) -> bool {
        self.lock_manager_waits >= CROWD
    }
}

/// State of one session, for as long as consecutive samples show it.
#[derive(Debug, Clone, PartialEq)]
struct Occurrence {
    query_id: Option<i64>,
    wait: Wait,
    state_change_us: Option<i64>,
    since: Duration,
}

/// All samples of one server, summed up.
#[derive(Debug)]
pub struct Sampler {
    interval: Duration,
    last: Option<Duration>,
    under_way: HashMap<Identity, Occurrence>,
    sums: WindowSums,
    /// Seconds of client sessions by wait, since the agent's start.
    totals: BTreeMap<Wait, f64>,
    /// Number of samples that were taken.
    pub samples: u64,
    /// Number of times at which a sample was due but not taken.
    pub missed: u64,
    /// Number of samples with more sessions than could be read.
    pub cut: u64,
}

impl Sampler {
    /// Creates a sampler with this planned time between two samples.
    pub fn new(interval: Duration) -> Self {
        Self {
            interval,
            last: None,
            under_way: HashMap::new(),
            sums: WindowSums::default(),
            totals: BTreeMap::new(),
            samples: 0,
            missed: 0,
            cut: 0,
        }
    }

    /// Returns true if the last sample is old enough for the next one.
    pub fn is_due(&self, now: Duration) -> bool {
        self.last.is_none_or(|last| now.saturating_sub(last) * 2 >= self.interval)
    }

    /// Removes the state of sessions after a restart of the server. The time without a server counts as neither load nor missed samples.
    pub fn remove_sessions(&mut self) {
        self.last = None;
        self.under_way.clear();
    }

    /// Adds a sample, and returns what it shows about locks.
    pub fn observe(&mut self, sample: &Sample) -> LockSigns {
        let gap = self.last.map(|last| sample.at.saturating_sub(last));
        let seconds = gap.unwrap_or_default().min(self.interval * COUNTED_INTERVALS_MAX).as_secs_f64();
        let seen = sample.sessions.len() as u64;
        let scale = if seen > 0 { sample.active.max(seen) as f64 / seen as f64 } else { 1.0 };
        self.samples += 1;
        self.missed += gap.map_or(0, |gap| missed(gap, self.interval));
        self.cut += u64::from(sample.active > seen);

        let mut lock_signs = LockSigns::default();
        let before = std::mem::take(&mut self.under_way);
        for session in &sample.sessions {
            let earlier = before.get(&session.identity);
            let occurrence = self.occurrence(sample.at, session, earlier);
            lock_signs.lock_waits_begun += u64::from(session.wait.is_lock() && !earlier.is_some_and(|earlier| earlier.wait.is_lock()));
            lock_signs.lock_manager_waits += u64::from(session.wait.is_lock_manager());
            if session.slice == Slice::Client {
                *self.total(&session.wait) += seconds * scale;
            }
            self.under_way.insert(session.identity, occurrence);
        }
        let lasted = |identity: &Identity| self.under_way.get(identity).map_or(Duration::ZERO, |one| sample.at.saturating_sub(one.since));
        self.sums.add(sample, seconds, scale, lasted);
        self.last = Some(sample.at);
        lock_signs
    }

    /// Returns the sums since the last report.
    pub fn report(&mut self) -> ActivityWindow {
        std::mem::take(&mut self.sums).finish()
    }

    /// Seconds that client sessions spent in each wait, since the agent's start.
    pub fn totals(&self) -> &BTreeMap<Wait, f64> {
        &self.totals
    }

    fn total(&mut self, wait: &Wait) -> &mut f64 {
        let known = self.totals.contains_key(wait) || self.totals.len() < WAITS_MAX;
        self.totals.entry(if known { wait.clone() } else { Wait::other() }).or_default()
    }

    /// Continues an occurrence, or begins one: at the sample before, or at the start of the session's state if that is later. In the first
    /// sample every occurrence begins at the sample itself, because its earlier duration was not observed.
    fn occurrence(&self, at: Duration, session: &ActiveSession, earlier: Option<&Occurrence>) -> Occurrence {
        let goes_on = earlier.filter(|earlier| {
            earlier.wait == session.wait && earlier.query_id == session.work.query_id && earlier.state_change_us == session.state_change_us
        });
        if let Some(earlier) = goes_on {
            return earlier.clone();
        }
        let age = session.state_seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        let state_began = age.map_or(Duration::ZERO, |age| at.saturating_sub(age));
        let since = self.last.map_or(at, |last| state_began.max(last).min(at));
        Occurrence { query_id: session.work.query_id, wait: session.wait.clone(), state_change_us: session.state_change_us, since }
    }
}

/// Number of samples that were due within a gap.
fn missed(gap: Duration, interval: Duration) -> u64 {
    let due = (gap.as_secs_f64() / interval.as_secs_f64().max(1e-3)).round();
    (due - 1.0).max(0.0) as u64
}
