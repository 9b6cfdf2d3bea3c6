//! No role is taken from the config, and no two servers that write are one primary.
//!
//! Databases of several servers: who is the primary, who follows and how far behind, through failovers, split brains and replaced clusters.

mod lag;

use std::io::Write as _;

use pharos::demo::postgres::{MONITORING_ROLE, PostgresOptions, PostgresServer, SUPERUSER, ShutdownMode};
use pharos::demo::receiver::{Count, Receiver};
use pharos::demo::session::Session;
use pharos::store::Store;
use pharos_model::event::{Event, EventDetail, RoleChange};
use pharos_model::postgres::topology::NewsKind;
use pharos_model::snapshot::Table;
use pharos_model::snapshot::{Change, Quantity};
use pharos_model::subject::SubjectKey;
use serde_json::Value;
use tokio_util::task::TaskTracker;

use crate::fixture::{
    PATIENCE, TestAgent, eventually, item, postgres, postgres_config, postgres_with, receiver_config, runtime_tasks, series, server_id,
    shipped, value_of,
};

/// Long enough that a probe cannot hide behind another, while all that is between a probe and `/metrics` takes a moment.
const PROBES: &str = r#"
[collect]
lock_timeout = "200ms"
statement_timeout = "700ms"
deadline = "1s"
connect_timeout = "1s"
budget = 1.0
[collect.interval]
server = "2s"
activity = "1s"
database = "500ms"
replication = "500ms"
"#;

/// No statistics are too young.
const INDEXES: &str = r#"
[collect]
budget = 1.0
unused_after = "0s"
[collect.interval]
server = "300ms"
topology = "300ms"
indexes = "1s"
"#;

fn config(primary: &PostgresServer, standbys: &[&PostgresServer]) -> String {
    let urls: Vec<String> = standbys.iter().map(|standby| standby.url(MONITORING_ROLE, "postgres")).collect();
    format!("{}replicas = {urls:?}\n", postgres_config("app", primary))
}

async fn session(server: &PostgresServer) -> Session {
    server.connect(SUPERUSER, "postgres").await.unwrap()
}

fn id(server: &PostgresServer) -> String {
    server_id(server.port())
}

/// A metric of the database `app` as a whole.
fn whole(metric: &str) -> String {
    format!("pharos_database_{metric}{{database=\"app\"}}")
}

/// A metric of one of its members.
fn of_member(metric: &str, server: &PostgresServer) -> String {
    format!("pharos_database_{metric}{{database=\"app\",member=\"{}\"}}", id(server))
}

/// The latest snapshot of the database `app`.
fn database(agent: &TestAgent) -> std::sync::Arc<Change> {
    let key = SubjectKey::new("database", "app");
    agent.agent.board().picture().subjects.get(&key).cloned().expect("the database is watched")
}

/// A row of the table `members`.
fn member(agent: &TestAgent, server: &PostgresServer) -> (Table, usize) {
    let table = database(agent).snapshot.table("members").cloned().expect("its members are known");
    let row = (0..table.row_count as usize).find(|row| table.text("member", *row) == Some(&id(server)));
    (table, row.expect("the server is a member"))
}

/// Whether a server sends to a client that decodes a logical slot.
fn is_logical(agent: &TestAgent, server: &PostgresServer, name: &str) -> bool {
    let key = SubjectKey::new("postgres", id(server));
    let picture = agent.agent.board().picture();
    let standbys = picture.subjects[&key].snapshot.table("standbys").expect("the table of senders is there");
    let row = (0..standbys.row_count as usize).find(|row| standbys.text("standby", *row) == Some(name));
    standbys.boolean("logical", row.expect("it is connected")).expect("every sender reports it")
}

/// The series with the number of times that the identity of a server was read.
fn runs(server: &PostgresServer) -> String {
    format!("pharos_collect_runs_total{{server=\"{}\",collector=\"server\"}}", id(server))
}

async fn probes(agent: &TestAgent, server: &PostgresServer) -> f64 {
    agent.series(&runs(server)).await.unwrap_or(0.0)
}

async fn wait_primary(agent: &TestAgent, server: &PostgresServer) {
    agent.wait_series(&of_member("primary_info", server), |is| is == 1.0).await;
}

/// A standby that has all that its primary has.
pub async fn standby_of(primary: &PostgresServer, name: &str, settings: &[(&str, &str)], tasks: &TaskTracker) -> PostgresServer {
    let settings = settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let standby = primary.start_standby(name, settings, tasks).await.unwrap();
    let writer = session(primary).await;
    writer.run(&format!("CREATE TABLE {name} ()")).await.unwrap();
    eventually(&session(&standby).await, &format!("SELECT to_regclass('{name}') IS NOT NULL")).await;
    standby
}

/// Makes a standby follow another server.
async fn follow(standby: &PostgresServer, primary: &PostgresServer) {
    let session = session(standby).await;
    let conninfo = format!("host=127.0.0.1 port={} user={SUPERUSER} application_name=moved", primary.port());
    session.run(&format!("ALTER SYSTEM SET primary_conninfo = '{conninfo}'")).await.unwrap();
    session.run("SELECT pg_reload_conf()").await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_promotion_is_followed_within_two_probes_and_the_others_lag_behind_the_new_primary() {
    let (tasks, _stop) = runtime_tasks();
    let mut first = postgres(&tasks).await;
    let second = standby_of(&first, "second", &[], &tasks).await;
    let third = standby_of(&first, "third", &[], &tasks).await;
    // The config names a standby as the primary: the agent only asks that server first.
    let agent = TestAgent::start_with(&format!("{}{PROBES}", config(&second, &[&first, &third])), Vec::new()).await;
    wait_primary(&agent, &first).await;
    agent.wait_series(&whole("members_up"), |up| up == 3.0).await;
    assert_eq!(agent.series(&whole("primaries")).await, Some(1.0));
    assert_eq!(agent.series(&whole("clusters")).await, Some(1.0));
    assert_eq!(agent.series(&whole("primary_changes_total")).await, Some(0.0));
    agent.wait_series(&of_member("member_lag_bytes", &third), |bytes| bytes == 0.0).await;
    assert_eq!(agent.series(&of_member("member_lag_bytes", &first)).await, None, "a primary does not lag");

    first.stop(ShutdownMode::Fast).await.unwrap();
    agent.wait_series(&whole("primaries"), |primaries| primaries == 0.0).await;
    session(&second).await.run("SELECT pg_promote()").await.unwrap();
    let before = probes(&agent, &second).await;
    // One scrape has both: the number of probes, and the known facts. Even a late scrape must not show three probes without a change.
    let is_primary = |metrics: &str| value_of(metrics, &of_member("primary_info", &second)) == Some(1.0);
    let asked = |metrics: &str| value_of(metrics, &runs(&second)).unwrap_or(0.0);
    let metrics = agent.wait_metrics(|metrics| is_primary(metrics) || asked(metrics) > before + 2.0).await;
    assert!(is_primary(&metrics), "{} probes passed", asked(&metrics) - before);
    assert_eq!(agent.series(&whole("primary_changes_total")).await, Some(1.0));
    assert_eq!(agent.series(&whole("split_brain")).await, Some(0.0));
    let (table, row) = member(&agent, &first);
    assert_eq!(
        (table.text("role", row), table.boolean("up", row)),
        (Some("primary"), Some(false)),
        "what it was last, and that it is gone"
    );
    assert_eq!(agent.series(&of_member("member_lag_bytes", &first)).await, None, "the lag is unknown");

    follow(&third, &second).await;
    let writer = session(&second).await;
    writer.run("CREATE TABLE after AS SELECT n, repeat('x', 500) FROM generate_series(1, 5000) n").await.unwrap();
    eventually(&session(&third).await, "SELECT to_regclass('after') IS NOT NULL").await;
    agent.wait_series(&of_member("member_lag_bytes", &third), |bytes| bytes == 0.0).await;
    assert_eq!(agent.series(&of_member("member_lag_seconds", &third)).await, Some(0.0));
    let (table, row) = member(&agent, &third);
    assert_eq!((table.integer("timeline", row), table.text("role", row)), (Some(2), Some("standby")));

    let folder = agent.stop().await;
    let told = role_changes(&folder.path().join("data")).await;
    let wanted = format!("the primary is now `{}`, no longer `{}`", id(&second), id(&first));
    assert!(told.iter().any(|change| change.database == "app" && change.text == wanted), "{told:?}");
}

/// A stored change of roles.
#[derive(Debug)]
struct StoredRoleChange {
    database: String,
    what: NewsKind,
    text: String,
}

/// Reads the changes of roles from the store of an agent that has stopped.
async fn role_changes(data_dir: &std::path::Path) -> Vec<StoredRoleChange> {
    let events = Store::open(data_dir).unwrap().events(1_000).await.unwrap();
    let change = |event: Event| match event.detail {
        EventDetail::Role(RoleChange { what, text }) => Some(StoredRoleChange { database: event.subject, what, text }),
        _ => None,
    };
    events.into_iter().filter_map(change).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_primary_that_returns_is_a_split_brain_until_it_is_gone() {
    let (tasks, stop) = runtime_tasks();
    let mut first = postgres(&tasks).await;
    let second = standby_of(&first, "second", &[], &tasks).await;
    let receiver = Receiver::start(None, &tasks, &stop).await.unwrap();
    let rule = r#"
[[plugin.threshold.settings.rules]]
id = "two-write"
metric = "pharos_database_split_brain"
above = 0
severity = "critical"
summary = "split brain of {database}"
"#;
    let config = [config(&first, &[&second]), rule.to_owned(), receiver_config(&receiver.url())].concat();
    let agent = TestAgent::start(&config).await;
    wait_primary(&agent, &first).await;
    first.stop(ShutdownMode::Immediate).await.unwrap();
    session(&second).await.run("SELECT pg_promote()").await.unwrap();
    wait_primary(&agent, &second).await;
    assert_eq!(agent.series(&whole("split_brain")).await, Some(0.0));

    first.restart().await.unwrap();
    agent.wait_series(&whole("split_brain"), |split| split == 1.0).await;
    assert_eq!(agent.series(&whole("primaries")).await, Some(2.0));
    assert_eq!(agent.series(&of_member("primary_info", &second)).await, Some(1.0), "the newer timeline leads");
    for (server, timeline) in [(&first, 1), (&second, 2)] {
        let (table, row) = member(&agent, server);
        assert_eq!((table.boolean("split_brain", row), table.integer("timeline", row)), (Some(true), Some(timeline)));
    }
    let fires = |alert: &Value| alert["rule"] == "two-write" && alert["state"] == "firing";
    let alerts = agent.wait_json("/api/alerts", |alerts| alerts["items"].as_array().unwrap().iter().any(fires)).await;
    let alert = alerts["items"].as_array().unwrap().iter().find(|alert| fires(alert)).unwrap();
    assert_eq!(alert["subject"], serde_json::json!({ "kind": "database", "id": "app" }));
    assert_eq!(alert["labels"], serde_json::json!({ "database": "app" }));

    assert_eq!(agent.series(&whole("primary_changes_total")).await, Some(1.0), "one was followed all the time");

    // The agent after this one goes on with the alert: its subject is not gone.
    let agent = TestAgent::start_in(agent.stop().await, &config, shipped()).await;
    agent.wait_series(&whole("split_brain"), |split| split == 1.0).await;
    assert_eq!(agent.series(&of_member("primary_info", &second)).await, Some(1.0));
    first.stop(ShutdownMode::Immediate).await.unwrap();
    agent.wait_series(&whole("split_brain"), |split| split == 0.0).await;
    // The server that is down suppresses its own alerts, but not those of the database.
    let told = receiver.wait_until(PATIENCE, |told| told.count("two-write") == Count { firing: 1, resolved: 1 }).await;
    assert!(told, "{:?}", receiver.received(|told| told.counts().clone()));

    let folder = agent.stop().await;
    let told = role_changes(&folder.path().join("data")).await;
    for what in [NewsKind::PrimaryChanged, NewsKind::SplitBrain, NewsKind::SplitBrainEnded] {
        assert!(told.iter().any(|change| change.what == what), "{what:?}: {told:?}");
    }
    let (one, other) = (id(&first), id(&second));
    let split = &told.iter().find(|change| change.what == NewsKind::SplitBrain).unwrap().text;
    assert!(split.contains(&one) && split.contains(&other), "{split}");
    stop.cancel();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_cluster_behind_the_same_address_is_reported_and_makes_no_rates() {
    let (tasks, _stop) = runtime_tasks();
    let (mut first, mut other) = (postgres(&tasks).await, postgres(&tasks).await);
    // So many transactions that a rate across the two would stand out.
    let busy = session(&other).await;
    busy.run("DO $$ BEGIN FOR i IN 1..20000 LOOP COMMIT; PERFORM txid_current(); END LOOP; END $$").await.unwrap();
    drop(busy);
    other.stop(ShutdownMode::Fast).await.unwrap();
    let mut settings = std::fs::OpenOptions::new().append(true).open(other.data_dir().join("postgresql.conf")).unwrap();
    writeln!(settings, "port = {}", first.port()).unwrap();

    let agent = TestAgent::watch(&first).await;
    wait_primary(&agent, &first).await;
    let mut published = agent.agent.board().snapshots();
    let key = SubjectKey::new("postgres", id(&first));
    let before = identity(&agent, &key);
    first.stop(ShutdownMode::Fast).await.unwrap();
    other.restart().await.unwrap();

    let mut rates = 0;
    while rates < 5 {
        published.changed().await.unwrap();
        let picture = agent.agent.board().picture();
        let samples = picture.subjects[&key].samples("pharos_postgres_commits_total", &[], Quantity::Rate);
        assert!(samples.values.iter().all(|rate| *rate < 1_000.0), "{:?}", samples.values);
        let is_other = identity(&agent, &key).0 != before.0;
        rates += u32::from(is_other && !samples.values.is_empty());
    }
    let after = identity(&agent, &key);
    assert!(before.0.is_some() && after.0.is_some() && before != after, "{before:?} {after:?}");
    agent.wait_series(&whole("primary_changes_total"), |changes| changes == 1.0).await;
    assert_eq!(agent.series(&whole("clusters")).await, Some(1.0));
    let folder = agent.stop().await;
    let told = role_changes(&folder.path().join("data")).await;
    assert!(told.iter().any(|change| change.what == NewsKind::ClusterReplaced), "{told:?}");
}

/// System identifier and epoch of a server.
fn identity(agent: &TestAgent, key: &SubjectKey) -> (Option<String>, Option<u64>) {
    let picture = agent.agent.board().picture();
    let snapshot = &picture.subjects[key].snapshot;
    let identifier = snapshot.table("identity").and_then(|table| table.text("system_identifier", 0)).map(str::to_owned);
    (identifier, snapshot.parts.get("server").and_then(|part| part.reading.as_ref()).map(|reading| reading.epoch))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_of_two_clusters_are_distinguished_and_are_no_split_brain() {
    let (tasks, _stop) = runtime_tasks();
    let (first, stranger) = (postgres(&tasks).await, postgres(&tasks).await);
    let second = standby_of(&first, "second", &[], &tasks).await;
    let agent = TestAgent::start_with(&config(&first, &[&second, &stranger]), Vec::new()).await;
    agent.wait_series(&whole("clusters"), |clusters| clusters == 2.0).await;
    wait_primary(&agent, &first).await;
    let before = probes(&agent, &stranger).await;
    agent.wait_series(&of_member("member_lag_bytes", &second), |bytes| bytes == 0.0).await;
    let runs = format!("pharos_collect_runs_total{{server=\"{}\",collector=\"server\"}}", id(&stranger));
    agent.wait_series(&runs, |runs| runs >= before + 3.0).await;
    assert_eq!(agent.series(&whole("primaries")).await, Some(2.0));
    assert_eq!(agent.series(&whole("split_brain")).await, Some(0.0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_has_its_servers_as_members_with_their_rates_and_is_no_server_itself() {
    let (tasks, _stop) = runtime_tasks();
    let primary = postgres(&tasks).await;
    let standby = standby_of(&primary, "second", &[], &tasks).await;
    let agent = TestAgent::start_with(&config(&primary, &[&standby]), Vec::new()).await;
    wait_primary(&agent, &primary).await;
    agent
        .wait_metrics(|_| {
            let database = database(&agent);
            let rates = |member: &std::sync::Arc<Change>| member.samples("pharos_postgres_commits_total", &[], Quantity::Rate);
            let names: Vec<&str> = database.snapshot.members.iter().map(|member| member.snapshot.subject.id.as_str()).collect();
            assert_eq!(names, [id(&primary), id(&standby)]);
            database.snapshot.members.iter().all(|member| !rates(member).values.is_empty())
        })
        .await;
    let facts = agent.json("/api/database/metrics?database=app").await;
    assert_eq!(facts["items"].as_array().unwrap().len(), 2, "{facts:#}");
    let services = agent.json("/api/services/status").await;
    assert!(item(&services, "name", "database app").is_none(), "{services:#}");
    agent.wait_json("/readyz", |ready| ready["ready"] == true).await;
    let metrics = agent.text("/metrics").await;
    assert_eq!(metrics.matches("pharos_database_members{").count(), 1, "{metrics}");
    assert!(!metrics.contains("pharos_collect_age_seconds{server=\"app\""), "{metrics}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscription_shows_whether_it_works_and_how_often_it_failed() {
    let (tasks, _stop) = runtime_tasks();
    let settings = || vec![("wal_level".to_owned(), "logical".to_owned()), ("wal_retrieve_retry_interval".to_owned(), "200ms".to_owned())];
    let publisher = postgres_with(PostgresOptions { settings: settings(), ..PostgresOptions::default() }, &tasks).await;
    let subscriber = postgres_with(PostgresOptions { settings: settings(), ..PostgresOptions::default() }, &tasks).await;
    let (sends, takes) = (session(&publisher).await, session(&subscriber).await);
    for side in [&sends, &takes] {
        // The first copy fails: it is there already.
        side.run("CREATE TABLE t (i int PRIMARY KEY); INSERT INTO t VALUES (0)").await.unwrap();
    }
    sends.run("CREATE PUBLICATION p FOR TABLE t").await.unwrap();
    let conninfo = format!("host=127.0.0.1 port={} user={SUPERUSER} dbname=postgres", publisher.port());
    takes.run(&format!("CREATE SUBSCRIPTION s CONNECTION '{conninfo}' PUBLICATION p")).await.unwrap();
    let agent =
        TestAgent::start_with(&format!("{}{}", postgres_config("app", &subscriber), postgres_config("source", &publisher)), Vec::new())
            .await;
    let labels = [("datname", "postgres"), ("subscription", "s")];
    let of = |metric: &str| series(metric, subscriber.port(), &labels);
    agent.wait_series(&of("pharos_postgres_subscription_up"), |up| up == 1.0).await;
    agent.wait_series(&of("pharos_postgres_subscription_message_age_seconds"), |age| age < 60.0).await;
    let slot = |metric: &str| series(metric, publisher.port(), &[("slot", "s"), ("slot_type", "logical")]).replace("app", "source");
    agent.wait_series(&slot("pharos_postgres_slot_active"), |active| active == 1.0).await;
    agent.wait_series(&slot("pharos_postgres_slot_confirmed_lag_bytes"), |bytes| bytes < 1e6).await;
    agent.wait_series(&slot("pharos_postgres_slot_spill_bytes_total"), |bytes| bytes >= 0.0).await;
    assert!(is_logical(&agent, &publisher, "s"), "a subscriber is no standby");

    agent.wait_series(&of("pharos_postgres_subscription_sync_errors_total"), |errors| errors >= 1.0).await;
    agent.wait_series(&of("pharos_postgres_subscription_tables_not_ready"), |tables| tables == 1.0).await;
    takes.run("DELETE FROM t").await.unwrap();
    agent.wait_series(&of("pharos_postgres_subscription_tables_not_ready"), |tables| tables == 0.0).await;

    // Nor can a row that is there already be applied.
    eventually(&takes, "SELECT bool_and(srsubstate = 'r') FROM pg_subscription_rel").await;
    takes.run("INSERT INTO t VALUES (1)").await.unwrap();
    sends.run("INSERT INTO t VALUES (1)").await.unwrap();
    agent.wait_series(&of("pharos_postgres_subscription_apply_errors_total"), |errors| errors >= 1.0).await;
    takes.run("DELETE FROM t WHERE i = 1").await.unwrap();
    eventually(&takes, "SELECT count(*) = 2 FROM t").await;
    takes.run("ALTER SUBSCRIPTION s DISABLE").await.unwrap();
    agent.wait_series(&of("pharos_postgres_subscription_enabled"), |enabled| enabled == 0.0).await;
    agent.wait_series(&of("pharos_postgres_subscription_up"), |up| up == 0.0).await;
    agent.wait_series(&slot("pharos_postgres_slot_active"), |active| active == 0.0).await;
    takes.run("ALTER SUBSCRIPTION s SET (slot_name = NONE); DROP SUBSCRIPTION s").await.unwrap_or_default();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_index_that_a_standby_reads_is_used_and_one_without_readers_is_not() {
    let (tasks, _stop) = runtime_tasks();
    let primary = postgres(&tasks).await;
    let writer = session(&primary).await;
    writer
        .run("CREATE TABLE t (a int PRIMARY KEY, b int, c int); INSERT INTO t SELECT n, n, n FROM generate_series(1, 1000) n")
        .await
        .unwrap();
    writer.run("CREATE INDEX read_there ON t (b); CREATE INDEX dead ON t (c)").await.unwrap();
    let mut standby = standby_of(&primary, "second", &[], &tasks).await;
    let reader = session(&standby).await;
    reader.run("SET enable_seqscan = off; SET enable_bitmapscan = off; SELECT FROM t WHERE b = 1").await.unwrap();
    drop(reader);
    let agent = TestAgent::start_with(&format!("{}{INDEXES}", config(&primary, &[&standby])), Vec::new()).await;
    let unused = |asked: i64| {
        let database = database(&agent);
        let Some(table) = database.snapshot.table("unused_indexes") else { return Vec::new() };
        let rows = (0..table.row_count as usize).filter(|row| table.integer("members_asked", *row) == Some(asked));
        rows.map(|row| table.text("index", row).unwrap().to_owned()).collect::<Vec<_>>()
    };
    let count = whole("unused_indexes");
    agent.wait_series(&count, |count| count == 1.0).await;
    assert_eq!((unused(2), unused(1)), (vec!["dead".to_owned()], Vec::new()));

    // Without the standby, neither index can be judged.
    standby.stop(ShutdownMode::Fast).await.unwrap();
    agent.wait_series(&count, |count| count == 0.0).await;
    let mut left = unused(1);
    left.sort_unstable();
    assert_eq!((left, unused(2)), (vec!["dead".to_owned(), "read_there".to_owned()], Vec::new()));
}
