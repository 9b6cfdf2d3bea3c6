//! One task per server that turns ticks into snapshots.
//!
//! A tick that arrives while the previous collection runs is skipped and counted: late data is worse than none. Whatever happens to the
//! server, a snapshot goes out; what could not be read is a failed part in it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use pharos_model::delta::{Change, Deltas};
use pharos_model::snapshot::{Family, Part, Reading, Snapshot};
use pharos_model::subject::Subject;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{CollectError, Collector, Facts};
use crate::clock::Clock;
use crate::telemetry::metrics::SelfMetrics;

/// Time over which a recorded snapshot has its rates.
const RECORD_PAUSE: Duration = Duration::from_secs(2);

/// A server as the schedule sees it.
pub trait Source: Send + 'static {
    type Session: Send;

    /// Kind, id and labels; the version is known once a session was there.
    fn subject(&self) -> Subject;
    /// The metric that says whether the server was reached.
    fn up_metric(&self) -> &'static str;
    /// Opens a session within its own deadline; the error's reason is for labels, its text for people.
    fn connect(&self) -> BoxFuture<'_, Result<Self::Session, ConnectFailure>>;
    /// Gives the session to a run of this collector: what it asks is answered within the collector's deadline or not at all.
    fn begin<'a>(&'a self, session: &'a mut Self::Session, collector: &'static str) -> BoxFuture<'a, Result<(), CollectError>>;
    fn version(session: &Self::Session) -> String;
    /// What people should know who read facts of this version.
    fn caveat(_: &Self::Session) -> Option<String> {
        None
    }
    fn is_closed(session: &Self::Session) -> bool;
    fn collectors(&self) -> Vec<Box<dyn Collector<Self::Session>>>;
}

/// Why there is no session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectFailure {
    pub reason: &'static str,
    pub text: String,
}

/// The task of one server.
pub struct ServerTask<S: Source> {
    source: S,
    subject: Subject,
    session: Option<S::Session>,
    runs: Vec<Run<S::Session>>,
    parts: BTreeMap<String, Part>,
    /// How long a reading outlives its interval before it is stale.
    grace: Duration,
    last_failure: Option<ConnectFailure>,
    clock: Clock,
    metrics: Arc<SelfMetrics>,
    snapshots: mpsc::Sender<Snapshot>,
}

struct Run<S> {
    collector: Box<dyn Collector<S>>,
    due: Instant,
    failing: bool,
}

impl<S: Source> ServerTask<S> {
    pub fn new(source: S, grace: Duration, clock: Clock, metrics: Arc<SelfMetrics>, snapshots: mpsc::Sender<Snapshot>) -> Self {
        let subject = source.subject();
        // The first one that is dropped must be seen as an increase.
        metrics.add("pharos_collect_skipped_total", &[&subject.id, "snapshot"], 0.0);
        let due = Instant::now();
        let runs = source.collectors().into_iter().map(|collector| Run { collector, due, failing: false }).collect();
        Self { source, subject, session: None, runs, parts: BTreeMap::new(), grace, last_failure: None, clock, metrics, snapshots }
    }

    /// Collects until told to stop; a collection under way is finished.
    pub async fn run(mut self, stop: CancellationToken) {
        while let Some(next) = self.runs.iter().map(|run| run.due).min() {
            tokio::select! {
                () = stop.cancelled() => break,
                () = sleep_until(next) => {}
            }
            self.tick().await;
            self.emit();
        }
    }

    /// Runs everything twice, [`RECORD_PAUSE`] apart, for a recorded snapshot with its rates.
    pub async fn record(mut self) -> Change {
        let mut deltas = Deltas::default();
        self.tick().await;
        deltas.push(self.snapshot());
        sleep(RECORD_PAUSE).await;
        let now = Instant::now();
        self.runs.iter_mut().for_each(|run| run.due = now);
        self.tick().await;
        deltas.push(self.snapshot())
    }

    async fn tick(&mut self) {
        let tick = Instant::now();
        let was_down = self.last_failure.is_some();
        if let Err(failure) = self.ensure_session().await {
            self.unreachable(&failure);
        } else {
            self.up(1.0);
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
        self.plan(tick);
    }

    /// Opens a session if there is none. A second try in the same tick would only wait twice.
    async fn ensure_session(&mut self) -> Result<(), ConnectFailure> {
        if self.session.as_ref().is_some_and(|session| !S::is_closed(session)) {
            return Ok(());
        }
        self.session = None;
        let session = self.source.connect().await?;
        let version = S::version(&session);
        if self.last_failure.take().is_some() || self.subject.version != version {
            info!(server = %self.subject.id, version, "connected to `{}`", self.subject.id);
        }
        if self.subject.version != version
            && let Some(caveat) = S::caveat(&session)
        {
            warn!(server = %self.subject.id, "{caveat}");
        }
        self.subject.version = version;
        self.session = Some(session);
        Ok(())
    }

    async fn collect(&mut self, index: usize) {
        let mut outcome = self.run_collector(index).await;
        // Somebody ended our session between two ticks: that says nothing about the server, so it is asked again at once.
        if outcome.as_ref().is_err_and(|err| err.reason() == "closed") {
            self.session = None;
            outcome = match self.ensure_session().await {
                Ok(()) => self.run_collector(index).await,
                Err(failure) => return self.unreachable(&failure),
            };
        }
        if outcome.as_ref().is_err_and(CollectError::ends_session) {
            self.session = None;
        }
        self.keep(index, outcome);
        if self.session.is_none()
            && let Err(failure) = self.ensure_session().await
        {
            self.unreachable(&failure);
        }
    }

    async fn run_collector(&mut self, index: usize) -> Result<Facts, CollectError> {
        let collector = &mut self.runs[index].collector;
        let name = collector.name();
        let Some(session) = &mut self.session else {
            return Err(CollectError::Unsupported("the server could not be reached".to_owned()));
        };
        let started = self.clock.now();
        let outcome = match self.source.begin(session, name).await {
            Ok(()) => collector.collect(session, started).await,
            Err(err) => Err(err),
        };
        let took = self.clock.monotonic().saturating_sub(started.monotonic);
        self.metrics.add("pharos_collect_runs_total", &[&self.subject.id, name], 1.0);
        self.metrics.set("pharos_collect_duration_seconds", &[&self.subject.id, name], took.as_secs_f64());
        outcome
    }

    /// Turns a run's outcome into the part, and says so where it changed.
    fn keep(&mut self, index: usize, outcome: Result<Facts, CollectError>) {
        let run = &mut self.runs[index];
        let name = run.collector.name();
        let server = &self.subject.id;
        let (part, urgent) = match outcome {
            Ok(facts) => {
                if std::mem::take(&mut run.failing) {
                    info!(server, collector = name, "`{name}` of `{server}` works again");
                }
                let urgent = facts.urgent;
                (self.present(facts, self.runs[index].collector.interval()), urgent)
            }
            Err(err) => {
                if !std::mem::replace(&mut run.failing, true) {
                    warn!(server, collector = name, reason = err.reason(), error = err.text(), "skipping `{name}` of `{server}`");
                }
                self.metrics.add("pharos_collect_failures_total", &[server, name, err.reason()], 1.0);
                let part = match &err {
                    CollectError::Unsupported(why) => Part::unsupported(why.clone()),
                    _ => Part::failed(err.text()),
                };
                (part, None)
            }
        };
        self.mark(name, &part);
        self.insert(name, part);
        if let Some(run) = self.runs.iter_mut().find(|run| Some(run.collector.name()) == urgent) {
            // Later in this tick if it comes later in the table, else at the next one.
            run.due = Instant::now().min(run.due);
        }
    }

    fn present(&self, facts: Facts, interval: Duration) -> Part {
        let at = self.clock.monotonic();
        let Facts { epoch, families, tables, urgent: _ } = facts;
        let fresh_until = at + interval * 2 + self.grace;
        Part::present(Arc::new(Reading { at, fresh_until, epoch, families, tables }))
    }

    fn up(&mut self, value: f64) {
        let facts = Facts { families: vec![Family::scalar(self.source.up_metric(), value)], ..Facts::default() };
        let interval = self.runs.iter().map(|run| run.collector.interval()).min().unwrap_or_default();
        let part = self.present(facts, interval);
        self.insert("up", part);
    }

    fn insert(&mut self, name: &str, part: Part) {
        let part = part.after(self.parts.get(name));
        self.parts.insert(name.to_owned(), part);
    }

    /// Every part fails with the server; only `up` says something, and that is 0.
    fn unreachable(&mut self, failure: &ConnectFailure) {
        let server = &self.subject.id;
        if self.last_failure.as_ref() != Some(failure) {
            warn!(server, reason = failure.reason, error = failure.text, "cannot reach `{server}`");
        }
        let names: Vec<&str> = self.runs.iter().map(|run| run.collector.name()).collect();
        for name in names {
            let labels = [self.subject.id.as_str(), name];
            self.metrics.add("pharos_collect_failures_total", &[labels[0], name, failure.reason], 1.0);
            self.metrics.set("pharos_collect_up", &labels, 0.0);
            self.insert(name, Part::failed(format!("cannot reach the server: {}", failure.text)));
        }
        self.last_failure = Some(failure.clone());
        self.up(0.0);
    }

    fn mark(&self, collector: &str, part: &Part) {
        let up = if part.reading.is_some() { 1.0 } else { 0.0 };
        self.metrics.set("pharos_collect_up", &[&self.subject.id, collector], up);
    }

    /// Moves every due time past now; whole intervals that passed meanwhile are skipped and counted.
    fn plan(&mut self, tick: Instant) {
        let now = Instant::now();
        for run in self.runs.iter_mut().filter(|run| run.due <= tick) {
            let interval = run.collector.interval();
            let behind = now.saturating_duration_since(run.due).as_nanos() / interval.as_nanos().max(1);
            let skipped = u32::try_from(behind).unwrap_or(u32::MAX);
            if skipped > 0 {
                let labels = [self.subject.id.as_str(), run.collector.name()];
                self.metrics.add("pharos_collect_skipped_total", &labels, f64::from(skipped));
            }
            run.due += interval * (skipped.saturating_add(1));
        }
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot {
            subject: self.subject.clone(),
            taken_at_ms: self.clock.wall_ms(),
            taken_at: self.clock.monotonic(),
            interval: self.runs.iter().map(|run| run.collector.interval()).min().unwrap_or_default(),
            parts: self.parts.clone(),
            members: Vec::new(),
        }
    }

    fn emit(&self) {
        if self.snapshots.try_send(self.snapshot()).is_err() {
            let server = &self.subject.id;
            self.metrics.add("pharos_collect_skipped_total", &[server, "snapshot"], 1.0);
            warn!(server, "a snapshot of `{server}` was dropped: the ones before it are not judged yet");
        }
    }
}
