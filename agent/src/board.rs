//! The present state of the agent, with one writer and many readers. Each reader gets an immutable picture.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::{Mutex, MutexGuard};
use pharos_model::agent_part::AgentPart;
use pharos_model::alert::{Alert, Fingerprint};
use pharos_model::budget::ServerCosts;
use pharos_model::dispatch::{Acknowledgement, Silence};
use pharos_model::outbox::GateState;
use pharos_model::snapshot::Change;
use pharos_model::snapshot::PartState;
use pharos_model::subject::{SubjectKey, SubjectKind};
use tokio::sync::watch;

use crate::clock::{Clock, rfc3339};

/// A consistent picture of the present state.
#[derive(Debug, Clone, Default)]
pub struct Picture {
    /// The latest snapshot of each subject.
    pub subjects: BTreeMap<SubjectKey, Arc<Change>>,
    /// Open alerts, gravest first.
    pub alerts: Arc<Vec<Arc<Alert>>>,
    /// Acknowledgements by the alert's fingerprint.
    pub acknowledgements: Arc<BTreeMap<Fingerprint, Acknowledgement>>,
    /// Silences that are not expired.
    pub silences: Arc<Vec<Silence>>,
}

impl Picture {
    /// All subjects except the agent itself, which is shown in `/metrics` and as parts.
    pub fn watched(&self) -> impl Iterator<Item = (&SubjectKey, &Arc<Change>)> {
        self.subjects.iter().filter(|(subject, _)| subject.kind != SubjectKind::Agent)
    }

    /// Subjects that are one server each.
    pub fn servers(&self) -> impl Iterator<Item = (&SubjectKey, &Arc<Change>)> {
        self.watched().filter(|(subject, _)| subject.kind.is_server())
    }
}

/// Health of a part of the agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartHealth {
    Starting,
    Ok,
    /// The part works, but not completely. The reason may be the server that it monitors.
    Degraded,
    /// The part itself does not work.
    Failed,
    Stopping,
}

impl PartHealth {
    /// Name of the state in the API and in tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ok => "ok",
            Self::Degraded => "degraded",
            Self::Failed => "failed",
            Self::Stopping => "stopping",
        }
    }
}

/// Status of a part, as `/api/services/status` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartStatus {
    /// The part.
    pub part: AgentPart,
    /// Health of the part.
    pub state: PartHealth,
    /// Start of the present state, in RFC 3339.
    pub since: String,
    /// Why the part is not healthy; `None` if it is.
    pub cause: Option<String>,
}

/// The costs of monitoring one server, shared by the schedule that writes them and the board.
#[derive(Debug, Clone, Default)]
pub struct CostAccount(Arc<Mutex<Option<ServerCosts>>>);

impl CostAccount {
    /// Changes the costs, which begin at 0.
    pub fn update(&self, change: impl FnOnce(&mut ServerCosts)) {
        change(self.0.lock().get_or_insert_default());
    }

    /// Present costs; `None` before the first statement.
    pub fn snapshot(&self) -> Option<ServerCosts> {
        self.0.lock().clone()
    }
}

/// State of the delivery to one receiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReceiverStatus {
    /// State of the circuit breaker.
    pub breaker: GateState,
    /// Number of notifications that are not delivered yet.
    pub waiting: usize,
    /// Number of notifications that were given up since the agent started.
    pub dead: usize,
}

/// Shared state of the agent, which the API reads.
#[derive(Debug)]
pub struct Board {
    picture: ArcSwap<Picture>,
    snapshots: watch::Sender<()>,
    parts: Mutex<Parts>,
    accounts: Mutex<BTreeMap<SubjectKey, CostAccount>>,
    receivers: Mutex<BTreeMap<String, ReceiverStatus>>,
    clock: Clock,
}

/// The health of all parts of the agent.
#[derive(Debug, Default)]
struct Parts {
    by_part: BTreeMap<AgentPart, PartStatus>,
    stopping: bool,
}

impl Board {
    /// Creates an empty board.
    pub fn new(clock: Clock) -> Self {
        Self {
            picture: ArcSwap::default(),
            snapshots: watch::Sender::default(),
            parts: Mutex::default(),
            accounts: Mutex::default(),
            receivers: Mutex::default(),
            clock,
        }
    }

    /// Returns the present picture, which later changes do not affect.
    pub fn picture(&self) -> Arc<Picture> {
        self.picture.load_full()
    }

    /// Returns the receiver of a signal for new snapshots. Several snapshots at once cause one signal.
    pub fn snapshots(&self) -> watch::Receiver<()> {
        self.snapshots.subscribe()
    }

    /// Shows a new snapshot of its subject.
    pub fn publish(&self, change: &Arc<Change>) {
        debug_assert_eq!(change.uncatalogued(), Vec::<String>::new(), "tables that are not as in config/tables.toml");
        let mut picture = Picture::clone(&self.picture.load());
        picture.subjects.insert(change.snapshot.subject.key(), Arc::clone(change));
        self.picture.store(Arc::new(picture));
        self.snapshots.send_replace(());
        let subject = &change.snapshot.subject;
        // Only servers are parts. The agent is no part of itself, and a database consists of its servers.
        if subject.kind.is_server() {
            let (state, cause) = server_health(change);
            self.set(AgentPart::Server(subject.key()), state, cause);
        }
    }

    /// Shows the open alerts, their acknowledgements, and the silences that are not over.
    pub fn show_alerts<'a>(
        &self,
        alerts: impl Iterator<Item = &'a Arc<Alert>>,
        acknowledgements: impl Iterator<Item = (Fingerprint, &'a Acknowledgement)>,
        silences: impl Iterator<Item = &'a Silence>,
    ) {
        let mut alerts: Vec<Arc<Alert>> = alerts.cloned().collect();
        alerts.sort_by(|a, b| b.severity.cmp(&a.severity).then_with(|| a.started_at_ms.cmp(&b.started_at_ms)));
        let mut picture = Picture::clone(&self.picture.load());
        picture.alerts = Arc::new(alerts);
        picture.acknowledgements = Arc::new(acknowledgements.map(|(fingerprint, words)| (fingerprint, words.clone())).collect());
        picture.silences = Arc::new(silences.filter(|silence| !silence.over).cloned().collect());
        self.picture.store(Arc::new(picture));
    }

    /// Sets the health of a part. Its `since` changes only with the state.
    pub fn set(&self, part: AgentPart, state: PartHealth, cause: Option<String>) {
        self.set_locked(&mut self.lock(), part, state, cause);
    }

    /// Marks every part as stopping from now on, except parts that fail or have failed.
    pub fn stop(&self) {
        let mut parts = self.lock();
        parts.stopping = true;
        for PartStatus { part, state, cause, .. } in parts.by_part.values().cloned().collect::<Vec<_>>() {
            self.set_locked(&mut parts, part, state, cause);
        }
    }

    /// All parts, sorted by their shown names.
    pub fn parts(&self) -> Vec<PartStatus> {
        let mut parts: Vec<PartStatus> = self.lock().by_part.values().cloned().collect();
        parts.sort_by_cached_key(|status| status.part.to_string());
        parts
    }

    /// Shows the costs of a server. The schedule of the server continues to write them.
    pub fn show_account(&self, server: SubjectKey, account: CostAccount) {
        self.accounts.lock().insert(server, account);
    }

    /// Costs of monitoring this server; `None` before the first statement.
    pub fn costs(&self, server: &SubjectKey) -> Option<ServerCosts> {
        self.accounts.lock().get(server)?.snapshot()
    }

    /// Shows the delivery to one receiver.
    pub fn show_receiver(&self, receiver: &str, status: ReceiverStatus) {
        self.receivers.lock().insert(receiver.to_owned(), status);
    }

    /// Every receiver, by name.
    pub fn receivers(&self) -> BTreeMap<String, ReceiverStatus> {
        self.receivers.lock().clone()
    }

    fn set_locked(&self, parts: &mut Parts, part: AgentPart, state: PartHealth, cause: Option<String>) {
        let state = if parts.stopping && state != PartHealth::Failed { PartHealth::Stopping } else { state };
        let since = match parts.by_part.get(&part) {
            Some(known) if known.state == state => known.since.clone(),
            _ => rfc3339(self.clock.wall_ms()),
        };
        parts.by_part.insert(part.clone(), PartStatus { part, state, since, cause });
    }

    fn lock(&self) -> MutexGuard<'_, Parts> {
        self.parts.lock()
    }
}

/// Health of a server as a part. A server that is down or partly readable degrades the agent; it never fails the agent.
fn server_health(change: &Change) -> (PartHealth, Option<String>) {
    let snapshot = &change.snapshot;
    let kind = &snapshot.subject.kind;
    if kind.accepting_metric().and_then(|metric| snapshot.scalar(metric)) == Some(0.0) {
        let why = snapshot.table("refusal").and_then(|table| table.text("why", 0)).map(|why| format!(" ({why})"));
        let cause = format!("the server accepts no new sessions{}; open sessions continue", why.unwrap_or_default());
        return (PartHealth::Degraded, Some(cause));
    }
    let reason = |(name, part): (&String, &pharos_model::snapshot::Part)| match &part.state {
        PartState::Present => None,
        PartState::Failed(why) => Some(format!("{name}: {why}")),
        PartState::Unsupported(why) => Some(format!("{name}: {why}")),
        PartState::Stale(age) => Some(format!("{name}: not read for {:.0} s", age.as_secs_f64())),
    };
    let reasons: Vec<String> = snapshot.parts.iter().filter_map(reason).collect();
    match reasons.is_empty() {
        true => (PartHealth::Ok, None),
        false if snapshot.is_reachable() == Some(false) => (PartHealth::Degraded, reasons.into_iter().next()),
        false => (PartHealth::Degraded, Some(reasons.join("; "))),
    }
}
