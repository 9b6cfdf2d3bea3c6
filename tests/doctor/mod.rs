//! No missing right stays unnamed, and no right is granted that is not used for reading.
//!
//! `pharos doctor` on real servers: it reports exactly what is missing, and its script, given to psql as it is, grants all of it.

mod attacks;

use std::path::Path;
use std::process::Stdio;

use pharos::demo::application::{Application, DATNAME};
use pharos::demo::postgres::{Authentication, MONITORING_ROLE, PostgresOptions, PostgresServer, SUPERUSER, ShutdownMode};
use pharos::demo::session::Session;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::fixture::program::output;
use crate::fixture::{postgres, postgres_with, redis, redis_config, runtime_tasks, server_id};
use crate::versions::{MAJORS, start, versions};

/// Names that would break out of a script that does not quote them.
const ROLE: &str = "ph\"a'r\\os; DROP";
const CLOSED: &str = "it's \"odd\" \\ host=evil";
const LINES: &str = "two\n\\! lines";
const SCHEMA: &str = "sche\"ma\n'x'";

fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn encoded(text: &str) -> String {
    text.bytes().map(|byte| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

/// A config in a folder of its own.
fn configured(config: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("pharos.toml"), format!("[agent]\ndata_dir = \"data\"\n{config}")).unwrap();
    folder
}

async fn doctor(folder: &TempDir, arguments: &[&str]) -> (Option<i32>, String, String) {
    let config = folder.path().join("pharos.toml").display().to_string();
    output(&[&["doctor", "--config", &config], arguments].concat()).await
}

/// The report as JSON, checked against the exit code.
async fn report(folder: &TempDir) -> Value {
    let (code, stdout, stderr) = doctor(folder, &["--json"]).await;
    let report: Value = serde_json::from_str(&stdout).unwrap_or_else(|err| panic!("{err}: {stdout}{stderr}"));
    assert_eq!(code, Some(if report["ok"] == true { 0 } else { 1 }), "{report:#}");
    report
}

/// State and reasons of a part.
fn part<'a>(server: &'a Value, part: &str, datname: Option<&str>) -> (&'a str, String) {
    let parts = server["parts"].as_array().unwrap();
    let found = parts.iter().find(|entry| entry["part"] == part && entry["datname"].as_str() == datname);
    let found = found.unwrap_or_else(|| panic!("no {part} in {datname:?}: {server:#}"));
    let why: Vec<&str> = found["why"].as_array().unwrap().iter().map(|why| why.as_str().unwrap()).collect();
    (found["state"].as_str().unwrap(), why.join("; "))
}

fn reason<'a>(server: &'a Value, part: &str, datname: Option<&str>) -> &'a Value {
    let parts = server["parts"].as_array().unwrap();
    let found = parts.iter().find(|entry| entry["part"] == part && entry["datname"].as_str() == datname);
    &found.unwrap_or_else(|| panic!("no {part} in {datname:?}: {server:#}"))["reason"]
}

/// Feeds a script to psql as a superuser would.
async fn psql(server: &PostgresServer, script: &str) {
    let mut command = Command::new("psql");
    command.args(["-X", "-U", SUPERUSER, "-d", "template1", "-h"]).arg(server.socket_dir()).args(["-p", &server.port().to_string()]);
    let mut psql = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("psql is installed");
    psql.stdin.take().unwrap().write_all(script.as_bytes()).await.unwrap();
    let ended = psql.wait_with_output().await.unwrap();
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(ended.status.success() && !said.contains("ERROR") && !said.contains("invalid"), "{said}\n{script}");
}

async fn superuser(server: &PostgresServer, datname: &str) -> Session {
    server.connect(SUPERUSER, datname).await.unwrap()
}

/// Datnames and sequences with names of all kinds, and a role that may log in.
async fn furnish(server: &PostgresServer) {
    let setup = superuser(server, "postgres").await;
    setup.run(&format!("CREATE ROLE {} LOGIN NOINHERIT; CREATE ROLE maker", identifier(ROLE))).await.unwrap();
    for datname in [CLOSED, LINES] {
        setup.run(&format!("CREATE DATABASE {}", identifier(datname))).await.unwrap();
        let inside = superuser(server, datname).await;
        let schema = identifier(SCHEMA);
        inside.run(&format!("CREATE SCHEMA {schema} AUTHORIZATION maker; SET ROLE maker; CREATE SEQUENCE {schema}.\"a'b\"")).await.unwrap();
    }
    setup.run(&format!("REVOKE CONNECT ON DATABASE {} FROM PUBLIC", identifier(CLOSED))).await.unwrap();
    setup
        .run("CREATE TABLE numbered (id serial, text text); INSERT INTO numbered (text) VALUES ('secret'); ANALYZE numbered")
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn doctor_reports_all_rights_that_a_bare_role_lacks_and_its_script_grants_them_on_every_version() {
    let (tasks, _stop) = runtime_tasks();
    let folder = versions();
    for major in MAJORS {
        let server = start(&folder, major, &tasks).await;
        furnish(&server).await;
        let url = server.url(&encoded(ROLE), "postgres");
        let config = configured(&format!("[[database]]\nname = \"app\"\nprimary = \"{url}\"\n"));
        let before = report(&config).await;
        let found = &before["servers"][0];
        assert_eq!((&found["role"], &found["standby"], &found["refused"]), (&Value::from(ROLE), &Value::from(false), &Value::Null));
        assert!(found["version"].as_str().unwrap().starts_with(&major.to_string()), "{found:#}");
        for name in ["activity", "locks", "replication", "statements"] {
            assert_eq!(part(found, name, None).0, "unsupported", "{found:#}");
            assert_eq!(reason(found, name, None), "privilege", "{found:#}");
        }
        assert_eq!(part(found, "server", None), ("ok", String::new()));
        assert_ne!(part(found, "tables", Some("postgres")).0, "ok");
        let (state, why) = part(found, "sequences", Some(LINES));
        assert!(state == "reduced" && why.contains("values of some sequences"), "{major}: {state} {why}");
        let (state, why) = part(found, "sequences", Some(CLOSED));
        assert!(state == "unsupported" && why.contains("may not connect to it"), "{major}: {state} {why}");
        assert_eq!(reason(found, "sequences", Some(CLOSED)), "privilege", "{found:#}");
        assert_eq!(reason(found, "sequences", Some(LINES)), "privilege", "what is less for want of a right");
        assert_eq!(reason(found, "server", None), &Value::Null);
        let (_, stdout, _) = doctor(&config, &[]).await;
        assert!(stdout.lines().any(|line| line.starts_with("  no right ") && line.contains("activity")), "{stdout}");

        // With pg_monitor alone the rest is still silently less.
        let monitor = configured(&format!("[[database]]\nname = \"app\"\nprimary = \"{}\"\n", server.url(MONITORING_ROLE, "postgres")));
        let reduced = report(&monitor).await;
        for (name, without) in [("tables", "bloat"), ("indexes", "bloat"), ("sequences", "values of some sequences")] {
            let (state, why) = part(&reduced["servers"][0], name, Some("postgres"));
            assert!(state == "reduced" && why.contains(without), "{major}: {name} {state} {why}");
        }

        psql(&server, found["script"].as_str().unwrap()).await;
        let after = report(&config).await;
        assert_eq!((&after["ok"], &after["servers"][0]["script"]), (&Value::from(true), &Value::Null), "{major}: {after:#}");
        let (code, stdout, _) = doctor(&config, &[]).await;
        assert!(code == Some(0) && stdout.ends_with("nothing is missing\n"), "{stdout}");
        sees_enough_and_no_more(&server).await;
    }
}

/// What was granted opens no table and no value of one; what is made later is seen too.
async fn sees_enough_and_no_more(server: &PostgresServer) {
    let role = server.connect(ROLE, "postgres").await.unwrap();
    for closed in ["SELECT text FROM numbered", "SELECT stavalues1::text FROM pg_statistic", "SELECT nextval('numbered_id_seq')"] {
        let refused = role.run(closed).await.unwrap_err();
        assert!(format!("{refused:?}").contains("42501"), "{closed}: {refused:?}");
    }
    assert!(role.query_value::<bool>("SELECT count(stawidth) > 0 FROM pg_statistic").await.unwrap());
    for datname in [CLOSED, LINES] {
        let maker = superuser(server, datname).await;
        maker.run(&format!("SET ROLE maker; CREATE SEQUENCE {}.later", identifier(SCHEMA))).await.unwrap();
        let role = server.connect(ROLE, datname).await.unwrap();
        let seen = "SELECT bool_and(has_sequence_privilege(oid, 'SELECT')) FROM pg_class WHERE relkind = 'S'";
        assert!(role.query_value::<bool>(seen).await.unwrap(), "{datname}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_that_needs_a_restart_is_advice_and_a_standby_refers_to_its_primary() {
    let (tasks, _stop) = runtime_tasks();
    let settings = [("shared_preload_libraries", ""), ("track_activities", "off")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    let server = postgres_with(PostgresOptions { settings: settings.into(), ..PostgresOptions::default() }, &tasks).await;
    superuser(&server, "postgres").await.run("CREATE ROLE bare LOGIN; DROP EXTENSION pg_stat_statements").await.unwrap();
    let standby = server.start_standby("second", Vec::new(), &tasks).await.unwrap();
    let urls = [&server, &standby].map(|server| server.url("bare", "postgres"));
    let config = configured(&format!("[[database]]\nname = \"app\"\nprimary = \"{}\"\nreplicas = [\"{}\"]\n", urls[0], urls[1]));
    let report = report(&config).await;
    let [primary, second] = [0, 1].map(|at| &report["servers"][at]);
    let script = primary["script"].as_str().unwrap();
    assert!(script.contains("-- shared_preload_libraries") && !script.contains("CREATE EXTENSION"), "{script}");
    assert!(script.contains("-- ALTER SYSTEM SET track_activities = on;"), "{script}");
    assert_eq!(second["standby"], true);
    assert!(second["script"].as_str().unwrap().starts_with("-- This server is a standby: run it on its primary"), "{second:#}");
    // The printed text reports it once.
    let (_, stdout, _) = doctor(&config, &[]).await;
    assert_eq!(stdout.matches("GRANT pg_monitor TO \"bare\";").count(), 1, "{stdout}");
    let (_, alone, _) = doctor(&config, &["--server", &server_id(standby.port())]).await;
    assert!(alone.contains("-- This server is a standby") && !alone.contains(&server_id(server.port())), "{alone}");
    // What was granted comes to the standby by itself.
    psql(&server, script).await;
    let wait = superuser(&standby, "postgres").await;
    crate::fixture::eventually(&wait, "SELECT has_column_privilege('bare', 'pg_catalog.pg_statistic', 'stadistinct', 'SELECT')").await;
    let (code, stdout, _) = doctor(&config, &["--database", "app"]).await;
    assert!(code == Some(1) && stdout.contains("track_activities") && !stdout.contains("GRANT"), "{stdout}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_does_not_answer_is_reported_with_its_reason_and_no_secret_is_printed() {
    let (tasks, _stop) = runtime_tasks();
    let authentication = Authentication::Scram { password: "first".to_owned() };
    let mut server = postgres_with(PostgresOptions { authentication, ..PostgresOptions::default() }, &tasks).await;
    let mut cache = redis(&tasks).await;
    let url = server.url(MONITORING_ROLE, "postgres");
    let text =
        format!("[[database]]\nname = \"app\"\nprimary = \"{url}\"\npassword_file = \"password\"\n{}", redis_config("cache", &[&cache]));
    let config = configured(&text);
    std::fs::write(config.path().join("password"), "not-the-right-one").unwrap();
    let found = report(&config).await;
    assert_eq!(found["servers"][0]["refused"]["reason"], "authentication", "{found:#}");
    assert_eq!((&found["servers"][1]["kind"], &found["servers"][1]["ok"]), (&Value::from("redis"), &Value::from(true)), "{found:#}");
    let (_, stdout, stderr) = doctor(&config, &[]).await;
    assert!(!format!("{found}{stdout}{stderr}").contains("not-the-right-one"), "{stdout}{stderr}");
    assert!(stdout.contains("cannot connect: the server does not accept the password") && stdout.contains("Redis 7"), "{stdout}");
    server.stop(ShutdownMode::Fast).await.unwrap();
    cache.stop().await.unwrap();
    let found = report(&config).await;
    assert!((0..2).all(|at| found["servers"][at]["refused"]["reason"] == "unreachable"), "{found:#}");
    for typed in ["[::1]:1", "::1:1"] {
        let config = configured("[[database]]\nname = \"six\"\nprimary = \"postgresql://pharos@[::1]:1/postgres\"\n");
        let (code, stdout, stderr) = doctor(&config, &["--server", typed]).await;
        assert!(code == Some(1) && stderr.is_empty() && stdout.contains("::1:1"), "{typed}: {stdout}{stderr}");
    }
    let (code, _, stderr) = doctor(&config, &["--server", "nowhere:1"]).await;
    assert!(code == Some(1) && stderr.contains(&server_id(server.port())), "{stderr}");
    std::fs::write(config.path().join("pharos.toml"), "[agnet]\n").unwrap();
    assert_eq!(doctor(&config, &[]).await.0, Some(78));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_output_fits_a_terminal_and_no_session_is_left_behind() {
    let (tasks, _stop) = runtime_tasks();
    let server = postgres(&tasks).await;
    let setup = superuser(&server, "postgres").await;
    setup.run("CREATE ROLE bare LOGIN").await.unwrap();
    let config = configured(&format!("[[database]]\nname = \"app\"\nprimary = \"{}\"\n", server.url("bare", "postgres")));
    let (code, stdout, stderr) = doctor(&config, &[]).await;
    assert!(code == Some(1) && stderr.is_empty(), "{stdout}{stderr}");
    let wide: Vec<&str> = stdout.lines().filter(|line| line.chars().count() > 80).collect();
    assert!(wide.is_empty(), "{wide:?}");
    crate::fixture::eventually(
        &setup,
        "SELECT count(*) = 0 FROM pg_stat_activity WHERE application_name LIKE 'pharos%' AND usename = 'bare'",
    )
    .await;
    assert!(!Path::new(&config.path().join("data")).exists(), "it keeps no state");
}

/// Else the demo's first alert is about the demo itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_role_of_the_demo_lacks_nothing() {
    let (tasks, stop) = runtime_tasks();
    let server = postgres(&tasks).await;
    let redis = redis(&tasks).await;
    let application = Application::install(&server, &redis).await.unwrap();
    for datname in [DATNAME, "postgres"] {
        server.grant_reads(datname).await.unwrap();
    }
    let url = server.url(MONITORING_ROLE, DATNAME);
    let report = report(&configured(&format!("[[database]]\nname = \"app\"\nprimary = \"{url}\"\n"))).await;
    assert_eq!(report["ok"], true, "{report:#}");
    drop(application);
    stop.cancel();
}
