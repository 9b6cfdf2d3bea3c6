//! Agents and servers for tests: started on free ports in temporary folders, gone when dropped.

pub mod delivery;
pub mod disk;
pub mod examples;
pub mod guests;
pub mod http;
pub mod pooler;
pub mod program;
pub mod reserved;
pub mod saved;
pub mod slow_line;
pub mod smtp;
pub mod zoo;
pub mod zoo_program;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use pharos::agent::{Agent, Options};
use pharos::clock::Clock;
use pharos::config;
use pharos::config::plugins::PluginsConfig;
use pharos::demo::binaries::{PostgresBinaries, find_redis};
use pharos::demo::postgres::{MONITORING_ROLE, PostgresOptions, PostgresServer};
use pharos::demo::redis::{RedisOptions, RedisServer};
use pharos::demo::session::Session;
use pharos::lifecycle::{Ending, Lifecycle};
use pharos::plugin::compile::Compiler;
use pharos::plugin::{Linkers, Loader, StateAccess, engine};
use pharos::telemetry::metrics::SelfMetrics;
use redis::aio::MultiplexedConnection;
use serde_json::Value;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The longest that a test waits for anything.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// How often a random test goes round: `few` times, and many more in `make soak`.
pub fn rounds(few: u32) -> u32 {
    let times = std::env::var("PHAROS_SOAK").map_or(1, |times| times.parse().expect("PHAROS_SOAK is a number"));
    few * times
}

/// Chance that can be repeated: the seed is printed, and taken back as `PHAROS_SEED`.
pub fn seeded() -> fastrand::Rng {
    let seed = std::env::var("PHAROS_SEED").map_or(50, |seed| seed.parse().expect("PHAROS_SEED is a number"));
    let _ = writeln!(std::io::stderr(), "chance begins at PHAROS_SEED={seed}");
    fastrand::Rng::with_seed(seed)
}

/// The built program.
pub fn pharos() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_pharos"))
}

pub fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the agent is inside the project").to_owned()
}

/// Tasks of what a test starts besides agents.
pub fn runtime_tasks() -> (TaskTracker, CancellationToken) {
    (TaskTracker::new(), CancellationToken::new())
}

/// The shipped plugins, built if they are not.
pub fn shipped() -> Vec<(String, Vec<u8>)> {
    static BUILT: OnceLock<Vec<(String, Vec<u8>)>> = OnceLock::new();
    BUILT
        .get_or_init(|| {
            let status = Command::new("make").arg("plugins").current_dir(project()).status().expect("make is installed");
            assert!(status.success(), "`make plugins` failed");
            [
                "threshold",
                "postgres-essentials",
                "postgres-maintenance",
                "postgres-replication",
                "redis-essentials",
                "agent-essentials",
                "webhook",
                "email",
            ]
            .map(|id| (id.to_owned(), std::fs::read(project().join(format!("target/plugins/{id}.wasm"))).expect("it was just built")))
            .into()
        })
        .clone()
}

/// A folder with some of the shipped plugins as files.
pub fn plugin_folder(ids: &[&str]) -> TempDir {
    shipped();
    let folder = tempfile::tempdir().unwrap();
    for id in ids {
        std::fs::copy(project().join(format!("target/plugins/{id}.wasm")), folder.path().join(format!("{id}.wasm"))).unwrap();
    }
    folder
}

/// A primary with the monitoring role `pharos` and pg_stat_statements in `postgres`.
pub async fn postgres(tasks: &TaskTracker) -> PostgresServer {
    postgres_with(PostgresOptions::default(), tasks).await
}

pub async fn postgres_with(options: PostgresOptions, tasks: &TaskTracker) -> PostgresServer {
    let binaries = PostgresBinaries::find(None).await.expect("PostgreSQL is installed: run scripts/setup.sh");
    let server = PostgresServer::start(&binaries, options, tasks).await.expect("PostgreSQL starts");
    server.create_monitoring_role(None).await.expect("the role is created");
    let session = server.connect("postgres", "postgres").await.expect("PostgreSQL answers");
    session.run("CREATE EXTENSION IF NOT EXISTS pg_stat_statements").await.expect("the extension is there");
    server
}

/// Waits until SQL says so.
pub async fn eventually(session: &Session, question: &str) {
    let started = Instant::now();
    while !session.ask::<bool>(question).await.unwrap_or_else(|err| panic!("{question}: {err:?}")) {
        assert!(started.elapsed() < PATIENCE, "never true: {question}");
        sleep(Duration::from_millis(50)).await;
    }
}

pub async fn redis(tasks: &TaskTracker) -> RedisServer {
    let _ = tasks;
    redis_with(RedisOptions::default()).await
}

pub async fn redis_with(options: RedisOptions) -> RedisServer {
    let program = find_redis(None).expect("Redis is installed: run scripts/setup.sh");
    RedisServer::start(&program, options).await.expect("Redis starts")
}

/// Empties a Redis, then gives it this many keys.
pub async fn set_keys(keys: &mut MultiplexedConnection, count: u32) {
    let mut pipe = ::redis::pipe();
    pipe.atomic().cmd("FLUSHALL").ignore();
    for key in 0..count {
        pipe.cmd("SET").arg(key).arg("x").ignore();
    }
    pipe.query_async::<()>(keys).await.unwrap();
}

/// A `[[database]]` that watches one server as the monitoring role.
pub fn postgres_config(name: &str, server: &PostgresServer) -> String {
    format!("[[database]]\nname = \"{name}\"\nprimary = \"{}\"\n", server.url(MONITORING_ROLE, "postgres"))
}

/// A `[[redis]]` that watches these servers.
pub fn redis_config(name: &str, nodes: &[&RedisServer]) -> String {
    let nodes: Vec<String> = nodes.iter().map(|node| format!("\"{}\"", node.url())).collect();
    format!("[[redis]]\nname = \"{name}\"\nnodes = [{}]\n", nodes.join(", "))
}

/// Everything goes to the receiver `ops` through the shipped webhook.
pub fn receiver_config(url: &str) -> String {
    format!(
        r#"
[plugin.webhook]
grants = {{ egress = ["127.0.0.1"] }}
[[receiver]]
name = "ops"
plugin = "webhook"
settings = {{ url = "{url}" }}
[[route]]
receiver = "ops"
group_wait = "0s"
group_interval = "0s"
"#
    )
}

/// What loads plugins, without an agent around it.
pub fn loader(folder: &Path, config: &PluginsConfig, tasks: &TaskTracker) -> Loader {
    let clock = Clock::start();
    let engine = engine::running(true).expect("an engine");
    Loader {
        compiler: Compiler::new(pharos().to_owned(), folder, config, &engine),
        linkers: Linkers::new(&engine).expect("linkers"),
        engine,
        plugins: BTreeMap::new(),
        receivers: Vec::new(),
        secrets: BTreeMap::new(),
        relays: BTreeMap::new(),
        state: StateAccess { store: None, clock },
        metrics: Arc::new(SelfMetrics::default()),
        clock,
        tasks: tasks.clone(),
    }
}

/// What the agent calls a server that listens on loopback.
pub fn server_id(port: u16) -> String {
    format!("127.0.0.1:{port}")
}

/// The name of a PostgreSQL server among the parts of the agent.
pub fn part_name(server: &PostgresServer) -> String {
    format!("postgres {}", server_id(server.port()))
}

/// A series of the database `app` as `/metrics` names it.
pub fn series(metric: &str, port: u16, labels: &[(&str, &str)]) -> String {
    let own: String = labels.iter().map(|(name, value)| format!(",{name}=\"{value}\"")).collect();
    format!("{metric}{{database=\"app\",server=\"{}\"{own}}}", server_id(port))
}

/// Intervals short enough for tests; deadlines short enough for faults.
const QUICK: &str = r#"
[collect]
lock_timeout = "200ms"
statement_timeout = "700ms"
deadline = "1s"
connect_timeout = "1s"
budget = 1.0
[collect.interval]
agent = "300ms"
accept = "1s"
server = "300ms"
activity = "300ms"
database = "300ms"
statements = "500ms"
locks = "300ms"
replication = "300ms"
info = "300ms"
topology = "300ms"
sample = "100ms"
wal = "1s"
horizon = "1s"
autovacuum = "1s"
progress = "500ms"
io = "1s"
subscriptions = "1s"
subscription_tables = "1s"
limits = "1s"
encryption = "1s"
sizes = "1s"
settings = "1s"
tables = "1s"
indexes = "1s"
sequences = "1s"
extensions = "1s"
"#;

/// An agent in this process.
pub struct TestAgent {
    pub agent: Agent,
    pub lifecycle: Lifecycle,
    folder: Option<TempDir>,
}

impl TestAgent {
    /// Starts an agent with this config and the shipped plugins. `[agent]`, `[http]`, `[plugins]` and `[collect]` are the fixture's.
    pub async fn start(config: &str) -> Self {
        Self::start_with(config, shipped()).await
    }

    /// Starts an agent without plugins that watches one server as `app`.
    pub async fn watch(server: &PostgresServer) -> Self {
        Self::start_with(&postgres_config("app", server), Vec::new()).await
    }

    pub async fn start_with(config: &str, shipped: Vec<(String, Vec<u8>)>) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        Self::start_in(folder, config, shipped).await
    }

    /// Starts in a folder that an agent used before.
    pub async fn start_in(folder: TempDir, config: &str, shipped: Vec<(String, Vec<u8>)>) -> Self {
        Self::start_helped(folder, config, shipped, pharos().to_owned()).await
    }

    /// Starts with this program as the compile helper.
    pub async fn start_helped(folder: TempDir, config: &str, shipped: Vec<(String, Vec<u8>)>, compile_helper: PathBuf) -> Self {
        let path = folder.path().join("pharos.toml");
        std::fs::write(&path, whole(config)).expect("the config is written");
        let config = config::load(&path).unwrap_or_else(|err| panic!("{err}"));
        pharos::telemetry::logs::start(&config.log);
        let lifecycle = Lifecycle::default();
        let shipped = shipped.into_iter().map(|(id, bytes)| (id, bytes.into())).collect();
        let options = Options { compile_helper, shipped };
        let agent = Agent::start(config, options, &lifecycle).await.unwrap_or_else(|err| panic!("{err}"));
        Self { agent, lifecycle, folder: Some(folder) }
    }

    /// The folder of config, state and plugins.
    pub fn folder(&self) -> &Path {
        self.folder.as_ref().expect("it is taken at the stop").path()
    }

    /// The folder that is watched for plugins.
    pub fn plugins_dir(&self) -> PathBuf {
        self.folder().join("plugins")
    }

    /// The file with the operator's token.
    pub fn token_file(&self) -> String {
        self.folder().join("data/operator.token").display().to_string()
    }

    /// The header by which the agent's own user is known.
    pub fn operator(&self) -> String {
        bearer(&self.folder().join("data"))
    }

    /// What the agent's own user reads.
    pub async fn text(&self, path: &str) -> String {
        let has_token = Path::new(&self.token_file()).is_file();
        let operator = has_token.then(|| self.operator());
        let headers: Vec<(&str, &str)> = operator.iter().map(|operator| ("authorization", operator.as_str())).collect();
        self.request(path, &headers).await.1
    }

    pub async fn json(&self, path: &str) -> Value {
        let text = self.text(path).await;
        serde_json::from_str(&text).unwrap_or_else(|err| panic!("{path}: {err}: {text}"))
    }

    /// Status and body.
    pub async fn request(&self, path: &str, headers: &[(&str, &str)]) -> (u16, String) {
        get(self.agent.address().port(), path, headers).await
    }

    /// The value of a series of `/metrics`, written as it stands there: `name{label="value"}`.
    pub async fn series(&self, series: &str) -> Option<f64> {
        let text = self.text("/metrics").await;
        text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
    }

    /// Waits for a series of `/metrics` whose value fits, and returns that value.
    pub async fn wait_series(&self, series: &str, mut fits: impl FnMut(f64) -> bool) -> f64 {
        let value =
            |metrics: &str| -> Option<f64> { metrics.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok()) };
        let started = Instant::now();
        loop {
            let metrics = self.text("/metrics").await;
            match value(&metrics) {
                Some(value) if fits(value) => return value,
                _ => {}
            }
            assert!(started.elapsed() < PATIENCE, "{series} never fitted; last: {metrics}");
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits for a part of the agent, by its name in `/api/services/status`.
    pub async fn wait_part(&self, name: &str, mut fits: impl FnMut(&Value) -> bool) -> Value {
        let status = self.wait_json("/api/services/status", |status| item(status, "name", name).is_some_and(&mut fits)).await;
        item(&status, "name", name).cloned().unwrap_or(Value::Null)
    }

    /// The state of every part of a server's snapshot, once they fit.
    pub async fn wait_facts(&self, server: &str, fits: impl FnMut(&Value) -> bool) -> Value {
        self.wait_facts_within(PATIENCE, server, fits).await
    }

    pub async fn wait_facts_within(&self, patience: Duration, server: &str, mut fits: impl FnMut(&Value) -> bool) -> Value {
        let fits = |facts: &Value| item(facts, "server", server).is_some_and(|facts| fits(&facts["parts"]));
        let facts = self.wait_json_within(patience, "/api/database/metrics", fits).await;
        item(&facts, "server", server).map(|facts| facts["parts"].clone()).unwrap_or(Value::Null)
    }

    /// Waits for a condition on the answer at `path`, and returns that answer.
    pub async fn wait_json(&self, path: &str, fits: impl FnMut(&Value) -> bool) -> Value {
        self.wait_json_within(PATIENCE, path, fits).await
    }

    pub async fn wait_json_within(&self, patience: Duration, path: &str, mut fits: impl FnMut(&Value) -> bool) -> Value {
        let started = Instant::now();
        loop {
            let answer = self.json(path).await;
            if fits(&answer) {
                return answer;
            }
            assert!(started.elapsed() < patience, "{path} never fitted; last: {answer:#}");
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits for a condition on `/metrics`, and returns them.
    pub async fn wait_metrics(&self, mut fits: impl FnMut(&str) -> bool) -> String {
        let started = Instant::now();
        loop {
            let metrics = self.text("/metrics").await;
            if fits(&metrics) {
                return metrics;
            }
            assert!(started.elapsed() < PATIENCE, "the metrics never fitted; last: {metrics}");
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// One entry of `/api/plugins`.
    pub async fn plugin(&self, id: &str) -> Value {
        item(&self.json("/api/plugins").await, "id", id).cloned().unwrap_or(Value::Null)
    }

    pub async fn wait_plugin(&self, id: &str, mut fits: impl FnMut(&Value) -> bool) -> Value {
        let answer = self.wait_json("/api/plugins", |answer| item(answer, "id", id).is_some_and(&mut fits)).await;
        item(&answer, "id", id).cloned().unwrap_or(Value::Null)
    }

    /// Drains it, and gives its folder back for the next one.
    pub async fn stop(mut self) -> TempDir {
        self.lifecycle.soft().cancel();
        assert_eq!(self.lifecycle.run().await, Ending::Drained);
        self.folder.take().expect("it is taken once")
    }
}

impl Drop for TestAgent {
    fn drop(&mut self) {
        self.lifecycle.soft().cancel();
    }
}

/// The item of a list whose `key` is `value`.
pub fn item<'a>(list: &'a Value, key: &str, value: &str) -> Option<&'a Value> {
    list["items"].as_array()?.iter().find(|item| item[key] == value)
}

fn whole(config: &str) -> String {
    let mut whole = String::new();
    let section = |name: &str| config.lines().any(|line| line.trim() == format!("[{name}]"));
    if !section("agent") {
        whole.push_str("[agent]\ndata_dir = \"data\"\n");
    }
    if !section("http") {
        whole.push_str("[http]\nlisten = \"127.0.0.1:0\"\n");
    }
    if !section("plugins") {
        whole.push_str("[plugins]\ndir = \"plugins\"\ndebounce = \"50ms\"\nrescan = \"2s\"\n");
    }
    if !section("collect") {
        whole.push_str(QUICK);
    }
    if !config.contains("[plugin.postgres-essentials") {
        // The servers are thrown away, and made for speed.
        let of_no_matter = ["fsync-off", "checksums-off"].map(|check| format!("{check} = {{ enabled = false }}\n"));
        let _ = writeln!(whole, "[plugin.postgres-essentials.settings.checks]\n{}", of_no_matter.concat());
    }
    // A test that says nothing of groups wants to hear at once.
    let at_once = "[[route]]\ngroup_wait = \"0s\"\ngroup_interval = \"0s\"\n";
    let config = if config.contains("group_wait") { config.to_owned() } else { config.replace("[[route]]\n", at_once) };
    let _ = writeln!(whole, "{config}");
    whole
}

/// `authorization` of the operator, whose token is in this data directory.
pub fn bearer(data_dir: &Path) -> String {
    let token = std::fs::read_to_string(data_dir.join("operator.token")).expect("each start makes a token");
    format!("Bearer {}", token.trim_end())
}

/// One GET on loopback: status and body.
pub async fn get(port: u16, path: &str, headers: &[(&str, &str)]) -> (u16, String) {
    send(port, "GET", path, headers, "").await
}

/// One request on loopback: status and body.
pub async fn send(port: u16, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> (u16, String) {
    let stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.expect("the agent listens");
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.expect("it speaks HTTP");
    let driver = TaskTracker::new().spawn(connection);
    let mut request = hyper::Request::builder().method(method).uri(path);
    if !headers.iter().any(|(name, _)| *name == "host") {
        request = request.header("host", "127.0.0.1");
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let body = Full::new(Bytes::copy_from_slice(body.as_bytes()));
    let response = sender.send_request(request.body(body).expect("a request")).await.expect("an answer");
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.expect("a body").to_bytes();
    driver.abort();
    (status, String::from_utf8_lossy(&body).into_owned())
}
