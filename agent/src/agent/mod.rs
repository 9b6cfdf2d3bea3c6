//! Builds every part from its section of the config, then runs them, phase by phase: the only file where all parts meet.

mod servers;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use pharos_model::agent_part::AgentPart;
use pharos_model::alert::AlertBook;
use pharos_model::delta::Deltas;
use pharos_model::dispatch::{Dispatcher, Routes};
use pharos_model::notification::{Delivery, Message};
use pharos_model::snapshot::Snapshot;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tracing::{info, warn};

pub use self::servers::Servers;
use crate::board::{Board, PartHealth};
use crate::clock::Clock;
use crate::collect::agent::{self, AgentTask, PluginFact, PluginFacts};
use crate::collect::database::DatabasesTask;
use crate::config::secret::Secret;
use crate::config::{Config, Mistake};
use crate::http::{self, Access, Api, ListenError};
use crate::lifecycle::Lifecycle;
use crate::notify::{Deliver, Means, Notify, Signature, Tester};
use crate::pipeline::unmatched::Unmatched;
use crate::pipeline::{Desk, Pipeline, upkeep};
use crate::plugin::compile::Compiler;
use crate::plugin::{Examination, Linkers, Loader, PluginHost, PluginStatus, Reloader, Shipped, StateAccess, Ticker, engine};
use crate::store::{Store, StoreError};
use crate::telemetry::metrics::SelfMetrics;

/// Snapshots that wait for judgement, or two for each server where that is more: all servers may be read in one moment. Later ones are dropped and counted.
const QUEUED_SNAPSHOTS_MIN: usize = 64;
const QUEUED_SNAPSHOTS_EACH: usize = 2;
/// Plugin events that wait to be recorded.
const QUEUED_EVENTS_MAX: usize = 256;

/// The longest that a start looks for wrong settings of the shipped plugins. Compiled before, they take a fraction of a second.
const SETTINGS_CHECK_MAX: Duration = Duration::from_secs(30);

/// What a start needs that is not in the config file.
pub struct Options {
    /// This program's binary, which compiles plugins in a process of its own.
    pub compile_helper: PathBuf,
    /// Plugins inside the binary.
    pub shipped: Shipped,
}

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Listen(#[from] ListenError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("starting the plugin engine: {0}")]
    Engine(String),
    #[error("{}", texts(.0))]
    Config(Vec<Mistake>),
}

fn texts(mistakes: &[Mistake]) -> String {
    let text = |mistake: &Mistake| format!("`{}`: {}", mistake.paths.first().map_or("", String::as_str), mistake.message);
    mistakes.iter().map(text).collect::<Vec<_>>().join("\n")
}

/// A running agent.
pub struct Agent {
    address: SocketAddr,
    board: Arc<Board>,
    metrics: Arc<SelfMetrics>,
}

impl Agent {
    /// Starts every part on `lifecycle`. What it watches may be down; what it needs itself may not.
    pub async fn start(config: Config, options: Options, lifecycle: &Lifecycle) -> Result<Self, StartError> {
        let clock = Clock::start();
        let board = Arc::new(Board::new(clock));
        let metrics = Arc::new(SelfMetrics::default());
        build_info(&metrics, clock);

        // 1. What another process could hold: the port and the data directory.
        let listener = http::bind(&config.http).await?;
        let address = listener.local_addr().map_err(|source| ListenError::Bind { address: ([0, 0, 0, 0], 0).into(), source })?;
        let store = Store::open(&config.agent.data_dir)?;
        upkeep::show(&store, &board, &metrics);
        let operator = operator(&config.agent.data_dir);

        // 2. Plugins, then those who are told of what they find.
        let (plugin_events, events) = mpsc::channel(QUEUED_EVENTS_MAX);
        let engine = engine::running(config.plugins.pooling).map_err(|err| StartError::Engine(format!("{err:#}")))?;
        let ticker = Ticker::start(&engine, clock).map_err(|err| StartError::Engine(err.to_string()))?;
        let plugins = PluginHost::new(ticker, clock, Arc::clone(&metrics), plugin_events, config.plugins.probation);
        let loader = loader(&config, &options, engine, &store, &metrics, clock, lifecycle)?;
        check_settings(&loader, &config, &options.shipped, lifecycle).await?;
        let means = Means {
            notifiers: Arc::new(plugins.clone()),
            signature: Arc::new(Signature { agent: config.agent.name.clone(), external_url: config.agent.external_url.clone() }),
            store: store.clone(),
            board: Arc::clone(&board),
            metrics: Arc::clone(&metrics),
            clock,
        };
        let notify = Notify::start(config.receiver.clone(), &means, lifecycle).await?;
        let tester = Tester::new(&config.receiver, &means);

        // 3. The flow, with what the agent before this one knew.
        let alerts = AlertBook::restore(store.alerts().await?, clock.now());
        let mut dispatcher = dispatcher(&config);
        let unrouted = dispatcher.restore(store.dispatch().await?, &alerts, clock.now());
        for withheld in &unrouted {
            warn!(receiver = withheld.receiver, fingerprint = %withheld.key.0, "`{}` does not hear of an alert: {}", withheld.receiver, withheld.why);
        }
        for (silence, why) in dispatcher.silences().filter_map(|silence| Some((silence, silence.matchers.problem()?))) {
            warn!(silence = silence.id, "the silence `{}` hides nothing: {why}", silence.id);
        }
        let unmatched = Unmatched::restore(&config.alerts, &store, Arc::clone(&metrics)).await?;
        let mut pipeline = Pipeline {
            deltas: Deltas::default(),
            alerts,
            dispatcher,
            unmatched,
            plugins: plugins.clone(),
            store: store.clone(),
            board: Arc::clone(&board),
            notify,
            metrics: Arc::clone(&metrics),
            clock,
        };
        let mut servers = Servers::of(&config, lifecycle);
        servers.keep_notes(&store);
        let mut subjects = servers.subjects();
        subjects.push(agent::subject(&config.agent.name).key());
        let is_enabled = |id: &str| config.plugin.get(id).is_none_or(|plugin| plugin.enabled);
        pipeline.forget(|subject| subjects.contains(subject), is_enabled).await;
        let (snapshots, queue) = mpsc::channel(QUEUED_SNAPSHOTS_MIN.max(subjects.len() * QUEUED_SNAPSHOTS_EACH));
        board.set(AgentPart::Pipeline, PartHealth::Ok, None);
        let (desk, orders) = Desk::open();
        lifecycle.supervise(AgentPart::Pipeline, pipeline.run(queue, events, orders));
        let looked_after = upkeep::look_after(store.clone(), Arc::clone(&board), Arc::clone(&metrics), lifecycle.soft().clone());
        lifecycle.supervise(AgentPart::Store, looked_after);

        // 4. The sources of the flow: files and servers.
        let mut reloader = Reloader::new(loader, plugins.clone(), config.plugins.clone(), options.shipped);
        reloader.announce().await;
        board.set(AgentPart::PluginReload, PartHealth::Starting, None);
        lifecycle.supervise(AgentPart::PluginReload, reloader.run(Arc::clone(&board), lifecycle.soft().clone()));
        lifecycle.supervise(AgentPart::Plugins, plugins.clone().follow(Arc::clone(&board), lifecycle.soft().clone()));
        let databases = DatabasesTask {
            databases: servers.take_databases(),
            interval: config.collect.interval.of("topology"),
            grace: config.collect.deadline_max() + config.collect.connect_timeout,
            board: Arc::clone(&board),
            store: store.clone(),
            metrics: Arc::clone(&metrics),
            clock,
            snapshots: snapshots.clone(),
        };
        lifecycle.supervise(AgentPart::Databases, databases.run(lifecycle.soft().clone()));
        servers.start(&config, &board, clock, &metrics, &snapshots, lifecycle);
        let itself = AgentTask {
            name: config.agent.name.clone(),
            interval: config.collect.interval.of("agent"),
            data_dir: config.agent.data_dir.clone(),
            plugins: Box::new(plugins.clone()),
            board: Arc::clone(&board),
            metrics: Arc::clone(&metrics),
            clock,
            snapshots: snapshots.clone(),
        };
        lifecycle.supervise(AgentPart::Agent, itself.run(lifecycle.soft().clone()));
        // The flow is over when nobody can send any more.
        lifecycle.tasks().spawn(stop(lifecycle.clone(), Arc::clone(&board), snapshots));

        // 5. The outside.
        let api = Arc::new(Api {
            board: Arc::clone(&board),
            plugins: plugins.clone(),
            plugin_config: config.plugin.clone(),
            metrics: Arc::clone(&metrics),
            access: Access::new(&config.access, &config.http, config.agent.external_url.as_deref(), operator.as_ref()),
            databases: names(&config),
            slow_after: config.database.iter().map(|database| (database.name.clone(), database.slow_query.threshold)).collect(),
            desk,
            tester,
            store,
            clock,
        });
        lifecycle.supervise(AgentPart::Http, serve(listener, api, lifecycle.clone()));
        info!(address = %address, "listening on http://{address}");
        Ok(Self { address, board, metrics })
    }

    /// Where the API listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn board(&self) -> &Arc<Board> {
        &self.board
    }

    pub fn metrics(&self) -> &Arc<SelfMetrics> {
        &self.metrics
    }
}

/// Messages leave through the notifier plugins; the two parts themselves do not know each other.
impl Deliver for PluginHost {
    fn serves(&self, notifier: &str) -> bool {
        self.serves_notifier(notifier)
    }

    fn deliver<'a>(&'a self, notifier: &'a str, settings: &'a Value, message: &'a Message) -> BoxFuture<'a, Delivery> {
        self.deliver(notifier, settings, message).boxed()
    }
}

/// What the agent's own snapshot shows of the plugins.
impl PluginFacts for PluginHost {
    fn plugins(&self) -> Vec<PluginFact> {
        let fact = |plugin: PluginStatus| PluginFact {
            id: plugin.id,
            state: plugin.state,
            last_words: plugin.last_error.as_ref().and_then(|err| err.last_words.clone()),
            last_error: plugin.last_error.map(|err| (err.stage, err.message)),
            ignored_settings: (!plugin.ignored_settings.is_empty()).then(|| plugin.ignored_settings.join("; ")),
        };
        self.status(&BTreeMap::new()).into_iter().map(fact).collect()
    }

    fn ticker_age(&self) -> Duration {
        self.ticker_age()
    }
}

fn build_info(metrics: &SelfMetrics, clock: Clock) {
    let labels = [env!("CARGO_PKG_VERSION"), env!("PHAROS_REVISION"), env!("PHAROS_RUSTC")];
    metrics.set("pharos_build_info", &labels, 1.0);
    // The first one must be seen as an increase.
    ["collect", "http"].iter().for_each(|part| metrics.add("pharos_own_limit_total", &[part], 0.0));
    metrics.set("pharos_start_timestamp_seconds", &[], clock.wall_ms() as f64 / 1_000.0);
}

fn loader(
    config: &Config,
    options: &Options,
    engine: wasmtime::Engine,
    store: &Store,
    metrics: &Arc<SelfMetrics>,
    clock: Clock,
    lifecycle: &Lifecycle,
) -> Result<Loader, StartError> {
    let compiler = Compiler::new(options.compile_helper.clone(), &config.agent.data_dir, &config.plugins, &engine);
    let linkers = Linkers::new(&engine).map_err(|err| StartError::Engine(format!("{err:#}")))?;
    Ok(Loader {
        engine,
        linkers,
        compiler,
        plugins: config.plugin.clone(),
        receivers: config.receiver.clone(),
        secrets: config.secret.clone(),
        relays: config.relay.clone(),
        state: StateAccess { store: Some(store.clone()), clock },
        metrics: Arc::clone(metrics),
        clock,
        tasks: lifecycle.tasks().clone(),
    })
}

/// The token by which the agent's own user changes something. Without it the agent still watches.
fn operator(data_dir: &Path) -> Option<Secret> {
    let prepared = http::operator::prepare(data_dir);
    prepared
        .inspect_err(|err| {
            let path = http::operator::place(data_dir).display().to_string();
            warn!(error = %err, "{path} cannot be written; commands that change something need a [[access.token]]");
        })
        .ok()
}

/// Refuses what the file and this binary decide to be wrong. What else may be wrong degrades the agent and nothing more, and so does a machine
/// that is too busy to find out: watching late is worse.
async fn check_settings(loader: &Loader, config: &Config, shipped: &Shipped, lifecycle: &Lifecycle) -> Result<(), StartError> {
    let examination = Examination { loader, shipped, dir: &config.plugins.dir };
    let examined = tokio::select! {
        () = lifecycle.interrupted() => return Ok(()),
        examined = tokio::time::timeout(SETTINGS_CHECK_MAX, examination.of_shipped()) => examined,
    };
    match examined {
        Ok(mistakes) if mistakes.is_empty() => Ok(()),
        Ok(mistakes) => Err(StartError::Config(mistakes)),
        Err(_) => {
            warn!("the settings of plugins were not checked within {SETTINGS_CHECK_MAX:?}; a wrong one costs its plugin alone");
            Ok(())
        }
    }
}

/// The routes, inhibitions and silences of the config, which was checked.
fn dispatcher(config: &Config) -> Dispatcher {
    let routes = config.route.iter().filter_map(|route| route.route().ok()).collect();
    let receivers: Vec<String> = config.receiver.iter().map(|receiver| receiver.name.clone()).collect();
    if config.route.is_empty() && !receivers.is_empty() {
        warn!("there are receivers but no [[route]] leads to them; nobody is told of anything");
    }
    let inhibitions = config.inhibit.iter().filter_map(|inhibition| inhibition.inhibition().ok()).collect();
    let silences = config.silence.iter().filter_map(|silence| silence.silence().ok()).collect();
    Dispatcher::new(Routes { routes, receivers }, inhibitions, silences)
}

/// Of databases and Redis deployments.
fn names(config: &Config) -> Vec<String> {
    let names = config.database.iter().map(|database| &database.name).chain(config.redis.iter().map(|redis| &redis.name));
    names.cloned().collect()
}

/// Says on the board that the parts stop, and for whose sake, then lets the pipeline run dry.
async fn stop(lifecycle: Lifecycle, board: Arc<Board>, snapshots: mpsc::Sender<Snapshot>) {
    lifecycle.soft().cancelled().await;
    board.stop();
    if let Some(part) = lifecycle.failed() {
        board.set(part.clone(), PartHealth::Failed, Some("it ended unasked".to_owned()));
    }
    drop(snapshots);
}

async fn serve(listener: TcpListener, api: Arc<Api>, lifecycle: Lifecycle) {
    api.board.set(AgentPart::Http, PartHealth::Ok, None);
    http::serve(listener, api, lifecycle.soft().clone()).await;
}
