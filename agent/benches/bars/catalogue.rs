//! The cost of monitoring a server with a thousand tables, beside Debian's prometheus-postgres-exporter on the same server.
//!
//! The exporter collects its own families and those of the example queries of its package, with the column names that pg_stat_statements
//! has since PostgreSQL 13. The agent reads the same families once a second, and then all its facts. Agent and exporter run in turn, in the
//! same minutes.

use std::io::Write;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context;
use bytesize::ByteSize;
use pharos::demo::binaries::PostgresBinaries;
use pharos::demo::port::free_port;
use pharos::demo::postgres::{MONITORING_ROLE, PostgresOptions, PostgresServer, SUPERUSER};
use tempfile::NamedTempFile;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};
use tokio_util::task::TaskTracker;

use super::agent::{Client, Place};
use super::processes::{cpu_of, cpu_of_server, resident};
use super::table::{Table, Times};

const TABLES: usize = 1_000;
const STATEMENTS: usize = 2_000;
const EXPORTER: &str = "/usr/bin/prometheus-postgres-exporter";
const EXPORTER_QUERIES: &str = "/usr/share/doc/prometheus-postgres-exporter/examples/queries.yaml";
/// Turns of each peer, and how long one takes.
const TURNS: usize = 5;
const TURN: Duration = Duration::from_secs(12);
/// Longest wait for the tables, indexes and statements to exist. A machine that needs more cannot be measured.
const SETUP_MAX: Duration = Duration::from_mins(2);
/// The interval of Prometheus' own example configuration.
const SCRAPES_PER_MINUTE: u32 = 4;
const SCRAPES: usize = 100;
const EXPORTER_SCRAPES: usize = 20;
const MEMORY_BAR: ByteSize = ByteSize::mib(64);
/// The largest table of all, which is locked.
const LARGEST: &str = "t1";

pub async fn measure(table: &mut Table, time: Duration) -> anyhow::Result<()> {
    let server = server().await.context("preparing a server with a thousand tables")?;
    let exporter = match Exporter::start(&server).await {
        Ok(exporter) => Some(exporter),
        Err(err) => {
            table.absent("the same families read by prometheus-postgres-exporter", &format!("{err:#}"));
            None
        }
    };
    let mut per_scrape = None;
    if let Some(exporter) = &exporter {
        let same = intervals(&SAME_FAMILIES);
        let what = "CPU time of PostgreSQL per collection of the same families";
        server_cost(table, &server, exporter, (what, &same, &SAME_FAMILIES), Some(1.0 / 3.0)).await?;
        let everything = [&SAME_FAMILIES[..], &MORE_FAMILIES].concat();
        let what = "the same with indexes, I/O, sequences and all else that it cannot tell";
        per_scrape = Some(server_cost(table, &server, exporter, (what, &intervals(&everything), &everything), None).await?);
    }
    at_rest(table, &server, exporter.as_ref(), per_scrape, time).await?;
    locked(table, &server).await
}

/// A thousand tables with three indexes each, and two thousand statements.
async fn server() -> anyhow::Result<PostgresServer> {
    let binaries = PostgresBinaries::find(None).await?;
    let server = PostgresServer::start(&binaries, PostgresOptions::default(), &TaskTracker::new()).await?;
    server.create_monitoring_role(None).await?;
    let session = server.connect(SUPERUSER, "postgres").await?;
    session.run("CREATE EXTENSION IF NOT EXISTS pg_stat_statements").await?;
    // Work that the server does by itself must not be measured.
    session.run("ALTER SYSTEM SET autovacuum = off").await?;
    session.run("SELECT pg_reload_conf()").await?;
    for first in (1..=TABLES).step_by(100) {
        let tables: Vec<String> = (first..first + 100)
            .map(|table| {
                format!(
                    "CREATE TABLE t{table} (id int PRIMARY KEY, a int, b text); CREATE INDEX ON t{table} (a); CREATE INDEX ON t{table} (b); \
                     INSERT INTO t{table} SELECT i, i, i::text FROM generate_series(1, 100) i"
                )
            })
            .collect();
        session.run_within(SETUP_MAX, &tables.join(";")).await?;
    }
    let fill = format!("INSERT INTO {LARGEST} SELECT i, i, i::text FROM generate_series(101, 200000) i; ANALYZE");
    session.run_within(SETUP_MAX, &fill).await?;
    for statement in 0..STATEMENTS {
        // Another number of columns, another statement.
        let columns = vec!["1"; statement / TABLES + 1].join(", ");
        session.run(&format!("SELECT {columns} FROM t{}", statement % TABLES + 1)).await?;
    }
    Ok(server)
}

/// The peer, listening on a port of its own.
struct Exporter {
    child: Child,
    port: u16,
    _queries: NamedTempFile,
}

impl Exporter {
    async fn start(server: &PostgresServer) -> anyhow::Result<Self> {
        anyhow::ensure!(Path::new(EXPORTER).exists(), "it is not installed: apt-get install prometheus-postgres-exporter");
        let port = free_port().await?;
        let queries = queries()?;
        let child = Command::new(EXPORTER)
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .arg(format!("--extend.query-path={}", queries.path().display()))
            .env("DATA_SOURCE_NAME", format!("{}?sslmode=disable", server.url(MONITORING_ROLE, "postgres")))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        let exporter = Self { child, port, _queries: queries };
        let started = Instant::now();
        while exporter.scrape().await.is_err() {
            anyhow::ensure!(started.elapsed() < Duration::from_secs(30), "it does not answer");
            sleep(Duration::from_millis(100)).await;
        }
        Ok(exporter)
    }

    async fn scrape(&self) -> anyhow::Result<usize> {
        let mut client = Client::connect(([127, 0, 0, 1], self.port).into()).await?;
        let text = client.get("/metrics").await?;
        Ok(text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty() && !line.starts_with(b"#")).count())
    }

    fn resident(&self) -> anyhow::Result<u64> {
        resident(self.child.id().context("it ended")?)
    }
}

/// The exporter's example, whose statements fail on servers of today.
fn queries() -> anyhow::Result<NamedTempFile> {
    let mut text = std::fs::read_to_string(EXPORTER_QUERIES).context("reading the exporter's example of queries")?;
    for time in ["total", "min", "max", "mean", "stddev"] {
        text = text.replace(&format!(" {time}_time / 1000"), &format!(" {time}_exec_time / 1000"));
    }
    let mut file = NamedTempFile::with_suffix(".yaml")?;
    file.write_all(text.as_bytes())?;
    Ok(file)
}

/// CPU time of the server per collection: the agent's, then the exporter's, in turns. Returns the exporter's.
async fn server_cost(
    table: &mut Table,
    server: &PostgresServer,
    exporter: &Exporter,
    (what, intervals, collectors): (&str, &str, &[&str]),
    bar: Option<f64>,
) -> anyhow::Result<Duration> {
    let place = Place::of(&config(server, intervals)).await?;
    let (mut agent_cpu, mut collections) = (Duration::ZERO, 0.0);
    let (mut exporter_cpu, mut scrapes) = (Duration::ZERO, 0.0);
    for _ in 0..TURNS {
        let process = place.start()?;
        let before = begun(&place, collectors).await?;
        let cpu = cpu_of_server(server)?;
        sleep(TURN).await;
        collections += runs(&place, collectors).await? - before;
        agent_cpu += cpu_of_server(server)?.saturating_sub(cpu);
        process.stop().await?;

        let cpu = cpu_of_server(server)?;
        let until = Instant::now() + TURN;
        while Instant::now() < until {
            exporter.scrape().await?;
            scrapes += 1.0;
        }
        exporter_cpu += cpu_of_server(server)?.saturating_sub(cpu);
    }
    anyhow::ensure!(collections >= 1.0 && scrapes >= 1.0, "nothing was collected: {collections} and {scrapes}");
    let (agent, peer) = (agent_cpu.div_f64(collections), exporter_cpu.div_f64(scrapes));
    table.ratio(what, agent, ("the exporter", peer), bar);
    Ok(peer)
}

/// Waits until everything was read once, what is not measured included.
async fn begun(place: &Place, collectors: &[&str]) -> anyhow::Result<f64> {
    place.settle().await?;
    let started = Instant::now();
    let whole = [&SAME_FAMILIES[..], &MORE_FAMILIES].concat();
    while runs(place, &whole).await? < 1.0 {
        anyhow::ensure!(started.elapsed() < SETUP_MAX, "not every collector ran");
        sleep(Duration::from_millis(100)).await;
    }
    runs(place, collectors).await
}

/// Whole collections that the agent made: these are read as often as each other, so the rarest of them counts.
async fn runs(place: &Place, collectors: &[&str]) -> anyhow::Result<f64> {
    let text = place.get("/metrics").await?;
    let of = |collector: &str| {
        let label = format!("collector=\"{collector}\"");
        text.lines().find(|line| line.starts_with("pharos_collect_runs_total") && line.contains(&label))?.rsplit(' ').next()?.parse().ok()
    };
    Ok(collectors.iter().map(|collector| of(collector).unwrap_or(0.0)).fold(f64::INFINITY, f64::min))
}

/// An agent as shipped: its CPU time and memory, what it costs the server, and a scrape of it.
async fn at_rest(
    table: &mut Table,
    server: &PostgresServer,
    exporter: Option<&Exporter>,
    per_scrape: Option<Duration>,
    time: Duration,
) -> anyhow::Result<()> {
    let place = Place::of(&config(server, "")).await?;
    let process = place.start()?;
    place.settle().await?;
    let (started, cpu, servers_cpu) = (Instant::now(), cpu_of(process.pid()?)?, cpu_of_server(server)?);
    sleep(time).await;
    if let Some(peer) = per_scrape {
        let minutes = started.elapsed().as_secs_f64() / 60.0;
        let per_minute = cpu_of_server(server)?.saturating_sub(servers_cpu).div_f64(minutes);
        let what = "CPU time of PostgreSQL per minute at default intervals (the exporter is scraped every 15 s)";
        table.ratio(what, per_minute, ("the exporter", peer * SCRAPES_PER_MINUTE), None);
    }
    let share = (cpu_of(process.pid()?)?.saturating_sub(cpu)).as_secs_f64() / started.elapsed().as_secs_f64();
    let shown = humantime::format_duration(time);
    table.plain(
        &format!("agent's CPU, {shown} at default intervals"),
        "<= 2 % of a core",
        format!("{:.2} %", share * 100.0),
        share <= 0.02,
    );
    let (held, _) = process.resident()?;
    let beside = exporter.map(|exporter| anyhow::Ok(format!(", the exporter {}", ByteSize::b(exporter.resident()?)))).transpose()?;
    let measured = format!("{}{}", ByteSize::b(held), beside.unwrap_or_default());
    table.plain(&format!("agent's resident memory, {shown}"), &format!("<= {MEMORY_BAR}"), measured, held <= MEMORY_BAR.as_u64());
    if let Some(exporter) = exporter {
        scrapes(table, &place, exporter).await?;
    }
    process.stop().await
}

async fn scrapes(table: &mut Table, place: &Place, exporter: &Exporter) -> anyhow::Result<()> {
    let (mut times, mut peers, mut series) = (Times::default(), Times::default(), 0);
    for _ in 0..EXPORTER_SCRAPES {
        // While the exporter is scraped, the agent closes connections without requests.
        let mut client = Client::connect(place.address()).await?;
        for _ in 0..SCRAPES / EXPORTER_SCRAPES {
            times.take(client.get("/metrics")).await?;
        }
        series = peers.take(exporter.scrape()).await?;
    }
    let what = format!("scrape of /metrics, p99 (the exporter has {series} series)");
    table.ratio(&what, times.percentile(99), ("the exporter", peers.percentile(99)), Some(1.0 / 20.0));
    Ok(())
}

/// How much longer any collector takes while the largest table is locked.
async fn locked(table: &mut Table, server: &PostgresServer) -> anyhow::Result<()> {
    let everything = [&SAME_FAMILIES[..], &MORE_FAMILIES].concat();
    let place = Place::of(&config(server, &intervals(&everything))).await?;
    let process = place.start()?;
    begun(&place, &everything).await?;
    let free = longest(&place).await?;
    let holder = server.connect(SUPERUSER, "postgres").await?;
    holder.run(&format!("BEGIN; LOCK TABLE {LARGEST} IN ACCESS EXCLUSIVE MODE")).await?;
    let locked = longest(&place).await?;
    holder.run("ROLLBACK").await?;
    let (collector, delay) = later(&free, &locked);
    let measured = format!("{delay:.0?} (`{collector}`)");
    table.plain("exclusive lock on the largest table: delay of any collector", "<= 300 ms", measured, delay <= Duration::from_millis(300));
    process.stop().await
}

/// The longest run of each collector that is seen in a while.
async fn longest(place: &Place) -> anyhow::Result<Vec<(String, Duration)>> {
    let mut longest: Vec<(String, Duration)> = Vec::new();
    for _ in 0..100 {
        let text = place.get("/metrics").await?;
        for line in text.lines().filter_map(|line| line.strip_prefix("pharos_collect_duration_seconds{")) {
            let (labels, value) = line.rsplit_once(' ').context("a series has a value")?;
            let took = Duration::from_secs_f64(value.parse()?);
            match longest.iter_mut().find(|(known, _)| known == labels) {
                Some((_, known)) => *known = took.max(*known),
                None => longest.push((labels.to_owned(), took)),
            }
        }
        sleep(Duration::from_millis(100)).await;
    }
    Ok(longest)
}

fn later(free: &[(String, Duration)], locked: &[(String, Duration)]) -> (String, Duration) {
    let before = |labels: &str| free.iter().find(|(known, _)| known == labels).map_or(Duration::ZERO, |(_, took)| *took);
    let delays = locked.iter().map(|(labels, took)| (labels.clone(), took.saturating_sub(before(labels))));
    delays.max_by_key(|(_, delay)| *delay).unwrap_or_default()
}

/// The collectors whose facts the exporter reads as well. `locks` is left out, since the agent reads it only while a session waits.
const SAME_FAMILIES: [&str; 9] = ["server", "activity", "database", "wal", "replication", "statements", "settings", "sizes", "tables"];
const MORE_FAMILIES: [&str; 9] = ["horizon", "autovacuum", "progress", "io", "limits", "encryption", "indexes", "sequences", "extensions"];

/// Intervals: one second for these collectors and one hour for the others, with a budget that lengthens none.
fn intervals(collectors: &[&str]) -> String {
    let mut text = "[collect]\nbudget = 1.0\n[collect.interval]\naccept = \"1h\"\nsample = \"1s\"\nsubscriptions = \"1h\"\n".to_owned();
    for collector in [&SAME_FAMILIES[..], &MORE_FAMILIES].concat() {
        let interval = if collectors.contains(&collector) { "1s" } else { "1h" };
        text += &format!("{collector} = \"{interval}\"\n");
    }
    text
}

fn config(server: &PostgresServer, collect: &str) -> String {
    format!(
        r#"
        [[database]]
        name = "app"
        primary = "{}"
        {collect}
        "#,
        server.url(MONITORING_ROLE, "postgres"),
    )
}
