//! The plugin host: which generation of each plugin serves, and every call into one.
//!
//! Invariant: no plugin can hang, crash, fill or spy on the agent, nor delay another plugin.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pharos_model::alert::Outcome;
use pharos_model::event::PluginEventKind;
use pharos_model::finding::RuleSpec;
use pharos_model::snapshot::Change;
use pharos_model::subject::{SubjectKey, SubjectKind};
use pharos_model::text;
use tokio::sync::mpsc;
use tracing::{debug, error, info, warn};

use super::load::trial::Ignored;
use super::load::validate::World;
use super::run::call_error::{CallError, and_wrote};
use super::run::engine::Ticker;
use super::run::generation::Generation;
use super::run::instance::Usage;
use super::run::quarantine::Verdict;
use super::run::turns::{Turn, Turns};
use super::slot::{LastError, Loaded, Origin, Slot};
use crate::clock::{Clock, rfc3339};
use crate::telemetry::metrics::SelfMetrics;

/// Bytes of what is told of a plugin: why it was refused, quarantined or taken back.
const EVENT_BYTES_MAX: usize = 4_000;

/// What happened to a plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginEvent {
    pub plugin: String,
    pub kind: PluginEventKind,
    pub text: String,
}

/// The stage of an error that leaves out a part of the settings; the plugin serves with the rest.
pub(super) const SETTINGS_IGNORED: &str = "settings-ignored";

/// What one plugin says about one snapshot.
#[derive(Debug)]
pub struct Judgement {
    pub plugin: String,
    /// The generation that judged.
    number: u64,
    pub rules: Vec<RuleSpec>,
    pub outcome: Outcome,
    /// It is one of the plugins inside this binary.
    pub is_shipped: bool,
}

/// A handle on all plugins; cheap to clone.
#[derive(Clone)]
pub struct PluginHost {
    pub(super) shared: Arc<Shared>,
}

pub(super) struct Shared {
    pub(super) slots: Mutex<BTreeMap<String, Slot>>,
    /// The latest snapshot of each subject: what a new generation is tried on.
    latest: Mutex<HashMap<SubjectKey, Arc<Change>>>,
    pub(super) turns: Turns,
    pub(super) ticker: Ticker,
    clock: Clock,
    pub(super) metrics: Arc<SelfMetrics>,
    events: mpsc::Sender<PluginEvent>,
    probation: Duration,
}

impl PluginHost {
    /// `events` takes every change of a plugin's state.
    pub fn new(ticker: Ticker, clock: Clock, metrics: Arc<SelfMetrics>, events: mpsc::Sender<PluginEvent>, probation: Duration) -> Self {
        let shared =
            Shared { slots: Mutex::default(), latest: Mutex::default(), turns: Turns::new(), ticker, clock, metrics, events, probation };
        Self { shared: Arc::new(shared) }
    }

    /// The plugins that watch the subject's kind. What they are asked about is also what a new generation is tried on.
    pub fn watching(&self, change: &Arc<Change>) -> Vec<String> {
        let subject = &change.snapshot.subject;
        lock(&self.shared.latest).insert(subject.key(), Arc::clone(change));
        let slots = lock(&self.shared.slots);
        slots
            .iter()
            .filter(|(_, slot)| slot.active.as_ref().is_some_and(|active| watches(active, &subject.kind)))
            .map(|(id, _)| id.clone())
            .collect()
    }

    /// Ids of the rules that a plugin declares now; `None` if it does not serve any more.
    pub fn rules(&self, plugin: &str) -> Option<Vec<String>> {
        let slots = lock(&self.shared.slots);
        let active = slots.get(plugin).and_then(|slot| slot.active.as_ref());
        active.map(|active| active.generation.rules.iter().map(|rule| rule.id.clone()).collect())
    }

    /// Asks one plugin, if it serves and watches the subject's kind.
    pub async fn judge_by(&self, plugin: &str, change: &Arc<Change>) -> Option<Judgement> {
        let kind = &change.snapshot.subject.kind;
        let turn = self.shared.turns.take(plugin, World::AlertRule).await;
        // Only now: another generation may have come meanwhile.
        let active = lock(&self.shared.slots).get(plugin)?.active.clone().filter(|active| watches(active, kind))?;
        let generation = active.generation;
        let about = change.snapshot.subject.key().to_string();
        let called = self.call(plugin, &about, &generation, turn, generation.evaluate(Arc::clone(change))).await;
        let outcome = match called {
            Ok(report) => {
                generation.warn_repairs(&about, &report);
                Outcome::Judged(report.report)
            }
            Err(err) => Outcome::Failed(err.to_string()),
        };
        let rules = generation.rules.iter().filter(|rule| rule.subject_kind == *kind).cloned().collect();
        let is_shipped = active.origin == Origin::Embedded;
        Some(Judgement { plugin: plugin.to_owned(), number: active.number, rules, outcome, is_shipped })
    }

    /// Whether the generation that judged still serves.
    pub fn is_current(&self, judgement: &Judgement) -> bool {
        let slots = lock(&self.shared.slots);
        let active = slots.get(&judgement.plugin).and_then(|slot| slot.active.as_ref());
        active.is_some_and(|active| active.number == judgement.number)
    }

    /// Runs a call about a server or receiver, under the plugin's error budget.
    pub(super) async fn call<T>(
        &self,
        plugin: &str,
        about: &str,
        generation: &Arc<Generation>,
        turn: Result<Turn, CallError>,
        call: impl Future<Output = (Usage, Result<T, CallError>)>,
    ) -> Result<T, CallError> {
        // A probe must not wait once it is permitted: nobody else may probe meanwhile.
        let permitted = turn.and_then(|turn| self.permit(plugin, about).map(|()| turn));
        let turn = permitted.inspect_err(|err| self.shared.metrics.add("pharos_plugin_failures_total", &[plugin, err.reason()], 1.0))?;
        let (usage, result) = call.await;
        drop(turn);
        self.account(plugin, about, generation, usage, result.as_ref().err()).await;
        result
    }

    fn permit(&self, plugin: &str, about: &str) -> Result<(), CallError> {
        if !self.shared.ticker.is_alive() {
            return Err(CallError::NoClock);
        }
        let now = self.shared.clock.monotonic();
        let mut slots = lock(&self.shared.slots);
        let Some(slot) = slots.get_mut(plugin) else { return Ok(()) };
        slot.health.may_call(about, now).map_err(|left| {
            let why = slot.last_error.as_ref().map_or("it failed too often", |err| err.message.as_str());
            CallError::Quarantined(format!("for another {:.1} s, since it {why}", left.as_secs_f64()))
        })
    }

    /// Books what a call used and did; an offence too many quarantines the plugin or brings the generation before back.
    async fn account(&self, plugin: &str, about: &str, generation: &Arc<Generation>, usage: Usage, err: Option<&CallError>) {
        let metrics = &self.shared.metrics;
        metrics.add("pharos_plugin_calls_total", &[plugin], 1.0);
        metrics.add("pharos_plugin_cpu_seconds_total", &[plugin], usage.cpu.as_secs_f64());
        metrics.add("pharos_plugin_call_seconds_total", &[plugin], usage.wall.as_secs_f64());
        if let Some(err) = err {
            metrics.add("pharos_plugin_failures_total", &[plugin, err.reason()], 1.0);
        }
        let event = {
            let mut slots = lock(&self.shared.slots);
            let Some(slot) = slots.get_mut(plugin) else { return };
            slot.totals.calls += 1;
            slot.totals.cpu += usage.cpu;
            slot.totals.memory_max_bytes = slot.totals.memory_max_bytes.max(usage.memory_peak_bytes);
            metrics.set("pharos_plugin_memory_max_bytes", &[plugin], slot.totals.memory_max_bytes as f64);
            // A call that began in an older generation says nothing about the present one.
            let current = slot.active.as_ref().is_some_and(|active| Arc::ptr_eq(&active.generation, generation));
            if current { self.settle(plugin, about, slot, err) } else { None }
        };
        if let Some(event) = event {
            self.tell(event).await;
        }
    }

    fn settle(&self, plugin: &str, about: &str, slot: &mut Slot, err: Option<&CallError>) -> Option<PluginEvent> {
        let now = self.shared.clock.monotonic();
        let event = |kind, text: String| Some(PluginEvent { plugin: plugin.to_owned(), kind, text });
        let Some(err) = err.filter(|err| err.is_offence()) else {
            let recovered = slot.health.worked(about, now);
            let words = if slot.health.is_failing() { "is called again after its pause" } else { "works again" };
            return if recovered { event(PluginEventKind::Recovered, format!("`{plugin}` {words}")) } else { None };
        };
        slot.totals.traps += 1;
        let last_error = self.last_error("call", err.to_string(), err.last_words());
        // The same crash again needs no second copy of its words in the log.
        let is_known = slot.last_error.as_ref().is_some_and(|before| before.last_words == last_error.last_words);
        let wrote = if is_known { String::new() } else { and_wrote(err.last_words()) };
        slot.last_error = Some(last_error);
        warn!(plugin, reason = err.reason(), "a call of `{plugin}` {err}{wrote}");
        let (pause, from) = match slot.health.offended(about, now, fastrand::f64()) {
            Verdict::Tolerated => return None,
            Verdict::Quarantined(pause) => (pause, String::new()),
            Verdict::KeptFrom(pause) => (pause, format!(" about {about}")),
        };
        if let Some(failed) = slot.roll_back(now) {
            slot.last_error = Some(self.last_error("probation", format!("the new version was taken back: it {err}"), err.last_words()));
            return event(
                PluginEventKind::RolledBack,
                format!("`{plugin}` {} failed on probation ({err}); the version before serves again", &failed[..12]),
            );
        }
        event(PluginEventKind::Quarantined, format!("`{plugin}` is not called{from} for {:.1} s: it {err}", pause.as_secs_f64()))
    }

    /// Puts a generation to work. Calls that began in the one before it finish there.
    pub(super) async fn publish(&self, plugin: &str, generation: Generation, origin: Origin) {
        for warning in &generation.warnings {
            warn!(plugin, "`{plugin}`: {warning}");
        }
        for ignored in &generation.ignored {
            warn!(plugin, "`{plugin}` leaves a wrong setting out: {}", ignored.text);
        }
        let generation = Arc::new(generation);
        let digest = generation.digest.clone();
        let version = generation.description.version.clone();
        let number = {
            let mut slots = lock(&self.shared.slots);
            let slot = slots.entry(plugin.to_owned()).or_default();
            let ignored = texts(&generation.ignored).join("; ");
            let number = slot.publish(generation, origin, self.shared.clock.monotonic() + self.shared.probation);
            if !ignored.is_empty() {
                slot.last_error = Some(self.last_error(SETTINGS_IGNORED, ignored, None));
            }
            number
        };
        let text = format!("`{plugin}` {version} serves as generation {number} ({})", &digest[..12]);
        self.tell(PluginEvent { plugin: plugin.to_owned(), kind: PluginEventKind::Loaded, text }).await;
    }

    /// Settings that the generation in service takes and this one does not: a change for the worse. Another reason for the same setting
    /// is none.
    pub(super) fn loses_settings(&self, plugin: &str, next: &Generation) -> Option<String> {
        let slots = lock(&self.shared.slots);
        let active = &slots.get(plugin)?.active.as_ref()?.generation;
        let is_lost = |ignored: &&Ignored| !active.ignored.iter().any(|before| ignored.is_part_of(before));
        let lost: Vec<Ignored> = next.ignored.iter().filter(is_lost).cloned().collect();
        (!lost.is_empty()).then(|| texts(&lost).join("; "))
    }

    /// Notes a file that could not be loaded; what served before goes on.
    pub(super) async fn refuse(&self, plugin: &str, stage: &str, message: String, last_words: Option<&str>) {
        let text = format!("`{plugin}` refused at {stage}: {message}{}", and_wrote(last_words));
        {
            let mut slots = lock(&self.shared.slots);
            let slot = slots.entry(plugin.to_owned()).or_insert_with(|| Slot { enabled: true, ..Slot::default() });
            slot.loading = false;
            slot.last_error = Some(self.last_error(stage, message, last_words));
        }
        self.tell(PluginEvent { plugin: plugin.to_owned(), kind: PluginEventKind::Refused, text }).await;
    }

    /// Takes a plugin out of service.
    pub(super) async fn remove(&self, plugin: &str) {
        let served = lock(&self.shared.slots).remove(plugin).is_some_and(|slot| slot.active.is_some());
        for gauge in [
            "pharos_plugin_info",
            "pharos_plugin_state",
            "pharos_plugin_generation",
            "pharos_plugin_memory_max_bytes",
            "pharos_plugin_settings_ignored",
        ] {
            self.shared.metrics.forget(gauge, &[plugin]);
        }
        if served {
            let text = format!("`{plugin}` is gone; its alerts stand still");
            self.tell(PluginEvent { plugin: plugin.to_owned(), kind: PluginEventKind::Removed, text }).await;
        }
    }

    /// One transition: a log line, a metric, an event. A full queue is waited for, since whoever misses that a generation is another
    /// judges nothing again. The pipeline, which takes the events, polls the calls that wait here beside them.
    async fn tell(&self, event: PluginEvent) {
        // Whatever led to it, the text is one line: it goes into the log, the store and answers of the API.
        let event = PluginEvent { text: text::line(&event.text, EVENT_BYTES_MAX).into_owned(), ..event };
        let plugin = event.plugin.as_str();
        match event.kind {
            PluginEventKind::Loaded | PluginEventKind::Recovered => info!(plugin, "{}", event.text),
            PluginEventKind::Removed | PluginEventKind::Quarantined => warn!(plugin, "{}", event.text),
            PluginEventKind::Refused | PluginEventKind::RolledBack => error!(plugin, "{}", event.text),
        }
        if matches!(event.kind, PluginEventKind::Loaded | PluginEventKind::Refused | PluginEventKind::RolledBack | PluginEventKind::Removed)
        {
            self.shared.metrics.add("pharos_plugin_loads_total", &[plugin, event.kind.as_str()], 1.0);
        }
        self.measure(plugin);
        if self.shared.events.send(event).await.is_err() {
            debug!("a plugin's event came after the pipeline had ended");
        }
    }

    /// The latest snapshot of every subject.
    pub(super) fn latest(&self) -> Vec<Arc<Change>> {
        lock(&self.shared.latest).values().cloned().collect()
    }

    fn last_error(&self, stage: &str, message: String, last_words: Option<&str>) -> LastError {
        let message = text::line(&message, EVENT_BYTES_MAX).into_owned();
        // One line as well, as every text of an answer.
        let last_words = last_words.map(|words| text::line(words, EVENT_BYTES_MAX).into_owned());
        LastError { at: rfc3339(self.shared.clock.wall_ms()), stage: stage.to_owned(), message, last_words }
    }

    pub(super) fn slots(&self) -> MutexGuard<'_, BTreeMap<String, Slot>> {
        lock(&self.shared.slots)
    }
}

pub(super) fn texts(ignored: &[Ignored]) -> Vec<String> {
    ignored.iter().map(|ignored| ignored.text.clone()).collect()
}

/// Whether a generation judges subjects of this kind.
fn watches(active: &Loaded, kind: &SubjectKind) -> bool {
    let generation = &active.generation;
    generation.world == World::AlertRule && generation.rules.iter().any(|rule| rule.subject_kind == *kind)
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
