//! No name or text in another encoding affects others, or is shown as another name. No text that may hold a password is logged unchanged.
//!
//! Names and texts in other encodings: each affects nothing else, is shown differently from every other one, and is reported.

use std::process::Stdio;

use pharos::demo::postgres::{MONITORING_ROLE, PostgresServer, SUPERUSER};
use pharos_model::subject::SubjectKey;
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};

use crate::fixture::program::{Running, command, output};
use crate::fixture::{TestAgent, postgres, postgres_config, runtime_tasks, server_id};

/// Feeds bytes to psql as a client of this encoding.
fn psql(server: &PostgresServer, datname: &str, encoding: &str) -> Child {
    let mut command = Command::new("psql");
    command.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-U", SUPERUSER, "-d", datname, "-h"]).arg(server.socket_dir());
    command.args(["-p", &server.port().to_string()]).env("PGCLIENTENCODING", encoding);
    command.stdin(Stdio::piped()).stderr(Stdio::piped()).stdout(Stdio::null()).kill_on_drop(true).spawn().expect("psql is installed")
}

async fn run(server: &PostgresServer, datname: &str, encoding: &str, sql: &[u8]) {
    let mut psql = psql(server, datname, encoding);
    psql.stdin.take().unwrap().write_all(sql).await.unwrap();
    let ended = psql.wait_with_output().await.unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
}

/// A session that stays, as a role and an application whose names are not UTF-8.
async fn stay(server: &PostgresServer) -> Child {
    let mut psql = psql(server, "ascii", "SQL_ASCII");
    let role = b"SET SESSION AUTHORIZATION \"caf\xe9\"; SET application_name = 'x'; BEGIN; SELECT 'caf\xe9', pg_sleep(600);\n";
    psql.stdin.as_mut().unwrap().write_all(role).await.unwrap();
    psql
}

/// A cluster in UTF-8 with a datname in LATIN1 and a datname that accepts any bytes, each with names of its own.
async fn furnish(server: &PostgresServer) {
    let admin = server.connect(SUPERUSER, "postgres").await.unwrap();
    for (datname, encoding) in [("latin", "LATIN1"), ("ascii", "SQL_ASCII")] {
        let create = format!("CREATE DATABASE {datname} ENCODING {encoding} TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'");
        admin.run(&create).await.unwrap();
    }
    let inside = b"CREATE SCHEMA \"sch\xe9ma\"; CREATE TABLE \"sch\xe9ma\".\"caf\xe9\" AS SELECT i AS \"num\xe9ro\" FROM generate_series(1, 50000) i;
        CREATE INDEX \"ind\xe9x\" ON \"sch\xe9ma\".\"caf\xe9\" (\"num\xe9ro\");
        CREATE SEQUENCE \"sch\xe9ma\".\"s\xe9q\" MAXVALUE 10; SELECT setval('\"sch\xe9ma\".\"s\xe9q\"', 9);
        GRANT SELECT ON ALL SEQUENCES IN SCHEMA \"sch\xe9ma\" TO pharos;
        ANALYZE;\n";
    run(server, "latin", "LATIN1", inside).await;
    run(server, "ascii", "SQL_ASCII", inside).await;
    run(server, "latin", "LATIN1", b"CREATE ROLE \"caf\xe9\" LOGIN CONNECTION LIMIT 7; CREATE DATABASE \"na\xefve\";\n").await;
    // These hold the characters of an escape.
    admin.run("CREATE ROLE \"caf\\xe9\" CONNECTION LIMIT 8").await.unwrap();
    admin.run("CREATE DATABASE \"na\\xefve\"").await.unwrap();
}

/// Every collector that reports a failure.
fn failing(parts: &Value) -> Vec<String> {
    let parts = parts.as_object().unwrap();
    parts.iter().filter(|(_, part)| part["state"] != "present").map(|(name, part)| format!("{name}: {part}")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_in_other_encodings_cost_nothing_but_themselves_and_no_two_are_shown_alike() {
    let (tasks, _stop) = runtime_tasks();
    let server = postgres(&tasks).await;
    furnish(&server).await;
    let _session = stay(&server).await;
    let agent = TestAgent::watch(&server).await;
    let parts = agent
        .wait_facts(&server_id(server.port()), |parts| {
            parts["subscription_tables"]["state"] == "present" && parts["visits"]["state"] == "present"
        })
        .await;
    assert_eq!(failing(&parts), Vec::<String>::new());
    // The label of the whole server is escaped, since the encoding of the name is unknown. The format escapes the backslash once more.
    for series in [
        r#"pharos_postgres_commits_total{database="app",server="S",datname="na\\xefve"}"#,
        r#"pharos_postgres_commits_total{database="app",server="S",datname="na\\x5cxefve"}"#,
        r#"pharos_postgres_datname_size_bytes{database="app",server="S",datname="na\\xefve"}"#,
        r#"pharos_postgres_role_connections_limit{database="app",server="S",user="caf\\xe9"} 7"#,
        r#"pharos_postgres_role_connections_limit{database="app",server="S",user="caf\\x5cxe9"} 8"#,
        r#"pharos_postgres_datname_visited{database="app",server="S",datname="na\\xefve"} 0"#,
        r#"pharos_postgres_datname_visited{database="app",server="S",datname="na\\x5cxefve"} 0"#,
        // Of a datname: as it is written there.
        r#"pharos_postgres_table_size_bytes{database="app",server="S",datname="latin",schema="schéma",relation="café"}"#,
        r#"pharos_postgres_index_size_bytes{database="app",server="S",datname="latin",schema="schéma",relation="café",index="indéx"}"#,
        r#"pharos_postgres_sequence_used_ratio{database="app",server="S",datname="latin",schema="schéma",sequence="séq"}"#,
        r#"pharos_postgres_table_size_bytes{database="app",server="S",datname="ascii",schema="sch\\xe9ma",relation="caf\\xe9"}"#,
        r#"pharos_postgres_sequence_used_ratio{database="app",server="S",datname="ascii",schema="sch\\xe9ma",sequence="s\\xe9q"}"#,
    ] {
        let series = series.replace("\"S\"", &format!("\"{}\"", server_id(server.port())));
        agent.wait_metrics(|metrics| metrics.contains(&series)).await;
    }
    let sessions = agent.json("/api/database/metrics").await.to_string();
    assert!(!sessions.contains('\u{fffd}'), "a character that stands for none is in the place of a name");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn doctor_reports_names_that_sql_cannot_contain_and_its_script_grants_the_rest() {
    let (tasks, _stop) = runtime_tasks();
    let server = postgres(&tasks).await;
    furnish(&server).await;
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("pharos.toml");
    std::fs::write(&config, format!("[agent]\ndata_dir = \"data\"\n{}", postgres_config("app", &server))).unwrap();
    let admin = server.connect(SUPERUSER, "postgres").await.unwrap();
    admin.run(&format!("REVOKE pg_monitor FROM {MONITORING_ROLE}")).await.unwrap();
    let report = async || {
        let (_, stdout, stderr) = output(&["doctor", "--config", config.to_str().unwrap(), "--json"]).await;
        serde_json::from_str::<Value>(&stdout).unwrap_or_else(|err| panic!("{err}: {stdout}{stderr}"))["servers"][0].clone()
    };
    let before = report().await;
    let script = before["script"].as_str().unwrap().to_owned();
    assert!(!script.contains("na\\x") && script.contains("\\set pharos_datname 'dbname=latin'"), "{script}");
    let parts = before["parts"].as_array().unwrap();
    for datname in ["na\\xefve", "na\\x5cxefve"] {
        let found: Vec<&Value> = parts.iter().filter(|part| part["datname"] == datname).collect();
        assert!(
            !found.is_empty() && found.iter().all(|part| part["why"].to_string().contains("no session can ask for it")),
            "{datname}: {before:#}"
        );
    }
    run(&server, "postgres", "UTF8", script.as_bytes()).await;
    let after = report().await;
    assert_eq!(after["script"], Value::Null, "{after:#}");
}

/// A statement and a setting with a password in them, and a byte that is not UTF-8.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_text_that_may_hold_a_password_is_not_logged_as_it_came() {
    let (tasks, _stop) = runtime_tasks();
    let server = postgres(&tasks).await;
    furnish(&server).await;
    let admin = server.connect(SUPERUSER, "ascii").await.unwrap();
    admin.run("CREATE EXTENSION pg_stat_statements").await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let url = server.url(MONITORING_ROLE, "ascii");
    let config = format!(
        "[agent]\ndata_dir = \"data\"\n[http]\nlisten = \"127.0.0.1:0\"\n[collect.interval]\nsettings = \"300ms\"\nstatements = \"300ms\"\n\
         [[database]]\nname = \"app\"\nprimary = \"{url}\"\n"
    );
    let path = folder.path().join("pharos.toml");
    std::fs::write(&path, config).unwrap();
    let secret = b"ALTER ROLE \"caf\xe9\" PASSWORD 'S3cret-\xe9'; ALTER SYSTEM SET primary_conninfo = 'host=a password=S3cret-\xe9'; \
        SELECT pg_reload_conf();\n";
    run(&server, "ascii", "SQL_ASCII", secret).await;
    let mut agent = Running::logging(command(&["run", "--config", path.to_str().unwrap()]));
    let mut seen = agent.lines_to("a text of the column value").await;
    // Texts are learnt of statements that run, and rarely.
    let again = async {
        loop {
            run(&server, "ascii", "SQL_ASCII", b"ALTER ROLE \"caf\xe9\" PASSWORD 'S3cret-\xe9';\n").await;
        }
    };
    tokio::select! {
        lines = agent.lines_to("a text of the column query") => seen.extend(lines),
        () = again => unreachable!("it goes on"),
    }
    agent.signal(rustix::process::Signal::TERM);
    let (_, rest) = agent.end().await;
    seen.extend(rest);
    let told: Vec<&String> = seen.iter().filter(|line| line.contains("S3cret")).collect();
    assert!(told.is_empty(), "{told:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_name_inside_a_datname_is_shown_as_it_is_written_there() {
    let (tasks, _stop) = runtime_tasks();
    let server = postgres(&tasks).await;
    furnish(&server).await;
    let inside = b"CREATE TABLE \"sch\xe9ma\".\"parent\xe9\" (\"cl\xe9\" int CONSTRAINT \"premi\xe8re\" PRIMARY KEY);
        CREATE TABLE \"sch\xe9ma\".\"enfant\xe9\" (\"\xe9tranger\" int CONSTRAINT \"li\xe9\" REFERENCES \"sch\xe9ma\".\"parent\xe9\", \"libell\xe9\" int);
        CREATE UNIQUE INDEX \"uniqu\xe9\" ON \"sch\xe9ma\".\"enfant\xe9\" (\"libell\xe9\");
        CREATE TABLE \"sch\xe9ma\".\"parti\xe9\" (\"ann\xe9e\" int) PARTITION BY RANGE (\"ann\xe9e\");
        CREATE TABLE \"sch\xe9ma\".\"compt\xe9\" (\"n\xb0\" smallserial);
        INSERT INTO \"sch\xe9ma\".\"parent\xe9\" SELECT generate_series(1, 30000);
        INSERT INTO \"sch\xe9ma\".\"enfant\xe9\" SELECT i, i FROM generate_series(1, 30000) i; ANALYZE;\n";
    run(&server, "latin", "LATIN1", inside).await;
    let agent = TestAgent::watch(&server).await;
    let key = SubjectKey::new("postgres", server_id(server.port()));
    let texts_of_latin = || {
        let picture = agent.agent.board().picture();
        let Some(change) = picture.subjects.get(&key) else { return String::new() };
        let parts = change.snapshot.parts.values().filter_map(|part| part.reading.as_ref());
        let tables: Vec<_> = parts.flat_map(|reading| reading.tables.iter().cloned()).collect();
        let rows = tables.iter().flat_map(|table| (0..table.row_count as usize).map(move |row| (table, row)));
        let rows = rows.filter(|(table, row)| table.text("datname", *row) == Some("latin"));
        let texts = rows.flat_map(|(table, row)| table.columns.iter().filter_map(move |column| table.text(&column.name, row)));
        texts.map(|text| format!("{text}\n")).collect()
    };
    for name in ["libellé", "uniqué", "lié", "étranger", "année", "n°", "schéma"] {
        agent.wait_metrics(|_| texts_of_latin().contains(name)).await;
    }
    assert!(!texts_of_latin().contains("\\x"), "{}", texts_of_latin());
}

/// The server converts the texts of all statements into the encoding of the session's datname, or none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_statement_that_the_server_cannot_convert_hides_no_other_one() {
    let (tasks, _stop) = runtime_tasks();
    let server = postgres(&tasks).await;
    furnish(&server).await;
    let admin = server.connect(SUPERUSER, "postgres").await.unwrap();
    admin.run("SELECT count(query) FROM pg_stat_statements").await.unwrap_err();
    let work = server.connect(SUPERUSER, "postgres").await.unwrap();
    let agent = TestAgent::watch(&server).await;
    agent
        .wait_series(&crate::fixture::series("pharos_postgres_statement_text_failures_total", server.port(), &[]), |count| count >= 1.0)
        .await;
    let again = async {
        loop {
            work.run("SELECT count(*) FROM pg_class WHERE relpages > 471147114711").await.unwrap();
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    let is_it = |item: &Value| item["query"] == "SELECT count(*) FROM pg_class WHERE relpages > ?";
    let path = "/api/database/slow-queries?threshold=0ms&limit=200";
    tokio::select! {
        _ = agent.wait_json(path, |answer| answer["items"].as_array().is_some_and(|items| items.iter().any(is_it))) => {}
        () = again => unreachable!("it goes on"),
    }
    agent.stop().await;
}
