//! The tables of snapshots of real servers, each beside its entry in `config/tables.toml`.

use std::collections::BTreeSet;

use pharos::demo::postgres::{MONITORING_ROLE, PostgresServer, ShutdownMode};
use pharos_model::catalogue::tables::Tables;
use pharos_model::snapshot::Change;
use pharos_model::subject::SubjectKind;

use crate::fixture::wait::{holds, until};
use crate::fixture::{TestAgent, postgres, postgres_config, redis, redis_config, runtime_tasks};
use crate::topology::standby_of;

/// Tables that appear only in trouble, each with its kind of subject and what goes wrong in this test.
const IN_TROUBLE: [(&str, &str, &str); 3] = [
    ("postgres", "refusal", "the postmaster of the standby stands still"),
    ("postgres", "last_role", "the standby is stopped"),
    ("redis", "unreachable", "the Redis is killed"),
];

/// Kind of subject and name of tables that snapshots had.
type Seen = BTreeSet<(String, String)>;

/// Adds the tables of all snapshots that the agent shows now. Fails if one of them differs from the catalogue.
fn collect_tables(agent: &TestAgent, seen: &mut Seen) {
    for change in agent.agent.board().picture().subjects.values() {
        assert_eq!(change.uncatalogued(), Vec::<String>::new(), "{}", change.snapshot.subject.key());
        let tables = tables_of(change).into_iter().map(|table| (change.snapshot.subject.kind.to_string(), table));
        seen.extend(tables);
    }
}

fn tables_of(change: &Change) -> Vec<String> {
    let of_kind = Tables::shipped().of_kind(&change.snapshot.subject.kind);
    of_kind.filter(|spec| change.table(&spec.name).is_some()).map(|spec| spec.name.clone()).collect()
}

/// Every table of the catalogue, by kind of subject. A table of every subject counts once for each kind.
fn catalogued() -> Seen {
    let of_kind = |kind: SubjectKind| Tables::shipped().of_kind(&kind).map(|spec| (kind.to_string(), spec.name.clone())).collect::<Seen>();
    SubjectKind::observed().flat_map(of_kind).collect()
}

/// Waits until snapshots have had all these tables.
async fn wait_seen(agent: &TestAgent, seen: &mut Seen, wanted: &Seen) {
    until("snapshots with all tables", async || {
        collect_tables(agent, seen);
        let missing: Vec<&(String, String)> = wanted.difference(seen).collect();
        holds(missing.is_empty(), || format!("no snapshot had the tables {missing:?}"))
    })
    .await;
}

fn config(primary: &PostgresServer, standby: &PostgresServer) -> String {
    format!("{}replicas = [\"{}\"]\n", postgres_config("app", primary), standby.url(MONITORING_ROLE, "postgres"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_table_of_real_servers_is_as_the_catalogue_says_and_every_entry_is_a_table() {
    let (tasks, _stop) = runtime_tasks();
    let primary = postgres(&tasks).await;
    let mut standby = standby_of(&primary, "standby", &[], &tasks).await;
    let mut redis = redis(&tasks).await;
    let config = config(&primary, &standby) + &redis_config("cache", &[&redis]);
    let agent = TestAgent::start_with(&config, Vec::new()).await;
    let trouble: Seen = IN_TROUBLE.iter().map(|(kind, table, _)| ((*kind).to_owned(), (*table).to_owned())).collect();
    let calm: Seen = catalogued().difference(&trouble).cloned().collect();
    let mut seen = Seen::new();
    wait_seen(&agent, &mut seen, &calm).await;
    assert_eq!(seen.intersection(&trouble).count(), 0, "nothing is wrong yet: {seen:?}");

    standby.freeze_postmaster().await.unwrap();
    wait_seen(&agent, &mut seen, &[("postgres".to_owned(), "refusal".to_owned())].into()).await;
    standby.thaw_postmaster().unwrap();
    standby.stop(ShutdownMode::Immediate).await.unwrap();
    redis.kill().await.unwrap();
    wait_seen(&agent, &mut seen, &trouble).await;
    assert_eq!(seen, catalogued());
}
