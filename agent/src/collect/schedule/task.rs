//! The task of one server: its session, the runs of its collectors, and the snapshots that it sends.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use pharos_model::alert::Now;
use pharos_model::delta::Deltas;
use pharos_model::snapshot::{Change, FailureReason, PartId};
use pharos_model::snapshot::{Family, Snapshot, Table};
use pharos_model::subject::Subject;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::background::{self, Background, BackgroundRead, read_whole};
use super::parts::Parts;
use super::run::Run;
use super::source::{ConnectFailure, Source};
use super::spending::{Expense, Spending};
use crate::board::CostAccount;
use crate::clock::Clock;
use crate::collect::collect_error::{CollectError, Missing};
use crate::collect::collector::Facts;
use crate::collect::send::send;
use crate::telemetry::metrics::SelfMetrics;

/// Time between the two readings of a recorded snapshot. Its rates are those of this time.
const RECORD_PAUSE: Duration = Duration::from_secs(2);
/// Most readings of the second session that wait for the task of the server.
const QUEUED_READS_MAX: usize = 4;

/// The task of one server.
pub(crate) struct ServerTask<S: Source> {
    source: S,
    subject: Subject,
    session: Option<S::Session>,
    runs: Vec<Run<S::Session>>,
    /// The collectors of the second session, until the task starts them.
    background: Option<Box<dyn Background>>,
    /// The parts that the collectors of the second session fill.
    background_parts: Vec<PartId>,
    parts: Parts,
    spending: Spending,
    last_failure: Option<ConnectFailure>,
    /// Whether a session that began after a failure was not logged yet.
    is_unannounced: bool,
    /// Parts that lacked a right when they were last read.
    lacking: BTreeSet<PartId>,
    /// Wakes the collectors of the second session.
    wake: Arc<Notify>,
    /// When the last sent snapshot was taken, by the monotonic clock.
    taken_at: Option<Duration>,
    clock: Clock,
    metrics: Arc<SelfMetrics>,
    snapshots: mpsc::Sender<Snapshot>,
}

impl<S: Source> ServerTask<S> {
    /// Makes the task of a server. A reading becomes stale `grace` after its interval.
    pub(crate) fn new(source: S, grace: Duration, clock: Clock, metrics: Arc<SelfMetrics>, snapshots: mpsc::Sender<Snapshot>) -> Self {
        let subject = source.subject();
        // The counter starts at 0, so that the first dropped snapshot shows as an increase.
        metrics.add("pharos_collect_skipped_total", &[&subject.id, "snapshot"], 0.0);
        let due = Instant::now();
        let runs = source.collectors().into_iter().map(|collector| Run::new(collector, due)).collect();
        let spending = Spending::new(&subject.id, source.budget(), Arc::clone(&metrics));
        let background = source.background(clock, &spending);
        let parts = Parts::new(&subject.id, grace, clock, Arc::clone(&metrics));
        Self {
            background_parts: background.as_ref().map(|background| background.parts()).unwrap_or_default(),
            background,
            source,
            subject,
            session: None,
            runs,
            parts,
            spending,
            last_failure: None,
            is_unannounced: true,
            lacking: BTreeSet::new(),
            wake: Arc::default(),
            taken_at: None,
            clock,
            metrics,
            snapshots,
        }
    }

    /// Returns the costs of the server for the board.
    pub(crate) fn account(&self) -> CostAccount {
        self.spending.account()
    }

    /// Collects until `stop` is cancelled. A collection that has begun is finished.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let (reads, mut read) = mpsc::channel(QUEUED_READS_MAX);
        // The set aborts its task if this one ends in any other way.
        let mut tasks = JoinSet::new();
        if let Some(background) = self.background.take() {
            tasks.spawn(background::drive(background, reads, Arc::clone(&self.wake), stop.clone()));
        }
        while let Some(next) = self.next_due() {
            tokio::select! {
                () = stop.cancelled() => break,
                Some(ended) = tasks.join_next() => {
                    if let Err(err) = ended && err.is_panic() {
                        std::panic::resume_unwind(err.into_panic());
                    }
                }
                Some(reads) = read.recv() => {
                    if self.record_reads(reads) {
                        self.send_snapshot();
                    }
                }
                () = sleep_until(next) => {
                    let was_down = self.last_failure.is_some();
                    if self.tick().await {
                        self.send_snapshot();
                    }
                    if was_down && self.last_failure.is_none() {
                        self.wake.notify_one();
                    }
                }
            }
        }
        drop(read);
        while tasks.join_next().await.is_some() {}
    }

    /// Runs every collector twice, [`RECORD_PAUSE`] apart, for a recorded snapshot with rates.
    pub(crate) async fn record(mut self) -> Change {
        let mut deltas = Deltas::default();
        deltas.push(self.collect_once().await);
        sleep(RECORD_PAUSE).await;
        deltas.push(self.collect_once().await)
    }

    /// Runs every collector now, also those of the second session.
    pub(crate) async fn collect_once(&mut self) -> Snapshot {
        let now = Instant::now();
        self.runs.iter_mut().for_each(|run| run.due = now);
        self.tick().await;
        if let Some(mut background) = self.background.take() {
            background.make_all_due();
            let reads = read_whole(&mut *background).await;
            self.record_reads(reads);
            self.background = Some(background);
        }
        self.snapshot()
    }

    fn next_due(&self) -> Option<Instant> {
        self.runs.iter().flat_map(|run| run.sample_due.into_iter().chain([run.due])).min()
    }

    /// Runs collectors and takes samples that are due. Returns whether a collector ran, so that a snapshot should be sent.
    async fn tick(&mut self) -> bool {
        let tick = Instant::now();
        let runs = self.runs.iter().any(|run| run.due <= tick);
        if runs {
            self.run_due(tick).await;
        }
        for index in 0..self.runs.len() {
            if self.runs[index].sample_due.is_some_and(|due| due <= tick) {
                self.sample(index).await;
            }
        }
        self.plan(tick);
        runs
    }

    async fn run_due(&mut self, tick: Instant) {
        let was_down = self.last_failure.is_some();
        if let Err(failure) = self.ensure_session().await {
            return self.record_unreachable(&failure);
        }
        self.record_up(1.0, Vec::new());
        if was_down {
            // The facts from before the failure are out of date, so every collector runs now.
            self.runs.iter_mut().for_each(|run| run.due = run.due.min(tick));
        }
        for index in 0..self.runs.len() {
            // Without a session the server is down, which is already recorded for every part.
            if self.session.is_some() && self.runs[index].due <= tick {
                self.collect(index).await;
            }
        }
    }

    /// Takes one sample between two runs. A failed sample is not recorded: the next run will show why.
    async fn sample(&mut self, index: usize) {
        let run = &mut self.runs[index];
        let part = run.collector.part();
        let Some(session) = self.session.as_mut().filter(|session| !S::is_closed(session)) else { return };
        let outcome = match self.source.begin(session, part).await {
            Ok(()) => run.collector.sample(session, self.clock.now()).await,
            Err(err) => Err(err),
        };
        run.spent += S::take_cost(session);
        match outcome {
            Ok(None) => {}
            Ok(Some(urgent)) => self.make_due(urgent),
            Err(err) => {
                debug!(server = self.subject.id, collector = part.as_str(), error = err.text(), "a sample of `{part}` failed");
                // A session that was ended from outside shows nothing about the server.
                if err.reason() != FailureReason::Closed {
                    self.parts.count_failure(part, err.reason());
                }
                if err.ends_session() {
                    self.session = None;
                }
            }
        }
    }

    fn make_due(&mut self, urgent: PartId) {
        let now = Instant::now();
        if let Some(run) = self.runs.iter_mut().find(|run| run.collector.part() == urgent) {
            run.make_due(now);
        }
    }

    /// Opens a session if there is none. Only one attempt is made per tick: a second one would double the wait.
    async fn ensure_session(&mut self) -> Result<(), ConnectFailure> {
        if self.session.as_ref().is_some_and(|session| !S::is_closed(session)) {
            return Ok(());
        }
        self.session = None;
        let session = self.source.connect().await?;
        self.is_unannounced |= self.last_failure.take().is_some();
        self.session = Some(session);
        self.announce();
        Ok(())
    }

    /// Logs the first session, the first one after a failure, and one with another version of the server. Logging waits until the version
    /// is known: Redis reports it with its other facts.
    fn announce(&mut self) {
        let Some(session) = &self.session else { return };
        let Some(version) = S::version(session) else { return };
        let server = &self.subject.id;
        let is_other = self.subject.version != version;
        if std::mem::take(&mut self.is_unannounced) || is_other {
            info!(server, version, "connected to `{server}`");
        }
        if is_other && let Some(caveat) = S::caveat(session) {
            warn!(server, "{caveat}");
        }
        self.subject.version = version;
    }

    async fn collect(&mut self, index: usize) {
        let mut outcome = self.run_collector(index).await;
        // A session that was ended between two ticks shows nothing about the server, so the collector runs again at once.
        if outcome.as_ref().is_err_and(|err| err.reason() == FailureReason::Closed) {
            self.session = None;
            outcome = match self.ensure_session().await {
                Ok(()) => self.run_collector(index).await,
                Err(failure) => return self.record_unreachable(&failure),
            };
        }
        if outcome.as_ref().is_err_and(CollectError::ends_session) {
            self.session = None;
        }
        self.announce();
        let collector = &self.runs[index].collector;
        self.record_outcome(collector.part(), collector.interval(), outcome);
        if self.session.is_none()
            && let Err(failure) = self.ensure_session().await
        {
            self.record_unreachable(&failure);
        }
    }

    async fn run_collector(&mut self, index: usize) -> Result<Facts, CollectError> {
        let run = &mut self.runs[index];
        let part = run.collector.part();
        let Some(session) = &mut self.session else {
            return Err(CollectError::Unsupported(Missing::new("the server could not be reached")));
        };
        let started = self.clock.now();
        let outcome = match self.source.begin(session, part).await {
            Ok(()) => run.collector.collect(session, started).await,
            Err(err) => Err(err),
        };
        run.record_run(Instant::now(), matches!(outcome, Err(CollectError::Privilege(_))));
        run.spent += S::take_cost(session);
        let took = self.clock.monotonic().saturating_sub(started.monotonic);
        let (is_essential, interval) = (run.collector.is_essential(), run.interval_without_budget());
        self.spending.charge(Expense { part, is_essential, cost: std::mem::take(&mut run.spent), interval });
        self.count_run(part, took);
        outcome
    }

    fn count_run(&self, part: PartId, took: Duration) {
        self.metrics.add("pharos_collect_runs_total", &[&self.subject.id, part.as_str()], 1.0);
        self.metrics.set("pharos_collect_duration_seconds", &[&self.subject.id, part.as_str()], took.as_secs_f64());
    }

    /// Records readings of the second session. They are dropped while the server is down. Returns whether they were recorded.
    fn record_reads(&mut self, reads: Vec<BackgroundRead>) -> bool {
        if self.last_failure.is_some() {
            return false;
        }
        for BackgroundRead { part, outcome, interval, took } in reads {
            // A server that shuts down waits for all sessions, so this one ends as well.
            if outcome.as_ref().is_err_and(CollectError::ends_session) {
                self.session = None;
            }
            self.count_run(part, took);
            self.record_outcome(part, interval, outcome);
        }
        true
    }

    /// Records the outcome of a run.
    fn record_outcome(&mut self, part: PartId, interval: Duration, outcome: Result<Facts, CollectError>) {
        self.retry_after_right(part, outcome.as_ref().err());
        match outcome {
            Ok(facts) => {
                S::account(&facts, &self.spending);
                self.source.observe(&facts);
                let urgent = facts.urgent;
                self.parts.record_facts(part, facts, self.spending.interval(part, interval));
                if let Some(urgent) = urgent {
                    // It runs in this tick if it is later in the table, or else in the next tick.
                    self.make_due(urgent);
                }
            }
            Err(err) => self.parts.record_failure(part, &err),
        }
    }

    /// Makes all parts that lacked a right due once one of them has its right back. Otherwise they may wait for an hour.
    fn retry_after_right(&mut self, part: PartId, err: Option<&CollectError>) {
        match err {
            Some(CollectError::Privilege(_)) => drop(self.lacking.insert(part)),
            // The error does not show whether the role has the right.
            Some(_) => {}
            None if self.lacking.remove(&part) => {
                let now = Instant::now();
                let lacking = &self.lacking;
                let others = self.runs.iter_mut().filter(|run| lacking.contains(&run.collector.part()));
                others.for_each(|run| run.due = run.due.min(now));
                if self.background_parts.iter().any(|part| lacking.contains(part)) {
                    self.wake.notify_one();
                }
            }
            None => {}
        }
    }

    fn record_up(&mut self, value: f64, tables: Vec<Table>) {
        let facts = Facts { families: vec![Family::scalar(self.source.up_metric(), value)], tables, ..Facts::default() };
        self.parts.insert_facts(PartId::Up, facts, self.interval());
    }

    /// Planned time between two snapshots.
    fn interval(&self) -> Duration {
        self.runs.iter().map(|run| run.collector.interval()).min().unwrap_or_default()
    }

    /// Records that every part failed with the server, and `up` as 0. If the trouble is on the side of the agent, `up` is unknown.
    fn record_unreachable(&mut self, failure: &ConnectFailure) {
        let server = &self.subject.id;
        if self.last_failure.as_ref() != Some(failure) {
            warn!(server, reason = failure.reason.as_str(), error = failure.text, "cannot reach `{server}`");
        }
        let parts = self.runs.iter().map(|run| run.collector.part()).chain(self.background_parts.iter().copied());
        for part in parts {
            self.parts.record_unreachable(part, failure.reason, &failure.text);
        }
        self.last_failure = Some(failure.clone());
        self.parts.count_trouble(failure.trouble);
        if failure.trouble.is_own() {
            return self.parts.record_unknown(PartId::Up, &failure.text);
        }
        let tables = self.source.tables_without_session(failure);
        self.record_up(0.0, tables);
    }

    /// Moves every due time past now. Whole intervals that passed meanwhile are skipped and counted.
    fn plan(&mut self, tick: Instant) {
        let now = Instant::now();
        for run in &mut self.runs {
            let part = run.collector.part();
            let interval = self.spending.interval(part, run.interval_without_budget());
            if run.due > tick {
                run.apply_shorter_interval(interval, now);
            } else {
                let skipped = run.plan(interval, now);
                if skipped > 0 {
                    self.metrics.add("pharos_collect_skipped_total", &[&self.subject.id, part.as_str()], f64::from(skipped));
                }
            }
            if let Some(every) = run.collector.sampling() {
                run.plan_sample_if_due(self.spending.interval(part, every), tick, now);
            }
        }
    }

    fn snapshot(&self) -> Snapshot {
        let Now { monotonic, wall_ms } = self.clock.now();
        Snapshot {
            subject: self.subject.clone(),
            taken_at_ms: wall_ms,
            taken_at: monotonic,
            // A snapshot that is sent early repeats the rates of most parts, so its interval is never shorter than planned.
            interval: self.taken_at.map_or(Duration::ZERO, |before| monotonic.saturating_sub(before)).max(self.interval()),
            parts: self.parts.all(),
            members: Vec::new(),
        }
    }

    fn send_snapshot(&mut self) {
        let snapshot = self.snapshot();
        let taken_at = snapshot.taken_at;
        if send(&self.snapshots, snapshot, &self.metrics) {
            self.taken_at = Some(taken_at);
        }
    }
}
