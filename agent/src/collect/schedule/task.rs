//! The task of one server: its session, the runs of its collectors, and the snapshots that come of them.

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
use crate::telemetry::metrics::SelfMetrics;

/// Time between the two readings of a recorded snapshot, over which it has its rates.
const RECORD_PAUSE: Duration = Duration::from_secs(2);
/// Readings made beside the session that wait for the server's task.
const QUEUED_READS_MAX: usize = 4;

/// The task of one server.
pub struct ServerTask<S: Source> {
    source: S,
    subject: Subject,
    session: Option<S::Session>,
    runs: Vec<Run<S::Session>>,
    /// The collectors beside the session, until the task runs them.
    background: Option<Box<dyn Background>>,
    /// The parts that are filled beside the session.
    background_parts: Vec<PartId>,
    parts: Parts,
    spending: Spending,
    last_failure: Option<ConnectFailure>,
    /// Whether a session began after there was none, and was not logged yet.
    is_unannounced: bool,
    /// Parts that lacked a right when they were last read.
    lacking: BTreeSet<PartId>,
    /// Wakes up the collectors beside the session.
    wake: Arc<Notify>,
    /// When the latest snapshot was taken that was sent, by the monotonic clock.
    taken_at: Option<Duration>,
    clock: Clock,
    metrics: Arc<SelfMetrics>,
    snapshots: mpsc::Sender<Snapshot>,
}

impl<S: Source> ServerTask<S> {
    /// Makes the task of a server. A reading outlives its interval by `grace` before it is stale.
    pub fn new(source: S, grace: Duration, clock: Clock, metrics: Arc<SelfMetrics>, snapshots: mpsc::Sender<Snapshot>) -> Self {
        let subject = source.subject();
        // The first one that is dropped must be seen as an increase.
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

    /// The account of the server, to be shown on the board.
    pub fn account(&self) -> CostAccount {
        self.spending.account()
    }

    /// Collects until `stop` is cancelled; a collection under way is finished.
    pub async fn run(mut self, stop: CancellationToken) {
        let (reads, mut read) = mpsc::channel(QUEUED_READS_MAX);
        // Ends with this task, whichever way that ends.
        let mut beside = JoinSet::new();
        if let Some(background) = self.background.take() {
            beside.spawn(background::drive(background, reads, Arc::clone(&self.wake), stop.clone()));
        }
        while let Some(next) = self.next_due() {
            tokio::select! {
                () = stop.cancelled() => break,
                Some(ended) = beside.join_next() => {
                    if let Err(err) = ended && err.is_panic() {
                        std::panic::resume_unwind(err.into_panic());
                    }
                }
                Some(reads) = read.recv() => {
                    if self.take_all(reads) {
                        self.emit();
                    }
                }
                () = sleep_until(next) => {
                    let was_down = self.last_failure.is_some();
                    if self.tick().await {
                        self.emit();
                    }
                    if was_down && self.last_failure.is_none() {
                        self.wake.notify_one();
                    }
                }
            }
        }
        drop(read);
        while beside.join_next().await.is_some() {}
    }

    /// Runs everything twice, [`RECORD_PAUSE`] apart, for a recorded snapshot with its rates.
    pub async fn record(mut self) -> Change {
        let mut deltas = Deltas::default();
        deltas.push(self.once().await);
        sleep(RECORD_PAUSE).await;
        deltas.push(self.once().await)
    }

    /// Runs every collector now, those beside the session as well.
    pub async fn once(&mut self) -> Snapshot {
        let now = Instant::now();
        self.runs.iter_mut().for_each(|run| run.due = now);
        self.tick().await;
        if let Some(mut background) = self.background.take() {
            background.hurry();
            let reads = read_whole(&mut *background).await;
            self.take_all(reads);
            self.background = Some(background);
        }
        self.snapshot()
    }

    fn next_due(&self) -> Option<Instant> {
        self.runs.iter().flat_map(|run| run.look_due.into_iter().chain([run.due])).min()
    }

    /// Runs what is due. Returns whether that is worth a snapshot.
    async fn tick(&mut self) -> bool {
        let tick = Instant::now();
        let runs = self.runs.iter().any(|run| run.due <= tick);
        if runs {
            self.run_due(tick).await;
        }
        for index in 0..self.runs.len() {
            if self.runs[index].look_due.is_some_and(|due| due <= tick) {
                self.look(index).await;
            }
        }
        self.plan(tick);
        runs
    }

    async fn run_due(&mut self, tick: Instant) {
        let was_down = self.last_failure.is_some();
        if let Err(failure) = self.ensure_session().await {
            return self.unreachable(&failure);
        }
        self.up(1.0, Vec::new());
        if was_down {
            // Nothing is known of a server that is back, so all of it is read now.
            self.runs.iter_mut().for_each(|run| run.due = run.due.min(tick));
        }
        for index in 0..self.runs.len() {
            // Without a session the server is down, and every part says so already.
            if self.session.is_some() && self.runs[index].due <= tick {
                self.collect(index).await;
            }
        }
    }

    /// Looks once between two runs. A failed look is not recorded: the next run will show why.
    async fn look(&mut self, index: usize) {
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
            Ok(Some(urgent)) => self.hurry(urgent),
            Err(err) => {
                debug!(server = self.subject.id, collector = part.as_str(), error = err.text(), "a look of `{part}` failed");
                // A session that was ended from outside says nothing about the server.
                if err.reason() != FailureReason::Closed {
                    self.parts.count_failure(part, err.reason());
                }
                if err.ends_session() {
                    self.session = None;
                }
            }
        }
    }

    fn hurry(&mut self, urgent: PartId) {
        let now = Instant::now();
        if let Some(run) = self.runs.iter_mut().find(|run| run.collector.part() == urgent) {
            run.hurry(now);
        }
    }

    /// Opens a session if there is none. It is tried once per tick: a second try would only wait twice.
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

    /// Logs a session that is the first, or the first after a failure, or leads to another version. It waits until the version is known:
    /// Redis reports it with its other facts.
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
        // A session that was ended between two ticks says nothing about the server, so it is asked again at once.
        if outcome.as_ref().is_err_and(|err| err.reason() == FailureReason::Closed) {
            self.session = None;
            outcome = match self.ensure_session().await {
                Ok(()) => self.run_collector(index).await,
                Err(failure) => return self.unreachable(&failure),
            };
        }
        if outcome.as_ref().is_err_and(CollectError::ends_session) {
            self.session = None;
        }
        self.announce();
        let collector = &self.runs[index].collector;
        self.keep(collector.part(), collector.interval(), outcome);
        if self.session.is_none()
            && let Err(failure) = self.ensure_session().await
        {
            self.unreachable(&failure);
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
        run.ran(Instant::now(), matches!(outcome, Err(CollectError::Privilege(_))));
        run.spent += S::take_cost(session);
        let took = self.clock.monotonic().saturating_sub(started.monotonic);
        let (is_essential, interval) = (run.collector.is_essential(), run.wanted());
        self.spending.charge(Expense { part, is_essential, cost: std::mem::take(&mut run.spent), interval });
        self.count(part, took);
        outcome
    }

    fn count(&self, part: PartId, took: Duration) {
        self.metrics.add("pharos_collect_runs_total", &[&self.subject.id, part.as_str()], 1.0);
        self.metrics.set("pharos_collect_duration_seconds", &[&self.subject.id, part.as_str()], took.as_secs_f64());
    }

    /// Records readings made beside the session. While the server is down they do not count: its parts show that.
    fn take_all(&mut self, reads: Vec<BackgroundRead>) -> bool {
        if self.last_failure.is_some() {
            return false;
        }
        for BackgroundRead { part, outcome, interval, took } in reads {
            // A server that waits for its sessions to leave waits for this one as well.
            if outcome.as_ref().is_err_and(CollectError::ends_session) {
                self.session = None;
            }
            self.count(part, took);
            self.keep(part, interval, outcome);
        }
        true
    }

    /// Records the outcome of a run.
    fn keep(&mut self, part: PartId, interval: Duration, outcome: Result<Facts, CollectError>) {
        self.note_rights(part, outcome.as_ref().err());
        match outcome {
            Ok(facts) => {
                S::account(&facts, &self.spending);
                self.source.learn(&facts);
                let urgent = facts.urgent;
                self.parts.read(part, facts, self.spending.interval(part, interval));
                if let Some(urgent) = urgent {
                    // Later in this tick if it comes later in the table, else at the next one.
                    self.hurry(urgent);
                }
            }
            Err(err) => self.parts.failed(part, &err),
        }
    }

    /// Reads other parts that lacked a right once one of them has it back: their turn may be in an hour.
    fn note_rights(&mut self, part: PartId, err: Option<&CollectError>) {
        match err {
            Some(CollectError::Privilege(_)) => drop(self.lacking.insert(part)),
            // Whether the role may read it is not known.
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

    fn up(&mut self, value: f64, tables: Vec<Table>) {
        let facts = Facts { families: vec![Family::scalar(self.source.up_metric(), value)], tables, ..Facts::default() };
        self.parts.show(PartId::Up, facts, self.interval());
    }

    /// Planned time between two snapshots.
    fn interval(&self) -> Duration {
        self.runs.iter().map(|run| run.collector.interval()).min().unwrap_or_default()
    }

    /// Records that every part failed with the server, and `up` as 0. Where the server was never asked, `up` is unknown as well.
    fn unreachable(&mut self, failure: &ConnectFailure) {
        let server = &self.subject.id;
        if self.last_failure.as_ref() != Some(failure) {
            warn!(server, reason = failure.reason.as_str(), error = failure.text, "cannot reach `{server}`");
        }
        let parts = self.runs.iter().map(|run| run.collector.part()).chain(self.background_parts.iter().copied());
        for part in parts {
            self.parts.unreachable(part, failure.reason, &failure.text);
        }
        self.last_failure = Some(failure.clone());
        self.parts.count_trouble(failure.trouble);
        if failure.trouble.is_own() {
            return self.parts.unknown(PartId::Up, &failure.text);
        }
        let tables = self.source.tables_without_session(failure);
        self.up(0.0, tables);
    }

    /// Moves every due time past now; whole intervals that passed meanwhile are skipped and counted.
    fn plan(&mut self, tick: Instant) {
        let now = Instant::now();
        for run in &mut self.runs {
            let part = run.collector.part();
            let interval = self.spending.interval(part, run.wanted());
            if run.due > tick {
                run.hasten(interval, now);
            } else {
                let skipped = run.plan(interval, now);
                if skipped > 0 {
                    self.metrics.add("pharos_collect_skipped_total", &[&self.subject.id, part.as_str()], f64::from(skipped));
                }
            }
            if let Some(every) = run.collector.sampling() {
                run.plan_look_if_due(self.spending.interval(part, every), tick, now);
            }
        }
    }

    fn snapshot(&self) -> Snapshot {
        let Now { monotonic, wall_ms } = self.clock.now();
        Snapshot {
            subject: self.subject.clone(),
            taken_at_ms: wall_ms,
            taken_at: monotonic,
            // A snapshot that comes early repeats the rates of most parts.
            interval: self.taken_at.map_or(Duration::ZERO, |before| monotonic.saturating_sub(before)).max(self.interval()),
            parts: self.parts.all(),
            members: Vec::new(),
        }
    }

    fn emit(&mut self) {
        let snapshot = self.snapshot();
        let taken_at = snapshot.taken_at;
        if self.snapshots.try_send(snapshot).is_ok() {
            self.taken_at = Some(taken_at);
        } else {
            let server = &self.subject.id;
            self.metrics.add("pharos_collect_skipped_total", &[server, "snapshot"], 1.0);
            warn!(server, "a snapshot of `{server}` was dropped: the ones before it are not judged yet");
        }
    }
}
